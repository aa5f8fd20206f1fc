"""Reads the model, its out-of-fold scores and both splits, writes the model as data, proven the same: scorer.onnx, plan.json
and explainer.npz; and adverts.npz, by which the server knows the adverts that the model was trained on.

python -m stages.export bankchurn
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from stages.core.cli import UserError, run
from stages.core.files import Paths, read_parquet, read_pickle, write, write_json


def main(name: str) -> None:
    import numpy as np
    import pandas as pd

    from stages.core.params import load_seed
    from stages.core.schema import coerce
    from stages.exporting.explainer import explainer_table, to_bytes
    from stages.exporting.onnx_graph import NotExportableError, build_graph
    from stages.exporting.plan import encoder_plan
    from stages.exporting.proof import check_equal, known_row
    from stages.modeling.pipeline import unwrap
    from stages.projects._base import load_project
    from stages.runtime.identity import md5
    from stages.runtime.probe import TOLERANCE
    from stages.runtime.scorer import Scorer
    from stages.runtime.trained import adverts_table
    from stages.runtime.wording import count

    project, paths = load_project(name), Paths(name)
    pipeline, digest = read_pickle(paths.model / "model.joblib"), md5(paths.model / "model.joblib")
    model, probe = pipeline["model"], known_row(pipeline, project)
    plan = encoder_plan(unwrap(model).encoder)
    width = sum(len(entry["columns"]) for entry in plan)
    try:
        graph = build_graph(model, width, digest).SerializeToString(deterministic=True)
    except NotExportableError as error:
        raise UserError(
            f"this model cannot be exported ({error}), and the server never unpickles one: set {name}.train.model in "
            "params.yaml to an estimator that can; `evaluate` compares this one all the same"
        ) from None

    train, test = (read_parquet(paths.data / f"{side}.parquet") for side in ("train", "test"))
    rows = pd.concat([train, test], ignore_index=True)
    scorer = Scorer(project, plan, graph)
    worst = check_equal(scorer, pipeline, rows, project, load_seed())
    columns, scored = coerce(train, project.columns)[0], read_parquet(paths.model / "out_of_fold.parquet")
    table = explainer_table(model, scorer, scorer.encode(columns))
    adverts = adverts_table(project, columns, scored["target"].to_numpy(), scored["score"].to_numpy())
    proof = {"rows": 2 * len(rows), "tolerance": TOLERANCE}
    write_json(paths.model / "plan.json", {"model": digest, "plan": plan, "probe": probe, "proof": proof})
    write(paths.model / "scorer.onnx", lambda path: path.write_bytes(graph))
    for file, content in (("explainer.npz", table), ("adverts.npz", adverts)):
        write(paths.model / file, partial(Path.write_bytes, data=to_bytes({**content, "model": np.array(digest)})))
    print(f"{name}: equal to the pipeline within {worst:.1g} relative on {count(2 * len(rows), 'row')}")


if __name__ == "__main__":
    run(main)
