"""Trying a model end to end before it serves: answers, an explanation, drift."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from serve.models.answers import Answerer
from serve.models.loader import LoadError, Model, load_model
from serve.models.stability import LEAST, drift_of
from serve.settings import Settings
from stages.runtime.probe import agrees

SLOW = 0.002  # seconds; a longer explanation is computed in a thread, so that predictions need not wait for it


class Tried(NamedTuple):
    """A prediction as the drift index takes it."""

    model_hash: str
    input: str
    score: float
    time: datetime


def load_answerer(name: str, settings: Settings) -> Answerer:
    """What answers for a project with the model in `models/<name>`; LoadError where that cannot be loaded, or fails at
    anything that the server asks of it.
    """
    model = load_model(name, settings)
    try:
        return try_model(model)
    except LoadError:
        raise
    except Exception as error:  # whatever a library makes of values that do not fit together
        failure = f"{type(error).__name__}: {error}"
        raise LoadError(f"{name}: the model was tried and failed ({failure}): run `dvc repro explain@{name}`") from error


def try_model(model: Model) -> Answerer:
    """What answers with a model; LoadError unless the known row gets its score. That row, also without its optional fields,
    is answered and explained, and the drift of rows like it is computed.
    """
    required = {column.name for column in model.project.columns if column.required}
    known = model.probe["row"]
    rows = [
        model.codec.read_row(msgspec.json.encode(given))
        for given in (known, {name: value for name, value in known.items() if name in required})
    ]
    answerer = Answerer(model)
    answered, _ = answerer.score_all(rows, None)
    if not agrees(answered.score, model.probe["score"]):
        name, expected = model.project.name, model.probe["score"]
        raise LoadError(f"{name}: the model scores a known row {answered.score!r} instead of {expected!r}")
    answerer.explain(rows[1])
    start = time.perf_counter()
    answerer.explain(rows[0])
    answerer.explains_slowly = time.perf_counter() - start > SLOW
    drift_of(model, [Tried(model.hash, answered.row, answered.score, datetime.now(UTC))] * LEAST)
    return answerer
