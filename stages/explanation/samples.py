"""Made-up rows to try a model on, and what its predictions are ranked among."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from stages.core.objects import objects
from stages.core.schema import coerce
from stages.explanation.synthetic import synthesize
from stages.projects._base import Column, Columns, Project

ROWS = 200
DRAWN = 1_000  # from which the first `ROWS` are taken that can be used
PERCENTILES = 101


def samples(
    train: pd.DataFrame, reference: pd.DataFrame, scores: np.ndarray, project: Project, seed: int
) -> dict[str, Any]:  # fmt: skip
    """Synthetic rows as the server takes them, and the percentiles, 0 to 100, of what a prediction is ranked among: for a
    classifier the scores of the reference rows, shape (rows,), else their true values.
    """
    among = scores if project.task == "classification" else reference[project.target].to_numpy()
    return {
        "rows": list(islice(synthetic_rows(train, project, seed), ROWS)),
        "percentiles": [float(value) for value in np.quantile(among, np.linspace(0, 1, PERCENTILES))],
    }


def synthetic_rows(train: pd.DataFrame, project: Project, seed: int) -> Iterator[dict[str, Any]]:
    """Made-up rows that fit the schema of the project and are no training rows. They are drawn from one training row of each
    object, so that what several rows have in common is no single object's.
    """
    once = train[~objects(train, project).duplicated()]
    values, outcome = coerce(once, project.columns)[0], once[project.target].to_numpy()
    drawn = synthesize(values, project.columns, outcome, project.example_row, DRAWN, seed)
    known = {tuple(row.items()) for row in json_rows(coerce(train, project.columns)[0], project.columns)}
    for row in json_rows(drawn, project.columns):
        if tuple(row.items()) not in known and fits(row, project):
            yield row


def fits(row: dict[str, Any], project: Project) -> bool:
    """Whether a row fits the schema of the project."""
    try:
        project.row.model_validate(row)
    except ValidationError:
        return False
    return True


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
