"""What the routes about logged predictions take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from serve.log.prediction_log import Entry


class Feedback(msgspec.Struct, forbid_unknown_fields=True):
    """The true outcome of a prediction: 0 or 1 for a classifier, the value for a regressor."""

    prediction_id: Annotated[str, msgspec.Meta(max_length=64)]
    outcome: Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]


class FeedbackKept(msgspec.Struct):
    """The outcome on record; `corrections` counts what was reported after the first."""

    prediction_id: str
    outcome: float
    corrections: int


class Reported(msgspec.Struct):
    """An outcome as it was reported."""

    outcome: float
    time: datetime


class Logged(msgspec.Struct):
    """A prediction as the log holds it; `outcomes` are what was reported since, oldest first."""

    prediction_id: str
    time: datetime
    project: str
    version: str | None
    revision: str
    hash: str
    input: dict[str, Any]
    output: dict[str, Any]
    latency_us: int
    request_id: str | None
    outcomes: list[Reported]


class Page(msgspec.Struct):
    """Predictions, newest first; `after` asks for the next page and is null on the last."""

    predictions: list[Logged]
    after: str | None


def logged(entry: Entry, outcomes: list[Reported] | None = None) -> Logged:
    """A log entry as the routes show it."""
    return Logged(
        prediction_id=entry.id,
        time=entry.time,
        project=entry.project,
        version=entry.version or None,
        revision=entry.revision,
        hash=entry.model_hash,
        input=msgspec.json.decode(entry.input),
        output=msgspec.json.decode(entry.output),
        latency_us=entry.latency_us,
        request_id=entry.request_id,
        outcomes=outcomes or [],
    )
