"""Tests of stages/explanation/synthetic.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stages.core.schema import coerce
from stages.explanation.synthetic import ROOT, SHARED, correlations, dependence_tree, synthesize
from stages.projects._base import Column, Columns, Project
from stages.runtime.values import is_missing
from tests.samples import records

COLUMNS = (
    Column("town", "text", integer=False, required=True),
    Column("country", "text", integer=False, required=True),
    Column("rooms", "number", integer=True, required=False),
    Column("size", "number", integer=False, required=False),
    Column("heating", "number", integer=False, required=True),
    Column("built", "date", integer=False, required=True),
)
COUNTRY = {"Bern": "CH", "Basel": "CH", "Wien": "AT", "Graz": "AT", "Linz": "AT"}
EXAMPLE = {"town": "Bern", "country": "CH"}


def table(rows: int = 2_000) -> Columns:
    """Homes: towns are in countries, plots have neither rooms nor a size, and heating falls with the year and rises with the
    size.
    """
    rng = np.random.default_rng(0)
    town = rng.choice(np.array([*COUNTRY], dtype=object), rows)
    plot = rng.random(rows) < 0.2
    rooms = np.where(plot, np.nan, rng.integers(1, 7, rows))
    size = np.where(plot, np.nan, np.round(25 * rooms + 5 * rng.gamma(2, 3, rows), 1))
    age = rng.gamma(2, 20, rows)
    heating = np.nan_to_num(size, nan=10) * (1 + age / 50) * rng.uniform(0.8, 1.2, rows) + 100 * (town == "Graz")
    built = np.datetime64("2020-01-01", "D") - np.round(365 * age).astype(int)
    return {
        "town": town, "country": np.array([COUNTRY[name] for name in town], dtype=object), "rooms": rooms, "size": size,
        "heating": np.round(heating, 2), "built": built,
    }  # fmt: skip


def draw(values: Columns, count: int = 2_000, seed: int = 0, columns: tuple[Column, ...] = COLUMNS) -> Columns:
    return synthesize(values, columns, np.arange(len(values["town"])), EXAMPLE, count, seed)


def known(values: np.ndarray) -> np.ndarray:
    numbers: np.ndarray = values[~is_missing(values)].astype(float)
    return numbers


def rank_correlation(values: Columns, one: str, other: str) -> float:
    return float(pd.Series(values[one]).rank().corr(pd.Series(values[other]).rank()))


def test_columns_keep_their_distributions() -> None:
    values, drawn = table(), draw(table())
    for name in ("rooms", "size", "heating", "built"):
        spread = np.std(known(values[name]))
        for share in (0.25, 0.5, 0.75):
            found, wanted = (np.quantile(known(columns[name]), share) for columns in (drawn, values))
            assert found == pytest.approx(wanted, abs=0.15 * spread)
        assert drawn[name].dtype == values[name].dtype
        assert is_missing(drawn[name]).mean() == pytest.approx(is_missing(values[name]).mean(), abs=0.03)
    for town in COUNTRY:
        assert np.mean(drawn["town"] == town) == pytest.approx(np.mean(values["town"] == town), abs=0.03)


def test_columns_depend_on_each_other_as_before() -> None:
    values, drawn = table(), draw(table())
    assert {*zip(drawn["town"], drawn["country"], strict=True)} == {*COUNTRY.items()}
    np.testing.assert_array_equal(is_missing(drawn["rooms"]), is_missing(drawn["size"]))
    homes, made = ({name: array[~is_missing(found["size"])] for name, array in found.items()} for found in (values, drawn))
    for pair in (("rooms", "size"), ("size", "heating"), ("built", "heating")):
        assert rank_correlation(made, *pair) == pytest.approx(rank_correlation(homes, *pair), abs=0.2)
    assert rank_correlation(homes, "built", "heating") < -0.3


def test_numbers_depend_on_texts_by_the_outcome() -> None:
    values = table()
    drawn = synthesize(values, COLUMNS, values["heating"], EXAMPLE, 2_000, 0)
    graz = [np.median(found["heating"][found["town"] == "Graz"]) for found in (values, drawn)]
    other = [np.median(found["heating"][found["town"] == "Linz"]) for found in (values, drawn)]
    assert graz[1] - other[1] > 0.5 * (graz[0] - other[0]) > 30


@pytest.mark.slow
def test_numbers_have_the_decimals_of_their_column_and_no_extremes() -> None:
    values = table()
    values["size"][7], values["heating"][8], values["built"][9] = 9_999.0, 99_999.0, np.datetime64("1200-01-01")
    drawn = draw(values)
    for name, decimals in (("size", 1), ("heating", 2), ("rooms", 0)):
        np.testing.assert_array_equal(drawn[name], np.round(drawn[name], decimals))
    tiny = table() | {"heating": values["heating"] / 3e9}
    assert {float(f"{value:.6g}") for value in draw(tiny)["heating"]} == set(draw(tiny)["heating"].tolist())
    assert np.median(draw(tiny)["heating"]) == pytest.approx(np.median(tiny["heating"]), rel=0.1)
    for name in ("size", "heating", "built"):
        low, high = np.quantile(known(values[name]), [0.01, 0.99])
        assert low - 1 <= known(drawn[name]).min() < known(drawn[name]).max() <= high + 1


@pytest.mark.parametrize(("rows", "appears"), [(SHARED - 1, False), (10 * SHARED, True)])
def test_what_fewer_rows_have_is_never_drawn(rows: int, appears: bool) -> None:
    values = table(200)
    values["town"][:rows], values["rooms"][-rows:] = "Zug", 12
    drawn = draw(values, 5_000)
    assert ("Zug" in drawn["town"]) == appears
    assert (12 in drawn["rooms"]) == appears


def test_a_pair_that_fewer_rows_have_is_not_drawn_where_another_one_is_common() -> None:
    values = table(500)
    values["country"][np.flatnonzero(values["town"] == "Wien")[: SHARED - 1]] = "CH"
    drawn = draw(values, 5_000)
    assert set(drawn["country"][drawn["town"] == "Wien"]) == {"AT"}


def test_a_text_whose_values_do_not_repeat_is_missing_or_that_of_the_example() -> None:
    values = table(200)
    values["town"] = np.array([f"town {number}" for number in range(200)], dtype=object)
    assert set(draw(values)["town"]) == {EXAMPLE["town"]}
    optional = (Column("town", "text", integer=False, required=False), *COLUMNS[1:])
    assert set(draw(values, columns=optional)["town"]) == {None}


def test_a_column_without_values_stays_empty() -> None:
    values = table(200)
    values["size"] = np.full(200, np.nan)
    assert is_missing(draw(values)["size"]).all()


@pytest.mark.slow
def test_rows_depend_on_the_seed_alone() -> None:
    first, again, other = (draw(table(), seed=seed) for seed in (0, 0, 1))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["heating"] != other["heating"]).any()


@pytest.mark.slow
def test_any_table_gives_rows_with_its_columns(project: Project) -> None:
    for rows in (1, 12, 60):
        frame = records(project, 2 * rows).head(rows)
        values = coerce(frame, project.columns)[0]
        drawn = synthesize(values, project.columns, frame[project.target].to_numpy(), project.example_row, 50, 0)
        assert {name: (len(array), array.dtype.kind) for name, array in drawn.items()} == {
            column.name: (50, values[column.name].dtype.kind) for column in project.columns
        }
        assert not any(is_missing(drawn[column.name]).any() for column in project.columns if column.required)


def test_a_column_is_drawn_given_the_one_that_tells_most_about_it() -> None:
    zone = np.random.default_rng(0).integers(0, 40, 3_000)
    codes = {"zone": zone, "state": zone // 10, "town": zone // 2, "same": 0 * zone}
    assert dependence_tree(codes) == {"same": ROOT, "state": ROOT, "town": "state", "zone": "town"}


def test_correlations_over_other_rows_each_are_made_possible() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(120, 3))
    scores[:40, 1], scores[40:80, 2], scores[80:, 2] = scores[:40, 0], scores[40:80, 0], -scores[80:, 1]
    scores[:40, 2], scores[40:80, 1], scores[80:, 0] = np.nan, np.nan, np.nan
    matrix = correlations(scores)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert matrix[0, 1] > 0 > matrix[1, 2]
