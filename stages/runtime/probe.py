"""The known row of a model: its score is stored with the model, and whoever loads the model must get it again."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-9  # relative: what the exported model may differ from the fitted one by


def relative_difference(found: np.ndarray | float, expected: np.ndarray | float) -> float:
    """The largest difference between scores, relative to the expected ones; NaN where a score is no number."""
    scale = np.maximum(np.abs(expected), np.finfo(float).tiny)
    return float(np.max(np.abs(np.subtract(found, expected)) / scale))


def agrees(found: np.ndarray | float, expected: np.ndarray | float) -> bool:
    """Whether scores are the same within `TOLERANCE`; never where one is no number."""
    return relative_difference(found, expected) <= TOLERANCE
