from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from stages.core.cli import UserError
from stages.ingest import main
from stages.intake.sources import read_source
from stages.projects._base import load_project
from tests.samples import raw_rows, write_params
from tests.toys import PYTHONPATH, toy

PARCELS = raw_rows(toy(), 40)


def ingest(workspace: Path, *sources: str, max_rejected: float = 0.0, name: str = "toy") -> tuple[pd.DataFrame, ...]:
    write_params(workspace, name, ingest={"sources": list(sources), "max_rejected": max_rejected})
    main(name)
    return tuple(pd.read_parquet(f"data/{name}/{part}.parquet") for part in ("raw", "quarantine"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PARCELS.drop(columns=["distance", "late"]).to_csv(index=False), "lacks the column distance, late"),
        (
            PARCELS.to_csv(index=False, sep=":"),
            "has a single column .*cells are separated by a comma, a semicolon, a tab or",
        ),
        (PARCELS.head(0).to_csv(index=False), "has a header but no rows"),
        ("", "the file is empty"),
    ],
)
def test_a_source_that_does_not_fit_is_one_clear_sentence_and_nothing_is_written(
    workspace: Path, text: str, message: str
) -> None:
    Path("batch.csv").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        ingest(workspace, "simulate?rows=20", "batch.csv", max_rejected=0.5)
    assert "\n" not in str(error.value)
    assert {path.name for path in workspace.iterdir()} == {"batch.csv", "params.yaml"}


@pytest.mark.slow
def test_a_refusal_on_the_command_line_is_one_line_without_a_traceback(workspace: Path) -> None:
    write_params(workspace, "toy", ingest={"sources": ["nowhere.csv"]})
    command = [sys.executable, "-m", "stages.ingest", "toy"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": PYTHONPATH}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "toy: source 'nowhere.csv': there is no such file\n"
    assert not Path("data").exists()


def test_rows_that_break_the_schema_go_to_quarantine_with_every_reason(workspace: Path) -> None:
    spoilt = PARCELS.astype({"distance": object})
    spoilt.loc[3, ["distance", "carrier"]] = ["old", "Dog"]
    spoilt.loc[7, "sender"] = None
    spoilt.to_csv("batch.csv", index=False)
    raw, quarantine = ingest(workspace, "batch.csv", max_rejected=0.05)
    assert len(raw) == 38
    assert quarantine["row"].tolist() == [3, 7]
    assert quarantine["reason"].tolist() == [
        "carrier: is none of Ant, Bee, Cat; distance: is no number",
        "sender: is missing",
    ]
    assert quarantine.loc[0, "carrier"] == "Dog"
    Path("data/toy/quarantine.parquet").unlink()
    refused = (
        r"of 40 rows 2 \(5.0 %\) break .* allows 4.0 %: .*is missing \(row 7\); .*carrier: is none of .* \(row 3: 'Dog'\)"
    )
    with pytest.raises(UserError, match=refused):
        ingest(workspace, "batch.csv", max_rejected=0.04)
    assert pd.read_parquet("data/toy/quarantine.parquet")["row"].tolist() == [3, 7]


def test_rows_that_lack_their_outcome_alone_wait_for_it_and_are_no_error(workspace: Path) -> None:
    PARCELS.assign(late=PARCELS["late"].where(PARCELS.index >= 30)).to_csv("batch.csv", index=False)
    raw, quarantine = ingest(workspace, "batch.csv", max_rejected=0.0)
    assert (len(raw), len(quarantine)) == (10, 30)
    assert json.loads(Path("reports/toy/data.json").read_text())["sources"][0]["without_outcome"] == 30
    PARCELS.assign(late=None).to_csv("batch.csv", index=False)
    with pytest.raises(UserError, match="no row has an outcome"):
        ingest(workspace, "batch.csv")


def test_copies_are_counted_within_a_source_and_across_sources(workspace: Path) -> None:
    pd.concat([PARCELS[:10], PARCELS[:5]]).to_csv("first.csv", index=False)
    PARCELS[8:20].to_csv("second.csv", index=False)
    ingest(workspace, "first.csv", "second.csv")
    sources = json.loads(Path("reports/toy/data.json").read_text())["sources"]
    assert [(entry["copies"], entry["in_earlier_source"]) for entry in sources] == [(5, 0), (0, 2)]


def test_rows_that_training_leaves_out_are_counted_by_source_and_reason(workspace: Path) -> None:
    rows = raw_rows("toy_price", 20).assign(price=20_000.0)
    rows.assign(price=[1.0] * 2 + [20_000.0] * 17 + [950.0]).to_csv("first.csv", index=False)
    rows.assign(price=[*[20_000.0] * 19, 3e6]).to_csv("second.csv", index=False)
    ingest(workspace, "first.csv", "second.csv", name="toy_price")
    first, second = (entry["left_out"] for entry in json.loads(Path("reports/toy_price/data.json").read_text())["sources"])
    assert {reason.partition(" (")[0]: count for reason, count in first.items()} == {
        "the price is a placeholder": 2, "the price is below 1,000 USD": 1,
    }  # fmt: skip
    assert second == {"the price is above 2,000,000 USD": 1}


def test_sources_are_put_one_after_the_other_in_the_order_of_the_list(workspace: Path) -> None:
    PARCELS.to_parquet("first.parquet")
    PARCELS.iloc[::-1].to_csv("second.csv", index=False)
    raw, quarantine = ingest(workspace, "first.parquet", "second.csv", "simulate?rows=5&seed=9")
    assert raw["source"].tolist() == [0] * 40 + [1] * 40 + [2] * 5
    assert raw["distance"].tolist()[80:] == raw_rows("toy", 5, seed=9)["distance"].tolist()
    assert raw["distance"].tolist()[:80] == PARCELS["distance"].tolist() + PARCELS["distance"].tolist()[::-1]
    assert quarantine.empty


def test_a_simulation_follows_the_seed_of_the_params(workspace: Path) -> None:
    raw, _ = ingest(workspace, "simulate?rows=5")
    assert raw["value"].tolist() == raw_rows("toy", 5, seed=0)["value"].tolist()


def test_leading_zeros_survive_a_csv(workspace: Path) -> None:
    listings = raw_rows("toy_price", 50)
    listings.to_csv("batch.csv", index=False)
    raw, _ = ingest(workspace, "batch.csv", name="toy_price")
    assert raw["berth"].astype(object).where(raw["berth"].notna(), None).tolist() == [
        None if pd.isna(code) else f"{code:05.0f}" for code in listings["berth"]
    ]


def test_the_report_says_what_was_read_from_where_and_what_was_left_out(workspace: Path) -> None:
    PARCELS.to_csv("batch.csv", index=False)
    ingest(workspace, "batch.csv", "simulate?rows=10")
    report = json.loads(Path("reports/toy/data.json").read_text())
    batch, simulation = report["sources"]
    assert report["simulated"] is True
    assert (batch["address"], batch["rows"], batch["rejected"], batch["simulated"]) == ("batch.csv", 40, 0, False)
    assert batch["dropped_columns"] == ["parcel"]
    assert batch["sha256"] == read_source("batch.csv", load_project("toy"), 0).digest
    assert simulation["sha256"] is None
    ingest(workspace, "batch.csv")
    assert json.loads(Path("reports/toy/data.json").read_text())["simulated"] is False
