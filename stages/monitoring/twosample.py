"""What the two-sample tests share: both samples as one matrix, and the statistics that several of them use.

A p-value says whether there is a difference, the size whether it matters. With enough rows every p-value is small, so no
verdict rests on one alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from stages.projects._base import MISSING, Columns

CATEGORIES = 60  # a text's most frequent values that trees may tell apart
FEWEST = 30  # values below which a column is not tested


def encode(reference: Columns, batch: Columns) -> tuple[np.ndarray, list[int]]:
    """Both samples, the reference first, as one matrix of shape (rows, columns) with NaN for missing values, and which of
    its columns hold categories.
    """
    matrix, categorical = [], []
    for number, name in enumerate(reference):
        values = np.concatenate([reference[name], batch[name]])
        if values.dtype.kind == "M":
            values = days(values)
        elif values.dtype.kind == "O":
            texts = pd.Series(values).fillna(MISSING)
            frequent = texts.value_counts().sort_index().nlargest(CATEGORIES).index
            values = pd.Index(sorted(frequent)).get_indexer(texts) + 1.0  # 0 is all others
            categorical.append(number)
        matrix.append(values.astype(float))
    return np.column_stack(matrix), categorical


def days(dates: np.ndarray) -> np.ndarray:
    """Dates as numbers of days, missing ones as NaN."""
    return np.where(np.isnat(dates), np.nan, dates.astype("datetime64[D]").astype(float))


def score_test(scores: np.ndarray, inside: np.ndarray) -> float:
    """Two-sided p-value of the sum of the `scores`, shape (rows,), of the rows `inside` the batch, by its mean and variance
    over all ways to draw the batch (a linear rank test; Hajek, Sidak and Sen, Theory of Rank Tests, 1999).
    """
    if not np.ptp(scores):
        return 1.0
    rows, drawn = len(scores), int(inside.sum())
    deviation = np.sqrt(drawn * (rows - drawn) / (rows - 1) * np.var(scores))
    return float(2 * norm.sf(abs(scores[inside].sum() - drawn * scores.mean()) / deviation))


def excess(surplus: float, reference: int, batch: int) -> float:
    """The distance between two distributions, from the surplus of chi-squared over its degrees of freedom."""
    return float(np.sqrt(max(0.0, surplus) * (reference + batch) / (reference * batch)))


def delong(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """The area under the ROC curve and its standard error (DeLong, DeLong and Clarke-Pearson, Biometrics 1988), from ranks
    as in Sun and Xu (IEEE Signal Processing Letters 2014). Scores of shape (positives,) and (negatives,).
    """
    ranks = rankdata(np.concatenate([positives, negatives]))
    above = (ranks[: len(positives)] - rankdata(positives)) / len(negatives)
    below = 1 - (ranks[len(positives) :] - rankdata(negatives)) / len(positives)
    variance = np.var(above, ddof=1) / len(positives) + np.var(below, ddof=1) / len(negatives)
    return float(above.mean()), max(float(np.sqrt(variance)), np.finfo(float).tiny)
