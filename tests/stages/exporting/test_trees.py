from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from stages.exporting.trees import Ensemble, NotExportableError, Tree, read_trees
from tests.stages.runtime.test_treeshap import ENSEMBLES, fitted, raw_output, rows


def value_of(tree: Tree, row: np.ndarray) -> float:
    node = 0
    while not tree.leaf[node]:
        value = row[tree.feature[node]]
        left = tree.missing_left[node] if np.isnan(value) else value <= tree.split[node]
        node = (tree.left if left else tree.right)[node]
    return float(tree.value[node])


def total(ensemble: Ensemble, row: np.ndarray) -> float:
    row = row.astype(np.float32) if ensemble.rounded else row
    values = [value_of(tree, row) for tree in ensemble.trees]
    return float(np.mean(values)) if ensemble.averaged else ensemble.start + sum(values)


@pytest.mark.parametrize("estimator", ENSEMBLES, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_trees_of_an_ensemble_add_up_to_its_raw_output(estimator: object, missing: float) -> None:
    if missing and type(estimator).__name__.startswith("GradientBoosting"):
        return  # it takes no missing values
    model, matrix = fitted(estimator, missing=missing), rows(seed=2, count=25, missing=missing)
    ensemble = read_trees(model)
    assert ensemble is not None
    np.testing.assert_allclose([total(ensemble, row) for row in matrix], raw_output(model, matrix), atol=1e-9)
    for tree in ensemble.trees:
        inner = ~tree.leaf
        np.testing.assert_allclose(tree.cover[inner], tree.cover[tree.left[inner]] + tree.cover[tree.right[inner]])


def test_an_estimator_without_trees_has_none() -> None:
    assert read_trees(Ridge()) is None


def test_trees_with_native_categories_are_not_read_as_if_those_were_numbers() -> None:
    matrix = rows(count=100)
    matrix[:, 3] = np.arange(100) % 4
    native = HistGradientBoostingRegressor(max_iter=3, categorical_features=[3]).fit(matrix, matrix[:, 3] % 2)
    with pytest.raises(NotExportableError, match="native categories"):
        read_trees(native)
