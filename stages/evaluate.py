"""Reads the model, train.parquet and test.parquet, writes metrics.json, evaluation.json and the data of the plots.

python -m stages.evaluate bankchurn
"""

from __future__ import annotations

from functools import partial
from typing import Any

import joblib
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier, DummyRegressor

from stages.core.cli import run
from stages.core.files import Paths, read_json, write, write_json
from stages.core.params import load_block, load_seed
from stages.evaluation.curves import classifier_plots, regressor_plots
from stages.evaluation.scores import score
from stages.evaluation.segments import error_by_segment, fairness, first_values
from stages.evaluation.settings import Evaluate
from stages.modeling.crossval import compute_backend
from stages.modeling.metrics import FOLD_METRICS, bootstrap, fold_scores, interval, paired_p_value
from stages.modeling.pipeline import predict_scores
from stages.projects._base import Project, load_project
from stages.runtime.intervals import interval_bounds

SEGMENT_METRICS = {
    "classification": ("roc_auc", "brier", "ece", "recall", "precision"),
    "regression": ("mae", "median_ape", "interval_coverage"),
}


def baseline_scores(project: Project, train: np.ndarray, rows: int) -> np.ndarray:
    """What is predicted without looking at a row: the rate of positives, or the median of the target."""
    nothing = np.zeros((len(train), 1))
    dummy = DummyClassifier(strategy="prior") if project.task == "classification" else DummyRegressor(strategy="median")
    return predict_scores(dummy.fit(nothing, train), np.zeros((rows, 1)), project)


def refit_score(
    model: BaseEstimator, fit_on: tuple[Any, np.ndarray], check_on: tuple[Any, np.ndarray], project: Project
) -> dict[str, float | None]:
    """Scores on `check_on` of a fresh copy of the model fitted on `fit_on`, None where a metric has no value."""
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
    if project.groups:
        groups = project.groups(frame)
        after = after & ~groups.isin(groups[before]).to_numpy()
    return before, after, str(day.date())


def refits(
    project: Project, model: Any, train: pd.DataFrame, test: pd.DataFrame, settings: Evaluate, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The learning curve, and the back-test where rows have a date: the same model trained on fewer rows."""
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


def plot_frames(
    project: Project, manifest: dict[str, Any], target: np.ndarray, values: np.ndarray, evaluation: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """The data of every plot that dvc.yaml declares, by file name."""
    if project.task == "classification":
        plots = classifier_plots(target, values, manifest["threshold"], dict(project.labels))
    else:
        lower, upper = interval_bounds(values, manifest["interval"]["radius"], manifest["interval"]["scale"])
        plots = regressor_plots(target, values, lower, upper)
    error = SEGMENT_METRICS[project.task][1]
    segments = evaluation["by_segment"]["segments"]
    plots["segments"] = pd.DataFrame(
        {"Segment": [f"{s['column']} {s['segment']}" for s in segments], "Error": [s[error] for s in segments]}
    )
    curve = evaluation["learning_curve"]
    plots["learning_curve"] = pd.DataFrame(
        {
            "Rows trained on": [step["rows"] for step in curve],
            "Primary metric": [step[project.primary_metric] for step in curve],
        }
    )
    return plots


def evaluate(
    project: Project,
    manifest: dict[str, Any],
    model: Any,
    train: pd.DataFrame,
    test: pd.DataFrame,
    settings: Evaluate,
    seed: int,
) -> tuple[dict[str, Any], np.ndarray]:
    """What evaluation.json says, and the scores of the test rows it was measured on."""
    primary = project.primary_metric
    target = test[project.target].to_numpy()
    values = predict_scores(model, test, project)
    dummy = baseline_scores(project, train[project.target].to_numpy(), len(test))
    (point, draws), (dummy_point, dummy_draws) = (
        bootstrap(partial(score, project, manifest, target, scores), len(test), settings.resamples, seed)
        for scores in (values, dummy)
    )

    def score_segment(rows: np.ndarray) -> dict[str, float | None]:
        scores = score(project, manifest, target[rows], values[rows], np.ones((1, rows.sum())))
        return first_values(scores, SEGMENT_METRICS[project.task])

    features = model["features"].transform(test)
    described = test.assign(**{str(column): features[column] for column in features if column not in test})
    curve, backtest = refits(project, model, train, test, settings, seed)
    everything = {"rows": len(train), **{metric: point[metric] for metric in FOLD_METRICS[project.task]}}
    return {
        "rows": len(test),
        "primary_metric": primary,
        "metrics": {
            metric: dict(zip(("value", "low", "high"), (value, *interval(draws[metric])), strict=True))
            for metric, value in point.items()
        },
        "baseline": {
            "value": dummy_point[primary],
            "p_value": paired_p_value(primary, draws[primary], dummy_draws[primary]),
        },
        "by_segment": error_by_segment(described, project.segments, score_segment),
        "fairness": {
            column: fairness(target, values >= manifest["threshold"], test[column]) for column in project.sensitive
        },
        "backtest": backtest,
        "learning_curve": [*curve, everything],
    }, values


def main(name: str) -> None:
    project, settings, paths = load_project(name), load_block(name, "evaluate", Evaluate), Paths(name)
    model, manifest = joblib.load(paths.model / "model.joblib"), read_json(paths.model / "manifest.json")
    train, test = (pd.read_parquet(paths.data / f"{side}.parquet") for side in ("train", "test"))
    evaluation, values = evaluate(project, manifest, model, train, test, settings, load_seed())
    for plot, frame in plot_frames(project, manifest, test[project.target].to_numpy(), values, evaluation).items():
        write(paths.reports / "plots" / f"{plot}.csv", partial(frame.to_csv, index=False, float_format="%.6g"))
    metrics = {metric: found["value"] for metric, found in evaluation["metrics"].items() if not metric.endswith("_at_half")}
    write_json(paths.reports / "evaluation.json", evaluation)
    write_json(paths.reports / "metrics.json", {name: metrics})
    primary = evaluation["metrics"][project.primary_metric]
    print(
        f"{name}: {project.primary_metric} {primary['value']:.5g} (95 % {primary['low']:.5g} to {primary['high']:.5g}), "
        f"without looking at the row {evaluation['baseline']['value']:.5g}"
    )


if __name__ == "__main__":
    run(main)
