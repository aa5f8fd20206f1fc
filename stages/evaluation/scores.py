"""The metrics of a project's predictions, and of predictions made without looking at a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from stages.modeling.metrics import Scores, classification_metrics, regression_metrics
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project
from stages.runtime.intervals import interval_bounds


def score(project: Project, manifest: dict[str, Any], target: np.ndarray, values: np.ndarray, weights: np.ndarray) -> Scores:
    """All metrics of these predictions, shape (rows,), under row weights of shape (resamples, rows)."""
    if project.task == "classification":
        return classification_metrics(target, values, manifest["threshold"], weights)
    lower, upper = interval_bounds(values, manifest["interval"]["radius"], manifest["interval"]["scale"])
    return regression_metrics(target, values, lower, upper, weights)


def baseline_scores(project: Project, train: np.ndarray, rows: int) -> np.ndarray:
    """What is predicted without looking at a row: the rate of positives, or the median of the target."""
    nothing = np.zeros((len(train), 1))
    dummy = DummyClassifier(strategy="prior") if project.task == "classification" else DummyRegressor(strategy="median")
    return predict_scores(dummy.fit(nothing, train), np.zeros((rows, 1)), project)
