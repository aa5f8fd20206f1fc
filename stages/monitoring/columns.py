"""Tests of one column: does it have the same distribution in the batch as in the reference?

Ranks need no normal tails and keep the level under ties. Each test takes the values of both samples, shapes (reference,) and
(batch,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import chi2_contingency, ks_2samp, rankdata

from stages.monitoring.twosample import FEWEST, days, excess, score_test
from stages.projects._base import Column

FEW = 10  # expected rows below which categories are pooled: with fewer, small p-values come too often
FEW_VALUES = 10  # a number with at most this many values is compared as categories are


@dataclass(frozen=True)
class Finding:
    """One comparison: the test, the p-value, and the size of the difference."""

    name: str
    p: float
    size: float


def compare_column(column: Column, reference: pd.Series, batch: pd.Series) -> list[Finding]:
    """All tests of one column: of its missing values, and of its values as numbers or as categories."""
    missing = [side.isna().to_numpy() for side in (reference, batch)]
    findings = [missing_test(*missing)] if missing[0].any() or missing[1].any() else []
    usual, now = (side[~mask] for side, mask in zip((reference, batch), missing, strict=True))
    if min(len(usual), len(now)) < FEWEST:
        return findings
    if column.kind == "date":
        return findings + compare_numbers(days(usual.to_numpy()), days(now.to_numpy()))
    if is_measured(column, usual):
        return findings + compare_numbers(usual.to_numpy(), now.to_numpy())
    return [*findings, categories_test(usual.to_numpy(dtype=object), now.to_numpy(dtype=object))]


def is_measured(column: Column, reference: pd.Series) -> bool:
    """Whether a column holds numbers of many values, and not codes or counts of a few."""
    return column.kind == "number" and not column.choices and reference.nunique() > FEW_VALUES


def compare_numbers(reference: np.ndarray, batch: np.ndarray) -> list[Finding]:
    """Location, spread and shape of two samples without missing values."""
    return [location_test(reference, batch), spread_test(reference, batch), shape_test(reference, batch)]


def location_test(reference: np.ndarray, batch: np.ndarray) -> Finding:
    """Whether values are shifted.

    H0: the batch is a random part of both samples together, so its values rank no higher and no lower.
    Statistic: the sum of the batch's ranks (Wilcoxon, Biometrics Bulletin 1945).
    p-value: two-sided, by the normal approximation with the variance under ties.
    Size: the largest distance between the two distribution functions, 0 to 1.
    """
    values, inside = _pooled(reference, batch)
    return Finding("location", score_test(rankdata(values), inside), _distance(reference, batch))


def spread_test(reference: np.ndarray, batch: np.ndarray) -> Finding:
    """Whether values vary more or less: a variance that grows by a third shows in neither location nor shape of a few
    thousand rows.

    H0: the batch's values are as far from the common median as the reference's.
    Statistic: the sum of the batch's normal scores of the distance from that median (Fligner and Killeen, JASA 1976).
    p-value: two-sided, by the normal approximation with the variance under ties.
    Size: log ratio of the mean scores, positive for a wider batch; for normal tails, that of the standard deviations.
    """
    values, inside = _pooled(reference, batch)
    scores = ndtri(0.5 + rankdata(np.abs(values - np.median(values))) / (2 * (len(values) + 1)))
    return Finding("spread", score_test(scores, inside), float(np.log(scores[inside].mean() / scores[~inside].mean())))


def shape_test(reference: np.ndarray, batch: np.ndarray) -> Finding:
    """Whether the distributions differ in any other way.

    H0: both samples come from one continuous distribution.
    Statistic: the largest distance between the two distribution functions (Kolmogorov and Smirnov; Hodges, Arkiv för
        Matematik 1958).
    p-value: two-sided, asymptotic; conservative under ties.
    Size: the statistic, 0 to 1.
    """
    return Finding("shape", float(ks_2samp(reference, batch, method="asymp").pvalue), _distance(reference, batch))


def categories_test(reference: np.ndarray, batch: np.ndarray) -> Finding:
    """Whether categories have other shares. Rare ones are pooled by their count in both samples together, so that one which
    the reference happens to lack is no evidence by itself.

    H0: the categories have the same shares in both samples.
    Statistic: chi-squared of the table of counts (Pearson, Philosophical Magazine 1900).
    p-value: asymptotic, without continuity correction.
    Size: Cohen's w (Statistical Power Analysis, 1988) less what chance makes of it; 0.1 is 50 % becoming 55 %, or 1 % of
        the rows in a category never seen.
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


def missing_test(reference: np.ndarray, batch: np.ndarray) -> Finding:
    """Whether values are missing more or less often. Takes the masks of the missing values.

    H0: values are missing as often in both samples.
    Statistic: the number of missing values in the batch, which is hypergeometric given that of both (Fisher, 1935).
    p-value: two-sided, by the normal approximation.
    Size: the batch's share minus the reference's.
    """
    masks, inside = _pooled(reference, batch)
    return Finding("gaps", score_test(masks.astype(float), inside), float(batch.mean() - reference.mean()))


def _pooled(reference: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both samples together, and the mask of the batch in them."""
    values = np.concatenate([reference, batch])
    return values, np.arange(len(values)) >= len(reference)


def _distance(reference: np.ndarray, batch: np.ndarray) -> float:
    return float(ks_2samp(reference, batch, method="asymp").statistic)
