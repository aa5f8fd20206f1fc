from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from stages.monitoring.tests_of_drift import (
    compare_categories,
    compare_numbers,
    compare_shares,
    delong,
    dependence_test,
    encode,
    excess,
    joint_test,
    pattern_test,
    score_test,
)

numbers = st.lists(st.integers(-5, 5) | st.floats(-1e6, 1e6), min_size=2, max_size=60).map(
    lambda v: np.array(v, dtype=float)
)


def found(reference: np.ndarray, batch: np.ndarray) -> dict[str, tuple[float, float]]:
    return {finding.name: (finding.p, finding.size) for finding in compare_numbers(reference, batch)}


def inside(reference: int, batch: int) -> np.ndarray:
    return np.arange(reference + batch) >= reference


@pytest.mark.parametrize("values", [lambda r, n: r.normal(size=n), lambda r, n: r.integers(0, 12, n) * 1.0])
@pytest.mark.parametrize("rows", [(900, 100), (60, 60)])
def test_without_drift_small_p_values_are_as_rare_as_they_should_be(values: object, rows: tuple[int, int]) -> None:
    assert callable(values)
    rng = np.random.default_rng(0)
    draws = [found(values(rng, rows[0]), values(rng, rows[1])) for _ in range(400)]
    for name in ("location", "spread", "shape"):
        assert np.mean([draw[name][0] < 0.05 for draw in draws]) <= 0.08, name
    masks = [compare_shares(rng.random(rows[0]) < 0.2, rng.random(rows[1]) < 0.2).p for _ in range(400)]
    assert np.mean(np.array(masks) < 0.05) <= 0.08
    words = [
        compare_categories(rng.choice(list("abcde"), rows[0]), rng.choice(list("abcde"), rows[1])).p for _ in range(400)
    ]
    assert np.mean(np.array(words) < 0.05) <= 0.08


def test_each_test_of_a_number_finds_what_it_is_named_after() -> None:
    rng = np.random.default_rng(1)
    usual = rng.normal(size=3_000)
    moved, wider = found(usual, rng.normal(0.25, 1, 2_000)), found(usual, rng.normal(0, 1.3**0.5, 2_000))
    assert moved["location"][0] < 1e-6 < moved["spread"][0]
    assert moved["location"][1] == pytest.approx(0.1, abs=0.03)
    assert wider["spread"][0] < 1e-4 < wider["location"][0]
    assert wider["spread"][1] == pytest.approx(np.log(1.3) / 2, abs=0.04)
    two_humps = np.where(rng.random(2_000) < 0.5, -1, 1) * np.abs(rng.normal(0.8, 0.3, 2_000))
    shaped = found(usual, two_humps)
    assert shaped["shape"][0] < 1e-6 < shaped["location"][0]


@given(numbers, numbers)
def test_the_order_of_rows_changes_nothing_and_p_values_are_probabilities(reference: np.ndarray, batch: np.ndarray) -> None:
    one, other = found(reference, batch), found(reference[::-1], np.sort(batch))
    for name in one:
        assert one[name] == pytest.approx(other[name])
        assert 0 <= one[name][0] <= 1
        assert np.isfinite(one[name][1])


@given(numbers)
def test_a_sample_does_not_differ_from_itself(values: np.ndarray) -> None:
    for p, size in found(values, values).values():
        assert p == pytest.approx(1)
        assert size == pytest.approx(0)


def test_a_score_that_is_the_same_for_all_rows_is_no_evidence() -> None:
    assert score_test(np.full(20, 0.1), inside(10, 10)) == 1


def test_a_category_is_new_when_it_is_frequent_and_not_when_the_reference_happened_to_miss_it() -> None:
    rng = np.random.default_rng(2)
    towns = np.array([f"town {number}" for number in range(2_000)], dtype=object)
    usual, now = rng.choice(towns, 2_000), rng.choice(towns, 2_000)
    assert compare_categories(usual, now).p > 0.01
    now[:100] = "Atlantis"
    new = compare_categories(usual, now)
    assert new.p < 1e-6
    assert new.size > 0.1


def test_the_size_of_a_difference_between_categories_does_not_grow_with_their_number_or_with_the_rows() -> None:
    rng = np.random.default_rng(3)
    many = [compare_categories(rng.integers(0, 60, 2_000), rng.integers(0, 60, 2_000)).size for _ in range(40)]
    assert np.mean(many) < 0.06  # Cohen's w itself would be 0.17
    halves = [compare_categories(rng.random(rows) < 0.5, rng.random(rows) < 0.55).size for rows in (20_000, 200_000)]
    assert halves == pytest.approx([0.1, 0.1], abs=0.02)
    assert excess(-3.0, 100, 100) == 0


def test_one_category_is_no_evidence() -> None:
    assert compare_categories(np.array(["a"] * 9), np.array(["a"] * 5)).p == 1


def test_fewer_gaps_count_as_a_change_too_with_the_other_sign() -> None:
    more, none = np.arange(200) < 60, np.zeros(200, dtype=bool)
    assert compare_shares(none, more).size == pytest.approx(0.3) == -compare_shares(more, none).size
    assert compare_shares(none, more).p == compare_shares(more, none).p < 1e-6


def test_the_area_under_the_curve_is_that_of_scikit_learn_and_its_error_that_of_repeated_draws() -> None:
    rng = np.random.default_rng(4)
    draws = [(rng.normal(0.3, 1, 150).round(1), rng.normal(0, 1, 250).round(1)) for _ in range(300)]
    areas, errors = np.transpose([delong(*draw) for draw in draws])
    target = np.repeat([1, 0], [150, 250])
    assert areas == pytest.approx([roc_auc_score(target, np.concatenate(draw)) for draw in draws])
    assert errors.mean() == pytest.approx(areas.std(), rel=0.15)


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
        areas.append(joint_test(matrix, categorical, inside(600, 600), 0))
    assert areas[0]["p"] > 0.01
    assert areas[0]["low"] < 0.5
    assert areas[1]["p"] < 1e-6
    assert areas[1]["low"] > 0.6


def followers(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Three numbers, of which the second follows the first closely and has gaps; a category and a constant."""
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
    alone = np.median([found(usual[:, 0], now[:, 0])["spread"][0] for usual, now in draws])
    assert np.median([dependence(usual, now)["p"] for usual, now in draws]) < alone / 20


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


def test_gaps_dates_and_rare_texts_become_numbers() -> None:
    days = np.array(["1970-01-03", "NaT"], dtype="datetime64[D]")
    usual = {"text": np.array(["a", None], dtype=object), "day": days, "number": np.array([1.0, np.nan])}
    matrix, categorical = encode(usual, usual)
    assert categorical == [0]
    assert matrix[:, 1:].tolist()[0] == [2, 1]
    assert np.isnan(matrix[[1, 3], 1:]).all()
    assert matrix[0, 0] == matrix[2, 0] != matrix[1, 0] > 0
    names = np.array([f"name {number % 200}" for number in range(1_000)], dtype=object)
    codes, _ = encode({"name": names}, {"name": names})
    assert codes.min() == 0
    assert codes.max() < 255  # what scikit-learn's trees take


def test_errors_that_follow_a_column_as_they_never_did_are_found_and_the_column_is_named() -> None:
    rng = np.random.default_rng(6)
    rows = np.column_stack([rng.normal(size=(4_000, 3)), rng.integers(0, 3, 4_000)])
    rows[rng.random(4_000) < 0.1, 1] = np.nan
    names, batch, noise = ["a", "b", "c", "d"], inside(2_000, 2_000), rng.normal(size=4_000)
    weak = noise + 0.5 * rows[:, 0]  # a weakness that the model has always had
    for residuals in (noise, weak):
        assert pattern_test(rows, names, [3], residuals, batch)["p"] > 0.01
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
