from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serve.models.rows import RowCodec
from stages.core.schema import coerce
from stages.projects._base import Columns, Project
from stages.runtime.trained import FILE, PARTS, Trained, adverts_table
from tests.samples import records
from tests.toys import toy

BOATS = toy("toy_price")


def adverts(rows: int = 60) -> tuple[pd.DataFrame, Columns]:
    """Training rows that differ, as a frame and as columns."""
    frame = records(BOATS, 2 * rows).drop_duplicates([column.name for column in BOATS.columns]).head(rows)
    return frame, coerce(frame, BOATS.columns)[0]


def trained(columns: Columns, asked: np.ndarray, unseen: np.ndarray) -> Trained:
    return Trained(BOATS, {**adverts_table(BOATS, columns, asked, unseen), "model": np.array("d1e5")})


def at(columns: Columns, *places: int) -> Columns:
    return {name: values[list(places)] for name, values in columns.items()}


def test_an_advert_from_training_is_told_its_price_and_that_of_a_model_that_had_not_seen_it() -> None:
    _, columns = adverts()
    asked, unseen = 1_000.0 + np.arange(60), 30_000.4 + np.arange(60)
    found = trained(columns, asked, unseen).warnings(at(columns, 7, 31))
    assert [len(texts) for texts in found] == [1, 1]
    assert found[0][0] == (
        "The model was trained on this advert. Asking price: 1,007 USD. A model that had not seen it says 30,007 USD."
    )
    assert "1,031 USD" in found[1][0]


@pytest.mark.parametrize("name", [column.name for column in BOATS.columns if column.name != BOATS.time_column])
def test_an_advert_that_differs_in_any_input_is_another(name: str) -> None:
    _, columns = adverts()
    other = at(columns, 7)
    kind = other[name].dtype.kind
    other[name][0] = "other" if kind == "O" else np.datetime64("1999-01-01") if kind == "M" else 4321.5
    assert trained(columns, np.ones(60), np.ones(60)).warnings(other) == [[]]


def test_of_an_advert_that_was_repeated_that_of_the_same_day_is_told_and_else_all() -> None:
    _, columns = adverts(3)
    twice = at(columns, 0, 0, 1)
    twice["posted"] = np.array(["2019-01-01", "2019-02-01", "2019-01-01"], dtype="datetime64[D]")
    found = trained(twice, np.array([5_000.0, 6_000.0, 7_000.0]), np.array([5_500.0, 5_500.0, 7_000.0]))
    asked = at(twice, 1, 1)
    asked["posted"][1] = np.datetime64("2026-01-01")
    (same_day,), (other_day,) = found.warnings(asked)
    assert "this advert. Asking price: 6,000 USD." in same_day
    assert (
        "2 adverts with these values. Asking price: 5,000 to 6,000 USD. A model that had not seen it says 5,500" in other_day
    )


def test_rows_are_known_as_the_server_reads_them() -> None:
    frame, columns = adverts()
    rows: list[dict[str, Any]] = json.loads(frame[list(BOATS.row.model_fields)].to_json(orient="records", date_format="iso"))
    for row in rows:
        row.update({name: row[name] and row[name][:10] for name in ("posted", "surveyed")})
    codec = RowCodec(BOATS, max_batch=len(rows))
    read = codec.columns(codec.read_batch(json.dumps({"rows": rows}).encode()))
    assert all(trained(columns, np.ones(60), np.ones(60)).warnings(read))


def test_only_of_a_project_with_a_market_is_anything_kept_and_told(project: Project, finished: Path) -> None:
    found = Trained.load(project, finished / "models" / project.name / FILE)
    train = pd.read_parquet(finished / "data" / project.name / "train.parquet")
    told = found.warnings(coerce(train, project.columns)[0])
    assert [bool(texts) for texts in told] == [bool(project.market)] * len(train)


@pytest.mark.parametrize("changes", [{"key": None}, {"model": None}, {"day": np.zeros(2)}, {"asked": np.zeros(3)}])
def test_another_table_is_refused(changes: dict[str, Any]) -> None:
    table = {name: np.zeros(2, dtype) for name, dtype in PARTS.items()} | {"model": np.array("d1e5")} | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: values for name, values in table.items() if values is not None})
    with pytest.raises(ValueError, match=f"{FILE} does not hold key, day, asked, unseen and model"):
        Trained.load(BOATS, buffer.getvalue())
