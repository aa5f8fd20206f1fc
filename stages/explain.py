"""Reads the model, its reference sample and out-of-fold scores, train.parquet, test.parquet and the reports, writes
importance.json, its plot, beeswarm.parquet, the model card, and for the web pages samples.json, profile.json, market.json.

python -m stages.explain bankchurn
"""

from __future__ import annotations

from functools import partial
from typing import Any

import joblib
import pandas as pd

from stages.core.cli import run
from stages.core.files import Paths, read_json, write, write_json
from stages.core.params import load_block, load_seed
from stages.explanation.card import model_card
from stages.explanation.importance import permuted, shap_values
from stages.explanation.market import market
from stages.explanation.profile import profile
from stages.explanation.samples import samples
from stages.explanation.settings import Explain
from stages.modeling.crossval import compute_backend
from stages.modeling.pipeline import predict_scores
from stages.projects._base import load_project


def ranked(names: list[str], values: list[float]) -> list[dict[str, Any]]:
    """Features with their importance, the most important first."""
    pairs = sorted(zip(names, values, strict=True), key=lambda pair: -pair[1])
    return [{"feature": name, "importance": float(value)} for name, value in pairs]


def beeswarm(values: pd.DataFrame, encoded: pd.DataFrame) -> pd.DataFrame:
    """One row per dot: the feature, its value in that row and its contribution."""
    return pd.DataFrame(
        {
            "feature": values.columns.repeat(len(values)),
            "value": encoded.to_numpy().ravel(order="F"),
            "contribution": values.to_numpy().ravel(order="F"),
        }
    )


def main(name: str) -> None:
    project, settings, paths = load_project(name), load_block(name, "explain", Explain), Paths(name)
    seed = load_seed()
    model, manifest = joblib.load(paths.model / "model.joblib"), read_json(paths.model / "manifest.json")
    test = pd.read_parquet(paths.data / "test.parquet")
    rows = test.sample(min(settings.rows, len(test)), random_state=seed).sort_index()
    features = model["features"].transform(rows)
    with compute_backend():
        shuffled = permuted(model, features, rows[project.target].to_numpy(), project, settings.repeats, seed)
    permutation = ranked(list(shuffled["feature"]), list(shuffled["importance"]))
    explained = shap_values(model, manifest["estimator"], features, project)
    if explained is None:
        importance = {"method": "permutation", "ranking": permutation, "permutation": permutation}
        dots = pd.DataFrame({"feature": pd.Series(dtype="str"), "value": 0.0, "contribution": 0.0})
    else:
        mean = explained[0].abs().mean()
        importance = {"method": "shap", "ranking": ranked(list(mean.index), list(mean)), "permutation": permutation}
        dots = beeswarm(*explained)
    top = pd.DataFrame(importance["ranking"]).head(20).rename(columns=str.capitalize)
    write(paths.reports / "importance.csv", partial(top.to_csv, index=False, float_format="%.6g"))
    write(paths.reports / "beeswarm.parquet", dots.to_parquet)
    write_json(paths.reports / "importance.json", importance)
    card = model_card(
        project,
        manifest,
        read_json(paths.reports / "data.json"),
        read_json(paths.reports / "evaluation.json"),
        importance,
    )
    write(paths.reports / "card.md", lambda path: path.write_text(card, encoding="utf-8"))
    reference = pd.read_parquet(paths.model / "reference.parquet")
    scores = predict_scores(model, reference, project)
    write_json(paths.reports / "samples.json", samples(reference, scores, project, seed))
    train = pd.read_parquet(paths.data / "train.parquet")
    unseen = pd.read_parquet(paths.model / "out_of_fold.parquet")["score"].to_numpy()
    write_json(paths.reports / "profile.json", profile(train, project))
    write_json(paths.reports / "market.json", market(train, unseen, manifest.get("interval", {}), project, seed))
    print(f"{name}: rests most on {', '.join(top['Feature'][:3])}; card in {paths.reports}/card.md")


if __name__ == "__main__":
    run(main)
