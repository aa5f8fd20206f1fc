"""Whether an exported model is the same as the fitted one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from stages.core.schema import coerce
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project
from stages.runtime.scorer import Scorer


def largest_difference(scorer: Scorer, model: Pipeline, frame: pd.DataFrame, project: Project) -> float:
    """The largest relative difference between the exported and the fitted model over the rows."""
    expected = predict_scores(model, frame, project)
    found = scorer.score(coerce(frame, project.columns)[0])
    return float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), np.finfo(float).tiny)))
