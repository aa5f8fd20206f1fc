from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import shap
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

import stages.runtime.treeshap
from stages.exporting.explainer import tree_table
from stages.exporting.trees import read_trees
from stages.runtime.treeshap import Table, Trees

COLUMNS = 6  # of the frames below; the last is constant, so no tree uses it


def rows(seed: int = 0, count: int = 300, missing: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, COLUMNS)) * [1, 1e-3, 1e5, 1, 1, 0]
    matrix[:, 3] = np.round(matrix[:, 3])
    matrix[:, :-1][rng.random((count, COLUMNS - 1)) < missing] = np.nan
    return matrix


def target(matrix: np.ndarray) -> np.ndarray:
    known = np.nan_to_num(matrix, nan=1.0)
    wave = np.sin(3 * known[:, 0]) + known[:, 1] * known[:, 2] / 100 + known[:, 3] * (known[:, 4] > 0)
    return wave + np.random.default_rng(1).normal(0, 0.3, len(matrix))


def fitted(estimator: Any, missing: float = 0.0) -> Any:
    matrix = rows(missing=missing)
    outcome = target(matrix)
    return estimator.fit(matrix, outcome > 0 if hasattr(estimator, "predict_proba") else outcome)


def raw_output(estimator: Any, matrix: np.ndarray) -> np.ndarray:
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(matrix))
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(matrix)[:, 1])
    return np.asarray(estimator.predict(matrix))


def table_of(estimator: Any) -> Table:
    ensemble = read_trees(estimator)
    assert ensemble is not None
    return tree_table(ensemble)


def trees_of(estimator: Any) -> Trees:
    return Trees(table_of(estimator), COLUMNS)


def contributions(estimator: Any, matrix: np.ndarray) -> tuple[np.ndarray, float]:
    trees = trees_of(estimator)
    return np.array([trees(row) for row in matrix]), trees.base


HIST = {"max_iter": 20, "max_leaf_nodes": 9, "min_samples_leaf": 3, "early_stopping": False, "random_state": 0}
ENSEMBLES = [
    HistGradientBoostingClassifier(**HIST),
    HistGradientBoostingRegressor(**HIST),
    GradientBoostingClassifier(n_estimators=15, max_depth=4, random_state=0),
    GradientBoostingRegressor(n_estimators=15, max_depth=4, random_state=0),
    RandomForestClassifier(8, random_state=0, class_weight="balanced"),
    RandomForestRegressor(8, random_state=0),
    ExtraTreesClassifier(8, random_state=0, bootstrap=True),
    ExtraTreesRegressor(8, random_state=0),
]


@pytest.mark.parametrize("estimator", ENSEMBLES, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("block", [40, stages.runtime.treeshap.BLOCK])
def test_contributions_of_trees_are_those_of_shap(estimator: Any, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.runtime.treeshap, "BLOCK", block)
    fitted(estimator)
    matrix = rows(seed=2, count=25)
    found, base = contributions(estimator, matrix)
    explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
    expected = np.asarray(explainer.shap_values(matrix, check_additivity=False))
    if expected.ndim == 3:
        expected = expected[:, :, 1]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert base == pytest.approx(np.atleast_1d(explainer.expected_value)[-1], abs=1e-9)
    assert np.all(found[:, -1] == 0)
    np.testing.assert_allclose(base + found.sum(axis=1), raw_output(estimator, matrix), atol=1e-9)


@pytest.mark.parametrize("estimator", ENSEMBLES[:2], ids=["classifier", "regressor"])
def test_missing_values_follow_the_learned_branch_as_in_shap(estimator: Any) -> None:
    fitted(estimator, missing=0.3)
    matrix = rows(seed=2, count=25, missing=0.4)
    found, _ = contributions(estimator, matrix)
    expected = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent").shap_values(
        matrix, check_additivity=False
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)


def by_definition(forest: Any, row: np.ndarray) -> np.ndarray:
    """Shapley values from all coalitions, for scikit-learn's regression trees; shap misplaces their missing values."""

    def expected(tree: Any, node: int, known: frozenset[int]) -> float:
        left, right = tree.children_left[node], tree.children_right[node]
        if left == -1:
            return float(tree.value[node, 0, 0])
        feature = int(tree.feature[node])
        if feature in known:
            value = np.float32(row[feature])
            goes_left = tree.missing_go_to_left[node] if np.isnan(value) else value <= tree.threshold[node]
            return expected(tree, left if goes_left else right, known)
        cover = tree.weighted_n_node_samples
        parts = [cover[child] / cover[node] * expected(tree, child, known) for child in (left, right)]
        return sum(parts)

    features = range(COLUMNS)
    worth = {
        known: sum(expected(one.tree_, 0, known) for one in forest.estimators_) / len(forest.estimators_)
        for size in range(COLUMNS + 1)
        for known in map(frozenset, itertools.combinations(features, size))
    }
    values = np.zeros(COLUMNS)
    for known, feature in itertools.product(worth, features):
        if feature not in known:
            weight = math.factorial(len(known)) * math.factorial(COLUMNS - len(known) - 1) / math.factorial(COLUMNS)
            values[feature] += weight * (worth[known | {feature}] - worth[known])
    return values


def test_contributions_of_a_forest_with_missing_values_are_shapley_values_by_definition() -> None:
    forest = fitted(RandomForestRegressor(3, max_leaf_nodes=25, random_state=0), missing=0.3)
    trees = trees_of(forest)
    for row in rows(seed=3, count=6, missing=0.4):
        np.testing.assert_allclose(trees(row), by_definition(forest, row), atol=1e-12)


EXTREME = st.sampled_from([0.0, -0.0, 1e-300, 1e38, 4e38, 1.7e308, -1.7e308, math.inf, -math.inf, math.nan])


@given(st.lists(EXTREME | st.floats(-3, 3), min_size=COLUMNS, max_size=COLUMNS))
def test_any_numbers_add_up(values: list[float]) -> None:
    trees, estimator = _boosting()
    row = np.array(values)
    assert trees.base + trees(row).sum() == pytest.approx(raw_output(estimator, row[None])[0], abs=1e-9)


@cache
def _boosting() -> tuple[Trees, Any]:
    estimator = fitted(HistGradientBoostingRegressor(**HIST), missing=0.2)
    return trees_of(estimator), estimator


def test_numbers_beyond_float32_go_the_way_of_infinity() -> None:
    trees = trees_of(fitted(RandomForestRegressor(5, random_state=0)))
    huge, infinite = np.full(COLUMNS, 1e300), np.full(COLUMNS, np.inf)
    np.testing.assert_array_equal(trees(huge), trees(infinite))


def test_values_are_rounded_to_float32_where_the_estimator_rounds_them() -> None:
    matrix = np.repeat([[0.1], [0.3]], 20, axis=0)
    forest = RandomForestRegressor(3, bootstrap=False).fit(matrix, matrix[:, 0])
    table = table_of(forest)
    threshold = float(table["number"][0])
    just_above = np.nextafter(threshold, 1)  # and equal to it, as float32
    assert Trees(table, 1)(np.array([just_above])).sum() < 0
    assert Trees({**table, "rounded": np.array(False)}, 1)(np.array([just_above])).sum() > 0


def test_trees_of_one_leaf_are_part_of_the_base() -> None:
    matrix = rows(count=100)
    step = (matrix[:, 0] > 0).astype(float)
    boosting = GradientBoostingRegressor(n_estimators=4, learning_rate=1.0, max_depth=1).fit(matrix, step)
    assert [one.tree_.node_count for one in boosting.estimators_[:, 0]] == [3, 1, 1, 1]
    found, base = contributions(boosting, matrix)
    np.testing.assert_allclose(base + found.sum(axis=1), step, atol=1e-9)
    stump = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=99).fit(matrix, step)
    found, base = contributions(stump, matrix)
    assert not found.any()
    assert base == pytest.approx(step.mean())
