"""The interval around a prediction."""

from __future__ import annotations

import numpy as np


def interval_bounds(predictions: np.ndarray, radius: float, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of each prediction in the unit of the target."""
    if scale == "log":
        return predictions * np.exp(-radius), predictions * np.exp(radius)
    return predictions - radius, predictions + radius
