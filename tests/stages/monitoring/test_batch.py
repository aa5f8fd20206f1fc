from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.cli import UserError
from stages.monitoring.batch import Batch, one_of_each, read_file, shuffle
from tests.stages.drifting import gathered, live, raw

PARCELS = raw(rows=300)


def read(address: str, limit: int = 50_000, name: str = "toy") -> Batch:
    model = live(name)
    return read_file(address, model.project, model.reference, limit, seed=0)


@pytest.mark.slow
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
    assert (whole.rows, whole.missing, whole.reasons) == (parts.rows, parts.missing, parts.reasons)


def test_counts_are_of_all_rows_where_only_a_sample_is_kept() -> None:
    adverts = raw("toy_price", 900, shift="new_category")
    adverts.loc[:44, "condition"] = "rusty"
    batch = gathered(live("toy_price"), adverts[:400], adverts[400:], limit=200)
    accepted = adverts[45:]
    assert (batch.rows, batch.accepted, batch.rejected, batch.sampled) == (900, 855, 45, 200)
    assert 150 < len(batch.frame) <= 200
    assert batch.missing["hours"] == accepted["hours"].isna().sum()
    assert batch.unseen["builder"]["swan two"] == (accepted["builder"] == "swan two").sum() > 0
    (reason,) = batch.reasons
    assert batch.reasons[reason] == batch.offenders[reason]["rusty"] == 45


def test_every_row_is_as_likely_to_be_in_the_sample_as_another() -> None:
    chunks = [PARCELS.assign(distance=400 + part) for part in range(8)]
    parts = gathered(live(), *chunks, limit=800).frame["distance"].value_counts()
    assert len(parts) == 8
    assert parts.between(60, 140).all()


def test_copies_count_once_and_so_do_rows_of_an_object_where_the_project_knows_objects() -> None:
    twice = pd.concat([raw("toy_price", 200)] * 2)
    assert len(gathered(live("toy_price"), twice).frame) == len(gathered(live("toy_price"), twice[:200]).frame) < 200
    assert len(gathered(live(), PARCELS, PARCELS).frame) == len(PARCELS)
    assert len(one_of_each(PARCELS, live().project)) == len(PARCELS)


def test_equal_rows_are_spread_over_a_shuffled_frame() -> None:
    frame = pd.DataFrame({"a": np.repeat([0.0, 1.0], 500)})
    assert 150 < shuffle(frame, 0)["a"][:500].sum() < 350


def test_a_batch_may_lack_the_target_but_not_a_column_of_the_row() -> None:
    assert gathered(live(), PARCELS.drop(columns="late")).frame["late"].isna().all()
    lacking = gathered(live(), PARCELS.drop(columns=["distance", "sender", "weight"]))
    assert lacking.absent == ["sender", "distance"]
    assert lacking.frame.empty


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.parquet", None, "there is no such file"),
        ("torn.parquet", b"PAR1 and then nothing", "is no readable Parquet file"),
        ("empty.csv", b"", "the file is empty"),
        ("header.csv", PARCELS.head(0).to_csv(index=False).encode(), "has no rows"),
        ("other.csv", b"a;b\n1;2\n", r"has no column of toy; its first is 'a'"),
        ("notes.md", b"hello", "files end in .parquet or one of .csv"),
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


@pytest.mark.slow
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
