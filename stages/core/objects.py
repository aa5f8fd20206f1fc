"""Which rows are about the same object: those of one group, and copies of each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.projects._base import Project, columns_of

BY_CHANCE = 0.01  # share of the rows up to which equal ones are no coincidence


def copies(frame: pd.DataFrame, project: Project) -> np.ndarray:
    """Per row a number that exact copies share, shape (rows,): rows that are equal in all columns of the record. Where the
    columns have so few values that rows are equal by chance, every row has its own.
    """
    columns = [column.name for column in columns_of(project.record) if column.name in frame]
    if not columns or copies_by_chance(frame[columns]) > BY_CHANCE:
        return np.arange(len(frame))
    hashes = pd.util.hash_pandas_object(frame[columns], index=False)
    return np.asarray(pd.factorize(hashes)[0])


def copies_by_chance(frame: pd.DataFrame) -> float:
    """How many rows are equal to a given one if the columns were independent: the number of rows times the product, over the
    columns, of the probability that two rows agree.
    """
    agreements = [float((values.value_counts(normalize=True, dropna=False) ** 2).sum()) for _, values in frame.items()]
    return float(len(frame) * np.prod(agreements))


def objects(frame: pd.DataFrame, project: Project) -> pd.Series:
    """Per row a key of its object. Rows are of one object where the project's `groups` says so, where they are copies, and
    where a chain of both connects them.
    """
    copy = copies(frame, project)
    if project.groups is None:
        return pd.Series(copy, index=frame.index)
    groups = project.groups(frame)
    codes, keys = pd.factorize(groups)
    if len(np.unique(copy)) == len(frame):
        return groups
    ends = codes, len(keys) + copy
    size = len(keys) + len(frame)
    _, component = connected_components(coo_array((np.ones(len(frame)), ends), shape=(size, size)), directed=False)
    first = pd.Series(groups.to_numpy()).groupby(component[codes]).transform("first")  # a group keeps its own key
    return pd.Series(first.to_numpy(), index=frame.index)
