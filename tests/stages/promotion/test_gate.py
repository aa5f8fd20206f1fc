from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stages.core.cli import UserError
from stages.modeling.metrics import bootstrap, calibration_error, roc_auc
from stages.promotion.gate import (
    Artifact,
    Comparison,
    Rule,
    calibration_noise,
    check_artifact,
    check_baseline,
    check_calibration,
    check_fairness,
    check_floors,
    check_gain,
    compare_models,
    decide_promotion,
    listed,
)
from stages.promotion.settings import Promote
from stages.runtime.metric_names import HIGHER_IS_BETTER
from tests.toys import toy

BANK, CARS, BOSTON = (toy(name) for name in ("toy", "toy_price", "toy_plain"))
WORSE = Comparison("roc_auc", 0.861, 0.883, -0.022, -0.031, -0.013, 0.975, 0.0, 1500, 0)
NUMBERS = st.floats(-1e6, 1e6)
DRAWS = arrays(float, 40, elements=NUMBERS)
METRIC = st.sampled_from(["roc_auc", "r2", "rmse", "mae", "log_loss"])
PROMOTE = st.builds(Promote, margin=st.floats(0, 0.9), confidence=st.floats(0.5, 0.999))


def metrics(**values: float) -> dict[str, dict[str, float]]:
    return {name: {"value": value, "low": value - 0.01, "high": value + 0.01} for name, value in values.items()}


def gain_of(value: float, low: float, high: float, margin: float = 0.0) -> Comparison:
    return replace(WORSE, challenger=0.883 + value, value=value, low=low, high=high, margin=margin)


@given(METRIC, NUMBERS, DRAWS, PROMOTE)
def test_a_model_is_never_better_than_itself(metric: str, value: float, draws: np.ndarray, promote: Promote) -> None:
    found = compare_models(metric, [(value, draws), (value, draws)], promote, 100)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert found.verdict == ("not worse within the margin" if promote.margin * abs(value) > 0 else "no better")


@given(METRIC, NUMBERS, NUMBERS, DRAWS, DRAWS, PROMOTE)
def test_the_gain_of_one_is_the_loss_of_the_other(
    metric: str, one: float, two: float, one_draws: np.ndarray, two_draws: np.ndarray, promote: Promote
) -> None:
    forth = compare_models(metric, [(one, one_draws), (two, two_draws)], promote, 100)
    back = compare_models(metric, [(two, two_draws), (one, one_draws)], promote, 100)
    assert forth.value == -back.value == (one - two if metric in HIGHER_IS_BETTER else two - one)
    scale = 1e-12 * max(1, np.abs(one_draws).max(), np.abs(two_draws).max())
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), abs=scale)
    assert not (forth.verdict == "better" and back.verdict == "better")
    assert forth.low <= forth.high


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict", "passed"),
    [
        (0.001, 0.02, 0.0, "better", True),
        (0.0, 0.02, 0.0, "no better", False),
        (-0.01, 0.02, 0.0, "no better", False),
        (-0.02, -0.01, 0.0, "worse", False),
        (-0.008, -0.001, 0.01, "not worse within the margin", True),
        (-0.01, 0.02, 0.01, "no better", False),
        (-0.02, -0.01, 0.01, "worse", False),
        (0.001, 0.02, 0.01, "better", True),
    ],
)
def test_the_verdict_follows_the_interval_and_the_margin(
    low: float, high: float, margin: float, verdict: str, passed: bool
) -> None:
    compared = gain_of((low + high) / 2, low, high, margin)
    rule = check_gain(compared, {}, 1500, BANK, "v1.0.0")
    assert compared.verdict == verdict
    assert rule.passed is passed
    assert f"which is {verdict}" in rule.detail


def test_on_few_rows_the_interval_is_wider_and_on_many_it_is_that_of_the_resamples() -> None:
    draws = np.random.default_rng(0).normal(0, 1, 100_000)
    lows = [compare_models("r2", [(0, draws), (0, 0 * draws)], Promote(), rows).low for rows in (30, 300, 1_000_000)]
    assert lows == sorted(lows)
    assert lows[2] == pytest.approx(np.quantile(draws, 0.025), abs=1e-4)
    assert lows[0] == pytest.approx(-2.045 * np.sqrt(30 / 29), abs=0.03)  # Student's quantile


def auc(target: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    return {"auc": roc_auc(target, scores, weights)}


def test_pairing_finds_a_small_gain_that_two_separate_intervals_would_not() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 2000)
    champion = target + rng.normal(0, 1.5, 2000)
    challenger = champion + 0.1 * target
    measured = []
    for scores in (challenger, champion):
        point, draws = bootstrap(partial(auc, target, scores), 2000, 500, 0)
        measured.append((point["auc"], draws["auc"]))
    found = compare_models("roc_auc", measured, Promote(), 2000)
    assert found.verdict == "better"
    assert found.value == pytest.approx(measured[0][0] - measured[1][0])
    assert np.quantile(measured[0][1], 0.025) < np.quantile(measured[1][1], 0.975)
    assert compare_models("roc_auc", measured[::-1], Promote(), 2000).verdict == "worse"


def test_resamples_in_which_a_metric_has_no_value_are_left_out() -> None:
    draws = np.array([np.nan, 0.6, 0.7, 0.8])
    found = compare_models("roc_auc", [(0.7, draws), (0.5, draws - 0.2)], Promote(), 40)
    assert (found.low, found.high) == pytest.approx((0.2, 0.2))


def test_the_comparison_reads_like_the_example() -> None:
    rule = check_gain(WORSE, {}, 1500, BANK, "v1.0.0")
    assert rule.detail == (
        "On the same 1,500 test rows the ROC-AUC is 0.861 against 0.883 of v1.0.0 "
        "(gain −0.022, 95 % interval −0.031 to −0.013), which is worse."
    )


@pytest.mark.parametrize(
    ("comparison", "project", "words"),
    [
        (
            Comparison("mae", 2950.4, 3100.2, 149.8, 80.1, 210.9, 0.975, 0.0, 4926, 12),
            CARS,
            "the MAE is 2,950 USD against 3,100 USD of v2.0.0 (gain +150 USD, 95 % interval +80 to +211 USD; less is "
            "better), which is better. Left out: 12 further test rows that v2.0.0 was trained on.",
        ),
        (
            Comparison("rmse", 3.891, 3.894, 0.003, -0.31, 0.32, 0.9, 0.02, 51, None),
            BOSTON,
            "the RMSE is 3,891 USD against 3,894 USD of v2.0.0 (gain +3 USD, 80 % interval −310 to +320 USD; less is "
            "better), which is no better: the gain may be chance. The training rows of v2.0.0 are not available, so "
            "some of them may be among these.",
        ),
        (
            Comparison("roc_auc", 0.88341, 0.88344, -0.00003, -0.00042, 0.00038, 0.975, 0.01, 1500, 0),
            BANK,
            "is 0.88341 against 0.88344 of v2.0.0 (gain −0.00003, 95 % interval −0.00042 to +0.00038), which is not worse "
            "within the margin of 1.0 % of the champion's value.",
        ),
        (
            Comparison("roc_auc", 0.88, 0.88, 0.0, 0.0, 0.0, 0.975, 0.0, 1500, 0),
            BANK,
            "is 0.880 against 0.880 of v2.0.0 (gain 0.000, 95 % interval 0.000 to 0.000), which is no better",
        ),
    ],
)
def test_the_numbers_of_a_comparison_have_the_digits_that_count(comparison: Comparison, project: Any, words: str) -> None:
    assert words in check_gain(comparison, {}, comparison.rows, project, "v2.0.0").detail


def test_without_a_champion_the_comparison_does_not_apply_and_where_none_can_be_made_it_fails() -> None:
    own = metrics(roc_auc=0.883)
    first = check_gain("There is no version in prod to compare with.", own, 1500, BANK, None)
    assert first.passed is None
    assert first.detail == (
        "There is no version in prod to compare with. "
        "On 1,500 test rows the ROC-AUC is 0.883 (95 % interval 0.873 to 0.893)."
    )
    assert check_gain("It cannot be compared.", own, 1500, BANK, "v1.0.0").passed is False


def test_floors_are_least_values_and_ceilings_where_less_is_better() -> None:
    found = metrics(roc_auc=0.8, brier=0.1)
    assert check_floors(Promote(floors={"roc_auc": 0.8, "brier": 0.1}), found, "").passed is True
    rule = check_floors(Promote(floors={"roc_auc": 0.81, "brier": 0.1}), found, "")
    assert rule.passed is False
    assert rule.detail == "ROC-AUC 0.800 is below the floor of 0.810; Brier score 0.100 keeps the ceiling of 0.100."
    assert rule.measured["roc_auc"] == {"value": 0.8, "bound": 0.81, "passed": False}
    over = check_floors(Promote(floors={"mae": 2000}), metrics(mae=2172.4), "USD")
    assert over.detail == "MAE 2,172 USD is above the ceiling of 2,000 USD."
    assert check_floors(Promote(), found, "").passed is None


@pytest.mark.parametrize("name", ["auc", "roc_auc_at_half", "rmse", "interval_coverage"])
def test_a_floor_on_what_has_no_better_or_is_not_measured_is_an_error(name: str) -> None:
    found = metrics(roc_auc=0.8, interval_coverage=0.9, roc_auc_at_half=0.8)
    with pytest.raises(UserError, match=rf"promote.floors: no bound can be set on '{name}'; the metrics are roc_auc$"):
        check_floors(Promote(floors={name: 0.5}), found, "")


def rates(gap: float, impact: float | None) -> dict[str, Any]:
    return {"region": {"recall_gap": gap, "disparate_impact": impact}}


@pytest.mark.parametrize(
    ("challenger", "champion", "passed", "words"),
    [
        (
            rates(0.10, 0.80),
            rates(0.06, 0.84),
            True,
            "by region are at most 5.0 percentage points worse than those of v1",
        ),
        (
            rates(0.12, 0.80),
            rates(0.06, 0.84),
            False,
            "recall gap by region 12.0 percentage points against 6.0",
        ),
        (rates(0.06, 0.70), rates(0.06, 0.84), False, "disparate impact by region 70.0 % against 84.0 % of v1.0.0."),
        (rates(0.0, None), rates(0.06, 0.84), True, "at most"),
        (rates(0.06, 0.5), rates(0.0, None), False, "recall gap"),
        (rates(0.01, 0.99), rates(0.3, 0.2), True, "at most"),
    ],
)
def test_fairness_may_be_worse_than_the_champions_by_the_margin_only(
    challenger: dict[str, Any], champion: dict[str, Any], passed: bool, words: str
) -> None:
    rule = check_fairness([challenger, champion], Promote(), "v1.0.0")
    assert rule.passed is passed
    assert words in rule.detail


def test_fairness_does_not_apply_without_sensitive_columns_or_champion() -> None:
    assert check_fairness([{}, {}], Promote(), "v1.0.0").passed is None
    assert check_fairness([], Promote(), None).passed is None


def outcomes(probability: np.ndarray, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(probability)) < probability).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [40, 500, 5000])
def test_chance_gives_a_perfectly_calibrated_model_more_than_its_noise_in_few_cases(rows: int) -> None:
    probability = np.random.default_rng(1).beta(1, 3, rows)
    ones = np.ones((1, rows))
    errors = [calibration_error(outcomes(probability, seed), probability, ones)[0] for seed in range(2000)]
    assert 0.01 < np.mean(np.array(errors) > calibration_noise(probability)) < 0.05


def test_on_few_rows_a_calibrated_model_passes_and_one_that_is_far_off_does_not() -> None:
    probability = np.random.default_rng(2).beta(1, 3, 100)
    errors = [calibration_error(outcomes(p, 3), probability, np.ones((1, 100)))[0] for p in (probability, probability**0.4)]
    verdicts = [check_calibration(metrics(ece=float(error)), 100, Promote(), probability, None).passed for error in errors]
    assert min(errors) > Promote().max_ece
    assert verdicts == [True, False]


def test_on_many_rows_the_bound_of_params_decides() -> None:
    probability = np.full(100_000, 0.5)
    inside, outside = (check_calibration(metrics(ece=e), 100_000, Promote(), probability, None) for e in (0.05, 0.051))
    assert (inside.passed, outside.passed) == (True, False)
    assert outside.detail == "The calibration error is 0.051; 0.050 is allowed."
    assert outside.measured["bound"] > outside.measured["chance"]


@pytest.mark.parametrize(
    ("covered", "rows", "passed"),
    [(0.92, 51, True), (0.82, 51, True), (0.80, 51, False), (0.86, 5000, True), (0.84, 5000, False), (0.96, 5000, False)],
)
def test_intervals_may_cover_more_or_less_than_they_promise_by_the_tolerance(
    covered: float, rows: int, passed: bool
) -> None:
    promote = Promote(coverage_tolerance=0.05)
    rule = check_calibration(metrics(interval_coverage=covered), rows, promote, np.empty(0), 0.9)
    assert rule.passed is passed
    assert f"cover {100 * covered:.1f} % of the test rows where they promise 90.0 %" in rule.detail


def test_the_baseline_must_be_beaten_beyond_chance() -> None:
    own = metrics(roc_auc=0.883)
    good, bad = (check_baseline(own, {"value": 0.5, "p_value": p}, BANK) for p in (1 / 1001, 0.05))
    assert (good.passed, bad.passed) == (True, False)
    assert good.detail == "With 0.883 it beats the 0.500 of predicting without looking at the row (p < 0.001)."
    assert "does not beat, as that takes a p-value below 0.05, the 0.500" in bad.detail


GOOD = Artifact("", 1e-15, 0.0, 0.08)


@pytest.mark.parametrize(
    ("artifact", "passed", "words"),
    [
        (GOOD, True, "equals the pipeline within 1e-09, scores the known row as recorded and answers in 0.08 ms a row"),
        (replace(GOOD, difference=2e-9), False, "differs from the pipeline by up to 2e-09 on the test rows"),
        (replace(GOOD, difference=float("nan")), False, "differs"),
        (replace(GOOD, probe=1e-3), False, "scores the known row wrong by 0.001"),
        (replace(GOOD, latency_ms=5.1), False, "takes 5.10 ms a row where 5 ms are allowed"),
        (Artifact("EOFError: no more."), False, "The artifact cannot be used: EOFError: no more."),
    ],
)
def test_an_artifact_must_load_equal_the_pipeline_know_its_row_and_be_quick(
    artifact: Artifact, passed: bool, words: str
) -> None:
    rule = check_artifact(artifact, Promote())
    assert rule.passed is passed
    assert words in rule.detail


NAMES = ("floors", "comparison", "fairness", "calibration", "baseline", "artifact")


@given(st.tuples(*[st.sampled_from([True, False, None])] * len(NAMES)))
def test_a_model_is_accepted_if_and_only_if_no_rule_fails_and_the_reason_names_all_that_do(
    passed: tuple[bool | None, ...],
) -> None:
    rules = [Rule(name, found, f"Detail of {name}.", {}) for name, found in zip(NAMES, passed, strict=True)]
    decision = decide_promotion(rules, "v1.2.3", "It is a patch version.")
    failed = [rule for rule in rules if rule.passed is False]
    assert decision.accepted is (False not in passed)
    assert decision.rules == tuple(rules)
    assert "\n" not in decision.reason
    assert decision.reason.count("Detail of comparison.") == 1
    for rule in rules:
        told = rule.passed if decision.accepted else rule in failed
        assert (rule.detail in decision.reason) is (bool(told) or rule.rule == "comparison")
    if failed:
        verdict = decision.reason.partition(".")[0]
        assert verdict.startswith("Refused by the rule")
        assert {name for name in NAMES if name in verdict} == {rule.rule for rule in failed}
    else:
        assert decision.reason.startswith("Accepted as v1.2.3. Detail of comparison.")
        assert decision.reason.endswith("It is a patch version.")


@given(st.lists(st.sampled_from(NAMES), min_size=1))
def test_a_list_in_words_holds_every_word_in_its_order(words: list[str]) -> None:
    assume("and" not in words)
    text = listed(words)
    assert text.replace(" and ", ", ").split(", ") == words
    assert text.count(" and ") == (len(words) > 1)
