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
from tests.samples import ROOT, raw_rows, write_params

CUSTOMERS = raw_rows("bankchurn", 40)


def ingest(workspace: Path, *sources: str, max_rejected: float = 0.0, name: str = "bankchurn") -> tuple[pd.DataFrame, ...]:
    write_params(workspace, name, ingest={"sources": list(sources), "max_rejected": max_rejected})
    main(name)
    return tuple(pd.read_parquet(f"data/{name}/{part}.parquet") for part in ("raw", "quarantine"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CUSTOMERS.drop(columns=["Age", "Exited"]).to_csv(index=False), "lacks the column Age, Exited"),
        (CUSTOMERS.to_csv(index=False, sep=";"), "is the comma its delimiter"),
        (CUSTOMERS.head(0).to_csv(index=False), "has a header but no rows"),
        ("", "the file is empty"),
        (CUSTOMERS.assign(Age="old").to_csv(index=False), r"40 rows \(66.7%\) break the schema .*: 40 x Age: is no number"),
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


def test_a_refusal_on_the_command_line_is_one_line_without_a_traceback(workspace: Path) -> None:
    write_params(workspace, "telecom", ingest={"sources": ["nowhere.csv"]})
    command = [sys.executable, "-m", "stages.ingest", "telecom"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "telecom: source 'nowhere.csv': there is no such file\n"
    assert not Path("data").exists()


def test_rows_that_break_the_schema_go_to_quarantine_with_every_reason(workspace: Path) -> None:
    spoilt = CUSTOMERS.astype({"Age": object})
    spoilt.loc[3, ["Age", "Geography"]] = ["old", "Italy"]
    spoilt.loc[7, "Gender"] = None
    spoilt.to_csv("batch.csv", index=False)
    raw, quarantine = ingest(workspace, "batch.csv", max_rejected=0.05)
    assert len(raw) == 38
    assert quarantine["row"].tolist() == [3, 7]
    assert quarantine["reason"].tolist() == [
        "Geography: is none of France, Germany, Spain; Age: is no number",
        "Gender: is missing",
    ]
    assert quarantine.loc[0, "Geography"] == "Italy"
    with pytest.raises(UserError, match=r"2 rows \(5.0%\) break the schema and ingest.max_rejected allows 4.0%"):
        ingest(workspace, "batch.csv", max_rejected=0.04)


def test_sources_are_put_one_after_the_other_in_the_order_of_the_list(workspace: Path) -> None:
    CUSTOMERS.to_parquet("first.parquet")
    CUSTOMERS.iloc[::-1].to_csv("second.csv", index=False)
    raw, quarantine = ingest(workspace, "first.parquet", "second.csv", "simulate?rows=5&seed=9")
    assert raw["source"].tolist() == [0] * 40 + [1] * 40 + [2] * 5
    assert raw["Age"].tolist()[80:] == raw_rows("bankchurn", 5, seed=9)["Age"].tolist()
    assert raw["Age"].tolist()[:80] == CUSTOMERS["Age"].tolist() + CUSTOMERS["Age"].tolist()[::-1]
    assert quarantine.empty


def test_a_simulation_follows_the_seed_of_the_params(workspace: Path) -> None:
    raw, _ = ingest(workspace, "simulate?rows=5")
    assert raw["Balance"].tolist() == raw_rows("bankchurn", 5, seed=0)["Balance"].tolist()


def test_leading_zeros_survive_a_csv(workspace: Path) -> None:
    listings = raw_rows("realestate", 50)
    listings.to_csv("batch.csv", index=False)
    raw, _ = ingest(workspace, "batch.csv", name="realestate")
    assert raw["zip_code"].tolist() == [f"{code:05.0f}" for code in listings["zip_code"]]


def test_the_report_says_what_was_read_from_where_and_what_was_left_out(workspace: Path) -> None:
    CUSTOMERS.to_csv("batch.csv", index=False)
    ingest(workspace, "batch.csv", "simulate?rows=10")
    report = json.loads(Path("reports/bankchurn/data.json").read_text())
    batch, simulation = report["sources"]
    assert report["simulated"] is True
    assert (batch["address"], batch["rows"], batch["rejected"], batch["simulated"]) == ("batch.csv", 40, 0, False)
    assert batch["dropped_columns"] == ["RowNumber", "CustomerId", "Surname"]
    assert batch["sha256"] == read_source("batch.csv", load_project("bankchurn"), 0).digest
    assert simulation["sha256"] is None
    ingest(workspace, "batch.csv")
    assert json.loads(Path("reports/bankchurn/data.json").read_text())["simulated"] is False
