"""What turns a score into a decision: the threshold of a classifier, the interval of a regressor."""

from __future__ import annotations

import numpy as np
from mapie.regression import SplitConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin

from stages.core.cli import UserError
from stages.modeling.settings import Threshold

SIGMAS = 1.96  # standard deviations on either side that hold 95 % of a normal distribution


def choose_threshold(target: np.ndarray, probability: np.ndarray, choice: Threshold) -> float:
    """The probability from which on a row counts as positive, best for the goal on these rows. It is halfway between two
    probabilities that occur, so that rounding decides nothing. Where no threshold reaches the precision asked for, the one
    of the highest precision.

    Cost is all but the same over a wide range of thresholds, where chance picks the least. Only one that is better beyond
    chance takes the place of 1 / (1 + `cost_ratio`), which is best for calibrated probabilities (Elkan, IJCAI 2001).
    """
    order = np.argsort(-probability, kind="stable")
    ranked, labels = probability[order], target[order]
    last = np.flatnonzero(np.diff(ranked, append=-np.inf))  # equal probabilities are flagged together
    tp = np.cumsum(labels)[last]
    flagged = last + 1
    precision, recall = tp / flagged, tp / tp[-1]
    if choice.goal == "f1":
        value = 2 * tp / (flagged + tp[-1])
    elif choice.goal == "cost":
        value = -(choice.cost_ratio * (tp[-1] - tp) + (flagged - tp))
    else:
        reached = precision >= choice.precision
        value = np.where(reached, recall, -1) if reached.any() else precision
    best = int(np.argmax(value))
    if choice.goal == "cost":
        usual = max(int(np.sum(ranked[last] >= 1 / (1 + choice.cost_ratio))) - 1, 0)
        gain, (low, high) = value[best] - value[usual], sorted((flagged[best], flagged[usual]))
        saved = np.where(labels[low:high] == 1, choice.cost_ratio, 1)  # by rows that the two decide otherwise, or lost
        if gain <= SIGMAS * np.sqrt((saved**2).sum() - gain**2 / len(labels)):
            best = usual
    following = ranked[last[best] + 1] if last[best] + 1 < len(ranked) else 0.0
    return float((ranked[last[best]] + following) / 2)


def conformal_radius(target: np.ndarray, predictions: np.ndarray, coverage: float, *, log: bool) -> float:
    """Half the width of the split-conformal interval around a prediction (Lei et al., JASA 2018), on the log scale if `log`.

    `predictions` are out-of-fold, so no row is held back from the model for calibration. They come from models that saw
    fewer rows than the one that serves, which makes the interval a little wide rather than narrow; `evaluate` measures
    its coverage on the test rows.
    """
    if log:
        target, predictions = np.log(target), np.log(predictions)
    needed = int(np.ceil(1 / (1 - coverage)))
    if len(target) < needed:
        raise UserError(
            f"{len(target)} training rows are too few for intervals at train.coverage = {coverage}; {needed} are needed"
        )
    conformal = SplitConformalRegressor(_Given(), confidence_level=coverage, prefit=True)
    conformal.conformalize(predictions[:, None], target)
    return float(conformal.predict_interval(np.zeros((1, 1)))[1][0, 1, 0])


class _Given(RegressorMixin, BaseEstimator):
    """Predicts what it is given: MAPIE takes an estimator, and the predictions are there already."""

    is_fitted = True  # by this name MAPIE knows it

    def fit(self, X: np.ndarray, y: np.ndarray) -> _Given:  # noqa: N803
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        return X[:, 0]
