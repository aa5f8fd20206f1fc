"""What a text, a JSON value or a cell of a table stands for in a column, read the same way wherever rows come in."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np

from stages.projects._base import FIRST_DAY, LAST_DAY, OUTSIDE_DAYS, Column, Columns

# Words for "missing", whatever their case. A column that lists one of them among its choices has it as a value.
MISSING_WORDS = frozenset(["", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "-", "--", "?", "."])
TRUTH = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}  # of a column whose choices are 0 and 1

EXPECTED = {
    "number": "is no number",
    "text": "is no text",
    "date": "is no date such as 2019-03-14 or 3/14/2019",
}

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
COMMA = re.compile(r"[+-]?([0-9]+),([0-9]+)")
WHOLE = re.compile(r"(-?[0-9]+)(\.0+|,0)")
DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})([ T][0-9:.]+([Zz]|[+-][0-9:]+)?)?")
SLASHED = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})( [0-9:.]+( ?[AaPp][Mm])?)?")

UNREADABLE: Any = object()
DTYPES: dict[str, Any] = {"number": float, "text": object, "date": "datetime64[D]"}
CASES: dict[str, Callable[[str], str]] = {"": str, "lower": str.lower, "title": string.capwords}


def read_columns(raw: Mapping[str, Any], columns: tuple[Column, ...], rows: int) -> tuple[Columns, dict[str, np.ndarray]]:
    """The columns in their training form (see `projects._base.Columns`), and a mask per column of the values that are
    present but cannot be read; those become missing values. `raw` has per column an array or list of `rows` values: texts,
    numbers, dates or None. A column that it lacks is all missing; columns that the schema does not know are ignored.
    """
    values: Columns = {}
    unreadable: dict[str, np.ndarray] = {}
    for column in columns:
        given = raw[column.name] if column.name in raw else [None] * rows
        values[column.name], unreadable[column.name] = read_column(given, column)
    return values, unreadable


def read_column(given: np.ndarray | Sequence[Any], column: Column) -> tuple[np.ndarray, np.ndarray]:
    """One column as `read_columns` gives it.

    The notation is that of the column as a whole. A comma is a decimal one where no value has a point and one of them
    cannot be a number in thousands: "12,345" alone could be both, and is not read. Dates with slashes are
    month/day/year; where one of them can only be day/month/year and none only the former, none is read.
    """
    if isinstance(given, np.ndarray):
        if column.kind == "number" and given.dtype.kind in "fiu":
            numbers = given.astype(float)
            return np.where(np.isfinite(numbers), numbers, np.nan), np.isinf(numbers)
        if column.kind == "date" and given.dtype.kind == "M":
            return given.astype("datetime64[D]"), np.zeros(len(given), dtype=bool)
        given = given.tolist()
    texts = {value for value in given if isinstance(value, str)}
    read = reader(column, texts)
    known: dict[Any, Any] = {None: None, **{text: read(text) for text in texts}}
    try:
        found = list(map(known.__getitem__, given))  # a text is read once however often it is there
    except (KeyError, TypeError):
        found = [known[value] if value is None or isinstance(value, str) else read(value) for value in given]
    wrong = np.array([value is UNREADABLE for value in found], dtype=bool)
    if wrong.any():
        found = [None if value is UNREADABLE else value for value in found]
    return np.array(found, dtype=DTYPES[column.kind]), wrong


def reader(column: Column, texts: set[str]) -> Callable[[Any], Any]:
    """Reads a value of a column in which these are the texts: as a float, a text or a date, None if it is missing,
    UNREADABLE if it is no such value.
    """
    if column.kind == "number":
        decimal = uses_decimal_comma(texts)
        return lambda value: _number(value, column, decimal)
    if column.kind == "text":
        choices = {str(choice).casefold(): choice for choice in column.choices}
        return lambda value: _text(value, column, choices)
    month_first = begins_with_month(texts)
    return lambda value: _date(value, month_first)


def uses_decimal_comma(texts: set[str]) -> bool:
    """Whether the numbers of a column are written with a decimal comma."""
    found = [match for text in texts if (match := COMMA.fullmatch(text.strip()))]
    decimal = any(len(digits) != 3 or whole == "0" for whole, digits in (match.groups() for match in found))
    return decimal and not any("." in text and NUMBER.fullmatch(text.strip()) for text in texts)


def begins_with_month(texts: set[str]) -> bool:
    """Whether the dates with slashes of a column can be month/day/year: one of them proves it, or none contradicts it."""
    dates = [(int(match[1]), int(match[2])) for text in texts if (match := SLASHED.fullmatch(text.strip()))]
    return any(first <= 12 < second for first, second in dates) or not any(second <= 12 < first for first, second in dates)


def is_missing(array: np.ndarray) -> np.ndarray:
    """Mask of missing values."""
    if array.dtype.kind == "O":
        return np.array([value is None or value != value for value in array.tolist()], dtype=bool)
    return np.isnat(array) if array.dtype.kind == "M" else np.isnan(array)


def violations(values: Columns, unreadable: dict[str, np.ndarray], columns: tuple[Column, ...]) -> dict[str, np.ndarray]:
    """For each rule that some row breaks, in the order of the columns, the mask of the rows that break it. A rule is
    written `column: what is wrong`.
    """
    found: dict[str, np.ndarray] = {}
    for column in columns:
        for reason, mask in _rules(column, values[column.name], unreadable[column.name]):
            if mask.any():
                found[f"{column.name}: {reason}"] = mask
    return found


def _rules(column: Column, array: np.ndarray, unreadable: np.ndarray) -> list[tuple[str, np.ndarray]]:
    missing = is_missing(array)
    rules = [(EXPECTED[column.kind], unreadable)]
    if column.required:
        rules.append(("is missing", missing & ~unreadable))
    if column.choices:
        listed = ", ".join(map(str, column.choices))
        rules.append((f"is none of {listed}", ~missing & ~np.isin(array, list(column.choices))))
    elif column.integer:
        rules.append(("is no whole number", ~missing & (np.mod(array, 1) != 0)))
    if column.kind == "date":
        rules.append((OUTSIDE_DAYS, (array < np.datetime64(FIRST_DAY)) | (array > np.datetime64(LAST_DAY))))
    for bound, outside, words in (
        (column.ge, np.less, "is below"),
        (column.gt, np.less_equal, "is not above"),
        (column.le, np.greater, "is above"),
        (column.lt, np.greater_equal, "is not below"),
    ):
        if bound is not None:
            rules.append((f"{words} {bound:g}", ~missing & outside(array, bound)))
    if column.kind == "text" and not column.choices:
        texts = ["" if absent else text for text, absent in zip(array.tolist(), missing.tolist(), strict=True)]
        length = np.array([len(text) for text in texts])
        if column.min_length:
            rules.append((f"is shorter than {column.min_length} characters", ~missing & (length < column.min_length)))
        if column.max_length:
            rules.append((f"is longer than {column.max_length} characters", ~missing & (length > column.max_length)))
        if column.pattern:
            fits = re.compile(column.pattern).search
            wrong = np.array([not fits(text) for text in texts], dtype=bool)
            rules.append((f"does not match the pattern {column.pattern}", ~missing & wrong))
    return rules


def _number(value: Any, column: Column, decimal_comma: bool) -> Any:
    if isinstance(value, str):
        text = value.strip()
        if decimal_comma and COMMA.fullmatch(text):
            text = text.replace(",", ".")
        if not NUMBER.fullmatch(text):
            word = text.casefold()
            if column.choices == (0, 1) and word in TRUTH:
                return TRUTH[word]
            return None if word in MISSING_WORDS else UNREADABLE
        value = text
    elif isinstance(value, bool | np.bool_):
        return float(value) if column.choices == (0, 1) else UNREADABLE
    elif isinstance(value, bytes):
        return UNREADABLE
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return UNREADABLE
    if number != number:
        return None
    return number if np.isfinite(number) else UNREADABLE


def _text(value: Any, column: Column, choices: dict[str, Any]) -> Any:
    if isinstance(value, bool | np.bool_):
        return UNREADABLE
    if isinstance(value, float | np.floating):
        value = None if value != value else repr(float(value))
    elif isinstance(value, int | np.integer):
        value = str(value)
    if value is None:
        return None
    if not isinstance(value, str):
        return UNREADABLE
    text = " ".join(value.split())
    if (word := text.casefold()) in choices:
        return choices[word]
    if word in MISSING_WORDS:
        return None
    if whole := WHOLE.fullmatch(text):  # a code that was read as a number
        text = whole[1]
    if column.min_length and text.isascii() and text.isdigit():
        text = text.zfill(column.min_length)  # and lost its leading zeros
    return choices.get(text.casefold(), CASES[column.case](text))


def _date(value: Any, month_first: bool) -> Any:
    if isinstance(value, str):
        text = value.strip()
        if found := DAY.fullmatch(text):
            return _day(found[1])
        if month_first and (found := SLASHED.fullmatch(text)):
            return _day(f"{found[3]}-{found[1]:0>2}-{found[2]:0>2}")
        return None if text.casefold() in MISSING_WORDS else UNREADABLE
    if isinstance(value, datetime):
        return value.date() if value == value else None  # pandas' NaT is a datetime too
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, date) else UNREADABLE


def _day(text: str) -> Any:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return UNREADABLE
