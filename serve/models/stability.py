"""How much the latest predictions differ from what their model was trained on: a cheap, running look. Whether to retrain is
decided by `python -m stages.drift`, which tests.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
import numpy as np

from serve.log.prediction_log import Recent
from serve.models.loader import Model
from serve.models.rows import Row
from stages.runtime.population import Bins, stability_above_chance

LEAST = 200  # rows below which the index is mostly noise
MODERATE, LARGE = 0.1, 0.25

State = Literal["unknown", "stable", "moderate", "large"]


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


def compare(model: Model, recent: list[Recent]) -> Drift:
    """The shift of the rows in these predictions."""
    rows, scores = known(model, recent)
    since = min((prediction.time for prediction in recent), default=None)
    if len(rows) < LEAST:
        return Drift("unknown", len(rows), since, [], None)
    columns, population = model.codec.columns(rows), model.population
    found = [shift(name, bins, columns[name], population["rows"]) for name, bins in population["columns"].items()]
    found.sort(key=lambda item: -item.index)
    score = shift("score", population["score"], scores, population["rows"]) if len(scores) >= LEAST else None
    largest = max([*found, *([score] if score else [])], key=lambda item: item.index)
    return Drift(largest.state, len(rows), since, found, score)


def known(model: Model, recent: list[Recent]) -> tuple[list[Row], np.ndarray]:
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
