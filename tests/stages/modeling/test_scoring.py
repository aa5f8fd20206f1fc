from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stages.core.cli import UserError
from stages.modeling.scoring import read_columns
from stages.projects._base import load_project
from tests.serve.checkout import json_rows
from tests.stages.test_score import decoded


def test_text_counts_by_the_letter_and_not_as_the_number_that_it_may_be() -> None:
    project = load_project("toy_price")
    given = pd.DataFrame([row | {"builder": "7.0"} for row in json_rows("toy_price", 2)])
    assert read_columns(given, project)["builder"].tolist() == ["7.0", "7.0"]


@pytest.mark.parametrize("day", ["1900-01-01", "2024-02-29", "2200-12-31"])
def test_a_date_is_read_as_the_server_reads_it(day: str) -> None:
    project = load_project("toy_price")
    codec, rows = decoded(project, given := [row | {"posted": day} for row in json_rows("toy_price", 1)])
    found = read_columns(pd.DataFrame(given), project)["posted"]
    np.testing.assert_array_equal(found, codec.columns(rows)["posted"])


def test_rows_without_a_column_that_the_model_needs_are_refused() -> None:
    frame = pd.DataFrame(json_rows("toy", 3))
    with pytest.raises(UserError, match="the rows lack the column distance, which this model needs"):
        read_columns(frame.drop(columns="distance"), load_project("toy"))


def test_a_value_that_cannot_be_read_is_named() -> None:
    frame = pd.DataFrame(json_rows("toy", 3)).astype({"distance": object})
    frame.loc[1, "distance"] = "old"
    with pytest.raises(UserError, match="distance is no number: 'old'"):
        read_columns(frame, load_project("toy"))
