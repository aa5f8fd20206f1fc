"""Reads train.parquet, writes model.joblib, manifest.json, out_of_fold.parquet (target and score of every training row by a
model that did not see it), a reference sample, population.json and the leaderboard of the candidates.

python -m stages.train bankchurn
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from typing import Any

import joblib
import numpy as np
import pandas as pd
from dvclive.live import Live
from sklearn.base import BaseEstimator

from stages.core.cli import run
from stages.core.files import Paths, read_json, sha256, write, write_json
from stages.core.params import load_block, load_seed
from stages.core.schema import coerce
from stages.modeling.crossval import FoldResult, compute_backend, cross_validate, leaderboard, out_of_fold
from stages.modeling.decision import choose_threshold, conformal_radius
from stages.modeling.pipeline import RowFeatures, assemble, build_model, calibrate, calibrated, make_folds, with_threshold
from stages.modeling.settings import Train
from stages.projects._base import Column, Project, load_project
from stages.runtime.metric_names import HIGHER_IS_BETTER
from stages.runtime.population import summarise

LIBRARIES = ("imbalanced-learn", "joblib", "numpy", "pandas", "scikit-learn", "scipy")
REFERENCE_ROWS = 2_000


def compare(
    project: Project, train: Train, frame: pd.DataFrame, features: pd.DataFrame, seed: int, live: Live
) -> tuple[list[FoldResult], list[tuple[np.ndarray, np.ndarray]]]:
    """Cross-validate the candidates, logging each fold's scores as it ends."""
    target = frame[project.target].to_numpy()
    folds = make_folds(project, frame, train.folds, seed)
    models = {name: build_model(project, name, train, seed) for name in train.compared}
    results = []
    for result in cross_validate(models, features, target, folds, project):
        live.step = result.fold
        for metric, value in result.scores.items():
            live.log_metric(f"{result.name}/{metric}", value)
        live.make_summary()
        results.append(result)
    return results, folds


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


def describe_column(column: Column) -> dict[str, Any]:
    """What the manifest says of an input column."""
    return {"name": column.name, "type": column.kind, "required": column.required, "unit": column.unit}


def describe_model(
    project: Project, train: Train, seed: int, name: str, board: list[dict[str, Any]], rows: int
) -> dict[str, Any]:
    """The part of the manifest that needs no fitted model."""
    scores = next(row["metrics"] for row in board if row["candidate"] == name)
    return {
        "project": project.name,
        "task": project.task,
        "estimator": name,
        "target": project.target,
        "unit": project.unit,
        "columns": [describe_column(column) for column in project.columns],
        "features": list(project.feature_names),
        "cross_validation": scores,
        "params": {"seed": seed, **train.model_dump(mode="json")},
        "rows": rows,
        "libraries": {library: version(library) for library in LIBRARIES},
    }


def main(name: str) -> None:
    project, paths = load_project(name), Paths(name)
    train, seed = load_block(name, "train", Train), load_seed()
    frame = pd.read_parquet(paths.data / "train.parquet")
    target = frame[project.target].to_numpy()
    features = RowFeatures(name).transform(frame)
    live_dir = paths.reports / "live"
    shutil.rmtree(live_dir, ignore_errors=True)
    with Live(str(live_dir), dvcyaml=None, save_dvc_exp=False, report=None) as live:
        results, folds = compare(project, train, frame, features, seed, live)
    board = leaderboard(results, project.primary_metric, project.primary_metric in HIGHER_IS_BETTER)
    chosen = board[0]["candidate"] if train.model == "best" else train.model
    model = build_model(project, chosen, train, seed)
    own = [result for result in results if result.name == chosen]
    predictions = out_of_fold(own, folds, len(frame))
    if project.task == "classification":
        fitted, predictions, decision = fit_classifier(model, features, target, predictions, train, seed)
    else:
        fitted, decision = fit_regressor(model, features, target, predictions, train, project.log_target)
    manifest = describe_model(project, train, seed, chosen, board, len(frame)) | decision
    manifest["data"] = {
        "sha256": sha256(paths.data / "train.parquet"),
        "simulated": read_json(paths.reports / "data.json")["simulated"],
    }
    reference = frame.sample(min(REFERENCE_ROWS, len(frame)), random_state=seed).sort_index()
    write(paths.model / "model.joblib", lambda path: joblib.dump(assemble(project, fitted), path, compress=3))
    write(paths.model / "reference.parquet", lambda path: reference.to_parquet(path, index=False))
    scored = pd.DataFrame({"target": target, "score": predictions})
    write(paths.model / "out_of_fold.parquet", lambda path: scored.to_parquet(path, index=False))
    write_json(paths.model / "population.json", summarise(coerce(frame, project.columns)[0], project.columns, predictions))
    write_json(paths.model / "manifest.json", manifest)
    write_json(paths.reports / "leaderboard.json", board)
    print_leaderboard(board, results, project.primary_metric, chosen)


def print_leaderboard(board: list[dict[str, Any]], results: list[FoldResult], metric: str, chosen: str) -> None:
    """The comparison for the terminal, with the seconds that are kept out of files because they differ by run."""
    for row in board:
        seconds = np.mean([result.seconds for result in results if result.name == row["candidate"]])
        score = row["metrics"][metric]
        mark = "->" if row["candidate"] == chosen else "  "
        print(f"{mark} {row['candidate']:24}{metric} {score['mean']:.5g} ± {score['sd']:.2g}  {seconds:.2f} s a fold")


if __name__ == "__main__":
    run(main)
