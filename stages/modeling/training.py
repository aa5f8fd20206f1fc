"""From the comparison of the candidates to the model that is kept, with its decision rule and its manifest."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from dvclive.live import Live
from sklearn.base import BaseEstimator

from stages.modeling.crossval import FoldResult, Folds, cross_validate
from stages.modeling.decision import choose_threshold, conformal_radius
from stages.modeling.parallel import compute_backend
from stages.modeling.pipeline import build_model, calibrate, calibrated, with_threshold
from stages.modeling.settings import Train
from stages.projects._base import Column, Project
from stages.runtime.metric_names import TITLES

LIBRARIES = ("imbalanced-learn", "joblib", "numpy", "pandas", "scikit-learn", "scipy")


def compare_candidates(
    project: Project, train: Train, features: pd.DataFrame, target: np.ndarray, folds: Folds, seed: int, live: Live
) -> list[FoldResult]:
    """Cross-validate the candidates, logging each fold's scores as it ends."""
    models = {name: build_model(project, name, train, seed) for name in train.compared}
    results = []
    for result in cross_validate(models, features, target, folds, project):
        live.step = result.fold
        for metric, value in result.scores.items():
            live.log_metric(f"{result.name}/{metric}", value)
        live.make_summary()
        results.append(result)
    return results


def fit_model(
    project: Project,
    name: str,
    train: Train,
    features: pd.DataFrame,
    target: np.ndarray,
    out_of_fold: np.ndarray,
    seed: int,
) -> tuple[BaseEstimator, np.ndarray, dict[str, Any]]:
    """The chosen estimator fitted on all training rows; the out-of-fold scores, shape (rows,), calibrated as the model is;
    and what the manifest says of its threshold or interval.
    """
    model = build_model(project, name, train, seed)
    if project.task == "classification":
        return fit_classifier(model, features, target, out_of_fold, train, seed)
    fitted, decision = fit_regressor(model, features, target, out_of_fold, train, project.log_target)
    return fitted, out_of_fold, decision


def fit_classifier(
    model: BaseEstimator, features: pd.DataFrame, target: np.ndarray, out_of_fold: np.ndarray, train: Train, seed: int
) -> tuple[BaseEstimator, np.ndarray, dict[str, Any]]:
    """The calibrated model with the threshold that suits the goal best on out-of-fold probabilities, and those."""
    with compute_backend():
        fitted = calibrated(model, train, seed).fit(features, target)
    probabilities = calibrate(fitted, out_of_fold)
    threshold = choose_threshold(target, probabilities, train.threshold)
    return with_threshold(fitted, threshold), probabilities, {"threshold": threshold, "classes": [0, 1]}


def fit_regressor(
    model: BaseEstimator, features: pd.DataFrame, target: np.ndarray, out_of_fold: np.ndarray, train: Train, log: bool
) -> tuple[BaseEstimator, dict[str, Any]]:
    """The fitted model with the radius of its conformal interval, on the log scale for a log target."""
    radius = conformal_radius(target, out_of_fold, train.coverage, log=log)
    with compute_backend():
        fitted = model.fit(features, target)
    return fitted, {"interval": {"coverage": train.coverage, "radius": radius, "scale": "log" if log else "linear"}}


def build_manifest(
    project: Project, train: Train, seed: int, name: str, board: list[dict[str, Any]], rows: int, data: dict[str, Any]
) -> dict[str, Any]:
    """What manifest.json says of the estimator `name`, but for its decision rule."""
    return {
        "project": project.name,
        "task": project.task,
        "estimator": name,
        "target": project.target,
        "unit": project.unit,
        "columns": [column_entry(column) for column in project.columns],
        "features": list(project.feature_names),
        "cross_validation": next(row["metrics"] for row in board if row["candidate"] == name),
        "params": {"seed": seed, **train.model_dump(mode="json")},
        "rows": rows,
        "libraries": {library: version(library) for library in LIBRARIES},
        "data": data,
    }


def column_entry(column: Column) -> dict[str, Any]:
    """What the manifest says of an input column."""
    return {"name": column.name, "type": column.kind, "required": column.required, "unit": column.unit}


def leaderboard_lines(board: list[dict[str, Any]], results: list[FoldResult], metric: str, chosen: str) -> list[str]:
    """The comparison for the terminal, with the seconds that are kept out of files because they differ by run."""
    lines = []
    for row in board:
        seconds = np.mean([result.seconds for result in results if result.name == row["candidate"]])
        score, mark = row["metrics"][metric], "->" if row["candidate"] == chosen else "  "
        mean_sd = f"{TITLES[metric]} {score['mean']:,.4f} ± {score['sd']:,.4f}"
        lines.append(f"{mark} {row['candidate']:24}{mean_sd}  {seconds:.2f} s a fold")
    return lines
