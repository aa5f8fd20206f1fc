"""The filters of the templates, and how pages write times and values that were given."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from stages.projects._base import Column
from stages.runtime.wording import count, exact, metric, metric_interval, number, p_value, percent, points, words


def given(value: Any, column: Column | None = None) -> str:
    """A value as it was given, with its unit."""
    if value is None:
        return "unknown"
    if column is not None and column.choices == (0, 1):
        return "yes" if value else "no"
    return exact(value, column.unit if column else "") if isinstance(value, int | float) else str(value)


def moment(value: datetime) -> str:
    """A time in UTC, to the minute."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


FILTERS = {
    "count": count, "metric": metric, "metric_interval": metric_interval, "moment": moment, "number": number,
    "p_value": p_value, "percent": percent, "points": points, "words": words,
}  # fmt: skip
