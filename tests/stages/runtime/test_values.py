from __future__ import annotations

import io
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.core.schema import coerce
from stages.projects._base import FIRST_DAY, LAST_DAY, Column, Project, columns_of
from stages.runtime.values import MISSING_WORDS, is_missing, read_column, read_columns, violations
from tests.samples import raw_rows

NUMBER = Column("x", "number", integer=False, required=True)
FLAG = Column("flag", "number", integer=True, required=False, choices=(0, 1))
CODE = Column("berth", "text", integer=False, required=False, min_length=5, pattern="^[0-9A-Z .]{5,6}$")
NAME = Column("name", "text", integer=False, required=False, case="lower")
TOWN = Column("town", "text", integer=False, required=False, case="title")
KIND = Column("kind", "text", integer=False, required=False, choices=("NA", "like new", "Van"))
DAY = Column("day", "date", integer=False, required=False)
GONE, WRONG = "gone", "wrong"


def read(column: Column, *given: Any) -> list[Any]:
    """The values read, `GONE` for a missing one and `WRONG` for one that cannot be read."""
    array, unreadable = read_column(list(given), column)
    missing = is_missing(array)
    return [
        WRONG if wrong else GONE if gone else value
        for value, gone, wrong in zip(array.tolist(), missing, unreadable, strict=True)
    ]


def values_of(column: Column) -> st.SearchStrategy[Any]:
    """Values for a field as pydantic takes them, valid and not. What only people write is tested apart."""
    if column.choices:
        strangers = [7, -1] if column.kind == "number" else ["x", "Atlantis"]
        return st.sampled_from([*column.choices, *strangers, None])
    if column.kind == "date":  # those out of range are tested apart
        return st.one_of(st.dates(FIRST_DAY, LAST_DAY).map(str), st.sampled_from(["yesterday", "2019-13-01", None]))
    if column.kind == "text":
        texts = st.text("aé", min_size=1, max_size=(column.max_length or 10) + 2)
        return st.one_of(texts, st.none()) if not column.pattern else st.sampled_from(["00417", "abcde", "004170", None])
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


@given(text=st.text(max_size=12), column=st.sampled_from([NUMBER, FLAG, CODE, NAME, TOWN, KIND, DAY]))
def test_what_was_read_is_read_again_as_itself(text: str, column: Column) -> None:
    (once,) = read(column, text)
    if once not in (WRONG, GONE):
        assert read(column, once) == [once]
        assert read(column, str(once)) == [once]


@pytest.mark.parametrize("word", [*sorted(MISSING_WORDS), " ", "Na", " N/A ", "NULL"])
def test_words_for_missing_are_missing_in_every_kind_of_column(word: str) -> None:
    for column in (NUMBER, FLAG, CODE, NAME, DAY):
        assert read(column, word) == [GONE], column.name
    assert read(KIND, word) == ["NA" if word.strip().casefold() == "na" else GONE]


@pytest.mark.parametrize("value", [None, float("nan"), np.float64("nan")])
def test_the_missing_values_of_libraries_are_missing(value: Any) -> None:
    for column in (NUMBER, FLAG, CODE, KIND, DAY):
        assert read(column, value) == [GONE]
    assert read(DAY, pd.NaT) == [GONE]


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_text_is_the_one_that_python_reads_to_the_last_digit(number: float) -> None:
    assert read(NUMBER, repr(number), f" {number!r} ", number) == [number] * 3


@pytest.mark.parametrize(
    "value", ["many", "1_000", "0x10", "1,234,567", "$5", "5 %", "12 km", "inf", "1e999", "1;2", "1.234,5"]
)
def test_a_text_that_is_no_number_cannot_be_read(value: str) -> None:
    assert read(NUMBER, value, "7") == [WRONG, 7.0]


@pytest.mark.parametrize("value", [True, float("inf"), b"3", [1], {"a": 1}, np.array([1, 2]), date(2019, 3, 14), 10**400])
def test_what_is_no_number_cannot_be_read(value: Any) -> None:
    assert read(NUMBER, value) == [WRONG]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["1,5", "-0,25", "3", "1e3"], [1.5, -0.25, 3.0, 1000.0]),
        (["0,123"], [0.123]),
        (["12,345", "8,900"], [WRONG, WRONG]),  # thousands or thousandths
        (["12,345", "8,9"], [12.345, 8.9]),
        (["1,5", "2.5"], [WRONG, 2.5]),
    ],
)
def test_a_comma_is_a_decimal_one_where_it_can_be_nothing_else(given: list[str], expected: list[Any]) -> None:
    assert read(NUMBER, *given) == expected


def test_yes_and_no_are_read_where_one_and_zero_are_the_choices() -> None:
    assert read(FLAG, "yes", "No", "TRUE", "false", True, np.False_, "1", 0) == [1, 0, 1, 0, 1, 0, 1, 0]
    assert read(NUMBER, "yes", "true") == [WRONG, WRONG]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([601.0, 6117.0, None], ["00601", "06117", GONE]),
        ([601, np.int64(6117)], ["00601", "06117"]),
        (["601.0", "06117", " 601", "k1a 0"], ["00601", "06117", "00601", "k1a 0"]),
        (["123456", "6117.5"], ["123456", "6117.5"]),
        (["601,0", "1,000"], ["00601", "1,000"]),
    ],
)
def test_codes_read_as_numbers_get_their_leading_zeros_back(given: list[Any], expected: list[Any]) -> None:
    assert read(CODE, *given) == expected


def test_a_code_that_does_not_match_its_pattern_is_named() -> None:
    given = {"berth": ["765.0", "k1a 0", "K1A 0", None]}
    assert {rule: mask.tolist() for rule, mask in violations(*read_columns(given, (CODE,), 4), (CODE,)).items()} == {
        "berth: does not match the pattern ^[0-9A-Z .]{5,6}$": [False, True, False, False]
    }


def test_blanks_and_case_are_those_that_the_project_says() -> None:
    assert read(NAME, " Ford   F-150 ", "ford\u00a0f-150", "FORD F-150") == ["ford f-150"] * 3
    assert read(TOWN, "SAN JUAN", "san juan", "San  Juan") == ["San Juan"] * 3
    assert read(CODE, "K1a 0") == ["K1a 0"]
    assert read(KIND, "LIKE NEW", " van ", "Like  new", "bus") == ["like new", "Van", "like new", "bus"]
    assert read(NAME, True, 3.0, 2.5, 7) == [WRONG, "3", "2.5", "7"]


@pytest.mark.parametrize(
    "value",
    [
        "2019-03-14", "2019-03-14 00:00:00", "2019-03-14T00:00:00", "2019-03-14T23:59:59.123+02:00", "2019-03-14T10:00Z",
        " 3/14/2019", "03/14/2019", "3/14/2019 0:00", "3/14/2019 11:30 PM",
        date(2019, 3, 14), datetime(2019, 3, 14, 23, 59), pd.Timestamp("2019-03-14 23:59"),
    ],
)  # fmt: skip
def test_a_date_is_its_day_however_it_is_written(value: Any) -> None:
    assert read(DAY, value) == [date(2019, 3, 14)]


@pytest.mark.parametrize(
    "value", ["yesterday", "2019-13-01", "2019-02-30", "14.3.2019", "20190314", "2019-3-14", 1552521600, True]
)
def test_what_is_no_date_cannot_be_read(value: Any) -> None:
    assert read(DAY, value) == [WRONG]


def test_dates_whose_day_comes_first_are_not_read_as_others() -> None:
    assert read(DAY, "3/4/2019", "14/3/2019", "2019-03-14") == [WRONG, WRONG, date(2019, 3, 14)]
    assert read(DAY, "3/4/2019", "14/3/2019", "3/14/2019") == [date(2019, 3, 4), WRONG, date(2019, 3, 14)]


def test_dates_that_no_row_can_have_break_the_schema() -> None:
    days = ["0001-01-01", "1899-12-31", "1900-01-01", None, "2200-12-31", "2201-01-01", "12/31/9999", "yesterday"]
    broken = violations(*read_columns({"day": days}, (DAY,), 8), (DAY,))
    assert {reason: mask.tolist() for reason, mask in broken.items()} == {
        "day: is no date such as 2019-03-14 or 3/14/2019": [False] * 7 + [True],
        "day: is not between 1900-01-01 and 2200-12-31": [True, True, False, False, False, True, True, False],
    }


def test_arrays_of_numpy_are_read_as_their_values_are() -> None:
    numbers, unreadable = read_column(np.array([1.5, np.nan, np.inf]), NUMBER)
    np.testing.assert_array_equal(numbers, [1.5, np.nan, np.nan])
    assert unreadable.tolist() == [False, False, True]
    days, unreadable = read_column(np.array(["2019-03-14T23:59", "NaT"], dtype="datetime64[s]"), DAY)
    assert days.astype(str).tolist() == ["2019-03-14", "NaT"]
    assert not unreadable.any()


def test_a_column_that_is_not_there_is_all_missing_and_one_too_many_is_left_out() -> None:
    values, unreadable = read_columns({"other": [1, 2]}, (NUMBER, CODE, DAY), 2)
    assert list(values) == ["x", "berth", "day"]
    assert all(is_missing(array).all() for array in values.values())
    assert not any(mask.any() for mask in unreadable.values())


def test_a_row_that_breaks_several_rules_is_found_by_each() -> None:
    columns = (
        Column("n", "number", integer=True, required=True, ge=2, lt=9),
        Column("c", "text", False, False, max_length=5),
    )
    values, unreadable = read_columns({"n": [1.5, 9, None], "c": ["12", "123456", None]}, columns, 3)
    assert {reason: mask.tolist() for reason, mask in violations(values, unreadable, columns).items()} == {
        "n: is missing": [False, False, True],
        "n: is no whole number": [True, False, False],
        "n: is below 2": [True, False, False],
        "n: is not below 9": [False, True, False],
        "c: is longer than 5 characters": [False, True, False],
    }
