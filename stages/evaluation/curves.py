"""The data behind the plots: small frames, one per plot, in the columns that dvc.yaml names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from stages.evaluation.segments import SEGMENT_METRICS
from stages.modeling.metrics import ECE_BINS, calibration_bins
from stages.projects._base import Project
from stages.runtime.intervals import interval_bounds

POINTS = 200  # of a curve; more cannot be told apart
DOTS = 1_000  # of a scatter plot


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


def classifier_plots(
    target: np.ndarray, probability: np.ndarray, threshold: float, labels: dict[int, str]
) -> dict[str, pd.DataFrame]:
    """Frames by file name for labels 0/1 and probabilities of 1."""
    fpr, tpr, _ = roc_curve(target, probability)
    precision, recall, _ = precision_recall_curve(target, probability)
    named = pd.Series(target.astype(int)).map(labels)
    decided = pd.Series((probability >= threshold).astype(int)).map(labels)
    return {
        "roc": thin(pd.DataFrame({"False positive rate": fpr, "True positive rate": tpr})),
        "precision_recall": thin(pd.DataFrame({"Recall": recall, "Precision": precision})),
        "calibration": calibration(target, probability),
        "confusion": pd.DataFrame({"Actual": named, "Predicted": decided}),
        "scores": histogram(probability),
    }


def regressor_plots(
    target: np.ndarray, prediction: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> dict[str, pd.DataFrame]:
    """Frames by file name for values, predictions and interval bounds."""
    levels = np.linspace(0, 1, 101)
    share = np.abs(prediction - target) / np.abs(np.where(target == 0, np.nan, target))
    rows = pd.DataFrame({"Actual": target, "Predicted": prediction, "Actual minus predicted": target - prediction})
    dots = rows.iloc[:: max(1, len(rows) // DOTS)]
    inside = (lower <= target) & (target <= upper)
    errors = pd.DataFrame(
        {"Predicted": prediction, "Share inside the interval": inside, "Mean absolute percentage error": share}
    )
    tenths = errors.groupby(pd.qcut(errors["Predicted"].rank(method="first"), min(10, len(rows)), labels=False)).mean()
    distribution = {"Absolute percentage error": np.nanquantile(share, levels), "Share of test rows": levels}
    return {
        "predicted_actual": dots[["Actual", "Predicted"]],
        "residuals": dots[["Predicted", "Actual minus predicted"]],
        "error_distribution": pd.DataFrame(distribution).iloc[:-5],
        "coverage": tenths[["Predicted", "Share inside the interval"]],
        "error_by_size": tenths[["Predicted", "Mean absolute percentage error"]],
    }


def calibration(target: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Mean predicted probability, observed rate and rows of each tenth of the probability scale that has rows."""
    rows = pd.DataFrame({"Predicted probability": probability, "Observed rate": target, "Test rows": 1.0})
    groups = rows.groupby(calibration_bins(probability))
    return groups.agg({"Predicted probability": "mean", "Observed rate": "mean", "Test rows": "sum"})


def histogram(values: np.ndarray) -> pd.DataFrame:
    """Rows in each of twenty equal steps of the probability scale, at the middle of the step."""
    rows, edges = np.histogram(values, bins=2 * ECE_BINS, range=(0, 1))
    return pd.DataFrame({"Predicted probability": (edges[:-1] + edges[1:]) / 2, "Test rows": rows})


def thin(curve: pd.DataFrame) -> pd.DataFrame:
    """At most `POINTS` rows of a curve, both ends among them."""
    if len(curve) <= POINTS:
        return curve
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, POINTS).round().astype(int))]
