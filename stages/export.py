"""Reads the model and both splits, writes scorer.onnx, plan.json and explainer.npz: the model as data, proven the same.

python -m stages.export bankchurn
"""

from __future__ import annotations

from typing import Any

from stages.core.cli import run
from stages.core.files import Paths, write, write_json


def main(name: str) -> None:
    import joblib
    import pandas as pd

    from stages.core.params import load_seed
    from stages.core.schema import coerce
    from stages.exporting.explainer import explainer_table, to_bytes
    from stages.exporting.onnx_graph import NotExportableError, build_graph
    from stages.exporting.plan import encoder_plan
    from stages.exporting.proof import check_equal, known_row
    from stages.modeling.pipeline import unwrap
    from stages.projects._base import load_project
    from stages.runtime.scorer import Scorer

    project, paths = load_project(name), Paths(name)
    pipeline = joblib.load(paths.model / "model.joblib")
    model, probe = pipeline["model"], known_row(pipeline, project)
    plan = encoder_plan(unwrap(model).encoder)
    try:
        graph = build_graph(model, sum(len(entry["columns"]) for entry in plan)).SerializeToString(deterministic=True)
    except NotExportableError as error:
        save(paths, {"exported": False, "reason": str(error), "probe": probe}, b"", b"")
        print(f"{name}: {error}; the server will call the scikit-learn pipeline instead")
        return

    train, test = (pd.read_parquet(paths.data / f"{side}.parquet") for side in ("train", "test"))
    rows = pd.concat([train, test], ignore_index=True)
    scorer = Scorer(project, plan, graph)
    worst = check_equal(scorer, pipeline, rows, project, load_seed())
    table = explainer_table(model, scorer, scorer.encode(coerce(rows[: len(train)], project.columns)[0]))
    save(paths, {"exported": True, "plan": plan, "probe": probe}, graph, to_bytes(table))
    print(f"{name}: equal to the pipeline within {worst:.1g} relative on {2 * len(rows)} rows")


def save(paths: Paths, plan: dict[str, Any], graph: bytes, table: bytes) -> None:
    """Write the three files that the server loads beside the manifest; graph and table are empty without an export."""
    write_json(paths.model / "plan.json", plan)
    write(paths.model / "scorer.onnx", lambda path: path.write_bytes(graph))
    write(paths.model / "explainer.npz", lambda path: path.write_bytes(table))


if __name__ == "__main__":
    run(main)
