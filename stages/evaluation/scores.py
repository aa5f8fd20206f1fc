"""The metrics of a project's predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.modeling.metrics import Scores, classification_metrics, regression_metrics
from stages.projects._base import Project
from stages.runtime.intervals import interval_bounds


def score(project: Project, manifest: dict[str, Any], target: np.ndarray, values: np.ndarray, weights: np.ndarray) -> Scores:
    """All metrics of these predictions under the row weights."""
    if project.task == "classification":
        return classification_metrics(target, values, manifest["threshold"], weights)
    lower, upper = interval_bounds(values, manifest["interval"]["radius"], manifest["interval"]["scale"])
    return regression_metrics(target, values, lower, upper, weights)
