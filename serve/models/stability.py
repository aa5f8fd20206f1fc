"""How much the latest predictions differ from what their model was trained on: a cheap running index. Whether to
retrain is decided by the tests of `python -m stages.drift`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec
import numpy as np

from serve.models.loader import Model
from serve.models.rows import Row
from stages.runtime.population import Bins, stability_above_chance

LEAST = 200  # rows below which the index is mostly noise
MODERATE, LARGE = 0.1, 0.25

State = Literal["unknown", "stable", "moderate", "large"]


class Predicted(Protocol):
    """What is known of a prediction that was made."""

    @property
    def model_hash(self) -> str:
        """The hash of the model that made it."""

    @property
    def input(self) -> str:
        """The row as JSON."""

    @property
    def score(self) -> float:
        """The probability of class 1, or the value."""

    @property
    def time(self) -> datetime:
        """When it was made."""


class Shift(msgspec.Struct):
    """The population stability index of one column."""

    column: str
    index: float
    state: State


class Drift(msgspec.Struct):
    """The latest predictions against the training rows: per column, the largest shift first, and of the score, over the
    predictions that the model that serves has made. `state` is that of the largest; `unknown` with fewer than 200 rows.
    """

    state: State
    rows: int
    since: datetime | None
    columns: list[Shift]
    score: Shift | None


def drift_of(model: Model, recent: Sequence[Predicted]) -> Drift:
    """The shift of the rows in these predictions."""
    rows, scores = known_rows(model, recent)
    since = min((prediction.time for prediction in recent), default=None)
    if len(rows) < LEAST:
        return Drift("unknown", len(rows), since, [], None)
    columns, population = model.codec.columns(rows), model.population
    found = [shift(name, bins, columns[name], population["rows"]) for name, bins in population["columns"].items()]
    found.sort(key=lambda item: -item.index)
    score = shift("score", population["score"], scores, population["rows"]) if len(scores) >= LEAST else None
    largest = max([*found, *([score] if score else [])], key=lambda item: item.index)
    return Drift(largest.state, len(rows), since, found, score)


def known_rows(model: Model, recent: Sequence[Predicted]) -> tuple[list[Row], np.ndarray]:
    """The rows of these predictions, but for those that were logged under another row schema, and the scores, shape
    (scores,), of those that this model has made.
    """
    decoder = msgspec.json.Decoder(model.codec.struct)
    rows, scores = [], []
    for prediction in recent:
        try:
            rows.append(decoder.decode(prediction.input))
        except msgspec.ValidationError:
            continue
        if prediction.model_hash == model.hash:
            scores.append(prediction.score)
    return rows, np.array(scores)


def shift(column: str, bins: Bins, values: np.ndarray, reference_rows: int) -> Shift:
    """The index of a column's values."""
    index = stability_above_chance(bins, values, reference_rows)
    return Shift(column, index, "large" if index > LARGE else "moderate" if index > MODERATE else "stable")
