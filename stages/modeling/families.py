"""The estimators that params.yaml can name. Imports none of them: checking params needs no scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Settings = dict[str, Any]
Task = Literal["classification", "regression"]
Explainer = Literal["tree", "linear", "none"]


@dataclass(frozen=True)
class Family:
    """Where an estimator is imported from for each task, what it is always given, and how it is explained.

    `dense`: it takes no missing values and needs scaled columns. `extra`: the optional dependency that brings it.
    """

    classification: str = ""
    regression: str = ""
    dense: bool = False
    explainer: Explainer = "none"
    settings: Settings = field(default_factory=dict)
    seed: str = "random_state"
    extra: str = ""


FAMILIES = {
    "logistic_regression": Family(
        "sklearn.linear_model.LogisticRegression",
        dense=True,
        explainer="linear",
        settings={"max_iter": 1000},
    ),
    "linear_regression": Family(regression="sklearn.linear_model.LinearRegression", dense=True, explainer="linear", seed=""),
    "ridge": Family(regression="sklearn.linear_model.Ridge", dense=True, explainer="linear"),
    "random_forest": Family(
        "sklearn.ensemble.RandomForestClassifier", "sklearn.ensemble.RandomForestRegressor", explainer="tree"
    ),
    "extra_trees": Family("sklearn.ensemble.ExtraTreesClassifier", "sklearn.ensemble.ExtraTreesRegressor", explainer="tree"),
    "gradient_boosting": Family(
        "sklearn.ensemble.GradientBoostingClassifier",
        "sklearn.ensemble.GradientBoostingRegressor",
        dense=True,  # it takes no missing values
        explainer="tree",
    ),
    "hist_gradient_boosting": Family(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.HistGradientBoostingRegressor",
        explainer="tree",
        settings={"early_stopping": False},
    ),
    "gaussian_process": Family(regression="stages.modeling.estimators.ArdGaussianProcess", dense=True),
    "lightgbm": Family(
        "lightgbm.LGBMClassifier",
        "lightgbm.LGBMRegressor",
        explainer="tree",
        settings={"n_jobs": 1, "deterministic": True, "force_row_wise": True, "verbose": -1},
        extra="lightgbm",
    ),
    "catboost": Family(
        "catboost.CatBoostClassifier",
        "catboost.CatBoostRegressor",
        explainer="tree",
        settings={"thread_count": 1, "allow_writing_files": False, "verbose": False},
        seed="random_seed",
        extra="catboost",
    ),
    "xgboost": Family(
        "xgboost.XGBClassifier", "xgboost.XGBRegressor", explainer="tree", settings={"n_jobs": 1}, extra="xgboost"
    ),
}

ESTIMATORS = (*FAMILIES, "voting")
