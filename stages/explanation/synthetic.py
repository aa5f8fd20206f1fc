"""Made-up rows like those of a table, from what several of its rows have in common: what a single person or object alone has
is never drawn, neither a rare category nor an extreme number.

Categories (texts, numbers with few values, whether a value is missing) are drawn first, along the tree of pairs of columns
that is closest to their joint distribution (Chow and Liu, Approximating discrete probability distributions with dependence
trees, IEEE Transactions on Information Theory, 1968). The other numbers and dates follow given the categories, by a Gaussian
copula with empirical marginals (Nelsen, An Introduction to Copulas, 2006; Patki, Wedge and Veeramachaneni, The Synthetic
Data Vault, 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from sklearn.metrics import mutual_info_score

from stages.explanation.profile import FEW, PAIRS, rounded
from stages.projects._base import Column, Columns
from stages.runtime.values import is_missing

SHARED = 5  # rows that must have a category, or a pair of categories, for it to be drawn
TAIL = 0.01  # share of a number's values at either end, or `SHARED` if those are more, beyond which none is drawn
QUANTILES = 99  # between which numbers are interpolated
DECIMALS = 6  # of numbers with a fixed number of them, at most
UNSHARED = -1  # the code of a category that fewer rows have
ROOT = ""  # of the tree: a column with one value


def synthesize(
    values: Columns, columns: tuple[Column, ...], outcome: np.ndarray, example: Mapping[str, Any], count: int, seed: int
) -> Columns:
    """`count` made-up rows with these columns of a table. Texts are ordered by the mean of `outcome`, shape (rows,), so that
    numbers can depend on them. A column without any value that `SHARED` rows have is missing throughout or, where it is
    required, has its value in `example`.
    """
    rng = np.random.default_rng(seed)
    numbers = {column.name: as_numbers(values[column.name]) for column in columns if column.kind != "text"}
    continuous = {column.name: numbers[column.name] for column in columns if is_continuous(values[column.name], column)}
    encoded = {
        column.name: encode(is_missing(values[column.name]) if column.name in continuous else values[column.name])
        for column in columns
    }
    codes = {name: found for name, (found, _) in encoded.items()}
    drawn = draw_categories(codes, count, rng)
    places = {name: pd.Series(outcome).groupby(codes[name]).transform("mean").to_numpy() for name in codes}
    places |= {name: array for name, array in numbers.items() if name not in continuous}
    ranks = draw_ranks(continuous, places, codes, drawn, rng)
    rows: Columns = {}
    for column in columns:
        name, levels, picked = column.name, encoded[column.name][1], drawn[column.name]
        if name in continuous:
            missing = np.array([*levels, not column.required])[picked]  # the last is that of `UNSHARED`
            array = np.where(missing, np.nan, at_ranks(continuous[name], ranks[name], column))
        else:
            array = np.array([*levels, None, example[name] if column.required else None], dtype=object)[picked]
        rows[name] = array.astype(values[name].dtype)
    return rows


def as_numbers(values: np.ndarray) -> np.ndarray:
    """Numbers as they are, dates as days since 1970, missing ones NaN."""
    return np.where(is_missing(values), np.nan, values.astype(float))


def is_continuous(values: np.ndarray, column: Column) -> bool:
    """Whether a column has too many values to be drawn as categories."""
    return column.kind != "text" and not column.choices and len(np.unique(values[~is_missing(values)])) > FEW


def encode(values: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """The codes of values, and the known values: a code is a place among them, or behind the last for a missing value, or
    `UNSHARED` for what too few rows have.
    """
    known = ~is_missing(values)
    levels, places = np.unique(values[known], return_inverse=True)
    codes = np.full(len(values), len(levels))
    codes[known] = places
    return np.where(np.bincount(codes)[codes] < SHARED, UNSHARED, codes), list(levels)


def draw_categories(codes: Columns, count: int, rng: np.random.Generator) -> Columns:
    """Codes of made-up rows, column by column along the tree. A code is drawn from the rows that have the code drawn for the
    parent, in proportion; where it is in `SHARED` of them with none, from those with the code of the parent's parent, and
    so on. `UNSHARED` where no code is in `SHARED` rows.
    """
    parents, table = dependence_tree(codes), pd.DataFrame({**codes, ROOT: 0})
    drawn: Columns = {ROOT: np.zeros(count, dtype=int)}
    for name in parents:
        picked, ancestor = np.full(count, UNSHARED), name
        while ancestor != ROOT:
            ancestor = parents[ancestor]
            shared = table.groupby([ancestor, name])[name].transform("size") >= SHARED
            for code, pool in table[shared & (table[name] != UNSHARED)].groupby(ancestor)[name]:
                rows = np.flatnonzero((picked == UNSHARED) & (drawn[ancestor] == code))
                picked[rows] = rng.choice(pool.to_numpy(), len(rows))
        drawn[name] = picked
    return drawn


def dependence_tree(codes: Columns) -> dict[str, str]:
    """The parent of each column, parents first: the spanning tree with the most mutual information, less what independent
    columns have by chance (Miller, Note on the bias of information estimates, 1955). `ROOT` for a column that depends on
    none.
    """
    levels = {name: len(np.unique(array)) for name, array in codes.items()}
    outside = sorted(codes, key=levels.__getitem__)
    information = {(name, ROOT): 0.0 for name in outside}
    for one, other in product(outside, repeat=2):
        chance = (levels[one] - 1) * (levels[other] - 1) / (2 * len(codes[one]))
        information[one, other] = mutual_info_score(codes[one], codes[other]) - chance
    parents: dict[str, str] = {}
    while outside:
        child, parent = max(product(outside, [ROOT, *parents]), key=information.__getitem__)
        parents[child] = parent
        outside.remove(child)
    return parents


def draw_ranks(numbers: Columns, places: Columns, codes: Columns, drawn: Columns, rng: np.random.Generator) -> Columns:
    """Ranks in (0, 1) of made-up numbers given the drawn categories, by the correlations of the normal scores of both.
    `places`, shape (rows,) each, orders the categories of a column.
    """
    given = {name: normal_scores(array) for name, array in places.items()}
    scores = np.column_stack([*given.values(), *map(normal_scores, numbers.values())])
    matrix = correlations(scores)
    fixed, free = slice(len(given)), slice(len(given), None)
    weights = np.linalg.pinv(matrix[fixed, fixed], rcond=1e-4, hermitian=True) @ matrix[fixed, free]
    values, vectors = np.linalg.eigh(matrix[free, free] - matrix[free, fixed] @ weights)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T  # unlike the vectors it has no arbitrary signs
    known = [array.groupby(codes[name]).mean().reindex(drawn[name]).fillna(0) for name, array in given.items()]
    z = np.column_stack(known) @ weights + rng.normal(size=(len(known[0]), len(numbers))) @ root
    return dict(zip(numbers, ndtr(z).T, strict=True))


def normal_scores(values: np.ndarray) -> pd.Series:
    """The normal quantiles of the ranks of values, with mean 0 and deviation 1; NaN for a missing value."""
    ranks = pd.Series(values).rank()
    scores = pd.Series(ndtri(ranks / (ranks.count() + 1)))
    return (scores - scores.mean()) / (scores.std() or 1.0)


def correlations(scores: np.ndarray) -> np.ndarray:
    """The correlations of columns, shape (rows, columns), over the rows that have both values, made positive semi-definite
    by leaving out negative eigenvalues.
    """
    matrix = pd.DataFrame(scores).corr(min_periods=PAIRS).fillna(0).to_numpy(copy=True)
    np.fill_diagonal(matrix, 1)
    values, vectors = np.linalg.eigh(matrix)
    matrix = vectors * np.clip(values, 0, None) @ vectors.T
    sizes = np.sqrt(np.diag(matrix))
    return matrix / np.outer(sizes, sizes)


def at_ranks(values: np.ndarray, ranks: np.ndarray, column: Column) -> np.ndarray:
    """Numbers at these ranks on straight lines between the quantiles of values, with as many decimals as the values have, or
    with six significant digits where those are more than `DECIMALS`.
    """
    known = values[~np.isnan(values)]
    tail = max(TAIL, SHARED / len(known))
    shares = np.linspace(tail, 1 - tail, QUANTILES)
    found = np.interp(tail + (1 - 2 * tail) * ranks, shares, np.quantile(known, shares))
    if column.integer or column.kind == "date":
        return np.round(found)
    decimals = [n for n in range(DECIMALS + 1) if np.array_equal(np.round(known, n), known)]
    return np.round(found, decimals[0]) if decimals else np.array([rounded(value) for value in found.tolist()], dtype=float)
