"""Exact SHAP values of tree ensembles, from exported tables alone.

Needs NumPy alone; `stages.exporting.explainer` makes the tables from the fitted estimator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

Table = dict[str, np.ndarray]

BLOCK = 50_000  # splits worked on together: few calls of NumPy, and arrays that stay in the processor's cache


class Trees:
    """Exact path-dependent SHAP values (Lundberg et al., From local explanations to global understanding with explainable AI
    for trees, 2020) of a sum of trees, for one row.

    Let every feature be known with probability t. At a split whose feature is known, the row goes its way; otherwise it
    goes either way in proportion to the training rows. The Shapley value of a feature is the integral over t from 0 to 1 of
    what the knowledge of it changes in the expected value (Owen, Multilinear extensions of games, 1972), and in a tree that
    is a polynomial whose degree is below the number of distinct features on a path, so that Gauss-Legendre nodes, half as
    many as those features, give it exactly (as in Yu et al., Linear TreeShap, 2022, and Wettenstein et al.,
    Quadrature-TreeSHAP, 2026).

    With z the share of training rows that all splits on a feature so far, or one more to the left or right, let through,
    and the row within their bounds, the row takes the branch it does not belong to with probability
    (1 - t) * z_branch / (t + (1 - t) * z). One pass from the roots gives the probability G to arrive at a split, one back
    gives the expected value U from there on, and the split adds
    G * (U_own - U_other) * z_other / (t + (1 - t) * z)^2 to its feature. The splits of one depth are worked on at once.
    """

    def __init__(self, table: Mapping[str, np.ndarray], columns: int) -> None:
        self._columns = columns
        self._dtype = np.float32 if table["rounded"] else np.float64
        self._limit = float(np.finfo(self._dtype).max)
        nodes = _Nodes(table)
        self.base = float(table["offset"]) + nodes.expected
        trees = nodes.roots[nodes.feature[nodes.roots] >= 0]  # the others are one leaf: no more than a part of the base
        trees = trees[np.argsort(nodes.distinct[trees], kind="stable")]  # so that few blocks need many points
        ends = np.cumsum(nodes.splits[trees])
        blocks = max(1, round(ends[-1] / BLOCK)) if len(trees) else 1
        parts = np.split(trees, np.searchsorted(ends, ends[-1:] * np.arange(1, blocks) / blocks))
        self._blocks = [_Block(nodes, part, math.ceil(nodes.distinct[part].max() / 2)) for part in parts if len(part)]

    def __call__(self, row: np.ndarray) -> np.ndarray:
        """Contributions per column. A row is compared with splits as the estimator does."""
        row = np.clip(row, -self._limit, self._limit).astype(self._dtype).astype(np.float64)
        any_missing = bool(np.isnan(row).any())
        values = np.zeros(self._columns)
        for block in self._blocks:
            values += np.bincount(block.feature, block(row, any_missing), self._columns)
        return values


class _Nodes:
    """The nodes of all trees, with what holds for each whatever the row. A branch has the number of the node it leads to;
    number -1 is the way to a root.

    `share`: of the rows in the node above. `zone`: of the rows let through by all splits on the branch's feature on the path
    up to it; `low`, `high`, `blank`: the values these let through, and whether a missing one. `origin`: of a
    split, the branch of the last split on the same feature before it.
    """

    def __init__(self, table: Mapping[str, np.ndarray]) -> None:
        self.feature, self.left, self.right = (table[key].astype(np.int64) for key in ("feature", "left", "right"))
        self.number, self.missing_left, self.roots = table["number"], table["missing_left"], table["roots"]
        cover = table["cover"].astype(np.float64)
        size = len(self.feature)
        splits = np.flatnonzero(self.feature >= 0)
        left, right = self.left[splits], self.right[splits]
        self.share = np.ones(size + 1)
        whole = cover[splits]
        self.share[left] = np.divide(cover[left], whole, out=np.full(len(splits), 0.5), where=whole > 0)
        self.share[right] = 1 - self.share[left]
        self.origin = self._origins(splits)
        self.zone, self.low, self.high = np.ones(size + 1), np.full(size + 1, -np.inf), np.full(size + 1, np.inf)
        self.blank = np.ones(size + 1, dtype=bool)
        reach, distinct = np.ones(size), np.zeros(size, dtype=np.int64)
        for level in self.levels(self.roots):
            left, right, before = self.left[level], self.right[level], self.origin[level]
            for branch in (left, right):
                self.zone[branch] = self.zone[before] * self.share[branch]
                self.low[branch], self.high[branch] = self.low[before], self.high[before]
                reach[branch] = reach[level] * self.share[branch]
                distinct[branch] = distinct[level] + (before < 0)
            self.high[left] = self.low[right] = self.number[level]
            self.blank[left] = self.blank[before] & self.missing_left[level]
            self.blank[right] = self.blank[before] & ~self.missing_left[level]
        leaves = self.feature < 0
        self.expected = float(reach[leaves] @ self.number[leaves])
        self.distinct, self.splits = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        if size:
            self.distinct[self.roots] = np.maximum.reduceat(distinct, self.roots)
            self.splits[self.roots] = np.add.reduceat((~leaves).astype(np.int64), self.roots)

    def levels(self, roots: np.ndarray) -> Iterator[np.ndarray]:
        """The splits of the trees, depth by depth: left branches, then right ones."""
        level = roots[self.feature[roots] >= 0]
        while len(level):
            yield level
            branches = np.concatenate([self.left[level], self.right[level]])
            level = branches[self.feature[branches] >= 0]

    def _origins(self, splits: np.ndarray) -> np.ndarray:
        above = np.full(len(self.feature), -1)
        above[self.left[splits]] = above[self.right[splits]] = splits
        origin = np.full(len(self.feature), -1)
        pending, branch = splits, splits
        while len(pending):
            node = above[branch]
            pending, branch, node = pending[node >= 0], branch[node >= 0], node[node >= 0]
            same = self.feature[node] == self.feature[pending]
            origin[pending[same]] = branch[same]
            pending, branch = pending[~same], node[~same]
        return origin


@dataclass(frozen=True)
class _Level:
    """The splits of one depth within a block. `open`: which of their branches lead to splits; `ends`: the values of the
    leaves the other branches lead to; `damping`: (1 - t) / (t + (1 - t) z) per quadrature node and split.
    """

    at: slice
    open: np.ndarray
    ends: np.ndarray
    damping: np.ndarray


class _Block:
    """Some trees, their splits ordered by depth, with `points` quadrature nodes."""

    def __init__(self, nodes: _Nodes, roots: np.ndarray, points: int) -> None:
        node, weight = np.polynomial.legendre.leggauss(points)
        t = (node[:, None] + 1) / 2
        self._arrival = weight[:, None] / 2 / (1 - t) ** 2  # the square goes with that of the damping
        self._levels: list[_Level] = []
        start = 0
        levels = list(nodes.levels(roots))
        for level in levels:
            branches = np.concatenate([nodes.left[level], nodes.right[level]])
            closed = nodes.feature[branches] < 0
            zone = nodes.zone[nodes.origin[level]]
            self._levels.append(
                _Level(
                    slice(start, start + len(level)),
                    np.flatnonzero(~closed),
                    np.where(closed, nodes.number[branches], 0.0),
                    (1 - t) / (t + (1 - t) * zone),
                )
            )
            start += len(level)
        splits = np.concatenate(levels)
        before, left, right = nodes.origin[splits], nodes.left[splits], nodes.right[splits]
        self.feature, self._split = nodes.feature[splits], nodes.number[splits]
        self._missing_left = nodes.missing_left[splits]
        self._low, self._high, self._blank = nodes.low[before], nodes.high[before], nodes.blank[before]
        self._left_zone, self._right_zone, self._right_share = nodes.zone[left], nodes.zone[right], nodes.share[right]

    def __call__(self, row: np.ndarray, any_missing: bool) -> np.ndarray:
        """What each split adds to its feature."""
        values = row[self.feature]
        left = values <= self._split
        inside = (values > self._low) & (values <= self._high)
        if any_missing:
            missing = np.isnan(values)
            left = np.where(missing, self._missing_left, left)
            inside = np.where(missing, self._blank, inside)
        # The probability of the right branch is fixed + factor * damping: the other one's, one less it, or the share.
        factor = np.where(left, self._right_zone, -self._left_zone) * inside
        fixed = np.where(inside, ~left, self._right_share)
        arrival = np.repeat(self._arrival, self._levels[0].at.stop, axis=1)
        passes = []
        for level in self._levels:
            to_right = level.damping * factor[level.at]
            to_right += fixed[level.at]
            branches = np.empty((len(arrival), len(level.ends)))
            middle = len(level.ends) // 2
            if len(level.open):
                np.multiply(arrival, to_right, out=branches[:, middle:])
                np.subtract(arrival, branches[:, middle:], out=branches[:, :middle])
            passes.append((level, arrival, to_right, branches))
            arrival = branches.take(level.open, axis=1)
        added = np.empty(len(factor))
        expected = arrival  # of the branches of the depth below that lead to splits: none at the bottom
        for level, arrival, to_right, branches in reversed(passes):
            middle = len(level.ends) // 2
            branches[:] = level.ends
            branches[:, level.open] = expected
            difference = branches[:, :middle] - branches[:, middle:]
            to_right *= difference
            expected = branches[:, :middle] - to_right
            difference *= arrival
            difference *= level.damping
            difference *= level.damping
            difference.sum(axis=0, out=added[level.at])
        added *= factor
        return added
