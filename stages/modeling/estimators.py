"""Building the estimators that params.yaml names."""

from __future__ import annotations

import importlib
import warnings
from functools import partial
from typing import Any

import scipy.optimize
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from stages.core.cli import UserError
from stages.modeling.families import FAMILIES, Explainer, Task
from stages.modeling.settings import Train

# A column without information gets an infinite length scale: that is how it is left out, and no reason to warn.
warnings.filterwarnings("ignore", "The optimal value found for dimension", ConvergenceWarning)


class ArdGaussianProcess(GaussianProcessRegressor):
    """A Gaussian process with a Matérn kernel of smoothness `nu` that has a length scale of its own per column, and white
    noise (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 4.2 and 5.1). The length scales
    are searched in at most `max_iter` steps: on the Boston data 25 reach the error of convergence in two fifths of its time.
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


def is_dense(name: str, train: Train) -> bool:
    """Whether the estimator, or a member of the voting, needs missing values imputed and columns scaled."""
    names = _members(train) if name == "voting" else [name]
    return any(FAMILIES[member].dense for member in names)


def explainer_of(name: str) -> Explainer:
    """The kind of exact SHAP explainer the estimator has."""
    return "none" if name == "voting" else FAMILIES[name].explainer


def build_estimator(name: str, task: Task, train: Train, seed: int) -> Any:
    """An unfitted estimator with its settings from params; UserError when it cannot be built."""
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
