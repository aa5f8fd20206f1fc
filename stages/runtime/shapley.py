"""Why a prediction came out as it did: Shapley values per field of the row, from exported data alone.

Needs NumPy and a scorer; `stages.exporting.explainer` makes the tables from the fitted estimator.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.projects._base import Columns, Project
from stages.runtime.treeshap import Trees

if TYPE_CHECKING:
    from stages.runtime.scorer import Scorer

Scale = Literal["log_odds", "probability", "log", "value"]

ADDITIVITY = 1e-6  # relative to the prediction where that is above 1
SCORED = 192  # rows that a sampled explanation may score: what is left of 1/300 s on one core for the slowest model here
ENUMERATED = 5  # fields up to which all coalitions are scored: 2^5 cost no more than sampling orders of the fields does


@dataclass(frozen=True)
class Explanation:
    """`base` plus the contributions is `output`, on the `scale` on which the model adds up: log-odds, probability, logarithm
    of the value, or the value. `prediction` is what the model answers: a probability or a value.

    `calibrated` is false where `output` comes before an isotonic calibration, after which nothing adds up. `effects` are, on
    the log scale, the contributions as changes of the value in per cent. `derived` are the values of the features that
    count for no field of the row.
    """

    method: Literal["tree", "linear", "sampled"]
    scale: Scale
    calibrated: bool
    base: float
    contributions: dict[str, float]
    output: float
    prediction: float
    effects: dict[str, float] | None = None
    derived: dict[str, Any] = field(default_factory=dict)


class Explainer:
    """Explains one row at a time. Everything is prepared here, so that the first row costs what every other does.

    Encoded columns count for the field that their feature speaks for (`owner`).
    """

    def __init__(self, project: Project, scorer: Scorer, table: Mapping[str, np.ndarray]) -> None:
        self.project, self.scorer = project, scorer
        self.model = str(table["model"]) if "model" in table else None  # as `Scorer.model`
        self.method: Any = str(table["method"])
        self.scale: Any = str(table["scale"])
        self._slope, self._intercept = float(table["slope"]), float(table["intercept"])
        self._steps = (table["steps_x"], table["steps_y"]) if "steps_x" in table else None
        owners = [owner(feature, project) for feature in scorer.encoder.sources]
        self.names = list(dict.fromkeys(owners))
        self._groups = np.array([self.names.index(name) for name in owners])
        self._derived = [name for name in self.names if name not in project.row.model_fields]
        self._method: Trees | Linear | Sampling
        if self.method == "tree":
            self._method = Trees(table, len(owners))
        elif self.method == "linear":
            self._method = Linear(table)
        else:
            self._method = Sampling(self._score, table["background"], self._groups)
            self._groups = np.arange(len(self.names))

    @classmethod
    def load(cls, project: Project, scorer: Scorer, source: Path | bytes) -> Explainer:
        """From `explainer.npz` or its bytes."""
        data = source if isinstance(source, bytes) else source.read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as table:
            return cls(project, scorer, dict(table))

    def explain(self, columns: Columns) -> Explanation:
        """The explanation of one row, given as raw columns of length 1. ArithmeticError unless it adds up."""
        features = self.project.features(columns)
        encoded = self.scorer.encoder(features, 1)
        prediction = float(self.scorer.score_encoded(encoded)[0])
        values = np.bincount(self._groups, self._method(encoded[0]), len(self.names)) * self._slope
        base = self._method.base * self._slope + self._intercept
        output = base + float(values.sum())
        self._check(output, prediction)
        contributions = dict(zip(self.names, values.tolist(), strict=True))
        effects = {name: percent(value) for name, value in contributions.items()} if self.scale == "log" else None
        return Explanation(
            method=self.method,
            scale=self.scale,
            calibrated=self._steps is None,
            base=base,
            contributions=contributions,
            output=output,
            prediction=prediction,
            effects=effects,
            derived={name: features[name].tolist()[0] for name in self._derived},
        )

    def _score(self, matrix: np.ndarray) -> np.ndarray:
        scores = self.scorer.score_encoded(matrix)
        return np.log(scores) if self.scale == "log" else scores

    def _check(self, output: float, prediction: float) -> None:
        expected, found = prediction, output
        if self._steps is not None:
            found = float(np.interp(output, *self._steps))
        elif self.scale == "log_odds":
            found = 0.5 + 0.5 * math.tanh(output / 2)
        elif self.scale == "log":
            expected = math.log(prediction) if prediction > 0 else -math.inf
        if not abs(found - expected) <= ADDITIVITY * max(1.0, abs(expected)):
            raise ArithmeticError(f"{self.project.name}: the explanation adds up to {found:.9g} instead of {expected:.9g}")


def owner(feature: str, project: Project) -> str:
    """The field that a feature counts for: the one the project names in `derived_from`, or the one of its name. A feature
    that has neither keeps its name: nothing but its author tells which field it speaks for.
    """
    return project.derived_from.get(feature, feature)


def percent(difference: float) -> float:
    """A difference of logarithms as a change in per cent."""
    return 100 * math.expm1(min(difference, 700.0))


class Linear:
    """Coefficient times distance from the training rows' mean: the SHAP values of a linear function whose columns are taken
    to be independent (Lundberg and Lee, A unified approach to interpreting model predictions, 2017, corollary 1).
    """

    def __init__(self, table: Mapping[str, np.ndarray]) -> None:
        self._coefficients, self._means = table["coefficients"], table["means"]
        self.base = float(table["offset"] + self._coefficients @ self._means)

    def __call__(self, row: np.ndarray) -> np.ndarray:
        """Contributions per column."""
        return self._coefficients * (row - self._means)


class Sampling:
    """Shapley values of any scoring function, with rows of the training data standing in for what is not known.

    Orders of the fields are drawn at random, each followed by its reverse, and each pair compares with a background row of
    its own (Castro et al., Polynomial calculation of the Shapley value based on sampling, 2009; Štrumbelj and Kononenko,
    2014; Mitchell et al., Sampling permutations for Shapley value estimation, 2022). Sums are exact, and so are values where
    no more than two fields interact, as either comes first in half of the orders. The orders are fixed: the same row always
    gets the same answer. Up to `ENUMERATED` fields all coalitions are scored instead.
    """

    def __init__(self, score: Any, background: np.ndarray, groups: np.ndarray) -> None:
        self._score, self._background = score, background
        self._fields = int(groups.max()) + 1
        self._ends = score(background)
        self.base = float(self._ends.mean())
        if self._fields <= ENUMERATED:
            known = np.array([[bool(number >> one & 1) for one in range(self._fields)] for number in range(2**self._fields)])
            sizes = known.sum(axis=1)
            weights = [1 / (self._fields * math.comb(self._fields - 1, size)) for size in range(self._fields)]
            self._weights = np.where(known, np.take(weights, sizes[:, None] - 1), -np.take([*weights, 0.0], sizes[:, None]))
            self._known = np.broadcast_to(known[:, groups], (len(background), len(known), len(groups)))
            return
        rng = np.random.default_rng(0)
        drawn = [rng.permutation(self._fields) for _ in background]
        self._orders = np.array([[order, order[::-1]] for order in drawn])
        ranks = np.argsort(self._orders, axis=-1)
        reached = ranks[:, :, None] <= np.arange(self._fields - 1)[:, None]
        self._known = reached[..., groups].reshape(len(background), -1, len(groups))

    def __call__(self, row: np.ndarray) -> np.ndarray:
        """Contributions per field."""
        rows = np.where(self._known, row, self._background[:, None])
        scores = self._score(rows.reshape(-1, rows.shape[-1])).reshape(len(rows), -1)
        if self._fields <= ENUMERATED:
            return scores.mean(axis=0) @ self._weights
        pairs = len(rows)
        chain = np.empty((pairs, 2, self._fields + 1))
        chain[:, :, 0] = self._ends[:, None]
        chain[:, :, 1:-1] = scores.reshape(pairs, 2, -1)
        chain[:, :, -1] = self._score(row[None])[0]
        return np.bincount(self._orders.ravel(), np.diff(chain).ravel(), self._fields) / (2 * pairs)
