"""The check of a batch, on models trained on a few hundred simulated rows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from serve.log import Entry, PredictionLog, new_id
from stages import drift, ledger
from stages.command import UserError
from tests.samples import STAGES, raw_rows, write_params

RETRAIN, REFUSE = drift.CODES["retrain"], drift.CODES["refuse"]


@pytest.fixture(scope="module", params=["bankchurn"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A project and the folder of a model that was trained on enough rows to know what is usual."""
    folder = tmp_path_factory.mktemp(request.param)
    trees = {"max_iter": 150, "max_leaf_nodes": 6, "learning_rate": 0.04}
    train = {"folds": 5, "candidates": ["hist_gradient_boosting"], "hist_gradient_boosting": trees, "calibration": "sigmoid"}
    write_params(folder, request.param, ingest={"sources": ["simulate?rows=4000"]}, train=train)
    with contextlib.chdir(folder):
        for stage in STAGES:
            import_module(f"stages.{stage}").main(request.param)
    return request.param, folder


@pytest.fixture
def checkout(trained: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of the folder as the current one; gives the project."""
    shutil.copytree(trained[1], tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("GITHUB_ACTOR", "tess")
    return trained[0]


def check(name: str, frame: pd.DataFrame, **changes: Any) -> tuple[int | None, dict[str, Any]]:
    """The exit code and the report on a batch of these rows."""
    frame.to_parquet("batch.parquet")
    code = drift.main(name, "batch.parquet", None, "", html=False, dry_run=False, **changes)
    return code, json.loads(Path(f"reports/{name}/drift/batch.json").read_text())


@pytest.mark.parametrize("trained", ["bankchurn", "realestate"], indirect=True)
def test_rows_like_the_training_data_are_kept_with_and_without_outcomes(checkout: str) -> None:
    frame = raw_rows(checkout, 400, seed=3)
    target = {"bankchurn": "Exited", "realestate": "price"}[checkout]
    for rows in (frame.drop(columns=target), frame):
        code, report = check(checkout, rows)
        assert (code, report["verdict"], report["faults"]) == (None, "keep", [])
        assert report["reason"].startswith("Keep: ")
        assert (report["outcomes"] is None) == (target not in rows)
        assert report["batch"]["rows"] == 400


def test_a_shifted_column_is_a_reason_to_retrain_that_names_it_and_its_weight(checkout: str) -> None:
    frame = raw_rows(checkout, 600, seed=3).drop(columns="Exited")
    frame["Age"] += 5
    code, report = check(checkout, frame)
    assert (code, report["verdict"]) == (RETRAIN, "retrain")
    changed = [entry["column"] for entry in report["columns"] if entry["drifted"]]
    assert "Age" in changed
    assert "`Age`" in report["reason"]
    assert report["expected"]["low"] < report["expected"]["value"] < report["expected"]["high"]


def test_another_truth_shows_in_the_errors_alone(checkout: str) -> None:
    frame = raw_rows(checkout, 800, seed=3)
    frame["Exited"] = 1 - frame["Exited"]
    code, report = check(checkout, frame)
    assert code == RETRAIN
    assert "loss" in report["evidence"]
    assert {entry["column"] for entry in report["columns"] if entry["drifted"]} <= {"Exited"}
    assert "The mean loss grew by" in report["reason"]
    code, _ = check(checkout, frame.drop(columns="Exited"))
    assert code is None, "without outcomes nothing can show it"


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("constant", lambda frame: frame.assign(EstimatedSalary=1.0)),
        ("unit", lambda frame: frame.assign(EstimatedSalary=frame["EstimatedSalary"] / 100)),
        ("gaps", lambda frame: frame.assign(Tenure=np.nan)),
        ("schema", lambda frame: frame.assign(Geography="Italy")),
    ],
)
def test_a_broken_source_is_refused_and_not_learnt(
    checkout: str, kind: str, spoil: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    code, report = check(checkout, spoil(raw_rows(checkout, 500, seed=3)))
    assert (code, report["verdict"]) == (REFUSE, "refuse")
    assert kind in {fault["rule"] for fault in report["faults"]}
    assert report["reason"].startswith("Refuse: ")


def test_few_rows_tell_nothing(checkout: str) -> None:
    code, report = check(checkout, raw_rows(checkout, 40, seed=3).assign(Age=99))
    assert code is None
    assert "too few to tell" in report["reason"]


def test_the_order_of_the_rows_changes_nothing(checkout: str) -> None:
    frame = raw_rows(checkout, 400, seed=3)
    _, first = check(checkout, frame)
    _, second = check(checkout, frame.sample(frac=1, random_state=1))
    assert first | {"batch": 0} == second | {"batch": 0}


def test_a_batch_larger_than_the_sample_is_counted_whole_and_tested_by_a_part(checkout: str) -> None:
    document = YAML(typ="safe").load(Path("params.yaml"))
    document[checkout]["drift"] = {"sample": 1_000}
    YAML(typ="safe").dump(document, Path("params.yaml"))
    _, report = check(checkout, raw_rows(checkout, 3_000, seed=3))
    batch = report["batch"]
    assert (batch["rows"], batch["tested"]) == (3_000, 1_000)
    assert batch["sampled"]["share_error"] == pytest.approx(0.98 / 1_000**0.5)
    assert "1,000 rows drawn from 3,000 rows" in report["reason"]


def test_the_ledger_gets_one_line_for_one_answer_and_a_dry_run_writes_nothing(checkout: str) -> None:
    frame = raw_rows(checkout, 400, seed=3)
    frame.to_parquet("batch.parquet")
    before = sorted(Path().rglob("*"))
    drift.main(checkout, "batch.parquet", None, "", html=False, dry_run=True)
    assert sorted(Path().rglob("*")) == before
    check(checkout, frame)
    check(checkout, frame)
    (entry,) = ledger.read(checkout)
    assert (entry["event"], entry["verdict"], entry["by"]) == ("drift", "keep", "tess")
    assert entry["batch"]["rows"] == 400


def test_what_the_server_logged_is_a_batch_with_the_outcomes_that_were_reported(checkout: str, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/log.db"
    frame = raw_rows(checkout, 300, seed=3)
    rows = frame.drop(columns=["Exited", "RowNumber", "CustomerId", "Surname"]).to_json(orient="records")

    async def log() -> None:
        predictions = PredictionLog(url, spill_path=tmp_path / "spill")
        await predictions.start()
        now = datetime.now(UTC)
        entries = [
            Entry(new_id(), now, checkout, "hash", "rev", "", json.dumps(row), '{"probability":0.5}', 0.5)
            for row in json.loads(rows)
        ]
        await predictions.append(entries)
        for entry, outcome in zip(entries[:200], frame["Exited"], strict=False):
            await predictions.feedback(entry.id, int(outcome), now)
        await predictions.stop(5)

    asyncio.run(log())
    assert drift.main(checkout, None, 1.0, url, html=False, dry_run=False) is None
    (file,) = Path(f"reports/{checkout}/drift").glob("*.json")
    report = json.loads(file.read_text())
    assert (report["batch"]["rows"], report["outcomes"]["rows"]) == (300, 200)
    with pytest.raises(UserError, match="there is no file"):
        drift.main(checkout, None, 1.0, f"{url}.lost", html=False, dry_run=False)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("batch.parquet", b"PAR1", "is no readable Parquet file"),
        ("batch.csv", b"a,b\n1,2\n", "has no column of bankchurn"),
        ("batch.csv", b"", "the file is empty"),
        ("batch.txt", b"a", "files end in .csv or .parquet"),
    ],
)
def test_a_file_that_is_no_batch_is_named_with_what_is_wrong(checkout: str, file: str, content: bytes, said: str) -> None:
    Path(file).write_bytes(content)
    with pytest.raises(UserError, match=said):
        drift.main(checkout, file, None, "", html=False, dry_run=False)
    assert not Path(f"reports/{checkout}/drift").exists()


def test_evidently_says_of_each_column_what_the_check_says(checkout: str) -> None:
    frame = raw_rows(checkout, 500, seed=3).drop(columns="Exited")
    frame["Age"] += 5
    frame.to_parquet("batch.parquet")
    drift.main(checkout, "batch.parquet", None, "", html=True, dry_run=False)
    page = Path(f"reports/{checkout}/drift/batch.html").read_text()
    assert "Age" in page
    assert len(page) > 100_000
