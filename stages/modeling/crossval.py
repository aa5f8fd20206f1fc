"""Candidates compared on the same folds of the training rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, clone
from tqdm import tqdm

from stages.modeling.metrics import fold_scores
from stages.modeling.parallel import compute_backend
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project
from stages.runtime.metric_names import HIGHER_IS_BETTER

Folds = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class FoldResult:
    """Scores of one candidate on one fold, and its predictions of the fold's validation rows."""

    name: str
    fold: int
    scores: dict[str, float]
    predictions: np.ndarray
    seconds: float


def fit_fold(
    name: str,
    model: BaseEstimator,
    fold: int,
    rows: tuple[np.ndarray, np.ndarray],
    features: pd.DataFrame,
    target: np.ndarray,
    project: Project,
) -> FoldResult:
    """Fit a fresh clone on the fold's training rows and score it on the others."""
    start = time.perf_counter()
    training, validation = rows
    fitted = clone(model).fit(features.iloc[training], target[training])
    predictions = predict_scores(fitted, features.iloc[validation], project)
    scores = fold_scores(target[validation], predictions, project.task)
    return FoldResult(name, fold, scores, predictions, time.perf_counter() - start)


def cross_validate(
    models: dict[str, BaseEstimator], features: pd.DataFrame, target: np.ndarray, folds: Folds, project: Project
) -> Iterator[FoldResult]:
    """Every candidate on every fold, in that order, as the results come."""
    tasks = [
        delayed(fit_fold)(name, model, number, rows, features, target, project)
        for name, model in models.items()
        for number, rows in enumerate(folds)
    ]
    with compute_backend():
        results = Parallel(return_as="generator")(tasks)
        yield from tqdm(results, total=len(tasks), desc="folds", unit="fit", disable=None)


def out_of_fold(results: list[FoldResult], folds: Folds, rows: int) -> np.ndarray:
    """Predictions of one candidate put back in the order of the training rows, shape (rows,)."""
    predictions = np.full(rows, np.nan)
    for result in results:
        predictions[folds[result.fold][1]] = result.predictions
    return predictions


def leaderboard(results: list[FoldResult], primary: str) -> list[dict[str, Any]]:
    """Mean and standard deviation per metric for each candidate, best first by the primary metric."""
    table = []
    for name in dict.fromkeys(result.name for result in results):
        scores = pd.DataFrame([result.scores for result in results if result.name == name])
        mean, sd = scores.mean(), scores.std(ddof=1)
        metrics = {metric: {"mean": float(mean[metric]), "sd": float(sd[metric])} for metric in map(str, scores)}
        table.append({"candidate": name, "metrics": metrics})
    return sorted(table, key=lambda row: row["metrics"][primary]["mean"], reverse=primary in HIGHER_IS_BETTER)
