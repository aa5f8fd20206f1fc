from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.modeling.decision import choose_threshold, conformal_radius
from stages.modeling.settings import Threshold
from stages.runtime.intervals import interval_bounds

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 19)), min_size=2, max_size=40).filter(
    lambda drawn: any(label for label, _ in drawn)
)
Rows = list[tuple[int, int]]


def counts(target: np.ndarray, probability: np.ndarray, threshold: float) -> tuple[int, int, int]:
    """True positives, false alarms, missed positives."""
    flagged = probability >= threshold
    return int((flagged & (target == 1)).sum()), int((flagged & (target == 0)).sum()), int((~flagged & (target == 1)).sum())


def every(target: np.ndarray, probability: np.ndarray) -> list[tuple[int, int, int]]:
    """The counts of every threshold that flags some row."""
    return [counts(target, probability, threshold) for threshold in np.unique(probability)]


def split(drawn: Rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in drawn]), np.array([step / 20 for _, step in drawn])


@given(drawn=rows)
def test_no_threshold_has_a_better_f1_than_the_one_chosen_for_it(drawn: Rows) -> None:
    target, probability = split(drawn)

    def f1(found: tuple[int, int, int]) -> float:
        return 2 * found[0] / (2 * found[0] + found[1] + found[2])

    chosen = counts(target, probability, choose_threshold(target, probability, Threshold(goal="f1")))
    assert f1(chosen) == max(map(f1, every(target, probability)))


@given(drawn=rows, ratio=st.sampled_from([0.5, 1, 4]))
def test_no_threshold_costs_less_beyond_chance_than_the_one_chosen_for_cost(drawn: Rows, ratio: float) -> None:
    target, probability = split(drawn)

    def costs(threshold: float) -> np.ndarray:
        return np.where(target == 1, ratio * (probability < threshold), probability >= threshold)

    chosen = costs(choose_threshold(target, probability, Threshold(goal="cost", cost_ratio=ratio)))
    others = [costs(threshold) for threshold in np.unique(probability)]
    least = min(others, key=lambda cost: float(cost.sum()))
    if chosen.sum() > least.sum():
        assert any((chosen == costs(threshold)).all() for threshold in (1 / (1 + ratio), probability.max()))
        assert (chosen - least).sum() <= 1.97 * np.std(chosen - least) * len(target) ** 0.5


def test_where_thresholds_cost_the_same_but_for_chance_it_is_the_one_of_calibrated_probabilities() -> None:
    probability = np.repeat([0.1, 0.45, 0.55, 0.65, 0.9], 100)
    target = np.concatenate([np.arange(100) < positives for positives in (10, 45, 49, 65, 90)]).astype(int)
    assert choose_threshold(target, probability, Threshold(goal="cost")) == pytest.approx(0.5)  # 0.6 costs 2 of 500 less
    target[200:300] = np.arange(100) < 20  # the probability of 0.55 is wrong beyond chance
    assert choose_threshold(target, probability, Threshold(goal="cost")) == pytest.approx(0.6)


@given(drawn=rows, precision=st.sampled_from([0.3, 0.5, 0.9]))
def test_no_threshold_of_the_precision_asked_for_finds_more(drawn: Rows, precision: float) -> None:
    target, probability = split(drawn)
    goal = Threshold(goal="recall_at_precision", precision=precision)
    found, false, _ = counts(target, probability, choose_threshold(target, probability, goal))
    reachable = [tp for tp, fp, _ in every(target, probability) if tp / (tp + fp) >= precision]
    if reachable:
        assert found / (found + false) >= precision
        assert found == max(reachable)
    else:
        assert found / (found + false) == max(tp / (tp + fp) for tp, fp, _ in every(target, probability))


def test_the_threshold_lies_halfway_between_two_probabilities() -> None:
    target, probability = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])
    assert choose_threshold(target, probability, Threshold(goal="f1")) == pytest.approx(0.4)
    assert choose_threshold(np.ones(4), probability, Threshold(goal="f1")) == pytest.approx(0.05)


def test_a_missed_positive_that_costs_more_lowers_the_threshold() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(500)
    target = (rng.random(500) < probability).astype(int)
    thresholds = [choose_threshold(target, probability, Threshold(goal="cost", cost_ratio=ratio)) for ratio in (0.2, 1, 5)]
    assert thresholds == sorted(thresholds, reverse=True)
    np.testing.assert_allclose(thresholds, [5 / 6, 1 / 2, 1 / 6], atol=0.1)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_the_radius_is_the_error_that_conformal_prediction_asks_for(coverage: float) -> None:
    errors = np.random.default_rng(0).normal(size=199)
    rank = int(np.ceil(200 * coverage))
    radius = conformal_radius(errors + 5, np.full(199, 5.0), coverage, log=False)
    assert radius == pytest.approx(np.sort(np.abs(errors))[rank - 1])


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_intervals_hold_as_many_exchangeable_values_as_promised(scale: str) -> None:
    rng = np.random.default_rng(1)
    held = []
    for _ in range(100):
        target = np.exp(rng.normal(size=300) * rng.gamma(1, 1, 300))
        prediction = np.full(300, 1.0)
        radius = conformal_radius(target[:99], prediction[:99], 0.9, log=scale == "log")
        lower, upper = interval_bounds(prediction[99:], radius, scale)
        held.append(np.mean((lower <= target[99:]) & (target[99:] <= upper)))
    assert np.mean(held) == pytest.approx(0.9, abs=0.012)


@given(prediction=st.floats(0.1, 1e6), radius=st.floats(0, 5))
def test_bounds_lie_around_the_prediction_and_stay_positive_on_the_log_scale(prediction: float, radius: float) -> None:
    lower, upper = interval_bounds(np.array([prediction]), radius, "log")
    assert 0 < lower[0] <= prediction <= upper[0]
    assert lower[0] * upper[0] == pytest.approx(prediction**2)
    lower, upper = interval_bounds(np.array([prediction]), radius, "linear")
    assert upper[0] - lower[0] == pytest.approx(2 * radius, abs=1e-9)
