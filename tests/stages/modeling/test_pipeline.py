from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from stages.core.cli import UserError
from stages.modeling.pipeline import (
    RowFeatures,
    assemble,
    build_encoder,
    build_model,
    calibrate,
    calibrated,
    make_folds,
    predict_scores,
    unwrap,
    with_threshold,
)
from stages.projects._base import Project, load_project
from tests.samples import raw_rows, records, settings
from tests.toys import toy

CHURN = toy()


class Spy(ClassifierMixin, BaseEstimator):
    """Records how many rows of each class it was fitted on."""

    def fit(self, X: Any, y: Any) -> Spy:  # noqa: N803
        self.classes_ = np.unique(y)
        self.seen_ = np.bincount(np.asarray(y, dtype=int)).tolist()
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        return np.full((len(X), 2), 0.5)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        return np.zeros(len(X))


def test_rows_as_read_csv_gives_them_predict_as_the_rows_trained_on_do(project: Project, finished: Path) -> None:
    model = joblib.load(finished / "models" / project.name / "model.joblib")
    raw = raw_rows(project, 50, seed=3)
    expected = predict_scores(model, raw, project)
    text = raw.assign(unheard_of="x").to_csv(index=False)
    for dtype in (None, str):
        frame = pd.read_csv(io.StringIO(text), dtype=dtype)
        np.testing.assert_allclose(predict_scores(model, frame, project), expected, rtol=1e-12)
        np.testing.assert_allclose(predict_scores(model, frame.iloc[[7]], project), expected[7], rtol=1e-12)


def test_missing_optional_columns_are_missing_values_and_those_can_be_predicted(project: Project, finished: Path) -> None:
    model = joblib.load(finished / "models" / project.name / "model.joblib")
    raw = raw_rows(project, 20)
    optional = [column.name for column in project.columns if not column.required]
    without = predict_scores(model, raw.drop(columns=optional), project)
    empty = predict_scores(model, raw.assign(**dict.fromkeys(optional, None)), project)
    np.testing.assert_array_equal(without, empty)
    assert np.isfinite(without).all()


@pytest.mark.parametrize("estimator", ["hist_gradient_boosting", "ridge"])
def test_a_column_without_any_value_in_training_changes_nothing(estimator: str) -> None:
    homes, train = load_project("toy_price"), settings()
    frame = records(homes, 120)
    features, target = RowFeatures("toy_price").transform(frame.assign(posted=None)), frame["price"]
    model = build_model(homes, estimator, train, seed=0).fit(features, target)
    later = RowFeatures("toy_price").transform(frame)
    assert later["age"].notna().any()
    np.testing.assert_array_equal(model.predict(later), model.predict(features))


def test_a_missing_required_column_or_an_unreadable_value_is_an_error(project: Project) -> None:
    raw = raw_rows(project, 5)
    required = next(column.name for column in project.columns if column.required)
    with pytest.raises(ValueError, match=f"{project.name}: the rows lack the column {required}"):
        RowFeatures(project.name).transform(raw.drop(columns=required))
    number = next(column.name for column in project.columns if column.kind == "number")
    raw[number] = pd.Series([1, 1, "many", 1, 1], dtype=object)
    with pytest.raises(ValueError, match=f"{project.name}: {number} is no number: 'many'"):
        RowFeatures(project.name).transform(raw)


def test_features_keep_the_index_and_the_order_of_the_rows(project: Project) -> None:
    frame = records(project, 30)
    shuffled = frame.sample(frac=1, random_state=0)
    features = RowFeatures(project.name).transform(frame)
    pd.testing.assert_frame_equal(RowFeatures(project.name).transform(shuffled), features.loc[shuffled.index])
    assert tuple(features) == project.feature_names


@pytest.mark.parametrize("dense", [True, False])
def test_an_encoding_has_no_missing_value_where_the_estimator_takes_none(project: Project, dense: bool) -> None:
    frame = records(project)
    features = RowFeatures(project.name).transform(frame)
    encoder = build_encoder(project, dense=dense, smooth="auto", seed=0)
    encoded = encoder.fit_transform(features, frame[project.target])
    assert np.isfinite(encoded).all() or not dense
    unseen = features.assign(**dict.fromkeys(project.one_hot + project.target_encoded, "Atlantis"))
    assert encoder.transform(unseen).shape == encoded.shape
    if dense:
        numbers = encoder.transform(features)[:, : len(project.numeric)]
        np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-9)


def test_a_text_of_its_own_in_every_row_does_not_give_the_target_away() -> None:
    cars = load_project("toy_price")
    rng = np.random.default_rng(0)
    features = RowFeatures("toy_price").transform(records(cars, 400))
    features = features.assign(builder=[f"boat {number}" for number in range(len(features))])
    target = rng.normal(size=len(features))
    encoder = build_encoder(cars, dense=False, smooth="auto", seed=0)
    encoded = pd.DataFrame(encoder.fit_transform(features, target), columns=encoder.get_feature_names_out())
    assert abs(np.corrcoef(encoded["builder"], target)[0, 1]) < 0.3


@pytest.mark.parametrize("calibration", ["none", "isotonic"])
@pytest.mark.parametrize(("resampling", "balance"), [("oversample", max), ("undersample", min), ("none", None)])
def test_resampling_happens_only_while_fitting(
    resampling: str, balance: Callable[..., int] | None, calibration: str
) -> None:
    frame = records(CHURN)
    train = settings(resampling=resampling, calibration=calibration)
    inner = build_model(CHURN, "random_forest", train, seed=0)
    model = assemble(CHURN, calibrated(inner.set_params(estimator=Spy()), train, seed=0)).fit(frame, frame["late"])
    counts = np.bincount(frame["late"].astype(int)).tolist()
    assert unwrap(model["model"]).estimator.seen_ == ([balance(counts)] * 2 if balance else counts)
    assert model.predict_proba(frame).shape == (300, 2)


@pytest.mark.slow
def test_calibration_undoes_what_oversampling_does_to_the_level_of_the_probabilities() -> None:
    frame = records(CHURN, 1_000)
    features = RowFeatures("toy").transform(frame)
    level = {}
    for calibration in ("none", "sigmoid"):
        train = settings(resampling="oversample", calibration=calibration)
        model = calibrated(build_model(CHURN, "logistic_regression", train, 0), train, 0).fit(features, frame["late"])
        level[calibration] = predict_scores(model, features, CHURN).mean()
    assert level["none"] > frame["late"].mean() + 0.1
    assert level["sigmoid"] == pytest.approx(frame["late"].mean(), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("calibration", ["none", "sigmoid", "isotonic"])
@pytest.mark.parametrize("name", ["hist_gradient_boosting", "random_forest"])
def test_calibrating_a_models_own_probabilities_gives_those_it_predicts(name: str, calibration: str) -> None:
    frame = records(CHURN)
    features, train = RowFeatures("toy").transform(frame), settings(calibration=calibration)
    model = calibrated(build_model(CHURN, name, train, 0), train, 0).fit(features, frame["late"])
    layers = unwrap(model)
    own = layers.estimator.predict_proba(layers.encoder.transform(features))[:, 1]
    np.testing.assert_allclose(calibrate(model, own), predict_scores(model, features, CHURN), atol=1e-9)


def test_resampling_a_regression_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"resampling 'oversample' is for classification; set toy_plain\.train\.resampling=none"
    ):
        build_model(load_project("toy_plain"), "ridge", settings(resampling="oversample"), 0)


def test_a_threshold_decides_from_its_probability_on() -> None:
    frame = records(CHURN)
    model = build_model(CHURN, "logistic_regression", settings(), 0)
    probability = predict_scores(assemble(CHURN, model).fit(frame, frame["late"]), frame, CHURN)
    threshold = float(probability[7])
    decided = assemble(CHURN, with_threshold(model, threshold)).fit(frame, frame["late"])
    np.testing.assert_array_equal(decided.predict(frame), probability >= threshold)
    np.testing.assert_array_equal(predict_scores(decided, frame, CHURN), probability)


def test_the_encoder_and_the_estimator_are_found_under_whatever_is_around_them(project: Project, finished: Path) -> None:
    model = joblib.load(finished / "models" / project.name / "model.joblib")
    layers, rows = unwrap(model["model"]), raw_rows(project, 10)
    encoded = layers.encoder.transform(model["features"].transform(rows))
    if project.task == "classification":
        own = layers.estimator.predict_proba(encoded)[:, 1]
        np.testing.assert_allclose(calibrate(model["model"], own), predict_scores(model, rows, project))
    else:
        predicted = layers.estimator.predict(encoded)
        predicted = predicted if layers.inverse is None else layers.inverse(predicted)
        np.testing.assert_allclose(predicted, predict_scores(model, rows, project))
    assert (layers.inverse is not None) == project.log_target


def test_a_log_target_predicts_the_geometric_and_not_the_arithmetic_middle() -> None:
    villages = load_project("toy_plain")
    frame = records(villages, 60).assign(worth=[1.0, 100.0] * 30)
    features = RowFeatures("toy_plain").transform(frame).assign(**dict.fromkeys(villages.numeric, 1.0))
    model = build_model(villages, "ridge", settings(), 0).fit(features, frame["worth"])
    np.testing.assert_allclose(model.predict(features), 10)


def test_folds_hold_every_row_once_and_keep_groups_whole_and_classes_even(project: Project) -> None:
    frame = project.clean(records(project, 400)).reset_index(drop=True)
    folds = make_folds(project, frame, 4, seed=0)
    assert sorted(np.concatenate([validation for _, validation in folds])) == list(range(len(frame)))
    for training, validation in folds:
        assert not set(training) & set(validation)
        if project.groups:
            keys = project.groups(frame)
            assert not set(keys[training]) & set(keys[validation])
        elif project.task == "classification":
            rate = frame[project.target].mean()
            assert frame[project.target].iloc[validation].mean() == pytest.approx(rate, abs=2 / len(validation))
