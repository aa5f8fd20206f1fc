"""Scoring rows with the model in a folder, exactly as the server does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from stages.core.cli import UserError
from stages.core.files import read_json
from stages.core.schema import read_rows, to_frame
from stages.projects._base import Columns, Project
from stages.runtime.scorer import Scorer


def read_columns(frame: pd.DataFrame, project: Project) -> Columns:
    """The rows as the features take them; UserError for a required column that they lack or a value that cannot be read.
    Text stays as it is: a source may have read a code as a number, the server takes it by the letter.
    """
    try:
        columns = read_rows(frame, project.columns)
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

    from stages.modeling.pipeline import predict_scores

    model = joblib.load(folder / "model.joblib")
    return lambda columns: predict_scores(model, to_frame(columns), project)
