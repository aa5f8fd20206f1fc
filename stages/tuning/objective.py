"""What a tuning minimises or maximises: the cross-validated primary metric on the training rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import joblib
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator

from stages.core.cli import UserError
from stages.modeling.crossval import Folds, compute_backend, fit_fold
from stages.modeling.pipeline import RowFeatures, build_model, make_folds
from stages.modeling.settings import Train
from stages.projects._base import Project
from stages.runtime.metric_names import HIGHER_IS_BETTER
from stages.tuning.space import Space, Values, lowest, with_values


@dataclass(frozen=True)
class Objective:
    """An estimator of a project with the rows and folds that its settings are scored on, `jobs` fits at a time."""

    project: Project
    estimator: str
    train: Train
    features: pd.DataFrame
    target: np.ndarray
    folds: Folds
    seed: int
    jobs: int

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """As Optuna names it."""
        return "maximize" if self.project.primary_metric in HIGHER_IS_BETTER else "minimize"

    def build(self, values: Values) -> BaseEstimator:
        """The unfitted model with these values."""
        return build_model(self.project, self.estimator, with_values(self.train, self.estimator, values), self.seed)

    def score(self, batch: list[Values]) -> Iterator[float]:
        """The metric of each of these settings; UserError for one that cannot be fitted."""
        try:
            yield from cross_validated([self.build(values) for values in batch], self)
        except (ValueError, ArithmeticError) as error:
            place = f"{self.project.name}.tune.{self.estimator}"
            raise UserError(f"{self.estimator} cannot be fitted everywhere in {place}: {error}") from error

    def digest(self, space: Space) -> str:
        """Six hex digits that name the rows, the folds, the metric, the space, and the settings outside it."""
        ranges = {key: part.model_dump() for key, part in space.items()}
        rows = self.features, self.target, self.folds
        return str(joblib.hash((self.build(lowest(space)), ranges, *rows, self.project.primary_metric))[:6])


def make_objective(project: Project, estimator: str, train: Train, frame: pd.DataFrame, seed: int, jobs: int) -> Objective:
    """The objective on these training rows."""
    features, target = RowFeatures(project.name).transform(frame), frame[project.target].to_numpy()
    folds = make_folds(project, frame, train.folds, seed)
    return Objective(project, estimator, train, features, target, folds, seed, jobs)


def cross_validated(models: list[BaseEstimator], on: Objective) -> Iterator[float]:
    """The mean of the primary metric over the folds, model by model; where it has no value, the worst possible."""
    tasks = [
        delayed(fit_fold)(str(number), model, fold, rows, on.features, on.target, on.project)
        for number, model in enumerate(models)
        for fold, rows in enumerate(on.folds)
    ]
    metric = on.project.primary_metric
    worst = -math.inf if metric in HIGHER_IS_BETTER else math.inf
    with compute_backend():
        results = Parallel(n_jobs=on.jobs, return_as="generator")(tasks)
        for _ in models:
            mean = float(np.mean([result.scores[metric] for result in islice(results, len(on.folds))]))
            yield worst if math.isnan(mean) else mean
