"""From raw rows to a fitted model: one scikit-learn Pipeline of features -> columns -> estimator, and back to its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.special
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.model_selection import FixedThresholdClassifier, GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from stages.core.cli import UserError
from stages.core.objects import objects
from stages.modeling.estimators import build_estimator, is_dense
from stages.modeling.settings import Train
from stages.modeling.transformers import NumericPassthrough, RegressionImputer, RowFeatures
from stages.projects._base import Project


def build_encoder(project: Project, *, dense: bool, smooth: float | str, seed: int) -> ColumnTransformer:
    """Features to numbers. Trees take missing values as they are; a dense encoding, for every other estimator, imputes them
    and scales. Texts of many values become the mean target of their rows, cross-fitted while training.
    """
    target_type, folds = ("continuous", KFold) if project.task == "regression" else ("binary", StratifiedKFold)
    target_encoder = TargetEncoder(target_type=target_type, smooth=smooth, cv=folds(5, shuffle=True, random_state=seed))
    parts = [
        (
            "numeric",
            make_pipeline(RegressionImputer(), StandardScaler()) if dense else NumericPassthrough(),
            list(project.numeric),
        ),
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
    """What the calibration of a fitted classifier makes of its estimator's own probabilities, shape (rows,). The few
    parameters of a calibrator are learned on out-of-fold scores, so calibrated out-of-fold probabilities are still those of
    unseen rows.
    """
    layers = unwrap(model)
    if layers.calibrator is None:
        return probability
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.asarray(layers.calibrator.predict(scipy.special.logit(clipped) if layers.gives_log_odds else probability))


def with_threshold(model: BaseEstimator, threshold: float) -> FixedThresholdClassifier:
    """A fitted classifier whose `predict` says 1 from this probability on."""
    decided = FixedThresholdClassifier(model, threshold=threshold, response_method="predict_proba")
    decided.estimator_ = model  # its own fit would only train the model once more
    return decided


def assemble(project: Project, model: BaseEstimator) -> Pipeline:
    """The pipeline from raw rows to predictions."""
    return Pipeline([("features", RowFeatures(project.name)), ("model", model)])


@dataclass(frozen=True)
class Layers:
    """A fitted model, the part of the pipeline behind the row's features, without its wrappers. `calibrator` turns the raw
    output of `estimator` into probabilities, and `inverse` turns its predictions into the unit of the target; None where the
    model has none.
    """

    encoder: ColumnTransformer
    estimator: Any
    calibrator: Any = None
    inverse: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def gives_log_odds(self) -> bool:
        """Whether the raw output of a classifier, on which it is calibrated, is log-odds; else it is a probability."""
        return hasattr(self.estimator, "decision_function")


def unwrap(model: Any) -> Layers:
    """The layers of a fitted model, from under its threshold, calibration and target transform."""
    calibrator = inverse = None
    if isinstance(model, FixedThresholdClassifier):
        model = model.estimator_
    if isinstance(model, CalibratedClassifierCV):
        (calibrated,) = model.calibrated_classifiers_
        model, (calibrator,) = calibrated.estimator, calibrated.calibrators
    if isinstance(model, TransformedTargetRegressor):
        model, inverse = model.regressor_, model.inverse_func
    return Layers(model["columns"], model["estimator"], calibrator, inverse)


def make_folds(project: Project, frame: pd.DataFrame, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and validation positions per fold: stratified for a classifier, and the rows of an object in one fold."""
    target, keys = frame[project.target], objects(frame, project)
    if project.groups:
        return list(GroupKFold(folds, shuffle=True, random_state=seed).split(frame, target, keys))
    if keys.duplicated().any():
        grouped = StratifiedGroupKFold if project.task == "classification" else GroupKFold
        return list(grouped(folds, shuffle=True, random_state=seed).split(frame, target, keys))
    splitter = StratifiedKFold if project.task == "classification" else KFold
    return list(splitter(folds, shuffle=True, random_state=seed).split(frame, target))


def predict_scores(model: Any, features: Any, project: Project) -> np.ndarray:
    """The probability of class 1, or the predicted value."""
    if project.task == "classification":
        return np.asarray(model.predict_proba(features)[:, 1])
    return np.asarray(model.predict(features))
