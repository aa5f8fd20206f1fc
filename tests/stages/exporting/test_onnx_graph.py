from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import PoissonRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from stages.exporting.onnx_graph import NotExportableError, build_graph
from tests.stages.runtime.test_treeshap import COLUMNS, fitted, rows


def wrapped(estimator: BaseEstimator) -> Pipeline:
    """A model as the pipeline has it, whose encoder changes nothing."""
    return Pipeline([("columns", FunctionTransformer()), ("estimator", estimator)])


def score(model: Any, matrix: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(build_graph(model, matrix.shape[1]).SerializeToString())
    return np.asarray(session.run(None, {"columns": matrix})[0])[:, 0]


def test_a_row_exactly_on_a_split_takes_the_branch_that_scikit_learn_takes() -> None:
    matrix = np.repeat(np.arange(8) / 10, 10)[:, None]
    model = wrapped(HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=1)).fit(matrix, matrix[:, 0])
    splits = np.unique([node["num_threshold"] for step in model["estimator"]._predictors for node in step[0].nodes])
    np.testing.assert_allclose(score(model, splits[:, None]), model.predict(splits[:, None]), rtol=1e-12)
    forest = wrapped(RandomForestRegressor(3, bootstrap=False)).fit(matrix, matrix[:, 0])
    above = np.nextafter(splits, 1)[:, None]
    np.testing.assert_allclose(score(forest, above), forest.predict(above), rtol=1e-12)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (wrapped(PoissonRegressor()), "no ONNX translation of PoissonRegressor"),
        (wrapped(HistGradientBoostingRegressor(loss="poisson")), "HistGradientBoostingRegressor with a log link"),
        (
            TransformedTargetRegressor(wrapped(RandomForestRegressor(2)), func=np.sqrt, inverse_func=np.square),
            "a target transform other than the logarithm",
        ),
    ],
)
def test_what_has_no_translation_is_refused(model: Any, reason: str) -> None:
    matrix = rows(count=60)
    model.fit(matrix, np.abs(matrix[:, 0]) + 1)
    with pytest.raises(NotExportableError, match=reason):
        build_graph(model, COLUMNS)


def test_missing_values_take_the_branch_that_they_took_in_training() -> None:
    model = wrapped(fitted(HistGradientBoostingRegressor(max_iter=10), missing=0.3))
    matrix = rows(seed=2, count=40, missing=0.4)
    np.testing.assert_allclose(score(model, matrix), model.predict(matrix), rtol=1e-9)
