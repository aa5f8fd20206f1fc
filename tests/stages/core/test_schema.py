from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.core.schema import coerce, read_rows, to_frame
from stages.projects._base import Column, Project, columns_of, load_project
from tests.samples import raw_rows
from tests.serve.checkout import json_rows

NUMBER = Column("x", "number", integer=False, required=True)
CODE = Column("berth", "text", integer=False, required=False, min_length=5, max_length=5)
DAY = Column("day", "date", integer=False, required=False)


def test_values_that_were_coerced_stay_as_they_are(project: Project) -> None:
    columns = columns_of(project.record)
    once, _ = coerce(raw_rows(project), columns)
    twice, unreadable = coerce(to_frame(once), columns)
    for column in columns:
        np.testing.assert_array_equal(once[column.name], twice[column.name])
        assert not unreadable[column.name].any()


@pytest.mark.parametrize("dtype", ["object", "str", "float64", "Float64", "Int64", "category", "double[pyarrow]"])
def test_the_type_that_pandas_gave_a_column_changes_nothing(dtype: Any) -> None:
    frame = pd.DataFrame({"x": pd.Series([1, None, 3], dtype="Int64").astype(dtype)})
    values, unreadable = coerce(frame, (NUMBER,))
    np.testing.assert_array_equal(values["x"], [1, np.nan, 3])
    assert not unreadable["x"].any()


def test_rows_without_a_column_that_the_model_needs_are_refused() -> None:
    frame = pd.DataFrame(json_rows("toy", 3))
    with pytest.raises(ValueError, match="the rows lack the column distance, which this model needs"):
        read_rows(frame.drop(columns="distance"), load_project("toy").columns)


def test_a_value_that_cannot_be_read_is_named() -> None:
    frame = pd.DataFrame(json_rows("toy", 3)).astype({"distance": object})
    frame.loc[1, "distance"] = "old"
    with pytest.raises(ValueError, match="distance is no number: 'old'"):
        read_rows(frame, load_project("toy").columns)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_frame_has_one_type_per_kind_of_column_whatever_is_missing(rows: int) -> None:
    columns = (NUMBER, CODE, DAY)
    empty = to_frame(coerce(pd.DataFrame(index=range(rows)), columns)[0])
    full = pd.DataFrame({"x": [1] * rows, "berth": ["00601"] * rows, "day": ["2019-03-14"] * rows})
    assert empty.dtypes.equals(to_frame(coerce(full, columns)[0]).dtypes)
    assert len(empty) == rows
