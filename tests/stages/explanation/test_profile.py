from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.core.files import write_json
from stages.explanation.profile import BINS, correlations, described, histogram, profile, rounded
from stages.projects._base import Project, columns_of
from tests.samples import records


def texts(*values: str | None) -> np.ndarray:
    return np.array(values, dtype=object)


def test_a_profile_describes_every_column_of_the_record_and_can_be_written(project: Project, workspace: Any) -> None:
    frame = records(project, 300)
    found = profile(frame, project)
    assert found["rows"] == len(frame)
    assert set(found["columns"]) == {column.name for column in columns_of(project.record)}
    for name, column in found["columns"].items():
        assert column["missing"] == pytest.approx(frame[name].isna().mean(), abs=1e-6)
        assert column["distinct"] == frame[name].nunique()
    assert project.target in found["correlations"]["columns"]
    write_json(workspace / "profile.json", found)


def test_a_number_of_few_values_is_told_value_by_value() -> None:
    found = described(np.array([2.0, 1.0, 2.0, np.nan, 0.5]))
    assert found == {
        "missing": 0.2,
        "distinct": 3,
        "quantiles": [0.5, 0.5, 0.5, 1, 2, 2, 2],
        "frequent": [{"value": 0.5, "share": 0.25}, {"value": 1, "share": 0.25}, {"value": 2, "share": 0.5}],
    }


def test_of_a_text_the_most_frequent_values_are_told() -> None:
    found = described(texts(*["b"] * 3, *["a"] * 5, None, *"cdefghijk"))
    assert found["distinct"] == 11
    assert "quantiles" not in found
    assert [item["value"] for item in found["frequent"]] == ["a", "b", "c", "d", "e", "f", "g", "h"]
    assert found["frequent"][0]["share"] == pytest.approx(5 / 17, abs=1e-6)


def test_a_column_of_gaps_says_only_that() -> None:
    assert described(np.array([np.nan, np.nan])) == {"missing": 1, "distinct": 0}
    assert described(texts(None)) == {"missing": 1, "distinct": 0}


def test_a_date_has_its_range_and_a_histogram_in_days() -> None:
    days = np.datetime64("2024-01-01", "D") + np.arange(300)
    found = described(np.append(days, np.datetime64("NaT", "D")))
    assert found["quantiles"][0] == "2024-01-01"
    assert found["quantiles"][-1] == "2024-10-26"
    assert found["histogram"]["start"] == "2024-01-03"
    assert found["histogram"]["step"] == 10


def test_bins_hold_all_but_the_ends_of_the_values() -> None:
    values = np.append(np.random.default_rng(0).normal(0, 1, 5_000), [1e6, -1e6])
    found = histogram(values)
    assert len(found["shares"]) == BINS
    assert sum(found["shares"]) == pytest.approx(0.98, abs=0.001)
    assert found["start"] > -3
    inside = (values >= found["start"]) & (values < found["start"] + found["step"])
    assert found["shares"][0] == pytest.approx(inside.mean(), abs=0.001)


@pytest.mark.parametrize("span", [13, 30, 31, 1000])
def test_bins_of_whole_numbers_hold_equally_many_of_them(span: int) -> None:
    found = histogram(np.repeat(np.arange(span, dtype=float), 100))
    assert found["step"] == int(found["step"])
    assert len(found["shares"]) <= BINS
    assert len(set(found["shares"][1:-1])) == 1


def test_correlations_are_of_ranks_over_the_rows_that_have_both() -> None:
    value = np.arange(100.0)
    frame = pd.DataFrame(
        {"a": value, "b": np.exp(-value / 10), "constant": 1.0, "rare": np.where(value < 20, value, np.nan)}
    )
    frame.loc[:10, "b"] = np.nan
    found = correlations(frame)
    assert found == {"columns": ["a", "b", "rare"], "values": [[1, -1, None], [-1, 1, None], [None, None, None]]}


def test_numbers_are_rounded_to_the_digits_that_count() -> None:
    assert [rounded(value, 3) for value in (0.0012345, 12345.6, -2.0, 0.0)] == [0.00123, 12300, -2, 0]
    assert isinstance(rounded(3.0), int)
