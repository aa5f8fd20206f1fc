"""The same rows through every entrance: training, the drift check, scoring a file, REST, a batch and the page."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from serve.models.rows import RowCodec
from stages import ingest, score
from stages.core.files import Paths
from stages.core.schema import coerce
from stages.modeling.scoring import load_scorer
from stages.monitoring.batch import read_file
from stages.projects._base import load_project
from tests.samples import write_params
from tests.serve.checkout import example
from tests.serve.conftest import Client

Scores = dict[int, float | None]  # of each row by its number, None for a refused one

# What people write, and what it stands for; None for what has to be refused.
AWKWARD: list[tuple[dict[str, str], dict[str, Any] | None]] = [
    ({}, {}),
    ({"berth": "417"}, {"berth": "00417"}),
    ({"berth": "765.0"}, {"berth": "00765"}),
    ({"berth": " 00417 "}, {"berth": "00417"}),
    ({"berth": "abcde"}, None),
    ({"berth": " 7838"}, {"berth": "07838"}),
    ({"berth": "123456"}, None),
    ({"builder": " LUND   River"}, {"builder": "lund river"}),
    ({"builder": "n/a"}, None),
    ({"condition": "GOOD "}, {"condition": "good"}),
    ({"condition": "wrecked"}, None),
    ({"fuel": ""}, None),
    ({"built": "2011.0"}, {"built": 2011}),
    ({"built": "2013.5"}, None),
    ({"built": "NA"}, {"built": None}),
    ({"size": "712,5"}, {"size": 712.5}),
    ({"size": "-"}, {"size": None}),
    ({"size": "0"}, None),
    ({"hours": "1.5e3"}, {"hours": 1500.0}),
    ({"hours": "many"}, None),
    ({"hours": "1_000"}, None),
    ({"hours": "NaN"}, {"hours": None}),
    ({"moored": "yes"}, {"moored": 1}),
    ({"moored": "0.0"}, {"moored": 0}),
    ({"moored": "2"}, None),
    ({"surveyed": "5/9/2015"}, {"surveyed": "2015-05-09"}),
    ({"surveyed": "2015-05-09 00:00:00"}, {"surveyed": "2015-05-09"}),
    ({"surveyed": "2014-05-09T00:00:00"}, {"surveyed": "2014-05-09"}),
    ({"surveyed": "9.5.2015"}, None),
    ({"surveyed": "9999-12-31"}, None),
    ({"surveyed": "null"}, {"surveyed": None}),
]
WRITTEN: list[tuple[str, str, str, Callable[[str], str]]] = [  # as a file: its name, delimiter, encoding and header
    ("boats.csv", ",", "utf-8", str),
    ("boats.csv", ";", "utf-16", str.upper),
    ("boats.tsv", "\t", "utf-8-sig", "  {} ".format),
    ("boats.csv.gz", ",", "cp1252", str.title),
]


def meant(number: int) -> dict[str, Any] | None:
    """The row as the log keeps it. Its engine hours make it a boat of its own."""
    stands_for = AWKWARD[number][1]
    return None if stands_for is None else example("toy_price") | {"hours": 900.0 + number} | stands_for


def given() -> list[dict[str, str]]:
    """The awkward rows as texts, with an outcome and, in a column that is no input, their number."""
    return [
        {name: str(value) for name, value in example("toy_price").items()}
        | {"hours": str(900 + number)}
        | changes
        | {"price": "100000", "days_listed": str(number), "Größe": "é"}
        for number, (changes, _) in enumerate(AWKWARD)
    ]


def write(path: Path, delimiter: str, encoding: str, rename: Callable[[str], str]) -> Path:
    """The rows as a file."""
    text, rows = io.StringIO(), given()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerows([[rename(name) for name in rows[0]], *(row.values() for row in rows)])
    content = text.getvalue().encode(encoding)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def right() -> Scores:
    """The score of each row as it is meant, in JSON that is written as the log keeps it."""
    codec, scorer = RowCodec(load_project("toy_price"), 1), load_scorer(load_project("toy_price"), Paths("toy_price").model)
    rows = {number: meant(number) for number in range(len(AWKWARD))}
    return {
        number: None if row is None else float(scorer(codec.columns([codec.read_row(json.dumps(row).encode())]))[0])
        for number, row in rows.items()
    }


def scores_of(frame: pd.DataFrame) -> Scores:
    """The scores of rows that the pipeline has read."""
    project = load_project("toy_price")
    scores = load_scorer(project, Paths(project.name).model)(coerce(frame, project.columns)[0])
    return {int(number): value for number, value in zip(frame["days_listed"], scores.tolist(), strict=True)}


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: f"{written[0]}-{written[2]}")
def test_training_drift_and_score_read_the_same_rows_from_a_file(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: tuple[str, str, str, Callable[[str], str]]
) -> None:
    monkeypatch.chdir(checkout)
    project, expected_scores = load_project("toy_price"), right()
    file = write(tmp_path / written[0], *written[1:])
    refused = {number for number, value in expected_scores.items() if value is None}
    assert 5 < len(refused) < len(AWKWARD) - 5
    assert len({*expected_scores.values()}) > 10

    batch = read_file(str(file), project, pd.DataFrame(columns=list(project.row.model_fields)), limit=1_000, seed=0)
    assert (batch.rows, batch.rejected) == (len(AWKWARD), len(refused))
    checked = scores_of(batch.frame)
    assert len(checked) > 15
    assert checked == {number: expected_scores[number] for number in checked}

    score.main("toy_price", str(file), tmp_path / "scores.parquet")
    scored = pd.read_parquet(tmp_path / "scores.parquet")
    assert {number for number, reason in enumerate(scored["refused"]) if reason} == refused
    assert {number: None if value != value else value for number, value in enumerate(scored["score"])} == expected_scores

    trained_on = scores_of(ingested(file, tmp_path, checkout, monkeypatch))
    assert trained_on == {number: value for number, value in expected_scores.items() if value is not None}


def ingested(file: Path, folder: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The rows that ingest takes, with the others in the quarantine."""
    monkeypatch.chdir(folder)
    write_params(folder, "toy_price", ingest={"sources": [str(file)], "max_rejected": 1.0})
    ingest.main("toy_price")
    accepted, quarantine = (pd.read_parquet(f"data/toy_price/{part}.parquet") for part in ("raw", "quarantine"))
    assert len(accepted) + len(quarantine) == len(AWKWARD)
    monkeypatch.chdir(checkout)
    return accepted


def rows_of_json() -> list[dict[str, str]]:
    """The rows without what is no input."""
    names = load_project("toy_price").row.model_fields
    return [{name: text for name, text in row.items() if name in names} for row in given()]


def test_rest_answers_the_same_rows_one_at_a_time_and_the_log_keeps_them_as_they_were_scored(
    client: Client, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    found: Scores = {}
    for number, row in enumerate(rows_of_json()):
        response = client.post("/v1/toy_price/predict", json=row)
        assert response.status_code in (200, 422)
        found[number] = response.json().get("prediction")
        if response.status_code == 200:
            logged = client.get(f"/v1/predictions/{response.json()['prediction_id']}").json()["input"]
            again = client.post("/v1/toy_price/predict", json=logged)
            assert again.json()["prediction"] == found[number]
            assert logged == meant(number)
        else:
            (error,) = response.json()["errors"]
            assert error["field"] in AWKWARD[number][0]
    assert found == pytest.approx(right())


def test_a_batch_answers_the_same_rows_and_names_those_that_it_refuses(
    client: Client, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    rows, expected_scores = rows_of_json(), right()
    refusal = client.post("/v1/toy_price/predict/batch", json={"rows": rows})
    refused = {error["row"] for error in refusal.json()["errors"]}
    assert refused == {number for number, value in expected_scores.items() if value is None}
    kept = [number for number in expected_scores if number not in refused]
    answers = client.post("/v1/toy_price/predict/batch", json={"rows": [rows[number] for number in kept]}).json()[
        "predictions"
    ]
    assert [answer["prediction"] for answer in answers] == [expected_scores[number] for number in kept]


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: f"{written[0]}-{written[2]}")
def test_an_uploaded_file_is_answered_with_the_same_rows(
    client: Client, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Any
) -> None:
    monkeypatch.chdir(checkout)
    file = write(tmp_path / written[0], *written[1:])
    response = client.post("/toy_price/predict/file", content=file.read_bytes(), headers={"Content-Type": "text/csv"})
    assert response.status_code == 200, response.text
    parts = [json.loads(line) for line in response.text.splitlines()]
    check_files("".join(part["csv"] for part in parts), parts[0]["refused"], written[3])
    expected_scores = right()
    assert parts[0]["left_out"] == sum(value is None for value in expected_scores.values())
    assert parts[-1]["done"] == parts[0]["rows"] == len(expected_scores) - parts[0]["left_out"]


def check_files(predicted: str, refused: str, rename: Callable[[str], str]) -> None:
    """The file with answers, and the one of refused rows, hold every row once with the right answer or a reason."""
    number = rename("days_listed").strip()
    answered = {int(row[number]): float(row["predicted"]) for row in csv.DictReader(io.StringIO(predicted))}
    left_out = {int(row[number]): row["left_out_because"] for row in csv.DictReader(io.StringIO(refused))}
    assert all(left_out.values())
    assert answered | dict.fromkeys(left_out) == right()


@pytest.mark.slow
@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: f"{written[0]}-{written[2]}")
def test_the_page_answers_the_same_rows(
    page: Page, site: str, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Any
) -> None:
    monkeypatch.chdir(checkout)
    page.goto(f"{site}/toy_price/predict")
    page.set_input_files("#csv", write(tmp_path / written[0], *written[1:]))
    left_out = sum(value is None for value in right().values())
    expect(page.locator("#outcome")).to_contain_text(f"{len(AWKWARD) - left_out} predicted, {left_out} left out.")
    files = []
    for what in ("predictions", "left out"):
        with page.expect_download() as event:
            page.locator("#outcome button", has_text=what).click()
        files.append(Path(event.value.path()).read_text())
    check_files(files[0], files[1], written[3])
