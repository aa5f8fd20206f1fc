"""Requests and responses of the routes about logged predictions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from serve.log.prediction_log import Entry
from serve.log.prediction_log import Feedback as Recorded
from serve.models.errors import FieldError, wrong_fields
from serve.models.rows import MALFORMED, first_error, malformed
from stages.projects._base import Project


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


def read_feedback(body: bytes, project: Project) -> Feedback:
    """The feedback in a body; MalformedError or InvalidInputError, also for an outcome that the project cannot have."""
    try:
        given = msgspec.json.decode(body, type=Feedback)
    except msgspec.ValidationError as error:
        raise wrong_fields([first_error(error)]) from None
    except MALFORMED as error:
        raise malformed(error, body) from None
    if project.task == "classification" and given.outcome not in (0, 1):
        raise wrong_fields([FieldError("outcome", "Input should be 0 or 1")])
    return given


def logged_page(entries: Sequence[tuple[Entry, Sequence[Recorded]]], limit: int) -> Page:
    """Log entries with their outcomes, at most `limit`, as a page; a full one may have another behind it."""
    found = [logged(entry, outcomes) for entry, outcomes in entries]
    return Page(found, found[-1].prediction_id if len(found) == limit else None)


def logged(entry: Entry, outcomes: Sequence[Recorded]) -> Logged:
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
        outcomes=[Reported(float(item.outcome), item.time) for item in outcomes],
    )
