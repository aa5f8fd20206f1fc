from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.monitoring.columns import spread_test
from stages.monitoring.joint import classifier_test, dependence_test
from stages.monitoring.twosample import encode


def inside(reference: int, batch: int) -> np.ndarray:
    return np.arange(reference + batch) >= reference


def test_a_classifier_finds_two_columns_that_no_longer_hang_together() -> None:
    rng = np.random.default_rng(5)

    def rows(count: int, linked: bool) -> dict[str, np.ndarray]:
        first, kind = rng.normal(size=count), rng.integers(0, 2, count)
        second = np.where(kind, first, -first) if linked else rng.permutation(first)
        second[rng.random(count) < 0.1] = np.nan
        return {"first": first, "second": second, "kind": np.array(["a", "b"], dtype=object)[kind]}

    areas = []
    for linked in (True, False):
        matrix, categorical = encode(rows(600, True), rows(600, linked))
        assert categorical == [2]
        areas.append(classifier_test(matrix, categorical, inside(600, 600), 0))
    assert areas[0]["p"] > 0.01
    assert areas[0]["low"] < 0.5
    assert areas[1]["p"] < 1e-6
    assert areas[1]["low"] > 0.6


def followers(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Three numbers, of which the second follows the first closely and has missing values; a category and a constant."""
    first = rng.normal(size=rows)
    second = np.where(rng.random(rows) < 0.1, np.nan, np.exp(first + 0.4 * rng.normal(size=rows)))
    return np.column_stack([first, second, rng.normal(size=rows), rng.integers(0, 3, rows), np.ones(rows)])


def dependence(reference: np.ndarray, batch: np.ndarray) -> dict[str, Any]:
    names = ["first", "second", "third", "category", "constant"]
    return dependence_test(np.vstack([reference, batch]), names, [3], inside(len(reference), len(batch)))


@pytest.mark.parametrize(("number", "factor"), [(0, 1.14), (0, 0.88), (2, 1.3), (2, 0.7)])
def test_a_number_that_varies_otherwise_given_the_others_is_named(number: int, factor: float) -> None:
    rng = np.random.default_rng(7)
    usual, now = followers(rng, 900), followers(rng, 2_000)
    assert dependence(usual, now)["p"] > 0.01
    now[:, number] *= factor
    test = dependence(usual, now)
    assert test["p"] < 1e-4
    assert test["column"] in (["first", "second"] if number == 0 else ["third"])
    assert np.sign(test["size"]) == np.sign(factor - 1)
    assert abs(test["size"]) > 0.15


def test_a_spread_that_grew_is_seen_sooner_where_another_column_tells_what_to_expect() -> None:
    rng, wider = np.random.default_rng(9), np.array([1.14, 1, 1, 1, 1])
    draws = [(followers(rng, 450), followers(rng, 1_000) * wider) for _ in range(40)]
    alone = np.median([spread_test(usual[:, 0], now[:, 0]).p for usual, now in draws])
    assert np.median([dependence(usual, now)["p"] for usual, now in draws]) < alone / 20


@pytest.mark.slow
def test_numbers_without_a_change_seldom_seem_to_depend_otherwise() -> None:
    rng = np.random.default_rng(8)
    found = [dependence(followers(rng, 300), followers(rng, 200))["p"] for _ in range(400)]
    assert np.mean(np.array(found) < 0.05) <= 0.08


def test_columns_that_never_vary_or_are_missing_on_one_side_are_left_out_of_the_dependence() -> None:
    rows = np.column_stack([np.ones(80), np.arange(80) < 1, np.where(np.arange(80) < 20, np.nan, np.arange(80))])
    for chosen in ([0], [2], [0, 2]):
        none = dependence_test(rows[:, chosen], ["column"] * len(chosen), [], inside(40, 40))
        assert none == {"p": 1.0, "size": 0.0, "column": None}
    rare = (np.arange(400) < 1)[:, None] * 1.0
    assert dependence_test(rare, ["rare"], [], inside(200, 200)) == {"p": 1.0, "size": 0.0, "column": "rare"}
