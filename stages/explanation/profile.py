"""What the training rows look like, column by column: missing values, ranges, shapes, frequent values and correlations."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from stages.core.schema import coerce
from stages.projects._base import Project, columns_of
from stages.runtime.values import is_missing

BINS = 30
TAIL = 0.01  # share at either end that a histogram leaves out, as a few odd values would squeeze the rest
FREQUENT = 8
FEW = 12  # a number or date with more values than this is drawn as a histogram
QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
PAIRS = 30  # below this a correlation is mostly noise


def profile(frame: pd.DataFrame, project: Project) -> dict[str, Any]:
    """The columns of the record and how those that are numbers go together."""
    values = coerce(frame, columns_of(project.record))[0]
    numbers = pd.DataFrame({name: array for name, array in values.items() if array.dtype.kind == "f"})
    return {
        "rows": len(frame),
        "columns": {name: described(array) for name, array in values.items()},
        "correlations": correlations(numbers),
    }


def described(values: np.ndarray) -> dict[str, Any]:
    """The share of missing values and the number of distinct ones; the quantiles of numbers and dates; and of what has few
    values or is text the most frequent with their share of the known ones, else a histogram.
    """
    known = values[~is_missing(values)]
    found, counts = np.unique(known, return_counts=True)
    summary: dict[str, Any] = {"missing": rounded(1 - len(known) / max(len(values), 1)), "distinct": len(found)}
    if not len(known):
        return summary
    if known.dtype.kind != "O":
        ordered = np.sort(known)
        summary["quantiles"] = [plain(ordered[max(ceil(share * len(ordered)) - 1, 0)]) for share in QUANTILES]
    if known.dtype.kind == "O" or len(found) <= FEW:
        order = np.argsort(-counts, kind="stable")[:FREQUENT] if known.dtype.kind == "O" else np.arange(len(found))
        shares = (counts / len(known))[order]
        summary["frequent"] = [
            {"value": plain(value), "share": rounded(share)} for value, share in zip(found[order], shares, strict=True)
        ]
    else:
        summary["histogram"] = histogram(known)
    return summary


def histogram(known: np.ndarray) -> dict[str, Any]:
    """Shares of the values in bins of equal width, in days for dates. Bins of whole numbers hold equally many of them."""
    numbers = known.astype(float)  # of a date the days since 1970
    low, high = np.quantile(numbers, [TAIL, 1 - TAIL], method="inverted_cdf")
    if np.all(numbers == np.floor(numbers)):
        step = float(ceil((high - low + 1) / BINS))
        bins = ceil((high - low + 1) / step)
    else:
        step, bins = (high - low) / BINS or 1.0, BINS
    counts = np.histogram(numbers, low + step * np.arange(bins + 1))[0]
    start = np.array(low).astype(known.dtype)[()]
    return {"start": plain(start), "step": rounded(step), "shares": [rounded(share) for share in counts / len(known)]}


def correlations(numbers: pd.DataFrame) -> dict[str, Any]:
    """Spearman's rank correlation of every two columns, over the rows that have both; None where there are too few."""
    varying = numbers.loc[:, numbers.nunique() > 1]
    matrix = varying.corr("spearman", min_periods=PAIRS).to_numpy().tolist()
    values = [[None if np.isnan(value) else rounded(round(value, 3)) for value in row] for row in matrix]
    return {"columns": [str(name) for name in varying], "values": values}


def plain(value: Any) -> Any:
    """A text as it is, a date in ISO form, a number rounded."""
    if isinstance(value, np.datetime64):
        return str(value)
    return value if isinstance(value, str) else rounded(value)


def rounded(value: float, digits: int = 6) -> float:
    """A number with so many significant digits, whole ones as such: that is how JSON writes them shortest."""
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short
