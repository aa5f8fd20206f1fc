"""The adverts of a project that estimates prices, for the page on its market: what can be filtered and drawn there, and the
adverts whose price is outside the model's interval.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from stages.core.objects import objects
from stages.core.schema import coerce
from stages.explanation.profile import rounded
from stages.explanation.samples import json_rows
from stages.projects._base import Project, columns_of
from stages.runtime.intervals import interval_bounds
from stages.runtime.values import is_missing

ADVERTS = 6_000  # drawn at random where there are more, as a browser has to hold them
OFFERS = 300  # below the interval, and as many above
DIGITS = 12  # of prices: the page and an answer about the same advert show the same whole numbers
LEVELS = 40  # of a text without listed choices; what is rarer is one group
OTHER = "all others"


def market(
    frame: pd.DataFrame,
    scores: np.ndarray,
    answer: Callable[[pd.DataFrame], np.ndarray],
    interval: dict[str, Any],
    project: Project,
    seed: int,
) -> dict[str, Any] | None:
    """The market of a project, None for one that has none. `scores`, of shape (rows,), are prices by a model that did not
    see the row; `answer` gives those of the model that serves, which was trained on it.

    Lists hold the drawn adverts and behind them the offers: price, side of the interval (-1 below, 1 above) and the
    dimensions, which for a text are places among its levels. An offer says at which place of the lists it is. It states
    all dimensions: where the model has to guess at the year, a price far from its own is no news.
    """
    if not project.market:
        return None
    asked = frame[project.target].to_numpy()
    low, high = interval_bounds(scores, interval["radius"], interval["scale"])
    side = np.where(asked < low, -1, np.where(asked > high, 1, 0))
    values = coerce(frame, columns_of(project.record))[0]
    sorted_by = values | project.features(values)
    complete = ~np.any([is_missing(sorted_by[name]) for name in project.market], axis=0)
    distance = np.abs(np.log(asked / scores) if interval["scale"] == "log" else asked - scores)
    drawn = np.sort(np.random.default_rng(seed).choice(len(frame), min(ADVERTS, len(frame)), replace=False))
    offers = furthest(side * complete, distance, objects(frame, project))
    shown = np.concatenate([drawn, offers])
    rows = json_rows({name: array[offers] for name, array in values.items()}, project.columns)
    estimates = {"model": scores[offers], "low": low[offers], "high": high[offers], "serves": answer(frame.iloc[offers])}
    return {
        "total": len(frame),
        "drawn": len(drawn),
        "coverage": interval["coverage"],
        "price": numbers(asked[shown], DIGITS),
        "side": side[shown].tolist(),
        "dimensions": [dimension(name, title, sorted_by[name][shown], project) for name, title in project.market.items()],
        "offers": [
            {
                "at": len(drawn) + place,
                "row": row,
                **{name: rounded(array[place], DIGITS) for name, array in estimates.items()},
            }
            for place, row in enumerate(rows)
        ],
    }


def furthest(side: np.ndarray, distance: np.ndarray, objects: pd.Series) -> np.ndarray:
    """The places of the adverts furthest below and above their interval, the furthest first; an object that is advertised
    several times is there once.
    """
    order = np.argsort(-distance, kind="stable")
    order = order[side[order] != 0]
    order = order[~objects.iloc[order].duplicated().to_numpy()]
    below = side[order] < 0
    rank = np.where(below, np.cumsum(below), np.cumsum(~below))
    chosen: np.ndarray = order[rank <= OFFERS]
    return chosen


def dimension(name: str, title: str, values: np.ndarray, project: Project) -> dict[str, Any]:
    """A column or feature that adverts are sorted by, missing values as None."""
    column = next((column for column in columns_of(project.record) if column.name == name), None)
    entry = {"name": name, "title": title, "unit": column.unit if column else ""}
    if values.dtype.kind != "O":
        return {**entry, "values": numbers(values, 4)}
    levels, places = coded(values, [str(choice) for choice in column.choices] if column else [])
    return {**entry, "levels": levels, "values": places}


def coded(texts: np.ndarray, choices: list[str]) -> tuple[list[str], list[int | None]]:
    """The levels, as listed or else the most frequent first, and for each text its place among them."""
    present, counts = np.unique(texts[~is_missing(texts)], return_counts=True)
    ranked = present[np.argsort(-counts, kind="stable")].tolist()
    levels = [choice for choice in choices if choice in ranked] or ranked[:LEVELS]
    if len(levels) < len(ranked):
        levels.append(OTHER)
    places = {text: place for place, text in enumerate(levels)}
    return levels, [None if text is None else places.get(text, len(levels) - 1) for text in texts.tolist()]


def numbers(array: np.ndarray, digits: int) -> list[float | None]:
    """Numbers with so many significant digits, missing ones as None."""
    return [None if np.isnan(value) else rounded(value, digits) for value in array.tolist()]
