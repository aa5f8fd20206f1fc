"""Tests of all columns together: can the batch be told from the reference, and do its numbers still depend on each other?

Both take the matrix of `twosample.encode`, shape (rows, columns), and the mask `inside` of the batch's rows, shape (rows,).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm, rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from stages.monitoring.twosample import FEWEST, delong, score_test

FOLDS = 3
SWEEPS = 3
RARE = 0.01  # share of the largest and of the smallest scores that are clipped, as one odd row in a small batch is no change
TREES: dict[str, Any] = {"max_iter": 30, "max_leaf_nodes": 8, "min_samples_leaf": 30, "learning_rate": 0.15}


def classifier_test(rows: np.ndarray, categorical: list[int], inside: np.ndarray, seed: int) -> dict[str, float]:
    """Whether boosted trees can tell the batch from the reference on rows they did not see (classifier two-sample test;
    Lopez-Paz and Oquab, ICLR 2017). Columns with fewer than `FEWEST` values are left out, as a fold may have none of them.
    In one thread, as the work is too small to share.

    H0: both samples come from one distribution, so that no classifier beats guessing.
    Statistic: the area under the ROC curve of out-of-fold scores.
    p-value: one-sided, by DeLong's variance, raised because the folds share training rows: a correlation of 1 / folds (after
        Nadeau and Bengio, Machine Learning 2003); without drift it was 0.4 on simulated rows, and ignoring it made one
        p-value in ten fall below 0.05.
    Size: the statistic with its 95 % interval, `low` to `high`.
    """
    kept = np.flatnonzero((~np.isnan(rows)).sum(axis=0) >= FEWEST)
    rows, categorical = rows[:, kept], np.flatnonzero(np.isin(kept, categorical)).tolist()
    model = HistGradientBoostingClassifier(
        **TREES, categorical_features=categorical, early_stopping=False, random_state=seed
    )
    guesses = np.empty(len(rows))
    with threadpool_limits(1):
        for fit, check in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rows, inside):
            guesses[check] = model.fit(rows[fit], inside[fit]).predict_proba(rows[check])[:, 1]
    auc, deviation = delong(guesses[inside], guesses[~inside])
    deviation *= np.sqrt(2 - 1 / FOLDS)
    p = float(norm.sf((auc - 0.5) / deviation))
    return {"auc": auc, "low": auc - 1.96 * deviation, "high": auc + 1.96 * deviation, "p": p}


def dependence_test(rows: np.ndarray, names: list[str], categorical: list[int], inside: np.ndarray) -> dict[str, Any]:
    """Whether a number varies differently, given the other numbers. The score of a row is z (C^-1 z) of the column, z being
    the normal scores of the columns and C their correlation over both samples. For a column that depends on no other it is
    Klotz's test of the spread (Annals of Mathematical Statistics 1962), and the closer a column follows others, the smaller
    the change that it sees.

    H0: each number has the same distribution given the others, under a Gaussian copula.
    Statistic: for each column the sum of the batch's scores, Rao's score for a factor on the column (Rao, 1948).
    p-value: two-sided, the smallest of all columns after Bonferroni.
    Size: difference between the mean scores of that `column` in standard deviations.
    """
    known = ~np.isnan(rows)
    enough = (known[inside].sum(axis=0) >= FEWEST) & (known[~inside].sum(axis=0) >= FEWEST)
    chosen = [n for n in np.flatnonzero(enough) if n not in categorical and np.ptp(rows[known[:, n], n])]
    if not chosen:
        return {"p": 1.0, "size": 0.0, "column": None}
    z = np.column_stack([_normal_scores(rows[:, number]) for number in chosen])
    known = known[:, chosen]
    precision = _precision(z)
    for _ in range(SWEEPS):  # a missing value gets what the row's other columns predict, which leaves their scores alone
        for number in np.flatnonzero(~known.all(axis=0)):
            missing = ~known[:, number]
            z[missing, number] -= z[missing] @ precision[:, number] / precision[number, number]
        precision = _precision(z)
    tested = [(score[kept], inside[kept]) for score, kept in zip((z * (z @ precision)).T, known.T, strict=True)]
    tested = [(np.clip(score, *np.quantile(score, [RARE, 1 - RARE])), batch) for score, batch in tested]
    found = [score_test(*pair) for pair in tested]
    first = int(np.argmin(found))
    score, batch = tested[first]
    size = float((score[batch].mean() - score[~batch].mean()) / (score.std() or 1.0))
    return {"p": min(1.0, len(found) * found[first]), "size": size, "column": names[chosen[first]]}


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """The quantiles of a standard normal distribution of the ranks; 0 for a missing value."""
    known, scores = ~np.isnan(values), np.zeros(len(values))
    scores[known] = ndtri(rankdata(values[known]) / (known.sum() + 1))
    scores[known] = (scores[known] - scores[known].mean()) / scores[known].std()
    return scores


def _precision(z: np.ndarray) -> np.ndarray:
    """The inverse of the correlations, or of what is regular in them."""
    return np.asarray(np.linalg.pinv(z.T @ z / len(z), rcond=1e-4, hermitian=True))
