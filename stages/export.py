"""Reads the model and both splits, writes scorer.onnx, plan.json and explainer.npz: the model as data, proven the same.

python -m stages.export bankchurn
"""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from stages.core.cli import UserError, run
from stages.core.files import Paths, write, write_json
from stages.core.params import load_seed
from stages.core.schema import coerce
from stages.exporting.onnx_graph import NotExportableError, build_graph
from stages.exporting.proof import largest_difference
from stages.modeling.pipeline import inner_pipeline, predict_scores
from stages.projects._base import Project, load_project
from stages.runtime.scorer import Scorer
from stages.runtime.shapley import explainer_table, to_bytes

TOLERANCE = 1e-9  # relative
UNKNOWN = "never seen before"


def encoder_plan(encoder: ColumnTransformer) -> list[dict[str, Any]]:
    """A fitted encoder as plain values, one entry per feature, in the order of the columns it makes."""
    plan = []
    for part, transformer, features in encoder.transformers_:
        if part == "remainder":
            continue
        steps = list(transformer.named_steps.values()) if isinstance(transformer, Pipeline) else [transformer]
        for number, feature in enumerate(features):
            plan.append({"feature": feature, "kind": part, **_PLANS[part](steps, features, number)})
    return plan


def with_gaps(frame: pd.DataFrame, project: Project, seed: int) -> pd.DataFrame:
    """The rows with a tenth of the optional values removed and a tenth of the texts replaced by one never seen."""
    rng = np.random.default_rng(seed)
    changed = frame.copy()
    for column in project.columns:
        picked = rng.random(len(frame)) < 0.1
        if not column.required:
            changed[column.name] = changed[column.name].mask(picked)
        elif column.kind == "text":
            changed[column.name] = changed[column.name].mask(picked, UNKNOWN)
    return changed


def probe_row(model: Pipeline, project: Project) -> dict[str, Any]:
    """A made-up row and its score: the server scores it before it trusts what it loaded."""
    row = project.example_row
    return {"row": row, "score": float(predict_scores(model, pd.DataFrame([row]), project)[0])}


def save(paths: Paths, plan: dict[str, Any], graph: bytes, table: bytes) -> None:
    """Write the three files that the server loads beside the manifest; graph and table are empty without an export."""
    write_json(paths.model / "plan.json", plan)
    write(paths.model / "scorer.onnx", lambda path: path.write_bytes(graph))
    write(paths.model / "explainer.npz", lambda path: path.write_bytes(table))


def main(name: str) -> None:
    project, paths = load_project(name), Paths(name)
    model = joblib.load(paths.model / "model.joblib")
    plan = encoder_plan(inner_pipeline(model)["columns"])
    probe = probe_row(model, project)
    try:
        graph = build_graph(model["model"], sum(len(entry["columns"]) for entry in plan)).SerializeToString(
            deterministic=True
        )
    except NotExportableError as error:
        save(paths, {"exported": False, "reason": str(error), "probe": probe}, b"", b"")
        print(f"{name}: {error}; the server will call the scikit-learn pipeline instead")
        return
    train, test = (pd.read_parquet(paths.data / f"{side}.parquet") for side in ("train", "test"))
    rows = pd.concat([train, test], ignore_index=True)
    scorer = Scorer(project, plan, graph)
    worst = max(largest_difference(scorer, model, frame, project) for frame in (rows, with_gaps(rows, project, load_seed())))
    if not worst <= TOLERANCE:
        raise UserError(
            f"the exported model differs from the pipeline by up to {worst:.2g} relative; {TOLERANCE:g} is allowed"
        )
    table = explainer_table(model["model"], scorer, scorer.encode(coerce(rows[: len(train)], project.columns)[0]))
    save(paths, {"exported": True, "plan": plan, "probe": probe}, graph, to_bytes(table))
    print(f"{name}: equal to the pipeline within {worst:.1g} relative on {2 * len(rows)} rows")


def _numeric(steps: list[Any], features: list[str], number: int) -> dict[str, Any]:
    feature = features[number]
    if len(steps) == 1:  # gaps are kept
        return {"columns": [feature], "fill": None, "mean": None, "scale": None}
    filler, scaler = steps
    weights = {
        features[column]: [float(weight), float(filler.median_[column])]
        for column, weight in zip(filler.complete_, filler.weights_[number], strict=True)
        if weight
    }
    fill = {"intercept": float(filler.intercept_[number]), "weights": weights}
    return {"columns": [feature], "fill": fill, **_scaling(scaler, number)}


def _one_hot(steps: list[Any], features: list[str], number: int) -> dict[str, Any]:
    feature = features[number]
    categories = [str(category) for category in steps[0].categories_[number]]
    return {"columns": [f"{feature}_{category}" for category in categories], "categories": categories}


def _target(steps: list[Any], features: list[str], number: int) -> dict[str, Any]:
    feature = features[number]
    encoder = steps[0]
    default = encoder.target_mean_
    return {
        "columns": [feature],
        "categories": [str(category) for category in encoder.categories_[number]],
        "encodings": [float(value) for value in encoder.encodings_[number]],
        "default": float(default),
        **(_scaling(steps[1], number) if len(steps) > 1 else {"mean": None, "scale": None}),
    }


def _scaling(scaler: Any, number: int) -> dict[str, float]:
    return {"mean": float(scaler.mean_[number]), "scale": float(scaler.scale_[number])}


_PLANS = {"numeric": _numeric, "one_hot": _one_hot, "target_encoded": _target}


if __name__ == "__main__":
    run(main)
