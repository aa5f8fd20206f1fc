"""From scores to answers and explanations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from serve.ids import new_id
from serve.models.errors import InvalidInputError, TooExtremeError
from serve.models.loader import Model
from serve.models.rows import Row
from stages.projects._base import Columns, Project
from stages.runtime.intervals import interval_bounds
from stages.runtime.reasons import reasons
from stages.runtime.unseen import Unseen

encode = msgspec.json.Encoder().encode

RISK_BOUNDS = (0.3, 0.7)  # low below the first, high from the second on


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
    """The answer of a classifier: `prediction` is 1 from the threshold on, `confidence` the probability of the answer,
    `warnings` name values that training had not met.
    """

    prediction_id: str
    timestamp: datetime
    prediction: Literal[0, 1]
    label: str
    probability: float
    threshold: float
    confidence: float
    warnings: list[str]
    model: ModelRef


class Rated(Classified):
    """The answer of a classifier whose positive class is a risk; see `risk_level`."""

    risk_level: Literal["low", "medium", "high"]


class Valued(msgspec.Struct):
    """The answer of a regressor; `warnings` name values that training had not met, and an advert that was in training."""

    prediction_id: str
    timestamp: datetime
    prediction: float
    unit: str
    interval: Interval
    warnings: list[str]
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


class Answered(NamedTuple):
    """An answer and its JSON, the row as JSON, and its score."""

    answer: Classified | Valued
    body: bytes
    row: str
    score: float


def answer_type(project: Project) -> type[Classified | Valued]:
    """What the answers of a project are."""
    if project.task == "regression":
        return Valued
    return Rated if project.is_risk else Classified


def risk_level(probability: float, threshold: float) -> Literal["low", "medium", "high"]:
    """low < 0.3 <= medium < 0.7 <= high, where a threshold outside of these bounds takes the place of the nearer one: so a
    positive answer is never low, and a negative one never high.
    """
    low, high = RISK_BOUNDS
    if probability < min(low, threshold):
        return "low"
    return "medium" if probability < max(high, threshold) else "high"


class Answerer:
    """Makes the answers of one model; what does not change from row to row is computed once."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.explains_slowly = False
        self._type = answer_type(model.project)
        self.ref = ModelRef(model.version, model.revision, model.hash)
        self._unseen = Unseen(model.project.columns, model.population)

    def score_all(self, rows: list[Row], threshold: float | None) -> list[Answered]:
        """Answers to rows, each with a new id; TooExtremeError for a score that is no finite number."""
        columns = self.model.codec.columns(rows)
        scores = self.model.scorer.score(columns)
        if not (finite := np.isfinite(scores)).all():
            raise TooExtremeError(int(np.argmin(finite)))
        now, warnings = datetime.now(UTC), self._warnings(columns)
        if self._type is not Valued:
            made = zip(scores.tolist(), warnings, strict=True)
            answers: list[Any] = [self._classified(score, threshold, unseen, now) for score, unseen in made]
        else:
            answers = self._valued(scores, warnings, now)
        return [
            Answered(answer, encode(answer), encode(row).decode(), score)
            for answer, row, score in zip(answers, rows, scores.tolist(), strict=True)
        ]

    def explain(self, row: Row) -> bytes:
        """Why the row is answered as it is, as JSON; InvalidInputError for a row that has no explanation."""
        try:
            found = self.model.explainer.explain(self.model.codec.columns([row]))
        except ArithmeticError as error:
            raise InvalidInputError(f"This row cannot be explained: {error}.") from None
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

    def _warnings(self, columns: Columns) -> list[list[str]]:
        warnings = self._unseen.warnings(columns)
        if self.model.trained is not None:
            for texts, more in zip(warnings, self.model.trained.warnings(columns), strict=True):
                texts += more
        return warnings

    def _classified(self, score: float, threshold: float | None, warnings: list[str], now: datetime) -> Classified:
        limit = self.model.threshold if threshold is None else threshold
        prediction: Literal[0, 1] = 1 if score >= limit else 0
        common: dict[str, Any] = {
            "prediction_id": new_id(),
            "timestamp": now,
            "prediction": prediction,
            "label": self.model.project.labels.get(prediction, str(prediction)),
            "probability": score,
            "threshold": limit,
            "confidence": score if prediction else 1 - score,
            "warnings": warnings,
            "model": self.ref,
        }
        return Rated(**common, risk_level=risk_level(score, limit)) if self._type is Rated else Classified(**common)

    def _valued(self, scores: np.ndarray, warnings: list[list[str]], now: datetime) -> list[Valued]:
        interval, unit = self.model.manifest["interval"], self.model.project.unit
        lower, upper = interval_bounds(scores, interval["radius"], interval["scale"])
        return [
            Valued(new_id(), now, score, unit, Interval(low, high, interval["coverage"]), unseen, self.ref)
            for score, low, high, unseen in zip(scores.tolist(), lower.tolist(), upper.tolist(), warnings, strict=True)
        ]
