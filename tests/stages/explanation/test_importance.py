from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

import stages.explanation.importance
from stages.explanation.importance import (
    beeswarm,
    check_additivity,
    permuted,
    ranked,
    raw_output,
    readable,
    shap_values,
)
from stages.modeling.pipeline import assemble, build_model, calibrated, unwrap, with_threshold
from stages.projects._base import Project, load_project
from tests.samples import records, settings

TRAIN = settings(
    calibration="sigmoid",
    random_forest={"n_estimators": 10, "min_samples_leaf": 3},
    extra_trees={"n_estimators": 10, "min_samples_leaf": 3},
    gradient_boosting={"n_estimators": 10},
    hist_gradient_boosting={"max_iter": 10},
    voting={"members": {"random_forest": 1}},
)
EXPLAINED = [
    *[("toy", name) for name in ("logistic_regression", "random_forest", "extra_trees", "gradient_boosting")],
    *[("toy_price", name) for name in ("ridge", "linear_regression", "random_forest", "extra_trees", "gradient_boosting")],
    *[(project, "hist_gradient_boosting") for project in ("toy", "toy_price")],
]


def fitted(project: Project, name: str) -> tuple[Any, pd.DataFrame]:
    """A model as train makes it, and the features it was fitted on."""
    frame = project.clean(records(project, 220))
    model = build_model(project, name, TRAIN, seed=0)
    if project.task == "classification":
        model = with_threshold(calibrated(model, TRAIN, seed=0), 0.3)
    pipeline = assemble(project, model).fit(frame, frame[project.target])
    return pipeline, pipeline["features"].transform(frame)


@pytest.mark.parametrize(("name", "estimator"), EXPLAINED)
def test_contributions_add_up_to_the_output_of_the_estimator(name: str, estimator: str) -> None:
    project = load_project(name)
    model, features = fitted(project, estimator)
    explained = shap_values(model, estimator, features, project)
    assert explained is not None
    values, encoded = explained
    assert values.shape == encoded.shape
    assert list(values) == list(encoded)
    output = raw_output(unwrap(model["model"]).estimator, encoded.to_numpy())
    assert np.ptp(output) > 0
    assert np.ptp(output - values.sum(axis=1)) < 1e-8 * max(1, np.abs(output).max())


def test_contributions_of_a_linear_model_are_its_coefficients_times_the_distance_from_the_mean() -> None:
    project = load_project("toy_plain")
    model, features = fitted(project, "ridge")
    explained = shap_values(model, "ridge", features, project)
    assert explained is not None
    values, encoded = explained
    expected = unwrap(model["model"]).estimator.coef_ * (encoded - encoded.mean())
    np.testing.assert_allclose(values, expected, atol=1e-9)


def test_the_raw_output_is_log_odds_for_boosting_and_a_probability_for_forests() -> None:
    project = load_project("toy")
    for name, low, high in (("random_forest", 0.0, 1.0), ("hist_gradient_boosting", -np.inf, 0.0)):
        model, features = fitted(project, name)
        layers = unwrap(model["model"])
        output = raw_output(layers.estimator, layers.encoder.transform(features))
        assert low <= output.min() < high
        assert output.shape == (len(features),)


@pytest.mark.parametrize("name", ["voting", "gaussian_process"])
def test_an_estimator_without_an_exact_explainer_has_no_contributions(name: str) -> None:
    assert shap_values(None, name, pd.DataFrame(), load_project("toy_plain")) is None


def test_contributions_that_do_not_add_up_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    check_additivity(np.array([1.0, 1e9]), np.array([1.0 + 1e-9, 1e9 + 1]))
    with pytest.raises(ArithmeticError, match=r"miss the model's output by up to 0\.091"):
        check_additivity(np.array([1.0, 2.0]), np.array([1.1, 2.0]))
    project = load_project("toy_plain")
    model, features = fitted(project, "hist_gradient_boosting")
    monkeypatch.setattr(stages.explanation.importance, "raw_output", lambda estimator, rows: estimator.predict(rows) + 0.01)
    with pytest.raises(ArithmeticError):
        shap_values(model, "hist_gradient_boosting", features, project)


@pytest.mark.parametrize("metric", ["mae", "r2"])
def test_shuffling_hurts_by_the_feature_the_model_rests_on_and_by_no_other(metric: str) -> None:
    project = replace(load_project("toy_plain"), primary_metric=metric)
    rng = np.random.default_rng(0)
    features = pd.DataFrame(rng.normal(size=(200, 2)), columns=["rooms", "never_used"])
    target = features["rooms"].to_numpy() * 3
    model = {"model": Ridge(alpha=1e-9).fit(features.assign(never_used=0), target)}
    found = permuted(model, features, target, project, repeats=3, seed=0)
    assert found["feature"].tolist() == ["Rooms per dwelling", "never used"]
    importance, sd = found["importance"].tolist(), found["sd"].tolist()
    assert importance[0] > 0.5
    assert sd[0] > 0
    assert importance[1] == pytest.approx(0, abs=1e-6)


def test_columns_are_named_for_people() -> None:
    project = load_project("toy")
    assert readable("distance", project) == "Distance"
    assert readable("carrier_Bee", project) == "Carrier: Bee"
    assert readable("years_with_us", project) == "years with us"


def test_features_are_ranked_by_their_importance() -> None:
    assert ranked(["a", "b", "c"], [0.1, 3, -1]) == [
        {"feature": "b", "importance": 3.0},
        {"feature": "a", "importance": 0.1},
        {"feature": "c", "importance": -1.0},
    ]


def test_a_beeswarm_has_a_dot_per_row_and_feature() -> None:
    columns = ["a", "b"]
    dots = beeswarm(pd.DataFrame([[1, 2], [3, 4]], columns=columns), pd.DataFrame([[5, 6], [7, 8]], columns=columns))
    expected = pd.DataFrame({"feature": ["a", "a", "b", "b"], "value": [5, 7, 6, 8], "contribution": [1, 3, 2, 4]})
    assert np.array_equal(dots.to_numpy(), expected.to_numpy())
