"""Two-sample tests: does a batch come from where the reference came from? Arrays in, p-values and sizes out.

A p-value tells whether there is a difference, its size whether it matters. With rows enough every p-value is small, so no
verdict rests on one alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import chi2_contingency, f, ks_2samp, norm, rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from stages.projects._base import MISSING, Columns

FEW = 10  # expected rows below which categories are pooled: with fewer, small p-values come too often
CATEGORIES = 60  # a text's most frequent values that trees may tell apart
INDICATORS = 12  # a text of more values than this takes part in the pattern of the errors through the score alone
FEWEST = 30  # values below which a column is not tested
FOLDS = 3
SWEEPS = 3
RARE = 0.01  # share of the largest and of the smallest scores that are cut off, as one odd row in a small batch is no change
TREES: dict[str, Any] = {"max_iter": 30, "max_leaf_nodes": 8, "min_samples_leaf": 30, "learning_rate": 0.15}


@dataclass(frozen=True)
class Finding:
    """One comparison: what was asked, the p-value, and the size of the difference."""

    name: str
    p: float
    size: float


def compare_numbers(reference: np.ndarray, batch: np.ndarray) -> list[Finding]:
    """Location, spread and shape of two samples without gaps.

    Ranks need no normal tails and keep the level under ties: Wilcoxon's test for the location (Biometrics Bulletin 1945);
    the scores of Fligner and Killeen for the spread around the common median (JASA 1976), as neither of the others sees a
    variance grow by a third in a few thousand rows; Kolmogorov and Smirnov's test for whatever is left. The size is the
    largest distance between the two distribution functions, and for the spread the log ratio of the mean scores, which
    for normal tails is that of the standard deviations.
    """
    values = np.concatenate([reference, batch])
    inside = np.arange(len(values)) >= len(reference)
    distance, shape = ks_2samp(reference, batch, method="asymp")
    off = np.abs(values - np.median(values))
    scores = ndtri(0.5 + rankdata(off) / (2 * (len(values) + 1)))
    wider = float(np.log(scores[inside].mean() / scores[~inside].mean()))
    return [
        Finding("location", score_test(rankdata(values), inside), float(distance)),
        Finding("spread", score_test(scores, inside), wider),
        Finding("shape", float(shape), float(distance)),
    ]


def compare_categories(reference: np.ndarray, batch: np.ndarray) -> Finding:
    """Chi-squared test on the counts of categories. Rare ones are pooled by their count in both samples together, so that
    one which the reference happens to lack is no evidence by itself. The size is Cohen's w between the two distributions
    less what chance alone makes of it; 0.1 is 50 % becoming 55 %, or 1 % of the rows in a category never seen.
    """
    codes, _ = pd.factorize(np.concatenate([reference, batch]))
    table = np.stack([np.bincount(side, minlength=codes.max() + 1) for side in np.split(codes, [len(reference)])])
    rare = table.sum(axis=0) * min(len(reference), len(batch)) / len(codes) < FEW
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    table = table[:, table.any(axis=0)]
    if table.shape[1] < 2:
        return Finding("categories", 1.0, 0.0)
    statistic, p, freedom, _ = chi2_contingency(table, correction=False)
    return Finding("categories", float(p), excess(statistic - freedom, len(reference), len(batch)))


def compare_shares(reference: np.ndarray, batch: np.ndarray) -> Finding:
    """Two-proportion test on the masks of gaps; the size is the batch's share minus the reference's."""
    masks = np.concatenate([reference, batch]).astype(float)
    p = score_test(masks, np.arange(len(masks)) >= len(reference))
    return Finding("gaps", p, float(batch.mean() - reference.mean()))


def score_test(scores: np.ndarray, inside: np.ndarray) -> float:
    """Two-sided p-value of the sum of scores inside the batch, by its mean and variance over all ways to draw the batch."""
    if not np.ptp(scores):
        return 1.0
    rows, drawn = len(scores), int(inside.sum())
    deviation = np.sqrt(drawn * (rows - drawn) / (rows - 1) * np.var(scores))
    return float(2 * norm.sf(abs(scores[inside].sum() - drawn * scores.mean()) / deviation))


def excess(surplus: float, reference: int, batch: int) -> float:
    """The distance between two distributions, from the surplus of chi-squared over its degrees of freedom."""
    return float(np.sqrt(max(0.0, surplus) * (reference + batch) / (reference * batch)))


def encode(reference: Columns, batch: Columns) -> tuple[np.ndarray, list[int]]:
    """Both samples one below the other as numbers with NaN for gaps, and which of the columns hold categories."""
    matrix, categorical = [], []
    for number, name in enumerate(reference):
        values = np.concatenate([reference[name], batch[name]])
        if values.dtype.kind == "M":
            values = days(values)
        elif values.dtype.kind == "O":
            texts = pd.Series(values).fillna(MISSING)
            frequent = texts.value_counts().sort_index().nlargest(CATEGORIES).index
            values = pd.Index(sorted(frequent)).get_indexer(texts) + 1.0  # 0 stands for all others
            categorical.append(number)
        matrix.append(values.astype(float))
    return np.column_stack(matrix), categorical


def days(dates: np.ndarray) -> np.ndarray:
    """Dates as numbers of days, gaps as NaN."""
    return np.where(np.isnat(dates), np.nan, dates.astype("datetime64[D]").astype(float))


def joint_test(rows: np.ndarray, categorical: list[int], inside: np.ndarray, seed: int) -> dict[str, float]:
    """Classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017): how well boosted trees tell the batch from the reference
    on rows they did not see. The area under the ROC curve, its 95 % interval and the one-sided p-value for more than a half
    are DeLong's, the variance raised because the folds share training rows (a correlation of 1 / folds, after Nadeau and
    Bengio, Machine Learning 2003; without drift it was 0.4 on simulated rows, and ignoring it made one p-value in ten fall
    below 0.05). In one thread, for the work is too small to share.
    """
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


def delong(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """The area under the ROC curve and its standard error (DeLong, DeLong and Clarke-Pearson, Biometrics 1988), from ranks
    as in Sun and Xu (IEEE Signal Processing Letters 2014).
    """
    ranks = rankdata(np.concatenate([positives, negatives]))
    above = (ranks[: len(positives)] - rankdata(positives)) / len(negatives)
    below = 1 - (ranks[len(positives) :] - rankdata(negatives)) / len(positives)
    variance = np.var(above, ddof=1) / len(positives) + np.var(below, ddof=1) / len(negatives)
    return float(above.mean()), max(float(np.sqrt(variance)), np.finfo(float).tiny)


def dependence_test(rows: np.ndarray, names: list[str], categorical: list[int], inside: np.ndarray) -> dict[str, Any]:
    """Whether a number varies otherwise in the batch, given the other numbers, than in the reference.

    The score of a row is z (C^-1 z) of the column, z being the normal scores of the columns and C their correlation over
    both samples. That is Rao's score for a factor on the column under a Gaussian copula; for a column that hangs together
    with no other it is Klotz's test for the spread (Annals of Mathematical Statistics 1962), and the closer it follows
    others the less it takes to be seen. The smallest p-value of all columns counts after Bonferroni. The size is the
    difference between the mean scores in standard deviations.
    """
    there = ~np.isnan(rows)
    enough = (there[inside].sum(axis=0) >= FEWEST) & (there[~inside].sum(axis=0) >= FEWEST)
    chosen = [n for n in np.flatnonzero(enough) if n not in categorical and np.ptp(rows[there[:, n], n])]
    if not chosen:
        return {"p": 1.0, "size": 0.0, "column": None}
    z = np.column_stack([_normal_scores(rows[:, number]) for number in chosen])
    there = there[:, chosen]
    precision = _precision(z)
    for _ in range(SWEEPS):  # a gap gets what the row's other columns let expect, which leaves their scores alone
        for number in np.flatnonzero(~there.all(axis=0)):
            holes = ~there[:, number]
            z[holes, number] -= z[holes] @ precision[:, number] / precision[number, number]
        precision = _precision(z)
    tested = [(score[kept], inside[kept]) for score, kept in zip((z * (z @ precision)).T, there.T, strict=True)]
    tested = [(np.clip(score, *np.quantile(score, [RARE, 1 - RARE])), batch) for score, batch in tested]
    found = [score_test(*pair) for pair in tested]
    first = int(np.argmin(found))
    score, batch = tested[first]
    size = float((score[batch].mean() - score[~batch].mean()) / (score.std() or 1.0))
    return {"p": min(1.0, len(found) * found[first]), "size": size, "column": names[chosen[first]]}


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """The quantiles of a standard normal distribution that the ranks stand for; 0 for a gap."""
    there, scores = ~np.isnan(values), np.zeros(len(values))
    scores[there] = ndtri(rankdata(values[there]) / (there.sum() + 1))
    scores[there] = (scores[there] - scores[there].mean()) / scores[there].std()
    return scores


def _precision(z: np.ndarray) -> np.ndarray:
    """The inverse of the correlations, or of what is regular in them."""
    return np.asarray(np.linalg.pinv(z.T @ z / len(z), rcond=1e-4, hermitian=True))


def pattern_test(
    rows: np.ndarray, names: list[str], categorical: list[int], residuals: np.ndarray, inside: np.ndarray
) -> Any:
    """Whether the errors lie otherwise in the batch than in training: on average, or along the score or a column, which is
    what a model trained anew would learn. Hotelling's test (Annals of Mathematical Statistics 1931) on the products of the
    residual with 1, with each column's rank, its gaps and its categories; a model that fits has all their means near 0
    whatever the rows are, and one that has always been a little wrong has the same in both samples. As that test spreads its
    power over all directions, the largest of their z-values is tested too, and the smaller p-value counts, both after
    Bonferroni. The size is the distance between the two vectors of means in standard deviations less what chance makes of
    it; `along` and `z` say where it is largest.
    """
    directions, labels = [np.ones(len(rows))], [""]
    for number, name in enumerate(names):
        values = rows[:, number]
        if number in categorical:
            codes, counts = np.unique(values, return_counts=True)
            parts = [values == code for code in codes[np.argsort(-counts)][1:]] if len(codes) <= INDICATORS else []
        else:
            gaps = np.isnan(values)
            ranks = np.zeros(len(values))
            ranks[~gaps] = rankdata(values[~gaps])
            parts = [np.where(gaps, 0.0, ranks - ranks[~gaps].mean() if (~gaps).any() else 0.0), gaps]
        for part in parts:
            if np.count_nonzero(part) > len(rows) / 50 and np.std(part):
                directions.append((part - np.mean(part)) / np.std(part))
                labels.append(name)
    products = np.column_stack(directions) * residuals[:, None]
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
