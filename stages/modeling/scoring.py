"""Scoring rows with the model in a folder, exactly as the server does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from stages.core.cli import UserError
from stages.core.files import read_json
from stages.core.schema import read_rows
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
    """The exported scorer in a folder; UserError for a model that an older pipeline could not export."""
    plan = read_json(folder / "plan.json")
    if "plan" not in plan:
        raise UserError(
            f"{folder} holds a model without an exported form ({plan.get('reason')}); only its own code scores it"
        )
    return Scorer(project, plan["plan"], (folder / "scorer.onnx").read_bytes()).score
