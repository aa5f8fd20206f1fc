"""Frames read as the columns that training and scoring take."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stages.projects._base import Column, Columns
from stages.runtime.values import read_columns


def coerce(frame: pd.DataFrame, columns: tuple[Column, ...]) -> tuple[Columns, dict[str, np.ndarray]]:
    """`read_columns` of a frame, whatever types `read_csv` or `read_parquet` gave its columns."""
    raw = {column.name: _array(frame[column.name]) for column in columns if column.name in frame}
    return read_columns(raw, columns, len(frame))


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


def _array(series: pd.Series) -> np.ndarray:
    """The values as NumPy has them: of NumPy's own types, or objects with None for what is missing."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "fiubM":
        return series.to_numpy()
    array: np.ndarray = series.astype(object).where(series.notna(), None).to_numpy()
    return array
