from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.schema import coerce
from stages.projects._base import Project
from stages.runtime.population import shares, stability, stability_above_chance, summarise, summarised
from tests.samples import records

values = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)), min_size=1, max_size=80)
texts = st.lists(st.one_of(st.text(max_size=3), st.none()), min_size=1, max_size=80)


@given(values)
def test_every_number_is_in_one_bin_and_missing_ones_in_the_last(numbers: list[float]) -> None:
    array = np.array(numbers)
    bins = summarised(array)
    assert np.isclose(sum(bins["shares"]), 1)
    assert bins["edges"] == sorted(set(bins["edges"]))
    assert np.isclose(bins["shares"][-1], np.isnan(array).mean())


@given(texts)
def test_every_text_is_in_one_bin_and_unknown_ones_in_the_rest(words: list[str | None]) -> None:
    array = np.array([*words, None], dtype=object)[:-1]
    bins = summarised(array)
    assert np.isclose(sum(bins["shares"]), 1)
    assert shares(np.array(["never seen"], dtype=object), bins)[-2] == 1
    assert np.isclose(bins["shares"][-1], sum(word is None for word in words) / len(words))


@given(values, values)
def test_the_index_is_never_negative_and_zero_for_equal_shares(numbers: list[float], others: list[float]) -> None:
    bins = summarised(np.array(numbers))
    expected, found = np.array(bins["shares"]), shares(np.array(others), bins)
    assert stability(expected, found, len(others)) >= 0
    assert stability(expected, expected, len(numbers)) == 0


def test_the_index_is_the_one_of_the_book() -> None:
    expected, found = np.array([0.5, 0.5]), np.array([0.4, 0.6])
    by_hand = (0.4 - 0.5) * np.log(0.4 / 0.5) + (0.6 - 0.5) * np.log(0.6 / 0.5)
    assert stability(expected, found, 1000) == pytest.approx(by_hand)


def test_few_rows_of_the_same_population_have_no_larger_index_than_many_and_a_shift_is_found() -> None:
    rng = np.random.default_rng(0)
    bins = summarised(rng.normal(size=5_000))
    few = [stability_above_chance(bins, rng.normal(size=200), 5_000) for _ in range(50)]
    assert np.mean(few) < 0.02
    assert stability_above_chance(bins, rng.normal(size=20_000), 5_000) < 0.01
    assert stability_above_chance(bins, rng.normal(0.8, size=500), 5_000) > 0.25


def test_every_column_but_dates_is_summarised(project: Project) -> None:
    columns, _ = coerce(records(project, 300), project.columns)
    summary = summarise(columns, project.columns, np.arange(300.0))
    assert set(summary["columns"]) == {column.name for column in project.columns if column.kind != "date"}
    assert summary["rows"] == 300
    for name, bins in summary["columns"].items():
        np.testing.assert_allclose(shares(columns[name], bins), bins["shares"])
