"""Tests of `python -m serve.log dump`: what was predicted, as a batch that the pipeline reads."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from serve.log import __main__ as command
from serve.log.tables import first_id
from stages.core.schema import coerce, to_frame
from stages.intake.sift import sift
from stages.intake.sources import read_source
from stages.projects._base import Project, columns_of, load_project
from tests.serve.checkout import example, json_rows
from tests.serve.conftest import Serve
from tests.serve.logs import NOW, entry, opened


def dump(project: str, output: Path, url: str, *more: str) -> None:
    command.main(["dump", project, "--output", str(output), "--database", url, *more])


def read(path: Path, project: Project) -> pd.DataFrame:
    """The rows of a file as a drift check reads them, to which outcomes may come later, with none refused."""
    row = set(project.row.model_fields)
    columns = tuple(
        column if column.name in row else replace(column, required=False)
        for column in columns_of(project.record)
        if column.name in header(path)
    )
    accepted, rejected, _ = sift(read_source(str(path), project, 0).frame, columns)
    assert rejected.empty, rejected
    return accepted


def header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def fill(url: str, folder: Path, *entries: Any) -> None:
    async def write() -> None:
        async with opened(url, folder) as log:
            await log.append(entries)

    asyncio.run(write())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("name", ["toy", "toy_price"])
def test_what_was_predicted_and_reported_is_read_back_as_it_was_sent(
    request: pytest.FixtureRequest, serve: Serve, tmp_path: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, project = request.getfixturevalue(f"{kind}_url"), load_project(name)
    monkeypatch.setattr(command, "PAGE", 7)  # more than one page
    client = serve(projects=[name], database_url=url)
    rows = json_rows(name, 30)
    sent = client.post(f"/v1/{name}/predict/batch", json={"rows": rows})
    ids = [answer["prediction_id"] for answer in sent.json()["predictions"]]
    reported = {4: [1], 9: [1, 0]} if project.task == "classification" else {4: [123456.5], 9: [1000, 250000.75]}
    for place, outcomes in reported.items():
        for outcome in outcomes:
            answer = client.post(f"/v1/{name}/feedback", json={"prediction_id": ids[place], "outcome": outcome})
            assert answer.status_code == 200
    output = tmp_path / "batch.csv"
    dump(name, output, url)

    assert header(output) == [*project.row.model_fields, project.target]
    found = read(output, project)
    today = client.get(f"/v1/predictions/{ids[0]}").json()["time"][:10]  # what a missing day of valuation was
    given = [row | ({project.time_column: row[project.time_column] or today} if project.time_column else {}) for row in rows]
    expected, _ = coerce(pd.DataFrame(given, columns=list(project.row.model_fields)), project.columns)
    assert_frame_equal(found[list(expected)], to_frame(expected))
    known = found[project.target].dropna()
    assert known.to_dict() == {place: float(outcomes[-1]) for place, outcomes in reported.items()}


def test_values_are_written_to_their_last_digit(sqlite_url: str, tmp_path: Path) -> None:
    row = {
        "builder": ' Ürümqi "One",\r\nUSA ',
        "berth": "00602",
        "size": 0.1 + 0.2,
        "cabins": 3,
        "hours": 1e22,
    }
    fill(
        sqlite_url,
        tmp_path,
        entry(project="toy_price", input=json.dumps(row), time=pd.Timestamp.now("UTC").to_pydatetime()),
    )
    output = tmp_path / "batch.csv"
    dump("toy_price", output, sqlite_url)
    with output.open(newline="", encoding="utf-8") as file:
        [written] = csv.DictReader(file)
    assert {key: written[key] for key in row} == row | {"size": "0.30000000000000004", "cabins": "3", "hours": "1e+22"}
    assert set(written.values()) - {written[key] for key in row} == {""}
    frame = read_source(str(output), load_project("toy_price"), 0).frame
    assert [frame[key][0] for key in ("builder", "berth")] == [row["builder"], row["berth"]]


def test_only_the_last_hours_of_one_project_are_written(sqlite_url: str, tmp_path: Path, capsys: Any) -> None:
    now = pd.Timestamp.now("UTC").to_pydatetime()
    moments = [("toy_plain", 30), ("toy_plain", 2), ("toy", 1), ("toy_plain", 0)]
    entries = []
    for number, (project, hours) in enumerate(moments):
        time = now - timedelta(hours=hours)
        identifier = f"{first_id(time)}-7000-8000-{number:012}"
        entries.append(entry(id=identifier, project=project, time=time, input=json.dumps({"rooms": float(number)})))
    fill(sqlite_url, tmp_path, *entries)
    output = tmp_path / "batch.csv"
    for span, expected in (("24", ["1.0", "3.0"]), ("48", ["0.0", "1.0", "3.0"]), ("0.5", ["3.0"])):
        dump("toy_plain", output, sqlite_url, "--hours", span)
        with output.open(newline="") as file:
            assert [row["rooms"] for row in csv.DictReader(file)] == expected
    assert "3 predictions of the last 48 hours, 0 with an outcome" in capsys.readouterr().out


def test_nothing_to_dump_is_said_and_leaves_the_file_as_it_was(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url, tmp_path, entry(time=NOW - timedelta(days=400)))
    output = tmp_path / "batch.csv"
    output.write_text("before")
    with pytest.raises(SystemExit, match=r"toy_plain: the prediction log holds no prediction of the last 24 hours"):
        dump("toy_plain", output, sqlite_url)
    assert output.read_text() == "before"
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


def test_a_log_that_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, postgres_url: str) -> None:
    output = tmp_path / "batch.csv"
    (tmp_path / "text.db").write_text("This is no database, but long enough to be looked at as one." * 20)
    for url, words in (
        (f"sqlite+aiosqlite:///{tmp_path}/none.db", r"there is no file .*none\.db: name the server's log with --database"),
        (f"sqlite+aiosqlite:///{tmp_path}/text.db", "the log cannot be read: DatabaseError: file is not a database"),
        ("postgresql+asyncpg://nobody@127.0.0.1:1/none", "the log cannot be read: .*127.0.0.1"),
        (postgres_url, 'the log cannot be read: .*relation "predictions" does not exist'),
        ("mysql://somewhere", "--database: the prediction log takes sqlite"),
        ("nonsense", "--database: Could not parse"),
    ):
        with pytest.raises(SystemExit, match=f"^toy_plain: {words}"):
            dump("toy_plain", output, url)
    assert not output.exists()


def test_a_file_that_cannot_be_written_is_named(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url, tmp_path, entry(time=pd.Timestamp.now("UTC").to_pydatetime()))
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"file/batch\.csv cannot be written: Not a directory"):
        dump("toy_plain", tmp_path / "file" / "batch.csv", sqlite_url)
    with pytest.raises(SystemExit, match=r"nowhere/batch\.csv cannot be written: No such file or directory"):
        dump("toy_plain", tmp_path / "nowhere" / "batch.csv", sqlite_url)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--output", "x.csv"], "invalid choice: 'nowhere' (choose from"),
        (["toy_plain", "--output", "x.parquet"], "--output: x.parquet must end in .csv"),
        (["toy_plain", "--output", "x.csv", "--hours", "0"], "--hours: must be more than 0"),
        (["toy_plain", "--output", "x.csv", "--hours", "nan"], "--hours: must be more than 0"),
        (["toy_plain"], "the following arguments are required: --output"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["dump", *arguments])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_the_log_of_the_environment_is_read_by_default(serve: Serve, sqlite_url: str, tmp_path: Path) -> None:
    client = serve(projects=["toy"], database_url=sqlite_url)
    client.post("/v1/toy/predict", json=example("toy")).raise_for_status()
    call = [sys.executable, "-m", "serve.log", "dump", "toy", "--output", "batch.csv"]
    environment = {**os.environ, "SERVE_DATABASE_URL": sqlite_url}
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "batch.csv: 1 prediction of the last 24 hours, 0 with an outcome\n"
    assert len(read(tmp_path / "batch.csv", load_project("toy"))) == 1
