"""From raw rows to a fitted model: one scikit-learn Pipeline of features -> columns -> estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import FixedThresholdClassifier, GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from stages.command import UserError
from stages.estimators import build_estimator, is_dense
from stages.params import Train
from stages.project import Project, load_project
from stages.schema import coerce


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
        missing = [column.name for column in project.columns if column.required and column.name not in frame]
        if missing:
            raise ValueError(f"{self.project}: the rows lack the column {', '.join(missing)}")
        values, unreadable = coerce(frame, project.columns)
        for column in project.columns:
            if unreadable[column.name].any():
                bad = frame[column.name][unreadable[column.name]].iloc[0]
                raise ValueError(f"{self.project}: {column.name} is no {column.kind}: {bad!r}")
        features = project.features(values)
        return pd.DataFrame({name: features[name] for name in project.feature_names}, index=frame.index)


def build_encoder(project: Project, *, dense: bool, smooth: float | str, seed: int) -> ColumnTransformer:
    """Features to numbers. Trees take gaps as they are; a dense encoding, for every other estimator, fills them with the
    median and scales. Texts of many values become the mean target of their rows, cross-fitted while training.
    """
    target_encoder = TargetEncoder(
        target_type="continuous" if project.task == "regression" else "binary", smooth=smooth, random_state=seed
    )
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    parts = [
        ("numeric", make_pipeline(fill, StandardScaler()) if dense else "passthrough", list(project.numeric)),
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


def with_threshold(model: BaseEstimator, threshold: float) -> FixedThresholdClassifier:
    """The classifier whose `predict` says 1 from this probability on."""
    return FixedThresholdClassifier(model, threshold=threshold, response_method="predict_proba")


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


