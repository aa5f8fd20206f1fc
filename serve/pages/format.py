"""How pages write numbers, times and names; `static/format.js` writes numbers alike in the browser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any

from stages.projects._base import Column
from stages.runtime.metric_names import AMOUNTS, SHARES, TITLES

SCALED = re.compile(r"([\d,]+) (.+)")  # a unit such as 1,000 USD


def number(value: float | None, unit: str = "") -> str:
    """A number with its unit: `1,234 USD`, `6.21`, and `24,100 USD` for 24.1 of a unit of `1,000 USD`. A year, which has no
    unit, keeps its four digits.
    """
    if value is None or not isfinite(value):
        return "–"
    if found := SCALED.fullmatch(unit):
        return number(value * int(found[1].replace(",", "")), found[2])
    size = abs(value)
    if float(value).is_integer() or size >= 1000:
        text = f"{value:,.0f}" if unit or size >= 10_000 else f"{value:.0f}"
    else:
        text = f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 1 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def count(value: int) -> str:
    """How many, with commas between thousands."""
    return f"{value:,}"


def percent(share: float | None) -> str:
    """A share in per cent, with one decimal."""
    return "–" if share is None or not isfinite(share) else f"{100 * share:.1f} %"


def signed(value: float | None) -> str:
    """A correlation with two decimals."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def exact(value: Any, column: Column | None = None) -> str:
    """A value as it was given, with its unit: nothing is rounded away."""
    if value is None:
        return "unknown"
    if column is not None and column.choices == (0, 1):
        return "yes" if value else "no"
    unit = f" {column.unit}" if column and column.unit else ""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"{whole:,}{unit}" if unit and isinstance(whole, int | float) else f"{whole}{unit}"


def moment(value: datetime) -> str:
    """A time in UTC, to the minute."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


def metric(value: float | None, name: str, unit: str = "") -> str:
    """A metric: an amount with its unit, a share in per cent, anything else with three decimals."""
    if name in AMOUNTS:
        return number(value, unit)
    if name in SHARES:
        return percent(value)
    return "–" if value is None or not isfinite(value) else f"{value:.3f}"


def between(bounds: Mapping[str, float], name: str, unit: str = "") -> str:
    """The interval of a metric, from its `low` to its `high`, with one unit for both."""
    low, high = (metric(bounds[key], name, unit) for key in ("low", "high"))
    return f"{low.split()[0]} to {high}"


def words(name: str) -> str:
    """The title of a metric, or a name as words."""
    return TITLES.get(name, name.replace("_", " "))


FILTERS = {  # of the templates
    "between": between, "count": count, "metric": metric, "moment": moment, "number": number, "percent": percent,
    "words": words,
}  # fmt: skip
