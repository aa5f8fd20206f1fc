"""Frames checked against a project's pydantic schema, whole columns at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stages.projects._base import FIRST_DAY, LAST_DAY, OUTSIDE_DAYS, Column, Columns

WHOLE_NUMBER = r"^(-?\d+)\.0+$"


def coerce(frame: pd.DataFrame, columns: tuple[Column, ...]) -> tuple[Columns, dict[str, np.ndarray]]:
    """The columns in their training form (see `projects._base.Columns`), and a mask per column of the values that are
    present but cannot be read; those become missing values. A column that the frame lacks is all missing; columns that the
    schema does not know are ignored. Takes text as `read_csv` gives it with or without `dtype=str`: numbers, ISO or
    month/day/year dates, and codes that were read as numbers and lost their leading zeros.
    """
    values: Columns = {}
    unreadable: dict[str, np.ndarray] = {}
    for column in columns:
        raw = frame[column.name] if column.name in frame else pd.Series(np.nan, index=frame.index)
        read = {"number": _numbers, "text": _texts, "date": _dates}[column.kind]
        array = read(raw, column)
        values[column.name] = array
        unreadable[column.name] = is_missing(array) & raw.notna().to_numpy()
    return values, unreadable


def read_rows(frame: pd.DataFrame, columns: tuple[Column, ...]) -> Columns:
    """The columns in their training form; ValueError for a required column that the frame lacks or an unreadable value."""
    if missing := [column.name for column in columns if column.required and column.name not in frame]:
        raise ValueError(f"the rows lack the column {', '.join(missing)}, which this model needs")
    values, unreadable = coerce(frame, columns)
    for column in columns:
        if unreadable[column.name].any():
            bad = frame[column.name][unreadable[column.name]].iloc[0]
            raise ValueError(f"{column.name} is no {column.kind}: {bad!r}")
    return values


def to_frame(values: Columns) -> pd.DataFrame:
    """A frame with one dtype per kind of column, whatever is missing: float64, str, datetime64[s]."""
    casts = {"f": "float64", "O": "str", "M": "datetime64[s]"}
    return pd.DataFrame({name: pd.Series(array, dtype=casts[array.dtype.kind]) for name, array in values.items()})


def is_missing(array: np.ndarray) -> np.ndarray:
    """Mask of missing values."""
    return np.asarray(pd.isna(array))


def violations(values: Columns, unreadable: dict[str, np.ndarray], columns: tuple[Column, ...]) -> dict[str, np.ndarray]:
    """For each rule that some row breaks, in the order of the columns, the mask of the rows that break it."""
    found: dict[str, np.ndarray] = {}
    for column in columns:
        for reason, mask in _rules(column, values[column.name], unreadable[column.name]):
            if mask.any():
                found[f"{column.name}: {reason}"] = mask
    return found


def _rules(column: Column, array: np.ndarray, unreadable: np.ndarray) -> list[tuple[str, np.ndarray]]:
    missing = is_missing(array)
    rules = [(f"is no {column.kind}", unreadable)]
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
    if column.min_length or column.max_length:
        length = np.array([0 if absent else len(text) for text, absent in zip(array, missing, strict=True)])
        if column.min_length:
            rules.append((f"is shorter than {column.min_length} characters", ~missing & (length < column.min_length)))
        if column.max_length:
            rules.append((f"is longer than {column.max_length} characters", ~missing & (length > column.max_length)))
    return rules


def _numbers(raw: pd.Series, column: Column) -> np.ndarray:
    if raw.dtype in ("object", "str"):  # pandas reads the last digits of some texts otherwise than Python and the server
        raw = raw.map({value: _number(value) for value in raw.dropna().unique()})
    numbers = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _number(value: object) -> float:
    """A value as a number, NaN where it is none."""
    try:
        return np.nan if "_" in str(value) else float(str(value))
    except ValueError:
        return np.nan


def _texts(raw: pd.Series, column: Column) -> np.ndarray:
    texts = raw.astype("str").where(raw.notna()).str.replace(WHOLE_NUMBER, r"\1", regex=True)
    if column.min_length:
        texts = texts.where(~texts.str.isdigit().fillna(False), texts.str.zfill(column.min_length))
    array = texts.to_numpy(dtype=object, copy=True)
    array[is_missing(array)] = None
    return array


def _dates(raw: pd.Series, column: Column) -> np.ndarray:
    if not pd.api.types.is_datetime64_any_dtype(raw):
        texts = raw.astype("str").where(raw.notna())
        iso = pd.to_datetime(texts, format="%Y-%m-%d", errors="coerce")
        raw = iso.fillna(pd.to_datetime(texts, format="%m/%d/%Y", errors="coerce"))
    return raw.to_numpy().astype("datetime64[D]")
