from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc, confusion_matrix, roc_auc_score

from stages.evaluation.curves import DOTS, POINTS, calibration, classifier_plots, histogram, regressor_plots, thin


def scored(rows: int) -> tuple[np.ndarray, np.ndarray]:
    probability = np.random.default_rng(0).random(rows)
    return (np.random.default_rng(1).random(rows) < probability).astype(float), probability


def test_a_classifiers_plots_say_what_its_scores_say() -> None:
    target, probability = scored(500)
    plots = classifier_plots(target, probability, 0.4, {0: "stays", 1: "leaves"})
    roc = plots["roc"]
    area = auc(roc["False positive rate"], roc["True positive rate"])
    assert area == pytest.approx(roc_auc_score(target, probability), abs=0.005)
    assert plots["precision_recall"]["Recall"].max() == 1
    table = pd.crosstab(plots["confusion"]["Actual"], plots["confusion"]["Predicted"])
    expected = confusion_matrix(target, probability >= 0.4)
    assert table.loc[["stays", "leaves"], ["stays", "leaves"]].to_numpy().tolist() == expected.tolist()
    assert all(np.isfinite(frame.select_dtypes("number").to_numpy()).all() for frame in plots.values())


def test_calibration_has_a_point_per_tenth_that_has_rows() -> None:
    points = calibration(np.array([0, 1, 1]), np.array([0.12, 0.18, 1.0]))
    assert points.to_numpy().tolist() == [[pytest.approx(0.15), 0.5, 2.0], [1.0, 1.0, 1.0]]


def test_a_histogram_counts_every_row_with_both_ends() -> None:
    bars = histogram(np.array([0.0, 0.01, 0.5, 1.0]))
    assert bars["Test rows"].sum() == 4
    assert bars["Test rows"].iloc[[0, 10, 19]].tolist() == [2, 1, 1]
    assert bars["Predicted probability"].iloc[0] == pytest.approx(0.025)


@pytest.mark.parametrize("rows", [1, POINTS, POINTS + 1, 5_000])
def test_a_long_curve_is_thinned_without_losing_its_ends(rows: int) -> None:
    curve = thin(pd.DataFrame({"x": np.arange(rows)}))
    assert len(curve) == min(rows, POINTS)
    assert curve["x"].iloc[[0, -1]].tolist() == [0, rows - 1]
    assert curve["x"].is_unique


@pytest.mark.parametrize("rows", [6, 5_000])
def test_a_regressors_plots_say_what_its_predictions_say(rows: int) -> None:
    rng = np.random.default_rng(0)
    prediction = rng.uniform(1, 2, rows)
    target = prediction * rng.choice([0.9, 1.2], rows)
    target[0] = 0.0
    plots = regressor_plots(target, prediction, prediction * 0.85, prediction * 1.15)
    assert len(plots["residuals"]) <= 2 * DOTS
    dots = plots["predicted_actual"]
    residuals = plots["residuals"]["Actual minus predicted"]
    assert (dots["Actual"] - dots["Predicted"]).tolist() == pytest.approx(residuals.tolist())
    inside = np.isclose(target, prediction * 0.9)
    assert plots["coverage"]["Share inside the interval"].mean() == pytest.approx(inside.mean(), abs=0.01)
    assert plots["error_by_size"]["Mean absolute percentage error"].dropna().between(1 / 9.1, 1 / 5.9).all()
    curve = plots["error_distribution"]
    assert curve["Absolute percentage error"].is_monotonic_increasing
    assert np.isfinite(curve.to_numpy()).all()
