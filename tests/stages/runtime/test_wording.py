from __future__ import annotations

import math

import pytest

from stages.modeling.families import ESTIMATORS
from stages.runtime import wording
from stages.runtime.wording import (
    between,
    count,
    digits_that_count,
    exact,
    listed,
    metric,
    metric_change,
    metric_interval,
    number,
    p_value,
    percent,
    points,
    signed,
    significant,
    words,
)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.89, "1,000 USD", "3,890 USD"),
        (2165.4, "USD", "2,165 USD"),
        (17_120.3, "", "17,120"),
        (2013, "", "2013"),
        (0.00001234, "", "0.0000123"),
        (-0.0, "", "0"),
        (2.125, "", "2.12"),
        (None, "USD", "–"),
        (math.inf, "", "–"),
    ],
)
def test_a_number_is_written_by_its_size_and_unit(value: float | None, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_significant_digits_are_no_power_of_ten() -> None:
    assert [significant(value, 4) for value in (17_123.4, 12_330, 0.06776, 9.5, 0, 2e9)] == [
        "17,120", "12,330", "0.06776", "9.5", "0", "2,000,000,000",
    ]  # fmt: skip


def test_what_was_given_loses_no_digit() -> None:
    assert [exact(83_807.86, "EUR"), exact(24.1, "1,000 USD"), exact(12_345), exact(2.0)] == [
        "83,807.86 EUR", "24,100 USD", "12345", "2",
    ]  # fmt: skip


def test_a_count_has_its_noun_in_the_singular_or_plural() -> None:
    assert [count(rows, "row") for rows in (0, 1, 2, 1234)] == ["0 rows", "1 row", "2 rows", "1,234 rows"]
    assert [count(entries, "entry", "entries") for entries in (1, 2)] == ["1 entry", "2 entries"]
    assert count(1234) == "1,234"


def test_shares_are_in_per_cent_and_their_differences_in_percentage_points() -> None:
    assert [percent(0.12345), percent(0.9, 0), percent(None)] == ["12.3 %", "90 %", "–"]
    assert points(0.073) == "7.3 percentage points"
    assert metric_change(-0.0123, "mape") == "−1.2 percentage points"


def test_a_sign_is_written_where_a_difference_is_not_zero() -> None:
    assert [signed(text) for text in ("1.5 USD", "-0.02", "0.000", "-0.0 %", "–")] == [
        "+1.5 USD",
        "−0.02",
        "0.000",
        "0.0 %",
        "–",
    ]


@pytest.mark.parametrize(
    ("p", "text"),
    [(1 / 1001, "p < 0.001"), (0.00101, "p = 0.001"), (0.0123, "p = 0.012"), (1 / 101, "p = 0.0099")],
)
def test_the_least_p_value_of_a_thousand_resamples_is_a_bound(p: float, text: str) -> None:
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("roc_auc", 0.87654, "0.877"),
        ("median_ape", 0.1234, "12.3 %"),
        ("mae", 12345.6, "12,346 USD"),
        ("rmse", 2.345, "2.34 USD"),
        ("r2", None, "–"),
    ],
)
def test_metrics_are_written_for_people(name: str, value: float | None, text: str) -> None:
    assert metric(value, name, "USD") == text


def test_an_interval_has_its_unit_once() -> None:
    assert metric_interval({"low": 2.98, "high": 4.77}, "rmse", "1,000 USD") == "2,980 to 4,770 USD"
    assert metric_interval({"low": 0.861, "high": 0.904}, "roc_auc") == "0.861 to 0.904"
    assert metric_interval({"low": 0.023, "high": 0.063}, "ece") == "–"
    assert between("10.9 %", "16.0 %") == "10.9 to 16.0 %"


def test_digits_that_count_follow_the_width_of_the_interval() -> None:
    assert digits_that_count(-0.0004, 0.0004, "roc_auc") == 5
    assert digits_that_count(-0.31, 0.32, "rmse", "1,000 USD") == 0
    assert digits_that_count(0.0, 0.0, "roc_auc") == 3


def test_names_are_words() -> None:
    assert [words(name) for name in ("roc_auc", "hist_gradient_boosting", "log_crim")] == [
        "ROC-AUC", "histogram gradient boosting", "log crim",
    ]  # fmt: skip
    assert wording.NAMES.keys() <= set(ESTIMATORS)
    assert [listed(texts) for texts in ([], ["a"], ["a", "b", "c"])] == ["", "a", "a, b and c"]
