from __future__ import annotations

import numpy as np
import pytest

from stages.modeling.metrics import roc_auc
from stages.monitoring.outcomes import bias_test, expected_metric, loss_test, pattern_test, residuals
from tests.stages.drifting import live


def inside(reference: int, batch: int) -> np.ndarray:
    return np.arange(reference + batch) >= reference


def test_errors_that_follow_a_column_as_they_never_did_are_found_and_the_column_is_named() -> None:
    rng = np.random.default_rng(6)
    rows = np.column_stack([rng.normal(size=(4_000, 3)), rng.integers(0, 3, 4_000)])
    rows[rng.random(4_000) < 0.1, 1] = np.nan
    names, batch, noise = ["a", "b", "c", "d"], inside(2_000, 2_000), rng.normal(size=4_000)
    weak = noise + 0.5 * rows[:, 0]  # a weakness that the model has always had
    for errors in (noise, weak):
        assert pattern_test(rows, names, [3], errors, batch)["p"] > 0.01
    changed = pattern_test(rows, names, [3], weak + 0.25 * batch * rows[:, 2], batch)
    assert changed["p"] < 1e-6
    assert changed["along"] == "c"
    assert changed["z"] > 5
    assert changed["size"] == pytest.approx(0.25, abs=0.1)
    biased = pattern_test(rows, names, [3], noise - 0.25 * batch, batch)
    assert biased["along"] == ""
    assert biased["z"] < -5
    category = pattern_test(rows, names, [3], noise + 0.5 * batch * (rows[:, 3] == rows[0, 3]), batch)
    assert category["p"] < 1e-6


def test_a_loss_that_grew_is_found_and_one_that_fell_is_none() -> None:
    rng = np.random.default_rng(0)
    usual = rng.exponential(1.0, 3_000)
    worse, better = (loss_test(usual, rng.exponential(mean, 1_000)) for mean in (1.3, 0.7))
    assert worse["p"] < 1e-4
    assert worse["size"] == pytest.approx(0.3, abs=0.1)
    assert better["p"] > 0.99
    assert better["size"] < 0


@pytest.mark.parametrize("shift", [0.3, -0.3])
def test_a_bias_is_found_with_its_sign_in_standard_deviations(shift: float) -> None:
    rng = np.random.default_rng(0)
    found = bias_test(2 * rng.normal(0, 1, 3_000), 2 * rng.normal(shift, 1, 1_000))
    assert found["p"] < 1e-6
    assert found["size"] == pytest.approx(shift, abs=0.1)


@pytest.mark.slow
def test_expected_performance_is_what_calibrated_probabilities_would_give() -> None:
    rng = np.random.default_rng(0)
    scores = rng.beta(1, 3, 20_000)
    target = rng.random(20_000) < scores
    found = expected_metric(live().project, live().manifest, scores, 0)
    assert found["low"] < found["value"] < found["high"]
    assert found["value"] == pytest.approx(roc_auc(target * 1, scores, np.ones((1, 20_000)))[0], abs=0.01)


def test_residuals_of_a_classifier_have_unit_variance_and_of_a_log_target_are_ratios() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, 20_000)
    assert np.std(residuals(live().project, (rng.random(20_000) < scores) * 1, scores)) == pytest.approx(1, abs=0.02)
    assert residuals(live("toy_price").project, np.array([110.0]), np.array([100.0])) == pytest.approx(np.log(1.1))
