"""The same model trained on fewer rows: the learning curve, and the back-test on later rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, clone

from stages.core.objects import objects
from stages.evaluation.settings import Evaluate
from stages.modeling.metrics import fold_scores
from stages.modeling.parallel import compute_backend
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project


def refit_score(
    model: BaseEstimator, fit_on: tuple[Any, np.ndarray], check_on: tuple[Any, np.ndarray], project: Project
) -> dict[str, float | None]:
    """Scores on `check_on` of a clone of the model fitted on `fit_on`, None where a metric has no value."""
    fitted = clone(model).fit(*fit_on)
    scores = fold_scores(check_on[1], predict_scores(fitted, check_on[0], project), project.task)
    return {metric: None if np.isnan(value) else value for metric, value in scores.items()}


def backtest_rows(frame: pd.DataFrame, project: Project, share: float) -> tuple[np.ndarray, np.ndarray, str]:
    """Masks of the rows before the day that the latest `share` of rows begins with, and of those from it on, and that day.
    An object that was seen before the day is left out after it.
    """
    day = frame[project.time_column].sort_values().iloc[int(len(frame) * (1 - share))]
    before = (frame[project.time_column] < day).to_numpy()
    after = (frame[project.time_column] >= day).to_numpy()
    keys = objects(frame, project)
    after = after & ~keys.isin(keys[before]).to_numpy()
    return before, after, str(day.date())


def refits(
    project: Project, model: Any, train: pd.DataFrame, test: pd.DataFrame, settings: Evaluate, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The learning curve, and the back-test where rows have a date, None elsewhere."""
    features = model["features"]
    rest = model["model"]
    target = project.target
    order = np.random.default_rng(seed).permutation(len(train))
    sizes = [max(30, round(share * len(train))) for share in settings.learning_curve]
    check = (features.transform(test), test[target].to_numpy())
    tasks = []
    for size in sizes:
        rows = train.iloc[np.sort(order[:size])]
        tasks.append(delayed(refit_score)(rest, (features.transform(rows), rows[target].to_numpy()), check, project))
    if project.time_column:
        everything = pd.concat([train, test], ignore_index=True)
        before, after, day = backtest_rows(everything, project, settings.backtest_share)
        old, new = everything[before], everything[after]
        sides = [(features.transform(rows), rows[target].to_numpy()) for rows in (old, new)]
        tasks.insert(0, delayed(refit_score)(rest, *sides, project))
    with compute_backend():
        scores = Parallel()(tasks)
    backtest = None
    if project.time_column:
        backtest = {"from": day, "train_rows": len(old), "test_rows": len(new), "metrics": scores.pop(0)}
    return [{"rows": size, **found} for size, found in zip(sizes, scores, strict=True)], backtest
