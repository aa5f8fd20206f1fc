from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.log.prediction_log import Entry, PredictionLog, new_id
from stages.core.cli import UserError
from stages.monitoring.batch import Batch, one_of_each, read_file, read_log, shuffle
from tests.stages.drifting import gathered, live, raw

PARCELS = raw(rows=300)


def read(address: str, limit: int = 50_000, name: str = "toy") -> Batch:
    model = live(name)
    return read_file(address, model.project, model.reference, limit, seed=0)


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_and_how_they_are_cut_change_nothing(random: Any) -> None:
    order = list(range(len(PARCELS)))
    random.shuffle(order)
    cut = random.randrange(1, len(order))
    whole, parts = (
        gathered(live(), PARCELS),
        gathered(live(), PARCELS.iloc[order[:cut]], PARCELS.iloc[order[cut:]]),
    )
    pd.testing.assert_frame_equal(whole.frame, parts.frame)
    assert (whole.rows, whole.gaps, whole.reasons) == (parts.rows, parts.gaps, parts.reasons)


def test_counts_are_of_all_rows_where_only_a_sample_is_kept() -> None:
    adverts = raw("toy_price", 900, shift="new_category")
    adverts.loc[:44, "condition"] = "rusty"
    batch = gathered(live("toy_price"), adverts[:400], adverts[400:], limit=200)
    accepted = adverts[45:]
    assert (batch.rows, batch.accepted, batch.rejected, batch.sampled) == (900, 855, 45, 200)
    assert 150 < len(batch.frame) <= 200
    assert batch.gaps["hours"] == accepted["hours"].isna().sum()
    assert batch.unseen["builder"]["swan two"] == (accepted["builder"] == "swan two").sum() > 0
    (reason,) = batch.reasons
    assert batch.reasons[reason] == batch.offenders[reason]["rusty"] == 45


def test_every_row_is_as_likely_to_be_in_the_sample_as_another() -> None:
    chunks = [PARCELS.assign(distance=400 + part) for part in range(8)]
    parts = gathered(live(), *chunks, limit=800).frame["distance"].value_counts()
    assert len(parts) == 8
    assert parts.between(60, 140).all()


def test_copies_of_an_object_count_once_where_the_project_knows_objects() -> None:
    twice = pd.concat([raw("toy_price", 200)] * 2)
    assert len(gathered(live("toy_price"), twice).frame) == len(gathered(live("toy_price"), twice[:200]).frame) < 200
    assert len(gathered(live(), PARCELS, PARCELS).frame) == 600
    assert one_of_each(PARCELS, live().project) is PARCELS


def test_equal_rows_are_spread_over_a_shuffled_frame() -> None:
    frame = pd.DataFrame({"a": np.repeat([0.0, 1.0], 500)})
    assert 150 < shuffle(frame, 0)["a"][:500].sum() < 350


def test_a_batch_may_lack_the_target_but_not_a_column_of_the_row() -> None:
    assert gathered(live(), PARCELS.drop(columns="late")).frame["late"].isna().all()
    lacking = gathered(live(), PARCELS.drop(columns=["distance", "sender", "weight"]))
    assert lacking.missing == ["sender", "distance"]
    assert lacking.frame.empty


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.parquet", None, "there is no such file"),
        ("torn.parquet", b"PAR1 and then nothing", "is no readable Parquet file"),
        ("empty.csv", b"", "the file is empty"),
        ("header.csv", PARCELS.head(0).to_csv(index=False).encode(), "has no rows"),
        ("other.csv", b"a;b\n1;2\n", r"has no column of toy; its first is 'a;b'"),
        ("notes.txt", b"hello", "end in .csv or .parquet"),
    ],
)
def test_a_file_that_is_no_batch_is_one_clear_sentence(
    workspace: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read(name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_parquet_file_is_read_in_parts_and_equals_the_same_rows_as_csv(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.monitoring.batch.CHUNK", 70)
    PARCELS.to_parquet("batch.parquet", row_group_size=100)
    PARCELS.to_csv("batch.csv", index=False)
    parquet, csv = read("batch.parquet"), read("batch.csv")
    pd.testing.assert_frame_equal(parquet.frame, csv.frame)
    assert parquet.rows == csv.rows == 300
    assert len({parquet.sha256, csv.sha256, None}) == 3
    small = read("batch.parquet", limit=100)
    assert (small.rows, small.sampled, len(small.frame)) == (300, 100, 100)
    assert read("simulate?rows=50&shift=covariate").rows == 50


async def write_log(url: str, folder: Path, rows: pd.DataFrame) -> None:
    log = PredictionLog(url, spill_path=folder / "spill")
    await log.start()
    for number, row in enumerate(rows.to_dict("records")):
        outcome = row.pop("late")
        given = {key: row[key] for key in live().project.row.model_fields if not pd.isna(row[key])}
        given |= {"sender": f"{given['sender']:04.0f}", "posted": str(given["posted"].date())}
        time = datetime.now(UTC) - timedelta(hours=100 if number < 10 else 1)
        project = "toy_plain" if number % 5 == 0 else "toy"
        entry = Entry(new_id(), time, project, "a" * 64, "b" * 40, "1", json.dumps(given), "{}", 0.5)
        await log.append([entry])
        if number % 2:
            await log.feedback(entry.id, 1 - outcome, datetime.now(UTC))
            await log.feedback(entry.id, outcome, datetime.now(UTC))
    await log.stop()


def test_the_log_is_a_batch_whose_last_reported_outcomes_are_labels(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.monitoring.batch.PAGE", 7)
    url, rows = "sqlite+aiosqlite:///serve.db", PARCELS.head(60)
    asyncio.run(write_log(url, workspace, rows))
    model = live()
    batch = read_log(url, 24, model.project, model.reference, 1_000, seed=0)
    there = rows[(rows.index >= 10) & (rows.index % 5 != 0)]
    assert (batch.rows, batch.rejected, batch.missing) == (len(there), 0, [])
    assert sorted(batch.frame["value"]) == sorted(there["value"])
    merged = batch.frame.merge(there[["value", "sender", "late"]], on=["value"])
    told = merged["late_x"].notna()
    assert told.sum() == (there.index % 2 == 1).sum()
    assert (merged["late_x"] == merged["late_y"])[told].all()
    again = read_log(url, 24, model.project, model.reference, 1_000, seed=0)
    assert batch.sha256 == again.sha256
    assert batch.sha256 != read_log(url, 200, model.project, model.reference, 1_000, seed=0).sha256


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite+aiosqlite:///nowhere.db", "there is no file nowhere.db"),
        ("mysql://here/log", "--database: the prediction log takes sqlite"),
        ("sqlite+aiosqlite:///torn.db", "the prediction log cannot be read: .*not a database"),
    ],
)
def test_a_log_that_cannot_be_read_is_one_clear_sentence(workspace: Path, url: str, message: str) -> None:
    Path("torn.db").write_text("this is a letter to a friend and not a database at all\n" * 40)
    model = live()
    with pytest.raises(UserError, match=message) as error:
        read_log(url, 24, model.project, model.reference, 1_000, seed=0)
    assert "\n" not in str(error.value)
    assert not Path("nowhere.db").exists()
