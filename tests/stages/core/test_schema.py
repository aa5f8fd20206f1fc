from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.core.schema import coerce, is_missing, to_frame, violations
from stages.projects._base import FIRST_DAY, LAST_DAY, Column, Project, columns_of
from tests.samples import raw_rows

NUMBER = Column("x", "number", integer=False, required=True)
CODE = Column("berth", "text", integer=False, required=False, min_length=5, max_length=5)
DAY = Column("day", "date", integer=False, required=False)


def values_of(column: Column) -> st.SearchStrategy[Any]:
    """Values for a field, valid and not, in the types that JSON has. Texts are no digits: codes are tested apart."""
    if column.choices:
        strangers = [7, -1] if column.kind == "number" else ["", "Atlantis"]
        return st.sampled_from([*column.choices, *strangers, None])
    if column.kind == "date":  # those out of range are tested apart
        return st.one_of(st.dates(FIRST_DAY, LAST_DAY).map(str), st.sampled_from(["yesterday", "2019-13-01", "", None]))
    if column.kind == "text":
        return st.one_of(st.text("aé -", max_size=(column.max_length or 10) + 2), st.none())
    bounds = [bound for bound in (column.ge, column.gt, column.le, column.lt) if bound is not None]
    numbers = st.sampled_from([bound + step for bound in bounds or [0] for step in (-1, -0.5, 0, 0.5, 1)])
    return st.one_of(numbers, st.integers(-10, 10_000), st.sampled_from([float("inf"), "many", None]))


def broken_fields(project: Project, row: dict[str, Any]) -> set[str]:
    """The fields that pydantic finds wrong."""
    try:
        project.record.model_validate(row)
    except ValidationError as error:
        return {str(item["loc"][0]) for item in error.errors()}
    return set()


@pytest.mark.slow
@given(data=st.data())
def test_the_check_of_whole_columns_agrees_with_pydantic_on_every_field_of_every_row(
    project: Project, data: st.DataObject
) -> None:
    columns = columns_of(project.record)
    row = st.fixed_dictionaries({column.name: values_of(column) for column in columns})
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    broken = violations(*coerce(pd.DataFrame(rows, dtype=object), columns), columns)
    for number, drawn in enumerate(rows):
        found = {reason.partition(":")[0] for reason, mask in broken.items() if mask[number]}
        assert found == broken_fields(project, drawn)


def test_a_csv_read_with_types_or_as_text_gives_the_same_values(project: Project) -> None:
    columns = columns_of(project.record)
    text = raw_rows(project).to_csv(index=False)
    typed, untyped = (coerce(pd.read_csv(io.StringIO(text), dtype=dtype), columns) for dtype in (None, str))
    for column in columns:
        np.testing.assert_array_equal(typed[0][column.name], untyped[0][column.name])
        assert not typed[1][column.name].any()
        assert not untyped[1][column.name].any()


def test_values_that_were_coerced_stay_as_they_are(project: Project) -> None:
    columns = columns_of(project.record)
    once, _ = coerce(raw_rows(project), columns)
    twice, unreadable = coerce(to_frame(once), columns)
    for column in columns:
        np.testing.assert_array_equal(once[column.name], twice[column.name])
        assert not unreadable[column.name].any()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([601.0, 6117.0, None], ["00601", "06117", None]),
        ([601, 6117], ["00601", "06117"]),
        (["601.0", "06117", "601", "K1A 0"], ["00601", "06117", "00601", "K1A 0"]),
        (["123456", "6117.5"], ["123456", "6117.5"]),
    ],
)
def test_codes_read_as_numbers_get_their_leading_zeros_back(given: list[Any], expected: list[Any]) -> None:
    values, unreadable = coerce(pd.DataFrame({"berth": given}), (CODE,))
    assert values["berth"].tolist() == expected
    assert not unreadable["berth"].any()


def test_dates_are_read_in_iso_and_in_month_first_form() -> None:
    values, unreadable = coerce(pd.DataFrame({"day": ["2019-03-14", "3/14/2019", "12/1/2018", "14/3/2019", None]}), (DAY,))
    assert values["day"].astype(str).tolist() == ["2019-03-14", "2019-03-14", "2018-12-01", "NaT", "NaT"]
    assert unreadable["day"].tolist() == [False, False, False, True, False]


def test_dates_that_no_row_can_have_break_the_schema() -> None:
    days = ["0001-01-01", "1899-12-31", "1900-01-01", None, "2200-12-31", "2201-01-01", "12/31/9999", "yesterday"]
    assert {
        reason: mask.tolist() for reason, mask in violations(*coerce(pd.DataFrame({"day": days}), (DAY,)), (DAY,)).items()
    } == {
        "day: is no date": [False] * 7 + [True],
        "day: is not between 1900-01-01 and 2200-12-31": [True, True, False, False, False, True, True, False],
    }


def test_dates_that_are_dates_already_keep_their_day() -> None:
    values, _ = coerce(pd.DataFrame({"day": [pd.Timestamp("2019-03-14 23:59"), pd.NaT]}), (DAY,))
    assert values["day"].astype(str).tolist() == ["2019-03-14", "NaT"]


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_text_is_the_one_that_python_reads_to_the_last_digit(number: float) -> None:
    frame = pd.DataFrame({"x": [repr(number), f" {number!r} ", "1_000"]})
    values, unreadable = coerce(frame, (NUMBER,))
    assert values["x"][:2].tolist() == [number, number]
    assert unreadable["x"].tolist() == [False, False, True]


def test_text_and_infinity_in_a_number_column_are_unreadable_and_gaps_are_not() -> None:
    values, unreadable = coerce(pd.DataFrame({"x": ["1.5", "many", np.inf, "-inf", None, np.nan, ""]}), (NUMBER,))
    np.testing.assert_array_equal(values["x"], [1.5] + [np.nan] * 6)
    assert unreadable["x"].tolist() == [False, True, True, True, False, False, True]


def test_a_column_that_is_not_there_is_all_gaps_and_one_too_many_is_left_out() -> None:
    values, unreadable = coerce(pd.DataFrame({"other": [1, 2]}), (NUMBER, CODE, DAY))
    assert list(values) == ["x", "berth", "day"]
    assert all(is_missing(array).all() for array in values.values())
    assert not any(mask.any() for mask in unreadable.values())


def test_a_row_that_breaks_several_rules_is_found_by_each() -> None:
    columns = (Column("n", "number", integer=True, required=True, ge=2, lt=9), CODE)
    values, unreadable = coerce(pd.DataFrame({"n": [1.5, 9, None], "berth": ["12", "123456", None]}), columns)
    assert {reason: mask.tolist() for reason, mask in violations(values, unreadable, columns).items()} == {
        "n: is missing": [False, False, True],
        "n: is no whole number": [True, False, False],
        "n: is below 2": [True, False, False],
        "n: is not below 9": [False, True, False],
        "berth: is longer than 5 characters": [False, True, False],
    }


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_frame_has_one_type_per_kind_of_column_whatever_its_gaps(rows: int) -> None:
    columns = (NUMBER, CODE, DAY)
    empty = to_frame(coerce(pd.DataFrame(index=range(rows)), columns)[0])
    full = pd.DataFrame({"x": [1] * rows, "berth": ["00601"] * rows, "day": ["2019-03-14"] * rows})
    assert empty.dtypes.equals(to_frame(coerce(full, columns)[0]).dtypes)
    assert len(empty) == rows
