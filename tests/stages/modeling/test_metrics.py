from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as sk

from stages.modeling.metrics import (
    Scores,
    bootstrap,
    classification_metrics,
    fold_scores,
    interval,
    paired_p_value,
    regression_metrics,
    roc_auc,
)
from stages.runtime.metric_names import HIGHER_IS_BETTER

Labelled = tuple[np.ndarray, np.ndarray]
Valued = tuple[np.ndarray, np.ndarray]

# Few distinct probabilities, so that ties are common; none on the edge of a bin.
labelled = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 24)), min_size=4, max_size=60).map(
    lambda rows: (np.array([label for label, _ in rows], dtype=float), np.array([(4 * p + 1) / 100 for _, p in rows]))
)
both_classes = labelled.filter(lambda rows: 0 < rows[0].sum() < len(rows[0]))
valued = st.lists(st.tuples(st.integers(-9, 9), st.floats(-20, 20)), min_size=3, max_size=60).map(
    lambda rows: (np.array([value for value, _ in rows], dtype=float), np.array([guess for _, guess in rows]))
)


def one_row(rows: int) -> np.ndarray:
    return np.ones((1, rows))


def point(scores: Scores) -> dict[str, float]:
    return {name: float(values[0]) for name, values in scores.items()}


@pytest.mark.slow
@given(rows=both_classes, threshold=st.sampled_from([0.21, 0.5, 0.8]))
def test_classification_metrics_equal_those_of_scikit_learn(rows: Labelled, threshold: float) -> None:
    target, probability = rows
    found = point(classification_metrics(target, probability, threshold, one_row(len(target))))
    expected = {
        "roc_auc": sk.roc_auc_score(target, probability),
        "pr_auc": sk.average_precision_score(target, probability),
        "brier": sk.brier_score_loss(target, probability),
        "log_loss": sk.log_loss(target, probability),
    }
    for cut, mark in ((threshold, ""), (0.5, "_at_half")):
        flagged = probability >= cut
        expected |= {
            f"accuracy{mark}": sk.accuracy_score(target, flagged),
            f"f1{mark}": sk.f1_score(target, flagged, zero_division=0),
            f"precision{mark}": sk.precision_score(target, flagged, zero_division=0),
            f"recall{mark}": sk.recall_score(target, flagged),
            f"mcc{mark}": sk.matthews_corrcoef(target, flagged),
        }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@given(rows=both_classes)
def test_calibration_error_is_the_mean_gap_of_the_bins(rows: Labelled) -> None:
    target, probability = rows
    gap = 0.0
    for low in range(10):
        inside = (probability * 10 >= low) & (probability * 10 < low + 1)
        gap += abs(probability[inside].sum() - target[inside].sum()) / len(target)
    assert point(classification_metrics(target, probability, 0.5, one_row(len(target))))["ece"] == pytest.approx(gap)


@given(rows=valued, width=st.floats(0, 10))
def test_regression_metrics_equal_those_of_scikit_learn(rows: Valued, width: float) -> None:
    target, prediction = rows
    assume(np.ptp(target) > 0)
    lower, upper = prediction - width, prediction + width
    found = point(regression_metrics(target, prediction, lower, upper, one_row(len(target))))
    share = np.abs(prediction - target)[target != 0] / np.abs(target[target != 0])
    expected = {
        "rmse": sk.root_mean_squared_error(target, prediction),
        "mae": sk.mean_absolute_error(target, prediction),
        "r2": sk.r2_score(target, prediction),
        "median_ape": np.median(share),
        "mape": sk.mean_absolute_percentage_error(target[target != 0], prediction[target != 0]),
        "interval_coverage": np.mean((target >= lower) & (target <= upper)),
        "interval_width": np.mean(upper - lower),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert 0 <= found["smape"] <= 2 + 1e-12


@given(rows=both_classes, data=st.data())
def test_weighted_classification_metrics_equal_those_of_the_repeated_rows(rows: Labelled, data: st.DataObject) -> None:
    target, probability = rows
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(target), max_size=len(target))))
    again = np.repeat(np.arange(len(target)), counts)
    assume(0 < target[again].sum() < len(again))
    weighted = point(classification_metrics(target, probability, 0.5, counts[None, :].astype(float)))
    repeated = point(classification_metrics(target[again], probability[again], 0.5, one_row(len(again))))
    assert weighted == pytest.approx(repeated, rel=1e-9, abs=1e-12)


@given(rows=valued, data=st.data())
def test_weighted_regression_metrics_equal_those_of_the_repeated_rows(rows: Valued, data: st.DataObject) -> None:
    target, prediction = rows
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(target), max_size=len(target))))
    again = np.repeat(np.arange(len(target)), counts)
    assume(len(again) and np.ptp(target[again]) > 0)
    lower, upper = prediction - 1, prediction + 1
    weighted = point(regression_metrics(target, prediction, lower, upper, counts[None, :].astype(float)))
    repeated = point(regression_metrics(target[again], prediction[again], lower[again], upper[again], one_row(len(again))))
    assert weighted == pytest.approx(repeated, rel=1e-9, abs=1e-12)


def test_the_top_tenth_is_the_rows_of_the_highest_scores() -> None:
    target = np.array([1.0] * 3 + [0.0] * 7 + [1.0] * 2 + [0.0] * 8)
    scores = point(classification_metrics(target, np.linspace(0.9, 0.1, 20), 0.5, one_row(20)))
    assert scores["precision_top10"] == pytest.approx(1)
    assert scores["lift_top10"] == pytest.approx(20 / 5)


def test_a_metric_without_a_value_is_no_number_rather_than_zero() -> None:
    scores = point(classification_metrics(np.zeros(4), np.array([0.1, 0.2, 0.3, 0.9]), 0.5, one_row(4)))
    assert np.isnan([scores[name] for name in ("roc_auc", "pr_auc", "recall", "lift_top10")]).all()
    assert (scores["precision"], scores["f1"], scores["mcc"]) == (0, 0, 0)
    flat = point(regression_metrics(np.zeros(3), np.ones(3), np.ones(3), np.ones(3), one_row(3)))
    assert np.isnan([flat[name] for name in ("r2", "mape", "median_ape")]).all()


def test_probabilities_of_zero_and_one_have_a_finite_log_loss() -> None:
    assert 10 < fold_scores(np.array([1.0, 0.0]), np.array([0.0, 0.0]), "classification")["log_loss"] < 40


def sample(rows: int, seed: int, noise: float = 1.0) -> Labelled:
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=rows)
    return (signal + rng.normal(size=rows) > 0).astype(float), 1 / (1 + np.exp(-signal - noise * rng.normal(size=rows)))


def test_bootstrap_draws_whole_samples_and_depends_on_the_seed_alone() -> None:
    seen: list[np.ndarray] = []

    def watch(weights: np.ndarray) -> Scores:
        seen.append(weights)
        return {"total": weights.sum(axis=1), "first": weights[:, 0]}

    found, draws = bootstrap(watch, rows=50, resamples=300, seed=1)
    assert found == {"total": 50, "first": 1}
    assert draws["total"].tolist() == [50] * 300
    assert draws["first"].mean() == pytest.approx(1, abs=0.2)
    assert len(np.unique(np.concatenate(seen[1:]), axis=0)) == 300
    np.testing.assert_array_equal(bootstrap(watch, 50, 300, seed=1)[1]["first"], draws["first"])
    assert not np.array_equal(bootstrap(watch, 50, 300, seed=2)[1]["first"], draws["first"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_intervals_hold_the_value_of_all_rows_and_narrow_with_more_of_them(seed: int) -> None:
    widths = []
    for rows in (200, 3_200):
        target, probability = sample(rows, seed)
        found, draws = bootstrap(partial(classification_metrics, target, probability, 0.5), rows, 400, seed)
        for name in ("roc_auc", "pr_auc", "brier", "log_loss", "accuracy", "f1", "precision", "recall", "mcc"):
            low, high = interval(draws[name])
            assert low < found[name] < high
        low, high = interval(draws["roc_auc"])
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.4)


def test_the_interval_is_the_middle_of_the_draws_and_passes_over_those_without_a_value() -> None:
    assert interval(np.append(np.arange(1001.0), np.nan)) == (25, 975)


def test_p_is_small_for_the_better_model_large_for_the_worse_and_one_for_itself() -> None:
    for metric in ("roc_auc", "brier"):
        better, worse = (0.9, 0.5) if metric in HIGHER_IS_BETTER else (0.1, 0.3)
        draws = np.random.default_rng(0).normal(0, 0.01, 999)
        assert paired_p_value(metric, better + draws, worse + draws) == 0.001
        assert paired_p_value(metric, worse + draws, better + draws) == 1
        assert paired_p_value(metric, better + draws, better + draws) == 1


def test_p_of_two_models_that_are_alike_favours_neither() -> None:
    values = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        signal = rng.normal(size=150)
        target = (signal + rng.normal(size=150) > 0).astype(float)
        first, second = (
            bootstrap(partial(roc_auc_only, target, signal + rng.normal(size=150)), 150, 100, seed)[1]["roc_auc"]
            for _ in range(2)
        )
        values.append(paired_p_value("roc_auc", first, second))
    assert np.mean(values) == pytest.approx(0.5, abs=0.1)
    assert np.std(values) > 0.2


def roc_auc_only(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> Scores:
    return {"roc_auc": roc_auc(target, score, weights)}
