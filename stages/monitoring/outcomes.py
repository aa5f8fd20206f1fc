"""Tests of the model's errors on rows whose outcome is known, and its primary metric, measured or expected."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import f, ks_2samp, norm, rankdata, ttest_ind

from stages.evaluation.scores import score
from stages.modeling.metrics import bootstrap, interval
from stages.monitoring.reference import Live, tested_columns
from stages.monitoring.twosample import FEWEST, encode, excess
from stages.projects._base import Project
from stages.runtime.wording import count, significant

RESAMPLES = 200
MEASURED_ROWS = 10_000  # rows at most that an interval is resampled from
ROBUST = 2.0  # standard deviations, by the median, at which a residual is clipped
UNFAIR, APART = 1e-4, 0.1  # p-value and distance from which on rows with an outcome are others than those without
INDICATORS = 12  # a text of more values than this takes part in the pattern of the errors through the score alone


def residuals(project: Project, target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The model's errors on the scale it learned on, shape (rows,): differences of logs for a log target; for a classifier
    Pearson's.
    """
    if project.task == "classification":
        return np.asarray((target - scores) / np.sqrt(np.clip(scores * (1 - scores), 1e-6, None)))
    return np.asarray(np.log(target) - np.log(np.maximum(scores, 1e-9)) if project.log_target else target - scores)


def losses(project: Project, target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The loss of each row, shape (rows,): log-loss, or the absolute residual."""
    if project.task == "classification":
        return np.asarray(-np.log(np.clip(np.where(target == 1, scores, 1 - scores), 1e-15, None)))
    return np.abs(residuals(project, target, scores))


def loss_test(usual: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """Whether the loss grew. Takes the losses on unseen training rows, shape (rows,), and on the batch, shape (batch,).

    H0: the mean loss on the batch is not larger.
    Statistic: Welch's t (Biometrika 1947).
    p-value: one-sided.
    Size: the share by which the mean grew.
    """
    p = float(ttest_ind(now, usual, equal_var=False, alternative="greater").pvalue)
    size = float(now.mean() / usual.mean() - 1)
    return {"p": p, "size": size, "batch": float(now.mean()), "reference": float(usual.mean())}


def bias_test(usual: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """Whether the model errs to one side. Takes the residuals on unseen training rows, shape (rows,), and on the batch.

    H0: the mean residual is the same.
    Statistic: Welch's t (Biometrika 1947).
    p-value: two-sided.
    Size: the difference of the means in standard deviations of the residual, positive where the model predicts too low.
    """
    p = float(ttest_ind(now, usual, equal_var=False).pvalue)
    return {"p": p, "size": float((now.mean() - usual.mean()) / usual.std())}


def pattern_test(
    rows: np.ndarray, names: list[str], categorical: list[int], residuals: np.ndarray, inside: np.ndarray
) -> dict[str, Any]:
    """Whether the errors depend on the score or on a column as they did not, which a new model would learn. Takes the matrix
    of `twosample.encode`, shape (rows, columns), the residuals and the mask of the batch, shape (rows,).

    H0: the products of the residual with 1, with each column's rank, its missing values and its categories have the same
        means in both samples. For a model that fits they are near 0 whatever the rows are.
    Statistic: Hotelling's T² (Annals of Mathematical Statistics 1931), and, as that spreads its power over all directions,
        the largest z-value of one.
    p-value: the smaller of the two, both after Bonferroni.
    Size: the distance between the two vectors of means in standard deviations less what chance makes of it; `along` and `z`
        say where it is largest.
    """
    products, labels = _directions(rows, names, categorical)
    products = products * residuals[:, None]
    batch, reference = products[inside], products[~inside]
    difference = batch.mean(axis=0) - reference.mean(axis=0)
    spread = np.atleast_2d(np.cov(products.T))
    inverse = np.linalg.pinv(spread, rcond=1e-6, hermitian=True)
    freedom = round(float(np.trace(inverse @ spread)))
    statistic = len(batch) * len(reference) / len(products) * float(difference @ inverse @ difference)
    z = difference / np.sqrt(np.diag(spread) * (1 / len(batch) + 1 / len(reference)))
    worst = int(np.argmax(np.abs(z)))
    size = excess(statistic - freedom, len(reference), len(batch))
    together = f.sf(statistic / freedom, freedom, max(1, min(len(batch), len(reference)) - freedom))
    alone = 2 * len(z) * norm.sf(abs(z[worst]))
    return {"p": float(min(1, 2 * together, 2 * alone)), "size": size, "along": labels[worst], "z": float(z[worst])}


def compare_errors(live: Live, labelled: pd.DataFrame, scores: np.ndarray) -> dict[str, dict[str, Any]]:
    """The tests of the errors by kind of evidence, of `labelled` rows and their scores, shape (rows,). Residuals are clipped
    where they are unusual, so that a few absurd targets decide nothing.
    """
    project, target = live.project, live.project.target
    trained, observed = live.out_of_fold["target"].to_numpy(), labelled[target].to_numpy()
    trained_scores = live.out_of_fold["score"].to_numpy()
    everything = residuals(project, trained, trained_scores)
    usual = residuals(project, live.reference[target].to_numpy(), live.scores)
    now = residuals(project, observed, scores)
    limit = ROBUST * (1.4826 * np.median(np.abs(everything - np.median(everything))) if project.task == "regression" else 1)
    everything, usual, now = (np.clip(side, -limit, limit) for side in (everything, usual, now))
    sides = [
        tested_columns(project, frame) | {"the score": values}
        for frame, values in ((live.reference, live.scores), (labelled, scores))
    ]
    rows, categorical = encode(*sides)
    inside = np.arange(len(rows)) >= len(usual)
    return {
        "loss": loss_test(losses(project, trained, trained_scores), losses(project, observed, scores)),
        "bias": bias_test(everything, now),
        "pattern": pattern_test(rows, list(sides[0]), categorical, np.concatenate([usual, now]), inside),
    }


def unfair_sample(project: Project, frame: pd.DataFrame, scores: np.ndarray) -> str:
    """Why the known outcomes of these rows, with scores of shape (rows,), are no fair sample of all, in words; empty where
    nothing shows that. Of customers, say, those who leave are known before those who stay.
    """
    target, ended = frame[project.target], frame[project.target].notna().to_numpy()
    if project.task == "classification" and target.nunique() == 1:
        return f"{count(ended.sum(), 'known outcome')}, each of them {significant(target[ended].iloc[0])}"
    if ended.all() or min(ended.sum(), (~ended).sum()) < FEWEST:
        return ""
    found = ks_2samp(scores[ended], scores[~ended], method="asymp")
    if found.pvalue > UNFAIR or found.statistic < APART:
        return ""
    known, others = count(ended.sum(), "row"), count((~ended).sum())
    return f"the scores of the {known} whose outcome is known differ from those of the other {others}"


def measured_metric(
    project: Project, manifest: dict[str, Any], target: np.ndarray, scores: np.ndarray, seed: int
) -> dict[str, float]:
    """The primary metric of these predictions with its 95 % bootstrap interval, resampled from `MEASURED_ROWS` at most."""
    metric = project.primary_metric
    point = score(project, manifest, target, scores, np.ones((1, len(target))))[metric][0]
    picks = np.random.default_rng(seed).permutation(len(target))[:MEASURED_ROWS]
    scorer = partial(score, project, manifest, target[picks], scores[picks])
    centre, draws = bootstrap(scorer, len(picks), RESAMPLES, seed)
    low, high = (point + (edge - centre[metric]) * np.sqrt(len(picks) / len(target)) for edge in interval(draws[metric]))
    return {"value": float(point), "low": float(low), "high": float(high)}


def expected_metric(project: Project, manifest: dict[str, Any], scores: np.ndarray, seed: int) -> dict[str, float]:
    """The primary metric to expect of a classifier on rows without outcomes, with its 95 % interval: each row counts as
    positive with its probability and as negative with the rest. That is confidence-based performance estimation (NannyML's
    CBPE; Guillory et al., ICCV 2021, for accuracy). It is right as long as the probabilities are calibrated on the batch
    too, so it sees the effect of other rows on the metric, and never that outcomes changed for the same rows.
    """
    rng = np.random.default_rng(seed)
    picks = rng.permutation(len(scores))[:MEASURED_ROWS]
    values = scores[picks]
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES).astype(float)
    positive = rng.random(counts.shape) < values
    certain = np.concatenate([values, 1 - values])[None]
    weights = np.vstack([certain, np.hstack([counts * positive, counts * ~positive])])
    target = np.repeat([1, 0], len(values))
    found = score(project, manifest, target, np.tile(values, 2), weights)[project.primary_metric]
    low, high = interval(found[1:])
    return {"value": float(found[0]), "low": low, "high": high}


def _directions(rows: np.ndarray, names: list[str], categorical: list[int]) -> tuple[np.ndarray, list[str]]:
    """What errors may depend on, standardised, shape (rows, directions), and the column that each is made of."""
    directions, labels = [np.ones(len(rows))], [""]
    for number, name in enumerate(names):
        values = rows[:, number]
        if number in categorical:
            codes, counts = np.unique(values, return_counts=True)
            parts = [values == code for code in codes[np.argsort(-counts)][1:]] if len(codes) <= INDICATORS else []
        else:
            missing = np.isnan(values)
            ranks = np.zeros(len(values))
            ranks[~missing] = rankdata(values[~missing])
            parts = [np.where(missing, 0.0, ranks - ranks[~missing].mean() if (~missing).any() else 0.0), missing]
        for part in parts:
            if np.count_nonzero(part) > len(rows) / 50 and np.std(part):
                directions.append((part - np.mean(part)) / np.std(part))
                labels.append(name)
    return np.column_stack(directions), labels
