"""From scores to answers, and from answers to log entries."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from serve.api.problems import FieldError, ProblemError
from serve.log.prediction_log import Entry, new_id
from serve.models.fallback import MicroBatcher
from serve.models.loader import Model
from serve.models.rows import Row
from stages.runtime.reasons import reasons

encode = msgspec.json.Encoder().encode

RISK_LEVELS = ((0.3, "low"), (0.7, "medium"), (np.inf, "high"))


class ModelRef(msgspec.Struct):
    """The model that made a prediction: registered version, Git revision, and hash of its artifacts."""

    version: str | None
    revision: str
    hash: str


class Interval(msgspec.Struct):
    """A range meant to hold the true value with probability `coverage`, in the unit of the prediction."""

    lower: float
    upper: float
    coverage: float


class Classified(msgspec.Struct):
    """The answer of a classifier: `prediction` is 1 from the threshold on, `confidence` the probability of the answer."""

    prediction_id: str
    timestamp: datetime
    prediction: Literal[0, 1]
    label: str
    probability: float
    threshold: float
    risk_level: Literal["low", "medium", "high"]
    confidence: float
    model: ModelRef


class Valued(msgspec.Struct):
    """The answer of a regressor."""

    prediction_id: str
    timestamp: datetime
    prediction: float
    unit: str
    interval: Interval
    model: ModelRef


class Contribution(msgspec.Struct):
    """What one field of the row does to the output; `percent` on the scale of logarithms, as a change of the value."""

    field: str
    title: str
    value: Any
    contribution: float
    percent: float | None


class Explained(msgspec.Struct):
    """`base` and the contributions add up to `output`, on `scale`: log-odds, probability, logarithm of the value, or value.

    `exact` is false for SHAP values estimated by sampling; they add up all the same.
    """

    prediction: float
    unit: str
    scale: Literal["log_odds", "probability", "log", "value"]
    base: float
    output: float
    contributions: list[Contribution]
    reasons: list[str]
    exact: bool
    model: ModelRef


class TooExtremeError(ProblemError):
    """The answer to a row, by its number, whose prediction is infinite or not a number."""

    def __init__(self, row: int) -> None:
        detail = f"The prediction of row {row} is no finite number: its values are too extreme."
        super().__init__(422, detail, [FieldError("", "The values are too extreme together", row=row)])
        self.row = row


class Answered(NamedTuple):
    """An answer, its JSON, and what the log keeps of it."""

    answer: Classified | Valued
    body: bytes
    entry: Entry


def risk_level(probability: float) -> Any:
    """low < 0.3 <= medium < 0.7 <= high."""
    return next(level for limit, level in RISK_LEVELS if probability < limit)


class Answerer:
    """Makes the answers of one model; what does not change from row to row is worked out once.

    `batcher` gathers the rows of several requests for a model that only its pipeline can score.
    """

    def __init__(self, model: Model, batcher: MicroBatcher | None = None) -> None:
        self.model = model
        self.batcher = batcher
        self._classifies = model.project.task == "classification"
        self.ref = ModelRef(model.version, model.revision, model.hash)
        interval = model.manifest.get("interval")
        self._radius: float = interval["radius"] if interval else 0.0
        self._coverage: float = interval["coverage"] if interval else 0.0
        self._log = interval is not None and interval["scale"] == "log"

    def score_all(self, rows: list[Row], threshold: float | None, request_id: str, start: int) -> list[Answered]:
        """Answers to rows, scored here and now; `start` is the request's beginning on `time.perf_counter_ns`."""
        scores = self.model.scorer.score(self.model.codec.columns(rows))
        return self.answer_all(rows, scores, threshold, request_id, start)

    def answer_all(
        self, rows: list[Row], scores: np.ndarray, threshold: float | None, request_id: str, start: int
    ) -> list[Answered]:
        """Answers to rows with these scores, each with a new id and what the log keeps of it."""
        now = datetime.now(UTC)
        latency_us = (time.perf_counter_ns() - start) // 1000
        answers = []
        for number, (row, score) in enumerate(zip(rows, scores.tolist(), strict=True)):
            if not isfinite(score):
                raise TooExtremeError(number)
            answer = self._classified(score, threshold, now) if self._classifies else self._valued(score, now)
            body = encode(answer)
            entry = Entry(
                id=answer.prediction_id,
                time=now,
                project=self.model.project.name,
                model_hash=self.ref.hash,
                revision=self.ref.revision,
                version=self.ref.version or "",
                input=encode(row).decode(),
                output=body.decode(),
                score=score,
                label=answer.label if isinstance(answer, Classified) else None,
                latency_us=latency_us,
                request_id=request_id,
            )
            answers.append(Answered(answer, body, entry))
        return answers

    def explain(self, row: Row) -> bytes:
        """Why the row is answered as it is, as JSON; ProblemError 501 for a model that has no explanation."""
        if self.model.explainer is None:
            raise ProblemError(501, f"This model cannot be explained here: {self.model.scorer.kind}.")
        try:
            found = self.model.explainer.explain(self.model.codec.columns([row]))
        except ArithmeticError as error:
            raise ProblemError(422, f"This row cannot be explained: {error}.") from None
        if not np.isfinite(found.prediction):
            raise TooExtremeError(0)
        given = msgspec.structs.asdict(row)
        titles = {column.name: column.title for column in self.model.project.columns}
        ranked = sorted(found.contributions.items(), key=lambda pair: -abs(pair[1]))
        explained = Explained(
            prediction=found.prediction,
            unit=self.model.project.unit,
            scale=found.scale,
            base=found.base,
            output=found.output,
            contributions=[
                Contribution(
                    field=name,
                    title=titles.get(name, name.replace("_", " ")),
                    value=given.get(name, found.derived.get(name)),
                    contribution=value,
                    percent=found.effects[name] if found.effects else None,
                )
                for name, value in ranked
            ],
            reasons=reasons(found, given, self.model.project),
            exact=found.method != "sampled",
            model=self.ref,
        )
        return encode(explained)

    def _classified(self, score: float, threshold: float | None, now: datetime) -> Classified:
        limit = self.model.threshold if threshold is None else threshold
        prediction: Literal[0, 1] = 1 if score >= limit else 0
        return Classified(
            prediction_id=new_id(),
            timestamp=now,
            prediction=prediction,
            label=self.model.project.labels.get(prediction, str(prediction)),
            probability=score,
            threshold=limit,
            risk_level=risk_level(score),
            confidence=score if prediction else 1 - score,
            model=self.ref,
        )

    def _valued(self, score: float, now: datetime) -> Valued:
        return Valued(new_id(), now, score, self.model.project.unit, self._interval(score), self.ref)

    def _interval(self, score: float) -> Interval:
        if self._log:
            factor = float(np.exp(self._radius))
            return Interval(score / factor, score * factor, self._coverage)
        return Interval(score - self._radius, score + self._radius, self._coverage)
