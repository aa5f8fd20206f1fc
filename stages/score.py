"""Reads raw rows as Parquet, writes their scores as Parquet, one column `score`: exactly what the server would give them.

python -m stages.score bankchurn rows.parquet scores.parquet
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from stages.command import UserError, run
from stages.files import Paths, read_json, write
from stages.project import Columns, Project, load_project
from stages.schema import read, to_frame
from stages.scorer import Scorer


def read_columns(frame: pd.DataFrame, project: Project) -> Columns:
    """The rows as the features take them; UserError for a required column that they lack or a value that cannot be read.
    Text stays as it is: a source may have read a code as a number, the server takes it by the letter.
    """
    try:
        columns = read(frame, project.columns)
    except ValueError as error:
        raise UserError(str(error)) from None
    for column in project.columns:
        if column.kind == "text" and column.name in frame and frame[column.name].dtype == "str":
            columns[column.name] = frame[column.name].astype(object).where(frame[column.name].notna(), None).to_numpy()
    return columns


def load_scorer(project: Project, folder: Path) -> Callable[[Columns], np.ndarray]:
    """The exported scorer in a folder, or the pipeline where the model has no exported form."""
    plan = read_json(folder / "plan.json")
    if plan["exported"]:
        return Scorer(project, plan["plan"], (folder / "scorer.onnx").read_bytes()).score
    import joblib  # with scikit-learn behind it, which takes longer to import than most rows to score

    from stages.pipeline import predict_scores

    model = joblib.load(folder / "model.joblib")
    return lambda columns: predict_scores(model, to_frame(columns), project)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rows", type=Path, help="Parquet file of raw rows")
    parser.add_argument("scores", type=Path, help="Parquet file to write")


def main(name: str, rows: Path, scores: Path) -> None:
    project = load_project(name)
    columns = read_columns(pd.read_parquet(rows), project)
    found = pd.DataFrame({"score": load_scorer(project, Paths(name).model)(columns)})
    write(scores, lambda path: found.to_parquet(path, index=False))
    print(f"{name}: {len(found)} rows scored")


if __name__ == "__main__":
    run(main, options)
