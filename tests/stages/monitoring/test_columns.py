from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.monitoring.columns import categories_test, compare_numbers, missing_test

numbers = st.lists(st.integers(-5, 5) | st.floats(-1e6, 1e6), min_size=2, max_size=60).map(
    lambda v: np.array(v, dtype=float)
)


def found(reference: np.ndarray, batch: np.ndarray) -> dict[str, tuple[float, float]]:
    return {finding.name: (finding.p, finding.size) for finding in compare_numbers(reference, batch)}


@pytest.mark.slow
@pytest.mark.parametrize("values", [lambda r, n: r.normal(size=n), lambda r, n: r.integers(0, 12, n) * 1.0])
@pytest.mark.parametrize("rows", [(900, 100), (60, 60)])
def test_without_drift_small_p_values_are_as_rare_as_they_should_be(values: object, rows: tuple[int, int]) -> None:
    assert callable(values)
    rng = np.random.default_rng(0)
    draws = [found(values(rng, rows[0]), values(rng, rows[1])) for _ in range(400)]
    for name in ("location", "spread", "shape"):
        assert np.mean([draw[name][0] < 0.05 for draw in draws]) <= 0.08, name
    masks = [missing_test(rng.random(rows[0]) < 0.2, rng.random(rows[1]) < 0.2).p for _ in range(400)]
    assert np.mean(np.array(masks) < 0.05) <= 0.08
    words = [categories_test(rng.choice(list("abcde"), rows[0]), rng.choice(list("abcde"), rows[1])).p for _ in range(400)]
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


def test_a_category_is_new_when_it_is_frequent_and_not_when_the_reference_happened_to_miss_it() -> None:
    rng = np.random.default_rng(2)
    towns = np.array([f"town {number}" for number in range(2_000)], dtype=object)
    usual, now = rng.choice(towns, 2_000), rng.choice(towns, 2_000)
    assert categories_test(usual, now).p > 0.01
    now[:100] = "Atlantis"
    new = categories_test(usual, now)
    assert new.p < 1e-6
    assert new.size > 0.1


def test_the_size_of_a_difference_between_categories_does_not_grow_with_their_number_or_with_the_rows() -> None:
    rng = np.random.default_rng(3)
    many = [categories_test(rng.integers(0, 60, 2_000), rng.integers(0, 60, 2_000)).size for _ in range(40)]
    assert np.mean(many) < 0.06  # Cohen's w itself would be 0.17
    halves = [categories_test(rng.random(rows) < 0.5, rng.random(rows) < 0.55).size for rows in (20_000, 200_000)]
    assert halves == pytest.approx([0.1, 0.1], abs=0.02)


def test_one_category_is_no_evidence() -> None:
    assert categories_test(np.array(["a"] * 9), np.array(["a"] * 5)).p == 1


def test_fewer_missing_values_count_as_a_change_too_with_the_other_sign() -> None:
    more, none = np.arange(200) < 60, np.zeros(200, dtype=bool)
    assert missing_test(none, more).size == pytest.approx(0.3) == -missing_test(more, none).size
    assert missing_test(none, more).p == missing_test(more, none).p < 1e-6
