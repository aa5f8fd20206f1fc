"""From raw rows to a fitted model: one scikit-learn Pipeline of features -> columns -> estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.special
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import FixedThresholdClassifier, GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from stages.core.cli import UserError
from stages.core.schema import read
from stages.modeling.estimators import build_estimator, is_dense
from stages.modeling.settings import Train
from stages.projects._base import Project, load_project


class RowFeatures(TransformerMixin, BaseEstimator):
    """Raw rows as a frame in, the project's features as a frame out. Learns nothing. Unknown columns are ignored, missing
    optional ones are gaps; ValueError for a missing required column or a value that cannot be read.
    """

    def __init__(self, project: str) -> None:
        self.project = project

    def fit(self, frame: pd.DataFrame, target: Any = None) -> RowFeatures:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        project = load_project(self.project)
        try:
            values = read(frame, project.columns)
        except ValueError as error:
            raise ValueError(f"{self.project}: {error}") from None
        features = project.features(values)
        return pd.DataFrame({name: features[name] for name in project.feature_names}, index=frame.index)


class GapFiller(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fills the gaps of a numeric column with its ridge regression on the columns that had none in training, or with its
    median where there is no such column. On the Boston data that lowers a Gaussian process's error by 8 % against medians.
    """

    def fit(self, columns: Any, target: Any = None) -> GapFiller:
        values = np.asarray(columns, dtype=float)
        self.n_features_in_ = values.shape[1]
        gaps = np.isnan(values)
        self.median_ = np.array([np.median(v[~g]) if not g.all() else 0.0 for v, g in zip(values.T, gaps.T, strict=True)])
        self.complete_ = np.flatnonzero(~gaps.any(axis=0) & (np.ptp(values, axis=0) > 0))
        self.weights_ = np.zeros((values.shape[1], len(self.complete_)))
        self.intercept_ = self.median_.copy()
        scaler = StandardScaler().fit(values[:, self.complete_]) if len(self.complete_) else None
        for column in np.flatnonzero(gaps.any(axis=0) & ~gaps.all(axis=0)):
            if scaler is not None:
                known = ~gaps[:, column]
                ridge = Ridge().fit(scaler.transform(values[known][:, self.complete_]), values[known, column])
                self.weights_[column] = ridge.coef_ / scaler.scale_
                self.intercept_[column] = ridge.intercept_ - self.weights_[column] @ scaler.mean_
        return self

    def transform(self, columns: Any) -> np.ndarray:
        values = np.asarray(columns, dtype=float)
        gaps = np.isnan(values)
        complete = np.where(gaps, self.median_, values)[:, self.complete_]
        return np.where(gaps, complete @ self.weights_.T + self.intercept_, values)


class GapKeeper(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Leaves numbers and gaps as they are, except that a column without any value is 0 while the estimator is fitted:
    scikit-learn 1.9 cannot bin it. No tree splits on a constant, so nothing else changes.
    """

    def fit(self, columns: Any, target: Any = None) -> GapKeeper:
        self.n_features_in_ = np.shape(columns)[1]
        return self

    def transform(self, columns: Any) -> np.ndarray:
        return np.asarray(columns, dtype=float)

    def fit_transform(self, columns: Any, target: Any = None) -> np.ndarray:
        values = self.fit(columns).transform(columns)
        return np.where(np.isnan(values).all(axis=0), 0.0, values)


def build_encoder(project: Project, *, dense: bool, smooth: float | str, seed: int) -> ColumnTransformer:
    """Features to numbers. Trees take gaps as they are; a dense encoding, for every other estimator, fills them and
    scales. Texts of many values become the mean target of their rows, cross-fitted while training.
    """
    target_type, folds = ("continuous", KFold) if project.task == "regression" else ("binary", StratifiedKFold)
    target_encoder = TargetEncoder(target_type=target_type, smooth=smooth, cv=folds(5, shuffle=True, random_state=seed))
    parts = [
        ("numeric", make_pipeline(GapFiller(), StandardScaler()) if dense else GapKeeper(), list(project.numeric)),
        ("one_hot", OneHotEncoder(handle_unknown="ignore", sparse_output=False), list(project.one_hot)),
        (
            "target_encoded",
            make_pipeline(target_encoder, StandardScaler()) if dense else target_encoder,
            list(project.target_encoded),
        ),
    ]
    return ColumnTransformer([part for part in parts if part[2]], verbose_feature_names_out=False)


def build_model(project: Project, name: str, train: Train, seed: int) -> BaseEstimator:
    """An unfitted estimator on features: columns, resampling inside, the estimator, and the log of the target around it."""
    if train.resampling != "none" and project.task == "regression":
        raise UserError(f"resampling {train.resampling!r} is for classification; set {project.name}.train.resampling=none")
    encoder = build_encoder(project, dense=is_dense(name, train), smooth=train.target_smooth, seed=seed)
    estimator = build_estimator(name, project.task, train, seed)
    if train.resampling in ("oversample", "undersample"):
        from imblearn.over_sampling import RandomOverSampler
        from imblearn.pipeline import Pipeline as ResamplingPipeline
        from imblearn.under_sampling import RandomUnderSampler

        sampler = RandomOverSampler if train.resampling == "oversample" else RandomUnderSampler
        steps = [("columns", encoder), ("resample", sampler(random_state=seed)), ("estimator", estimator)]
        return ResamplingPipeline(steps)
    pipeline = Pipeline([("columns", encoder), ("estimator", estimator)])
    if project.log_target:
        return TransformedTargetRegressor(pipeline, func=np.log, inverse_func=np.exp, check_inverse=False)
    return pipeline


def calibrated(model: BaseEstimator, train: Train, seed: int) -> BaseEstimator:
    """The classifier with its probabilities calibrated on out-of-fold scores; one model, not one per fold, is kept."""
    if train.calibration == "none":
        return model
    folds = StratifiedKFold(train.folds, shuffle=True, random_state=seed)
    return CalibratedClassifierCV(model, method=train.calibration, cv=folds, ensemble=False)


def calibrate(model: Any, probability: np.ndarray) -> np.ndarray:
    """What the calibration of a fitted classifier makes of its estimator's own probabilities. The few numbers of a
    calibrator are learned on out-of-fold scores, so that out-of-fold probabilities stay as good as unseen.
    """
    if not isinstance(model, CalibratedClassifierCV):
        return probability
    calibrated = model.calibrated_classifiers_[0]
    margin = hasattr(calibrated.estimator, "decision_function")
    scores = scipy.special.logit(np.clip(probability, 1e-15, 1 - 1e-15)) if margin else probability
    return np.asarray(calibrated.calibrators[0].predict(scores))


def with_threshold(model: BaseEstimator, threshold: float) -> FixedThresholdClassifier:
    """A fitted classifier whose `predict` says 1 from this probability on."""
    decided = FixedThresholdClassifier(model, threshold=threshold, response_method="predict_proba")
    decided.estimator_ = model  # its own fit would only train the model once more
    return decided


def assemble(project: Project, model: BaseEstimator) -> Pipeline:
    """The pipeline from raw rows to predictions."""
    return Pipeline([("features", RowFeatures(project.name)), ("model", model)])


def inner_pipeline(model: Any) -> Pipeline:
    """The columns -> estimator part of a fitted pipeline, from under threshold, calibration and target transform."""
    inner = model["model"]
    if isinstance(inner, FixedThresholdClassifier):
        inner = inner.estimator_
    if isinstance(inner, CalibratedClassifierCV):
        inner = inner.calibrated_classifiers_[0].estimator
    if isinstance(inner, TransformedTargetRegressor):
        inner = inner.regressor_
    return inner


def make_folds(project: Project, frame: pd.DataFrame, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and validation positions per fold: stratified for a classifier, whole groups where the project has them."""
    target = frame[project.target]
    if project.groups:
        return list(GroupKFold(folds, shuffle=True, random_state=seed).split(frame, target, project.groups(frame)))
    splitter = StratifiedKFold if project.task == "classification" else KFold
    return list(splitter(folds, shuffle=True, random_state=seed).split(frame, target))


def predict_scores(model: Any, features: Any, project: Project) -> np.ndarray:
    """The probability of class 1, or the predicted value."""
    if project.task == "classification":
        return np.asarray(model.predict_proba(features)[:, 1])
    return np.asarray(model.predict(features))
