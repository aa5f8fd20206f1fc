"""The estimators that params.yaml can name."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import scipy.optimize
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from stages.command import UserError
from stages.params import Settings, Train

# A column that tells nothing gets an endless length scale: that is how it is left out, and no reason to warn.
warnings.filterwarnings("ignore", "The optimal value found for dimension", ConvergenceWarning)

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Family:
    """Where an estimator is imported from for each task, what it is always given, and how it is explained.

    `dense`: it takes no gaps and wants scaled columns. `extra`: the optional dependency that brings it.
    """

    classification: str = ""
    regression: str = ""
    dense: bool = False
    explainer: Literal["tree", "linear", "none"] = "none"
    settings: Settings = field(default_factory=dict)
    seed: str = "random_state"
    extra: str = ""


class ArdGaussianProcess(GaussianProcessRegressor):
    """A Gaussian process with a Matérn kernel of smoothness `nu` that has a length scale of its own per column, and white
    noise (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 4.2 and 5.1). The length scales
    are sought in at most `max_iter` steps: on the Boston data 25 reach the error of convergence in two fifths of its time.
    """

    def __init__(
        self, nu: float = 1.5, max_iter: int = 25, n_restarts_optimizer: int = 0, random_state: int | None = None
    ) -> None:
        self.nu = nu
        self.max_iter = max_iter
        super().__init__(n_restarts_optimizer=n_restarts_optimizer, normalize_y=True, random_state=random_state)

    def fit(self, X: Any, y: Any) -> ArdGaussianProcess:  # noqa: N803
        self.kernel = ConstantKernel() * Matern([1.0] * X.shape[1], nu=self.nu) + WhiteKernel(0.1)
        self.optimizer = partial(_minimise, max_iter=self.max_iter)
        return super().fit(X, y)


def _minimise(objective: Any, start: Any, bounds: Any, max_iter: int) -> tuple[Any, float]:
    found = scipy.optimize.minimize(
        objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": max_iter}
    )
    return found.x, found.fun


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
        dense=True,  # it takes no gaps
        explainer="tree",
    ),
    "hist_gradient_boosting": Family(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.HistGradientBoostingRegressor",
        explainer="tree",
        settings={"early_stopping": False},
    ),
    "gaussian_process": Family(regression="stages.estimators.ArdGaussianProcess", dense=True),
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


def is_dense(name: str, train: Train) -> bool:
    """Whether the estimator, or a member of the voting, needs gaps filled and columns scaled."""
    names = _members(train) if name == "voting" else [name]
    return any(FAMILIES[member].dense for member in names)


def explainer_of(name: str) -> Literal["tree", "linear", "none"]:
    """The kind of exact SHAP explainer the estimator has."""
    return "none" if name == "voting" else FAMILIES[name].explainer


def build_estimator(name: str, task: Task, train: Train, seed: int) -> Any:
    """An unfitted estimator with its settings from params; UserError when it cannot be had."""
    if name == "voting":
        return _build_voting(task, train, seed)
    family = FAMILIES[name]
    path = family.classification if task == "classification" else family.regression
    if not path:
        raise UserError(f"{name} does no {task}; choose another estimator in train.model and train.candidates")
    module, _, attribute = path.rpartition(".")
    try:
        constructor = getattr(importlib.import_module(module), attribute)
    except ImportError:
        raise UserError(
            f"{name} is not installed: .venv/bin/uv pip install -r pyproject.toml --extra {family.extra} "
            "-c requirements.lock"
        ) from None
    settings = {**family.settings, **train.estimators.get(name, {})}
    if family.seed:
        settings = {family.seed: seed, **settings}
    try:
        estimator = constructor(**settings)
    except TypeError as error:
        raise UserError(f"train.{name}: {error}") from None
    if hasattr(estimator, "_parameter_constraints"):
        try:
            estimator._validate_params()
        except ValueError as error:
            raise UserError(f"train.{name}: {error}") from None
    if train.resampling == "class_weight":
        if "class_weight" not in estimator.get_params():
            raise UserError(f"{name} takes no class weights; set train.resampling to oversample, undersample or none")
        estimator.set_params(class_weight="balanced")
    return estimator


def _build_voting(task: Task, train: Train, seed: int) -> VotingClassifier | VotingRegressor:
    weights = _members(train)
    members = [(name, build_estimator(name, task, train, seed)) for name in weights]
    if task == "classification":
        return VotingClassifier(members, voting="soft", weights=list(weights.values()))
    return VotingRegressor(members, weights=list(weights.values()))


def _members(train: Train) -> dict[str, float]:
    members = train.estimators.get("voting", {}).get("members")
    if not isinstance(members, dict) or not members or "voting" in members or not members.keys() <= FAMILIES.keys():
        raise UserError(f"train.voting.members: a mapping of estimator names to weights is needed, not {members!r}")
    return members
