"""Proof that an exported model gives the scores of the fitted one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from stages.core.cli import UserError
from stages.core.schema import coerce
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project
from stages.runtime.probe import TOLERANCE, relative_difference
from stages.runtime.scorer import Scorer

UNKNOWN = "never seen before"


def check_equal(scorer: Scorer, model: Pipeline, rows: pd.DataFrame, project: Project, seed: int) -> float:
    """The largest relative difference between the exported and the fitted model, over the rows and over the same rows with
    values missing or unknown. UserError where it exceeds the tolerance.
    """
    frames = (rows, with_missing_values(rows, project, seed))
    worst = max(largest_difference(scorer, model, frame, project) for frame in frames)
    if not worst <= TOLERANCE:
        raise UserError(
            f"the exported model differs from the pipeline by up to {worst:.2g} relative; {TOLERANCE:g} is allowed"
        )
    return worst


def largest_difference(scorer: Scorer, model: Pipeline, frame: pd.DataFrame, project: Project) -> float:
    """The largest relative difference between the exported and the fitted model over the rows."""
    return relative_difference(scorer.score(coerce(frame, project.columns)[0]), predict_scores(model, frame, project))


def with_missing_values(frame: pd.DataFrame, project: Project, seed: int) -> pd.DataFrame:
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


def known_row(model: Pipeline, project: Project) -> dict[str, Any]:
    """A made-up row and its score: whoever loads the model scores the row first, and must get the same (`runtime.probe`)."""
    row = project.example_row
    return {"row": row, "score": float(predict_scores(model, pd.DataFrame([row]), project)[0])}
