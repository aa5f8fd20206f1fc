"""Rows to try a model on, and what its predictions are ranked among."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from stages.core.schema import coerce
from stages.projects._base import Column, Columns, Project

ROWS = 200
PERCENTILES = 101


def samples(reference: pd.DataFrame, scores: np.ndarray, project: Project, seed: int) -> dict[str, Any]:
    """Some rows of the reference sample as the server takes them, and the percentiles, 0 to 100, of what a prediction is
    ranked among: for a classifier the scores of the reference rows, shape (rows,), else their true values.
    """
    among = scores if project.task == "classification" else reference[project.target].to_numpy()
    picked = reference.sample(min(ROWS, len(reference)), random_state=seed)
    return {
        "rows": json_rows(coerce(picked, project.columns)[0], project.columns),
        "percentiles": [float(value) for value in np.quantile(among, np.linspace(0, 1, PERCENTILES))],
    }


def json_rows(values: Columns, columns: tuple[Column, ...]) -> list[dict[str, Any]]:
    """Rows as JSON bodies; missing values are left out."""
    lists = [[plain(value, column) for value in values[column.name].tolist()] for column in columns]
    names = [column.name for column in columns]
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*lists, strict=True)
    ]  # fmt: skip


def plain(value: Any, column: Column) -> Any:
    """A value of a column as JSON holds it; None for a missing one."""
    if value is None or value != value:
        return None
    if isinstance(value, date):
        return value.isoformat()
    return int(value) if column.integer else value
