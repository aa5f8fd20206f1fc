"""Metrics of a model on labelled rows, each with its bootstrap distribution.

Every metric takes a matrix of row weights, shape (resamples, rows): ones give the metric itself, the counts of a bootstrap
draw give one resample, so that a thousand resamples are a few matrix products and cannot differ from the point estimate in
how they are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from stages.runtime.metric_names import HIGHER_IS_BETTER

Scores = dict[str, np.ndarray]

# Those that need neither threshold nor interval, so that candidates can be compared by them.
FOLD_METRICS = {
    "classification": ("roc_auc", "pr_auc", "brier", "log_loss"),
    "regression": ("rmse", "mae", "median_ape", "r2"),
}
ECE_BINS = 10
CHUNK = 2_000_000  # weights held at once


def classification_metrics(target: np.ndarray, probability: np.ndarray, threshold: float, weights: np.ndarray) -> Scores:
    """Scores per resample for labels 0/1 and probabilities of 1, both of shape (rows,); those of a threshold also at 0.5,
    marked `_at_half`.
    """
    total = weights.sum(axis=1)
    positives = weights @ target
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    log_loss = -np.where(target == 1, np.log(clipped), np.log1p(-clipped))
    found, flagged = _top_share(target, probability, weights, 0.1)
    scores = {
        "roc_auc": roc_auc(target, probability, weights),
        "pr_auc": average_precision(target, probability, weights),
        "brier": weights @ (probability - target) ** 2 / total,
        "log_loss": weights @ log_loss / total,
        "ece": calibration_error(target, probability, weights),
        "precision_top10": _ratio(found, flagged),
        "lift_top10": _ratio(_ratio(found, flagged), positives / total),
    }
    scores |= _threshold_metrics(target, probability >= threshold, weights)
    at_half = _threshold_metrics(target, probability >= 0.5, weights)
    return scores | {f"{name}_at_half": values for name, values in at_half.items()}


def regression_metrics(
    target: np.ndarray, prediction: np.ndarray, lower: np.ndarray, upper: np.ndarray, weights: np.ndarray
) -> Scores:
    """Scores per resample for values, predictions and interval bounds of shape (rows,) in the unit of the target;
    percentages as shares. Percentage errors leave out rows whose target is 0.
    """
    total = weights.sum(axis=1)
    error = np.abs(prediction - target)
    nonzero = target != 0
    share = error[nonzero] / np.abs(target[nonzero])
    squared = weights @ error**2
    mean = weights @ target / total
    spread = weights @ target**2 - total * mean**2
    symmetric = 2 * error / np.maximum(np.abs(target) + np.abs(prediction), np.finfo(float).tiny)
    return {
        "rmse": np.sqrt(squared / total),
        "mae": weights @ error / total,
        "median_ape": _median(share, weights[:, nonzero]),
        "mape": _ratio(weights[:, nonzero] @ share, weights[:, nonzero].sum(axis=1)),
        "smape": weights @ symmetric / total,
        "r2": 1 - _ratio(squared, spread),
        "interval_coverage": weights @ ((lower <= target) & (target <= upper)).astype(float) / total,
        "interval_width": weights @ (upper - lower) / total,
    }


def fold_scores(
    target: np.ndarray, predictions: np.ndarray, task: Literal["classification", "regression"]
) -> dict[str, float]:
    """The metrics that compare candidates, on the rows of one fold."""
    ones = np.ones((1, len(target)))
    if task == "classification":
        scores = classification_metrics(target, predictions, 0.5, ones)
    else:
        scores = regression_metrics(target, predictions, predictions, predictions, ones)
    return {name: float(scores[name][0]) for name in FOLD_METRICS[task]}


def bootstrap(
    metrics: Callable[[np.ndarray], Scores], rows: int, resamples: int, seed: int
) -> tuple[dict[str, float], Scores]:
    """The metrics of all rows, and their values over `resamples` draws of the rows with replacement."""
    point = {name: float(values[0]) for name, values in metrics(np.ones((1, rows))).items()}
    parts = [metrics(weights) for weights in _draws(rows, resamples, seed)]
    return point, {name: np.concatenate([part[name] for part in parts]) for name in point}


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of a bootstrap distribution (Efron and Tibshirani, 1993, chapter 13)."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def paired_p_value(metric: str, model: np.ndarray, other: np.ndarray) -> float:
    """One-sided: the share of resamples, drawn alike for both, in which the model is no better than the other."""
    gain = model - other if metric in HIGHER_IS_BETTER else other - model
    return float((1 + np.sum(gain <= 0)) / (1 + len(gain)))


def roc_auc(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve per resample: the weighted Mann-Whitney statistic, ties counted half."""
    positives, negatives = _by_score(target, score, weights)
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=1)
    return _ratio(wins, positives.sum(axis=1) * negatives.sum(axis=1))


def average_precision(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision per resample, the step-wise area under the precision-recall curve."""
    positives, negatives = (counts[:, ::-1] for counts in _by_score(target, score, weights))
    found = np.cumsum(positives, axis=1)
    precision = _ratio(found, found + np.cumsum(negatives, axis=1))
    return _ratio((positives * np.nan_to_num(precision)).sum(axis=1), found[:, -1])


def calibration_error(target: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error over ten bins of equal width (Naeini, Cooper and Hauskrecht, AAAI 2015)."""
    bins = np.eye(ECE_BINS)[calibration_bins(probability)]
    difference = weights @ (bins * (probability - target)[:, None])
    return np.abs(difference).sum(axis=1) / weights.sum(axis=1)


def calibration_bins(probability: np.ndarray) -> np.ndarray:
    """The bin, 0 to 9, of each probability."""
    return np.minimum((probability * ECE_BINS).astype(int), ECE_BINS - 1)


def _threshold_metrics(target: np.ndarray, flagged: np.ndarray, weights: np.ndarray) -> Scores:
    tp = weights @ (flagged & (target == 1)).astype(float)
    fp = weights @ (flagged & (target == 0)).astype(float)
    fn = weights @ (~flagged & (target == 1)).astype(float)
    tn = weights @ (~flagged & (target == 0)).astype(float)
    return {
        "accuracy": (tp + tn) / (tp + fp + fn + tn),
        "f1": np.nan_to_num(_ratio(2 * tp, 2 * tp + fp + fn)),
        "precision": np.nan_to_num(_ratio(tp, tp + fp)),
        "recall": _ratio(tp, tp + fn),
        "mcc": np.nan_to_num(_ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))),
    }


def _by_score(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of negatives at each distinct score, ascending; shapes (resamples, scores)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    ordered, labels = weights[:, order], target[order]
    return np.add.reduceat(ordered * labels, starts, axis=1), np.add.reduceat(ordered * (1 - labels), starts, axis=1)


def _top_share(target: np.ndarray, score: np.ndarray, weights: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-score, kind="stable")
    ordered = weights[:, order]
    room = share * ordered.sum(axis=1, keepdims=True) - (np.cumsum(ordered, axis=1) - ordered)
    taken = np.clip(room, 0, ordered)
    return taken @ target[order], taken.sum(axis=1)


def _median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if not len(values):
        return np.full(len(weights), np.nan)
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[:, order], axis=1)
    half = below[:, -1:] / 2
    low = np.argmax(below >= half, axis=1)
    high = np.argmax(below > half, axis=1)
    return (values[order][low] + values[order][high]) / 2


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Division that gives NaN for 0 / 0, where the metric has no value."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole != 0)


def _draws(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // rows)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        picks = rng.integers(rows, size=(count, rows)) + rows * np.arange(count)[:, None]
        yield np.bincount(picks.ravel(), minlength=count * rows).reshape(count, rows).astype(float)
