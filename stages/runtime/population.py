"""How much recent rows differ from those a model was trained on, measured against a summary small enough to serve.

Shared by the stage that makes the summary, the drift check and the server; needs NumPy alone.
"""

from __future__ import annotations

from typing import NotRequired, Required, TypedDict

import numpy as np

from stages.projects._base import Column, Columns

BINS = 10
CATEGORIES = 20


class Bins(TypedDict, total=False):
    """Edges of numbers or categories of texts, and the shares of the rows in them; and which values there were: `range` is
    the least and the greatest number, `known` are all texts.
    """

    edges: list[float]
    categories: list[str]
    shares: Required[list[float]]
    range: list[float]
    known: list[str]


class Population(TypedDict):
    """The training rows, as population.json holds them; `model` is the MD5 of the model.joblib that scored them."""

    columns: dict[str, Bins]
    score: Bins
    rows: int
    model: NotRequired[str]


def summarise(columns: Columns, described: tuple[Column, ...], scores: np.ndarray) -> Population:
    """The bins of every column but dates, which always move on, and of the scores."""
    return {
        "columns": {column.name: summarised(columns[column.name]) for column in described if column.kind != "date"},
        "score": summarised(scores),
        "rows": len(scores),
    }


def summarised(values: np.ndarray) -> Bins:
    """Tenths of numbers, or the most frequent texts and the rest; and a bin for missing values at the end."""
    bins: Bins = {"shares": []}
    if values.dtype.kind == "f":
        bins["edges"] = edges(values)
        bins["range"] = [float(bound(values)) for bound in (np.nanmin, np.nanmax)] if not np.isnan(values).all() else []
    else:
        texts, counts = np.unique([text for text in values.tolist() if text is not None], return_counts=True)
        bins["categories"] = texts[np.argsort(-counts, kind="stable")][:CATEGORIES].tolist()
        bins["known"] = texts.tolist()
    bins["shares"] = shares(values, bins).tolist()
    return bins


def edges(values: np.ndarray) -> list[float]:
    """Upper bounds of the bins of equal frequency but for the last; fewer where values repeat."""
    known = values[~np.isnan(values)]
    if not len(known):
        return []
    bounds = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    return [float(bound) for bound in bounds]


def shares(values: np.ndarray, bins: Bins) -> np.ndarray:
    """Share of the rows in each bin, missing values last."""
    if "edges" in bins:
        missing = np.isnan(values)
        places = np.where(missing, len(bins["edges"]) + 1, np.searchsorted(bins["edges"], values, side="left"))
        size = len(bins["edges"]) + 2
    else:
        known = {text: place for place, text in enumerate(bins["categories"])}
        size = len(known) + 2
        places = np.array([size - 1 if text is None else known.get(text, size - 2) for text in values.tolist()], dtype=int)
    return np.bincount(places, minlength=size) / max(len(values), 1)


def stability(expected: np.ndarray, found: np.ndarray, rows: int) -> float:
    """Population stability index: the sum of (found - expected) * ln(found / expected) over the bins (Siddiqi, Credit Risk
    Scorecards, 2006, who calls less than 0.1 no change and more than 0.25 a shift). Bins that one side lacks count as half a
    row, so that the index stays finite.
    """
    least = 0.5 / rows
    a, b = np.maximum(expected, least), np.maximum(found, least)
    return float(np.sum((b - a) * np.log(b / a)))


def stability_above_chance(bins: Bins, values: np.ndarray, reference_rows: int) -> float:
    """The stability index of a column's values, shape (rows,), against the bins of `reference_rows` rows. What chance alone
    gives, about (bins - 1) * (1 / rows + 1 / reference rows) (Yurdakul, Statistical properties of population stability
    index, 2018), is subtracted, so that few rows look no worse.
    """
    rows = max(len(values), 1)
    expected = np.array(bins["shares"])
    chance = (np.count_nonzero(expected) - 1) * (1 / rows + 1 / reference_rows)
    return max(stability(expected, shares(values, bins), rows) - chance, 0.0)
