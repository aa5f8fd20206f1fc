"""Reads the model, its plan, reference sample and out-of-fold scores, train.parquet, test.parquet and the reports, writes
importance.json, its plot, beeswarm.parquet, the model card, and for the web pages synthetic.json, profile.json,
market.json.

python -m stages.explain bankchurn
"""

from __future__ import annotations

from functools import partial

from stages.core.cli import run
from stages.core.files import Paths, read_json, read_parquet, read_pickle, write, write_json


def main(name: str) -> None:
    import pandas as pd

    from stages.core.params import load_block, load_seed
    from stages.explanation.card import model_card
    from stages.explanation.importance import feature_importance
    from stages.explanation.market import market
    from stages.explanation.profile import profile
    from stages.explanation.samples import samples
    from stages.explanation.settings import Explain
    from stages.modeling.pipeline import predict_scores
    from stages.projects._base import load_project

    project, settings, paths = load_project(name), load_block(name, "explain", Explain), Paths(name)
    seed = load_seed()
    model, manifest = read_pickle(paths.model / "model.joblib"), read_json(paths.model / "manifest.json")
    proof, digest = read_json(paths.model / "plan.json")["proof"], {"model": manifest["model"]}
    train, test = (read_parquet(paths.data / f"{side}.parquet") for side in ("train", "test"))
    reference = read_parquet(paths.model / "reference.parquet")
    unseen = read_parquet(paths.model / "out_of_fold.parquet")["score"].to_numpy()
    reports = {report: read_json(paths.reports / f"{report}.json") for report in ("data", "evaluation", "leaderboard")}

    rows = test.sample(min(settings.rows, len(test)), random_state=seed).sort_index()
    features, target = model["features"].transform(rows), rows[project.target].to_numpy()
    importance, dots = feature_importance(model, manifest["estimator"], features, target, project, settings.repeats, seed)
    top = pd.DataFrame(importance["ranking"]).head(20).rename(columns=str.capitalize)
    card = model_card(project, manifest, reports | {"importance": importance}, proof)
    scores = predict_scores(model, reference, project)

    write(paths.reports / "importance.csv", partial(top.to_csv, index=False, float_format="%.6g"))
    write(paths.reports / "beeswarm.parquet", dots.to_parquet)
    write_json(paths.reports / "importance.json", digest | importance)
    write(paths.reports / "card.md", lambda path: path.write_text(card, encoding="utf-8"))
    write_json(paths.reports / "synthetic.json", digest | samples(train, reference, scores, project, seed))
    write_json(paths.reports / "profile.json", digest | profile(train, project))
    answer = partial(predict_scores, model, project=project)
    adverts = market(train, unseen, answer, manifest.get("interval", {}), project, seed)
    write_json(paths.reports / "market.json", adverts and digest | adverts)
    print(f"{name}: most important are {', '.join(top['Feature'][:3])}; card in {paths.reports}/card.md")


if __name__ == "__main__":
    run(main)
