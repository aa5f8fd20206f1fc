"""Tests of serve/models/files.py, and of the route that takes a file."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from serve.log.prediction_log import Overloaded
from serve.models.errors import InvalidInputError
from serve.models.files import csv_lines, read_rows_file
from serve.models.rows import RowCodec
from stages.projects._base import load_project
from tests.serve.checkout import json_rows
from tests.serve.conftest import Client, Serve

HEADER = "noise,rooms,roads,tax"
CSV_TYPE = {"Content-Type": "text/csv"}


def sent(client: Client, content: str, name: str = "toy_plain", query: str = "") -> list[dict[str, Any]]:
    response = client.post(f"/{name}/predict/file{query}", content=content, headers=CSV_TYPE)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def returned(parts: list[dict[str, Any]]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(part["csv"] for part in parts))))


def written(name: str, rows: int) -> str:
    given = json_rows(name, rows)
    return csv_lines([list(given[0]), *(["" if value is None else value for value in row.values()] for row in given)])


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+SUM(A1)", "'+SUM(A1)"),
        ("-cmd", "'-cmd"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("-5.5", "-5.5"),
        (-5.5, "-5.5"),
        ("+49", "+49"),
        ("a,b", '"a,b"'),
        ('say "a"', '"say ""a"""'),
        ("=a,b", '"\'=a,b"'),
        ("two\nlines", '"two\nlines"'),
        (None, ""),
    ],
)
def test_a_cell_is_quoted_where_needed_and_is_never_a_formula(value: Any, cell: str) -> None:
    assert csv_lines([[value, 1]]) == f"{cell},1\r\n"


def test_refusals_are_counted_by_reason_with_the_first_line_and_value() -> None:
    content = f"{HEADER}\n0.5,6,5,296\n0.5,sick,5,296\n,many,5,296\n0.5,6,5\n".encode()
    file = read_rows_file(RowCodec(load_project("toy_plain"), 10), content, 10_000)
    assert list(file.rows) == [0]
    assert {(found.reason, found.rows, found.line, found.value) for found in file.refusals} == {
        ("rooms: is no number", 2, 3, "sick"),
        ("noise: is missing", 1, 4, ""),
        ("line: has 3 values where the header has 4 names", 1, 5, ""),
    }
    assert file.refused[2] == "noise: is missing; rooms: is no number"


def test_a_file_without_a_column_that_the_model_needs_is_refused_with_the_names_that_it_has() -> None:
    with pytest.raises(InvalidInputError, match="The header lacks tax; it names noise, rooms, roads"):
        read_rows_file(RowCodec(load_project("toy_plain"), 10), b"noise,rooms,roads\n1,2,3\n", 10_000)


def test_answers_replace_those_of_an_earlier_time(client: Client) -> None:
    parts = sent(client, written("toy_plain", 5))
    text = "".join(part["csv"] for part in parts)
    again = returned(sent(client, text))
    assert list(again[0]) == list(returned(parts)[0])
    assert [row["predicted"] for row in again] == [row["predicted"] for row in returned(parts)]
    assert {row["prediction_id"] for row in again}.isdisjoint({row["prediction_id"] for row in returned(parts)})


def test_a_file_is_decided_at_the_given_threshold(client: Client) -> None:
    parts = sent(client, written("toy", 8), "toy", "?threshold=0")
    assert {(row["predicted"], row["threshold"]) for row in returned(parts)} == {("late", "0.0")}
    assert len(parts[1]["preview"]) == 8


def test_a_row_whose_prediction_is_no_number_is_left_out_and_the_others_are_answered(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = client.app.state.service.active["toy_plain"].model.scorer
    score = type(scorer).score

    def extreme(self: Any, columns: Any) -> Any:
        scores = score(self, columns)
        scores[columns["tax"] == 777] = float("inf")
        return scores

    monkeypatch.setattr(type(scorer), "score", extreme)
    parts = sent(client, f"{HEADER}\n0.5,6,5,296\n0.5,6,5,777\n0.5,6,5,300\n")
    assert [row["tax"] for row in returned(parts)] == ["296", "300"]
    assert (parts[0]["rows"], parts[-1]["rows"], parts[-1]["left_out"]) == (3, 2, 1)
    assert parts[-1]["refusals"][0]["reason"].startswith("the prediction is no finite number")


@pytest.fixture
def busy(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many times the log has no room from now on."""
    log = client.app.state.service.log
    append, left = log.append, [0]

    async def no_room(entries: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise Overloaded
        await append(entries)

    monkeypatch.setattr(log, "append", no_room)
    monkeypatch.setattr("serve.service.PAUSE", 0.001)
    return left


def test_a_part_waits_for_the_log_to_have_room(client: Client, busy: list[int]) -> None:
    busy[0] = 3
    assert len(returned(sent(client, written("toy_plain", 150)))) == 150
    assert busy == [0]


def test_a_log_without_room_ends_the_answer_with_the_reason(client: Client, busy: list[int]) -> None:
    busy[0] = 1_000
    parts = sent(client, written("toy_plain", 150))
    assert [*parts[-1]] == ["error"]
    assert parts[-1]["error"] == "The prediction log cannot keep up; try again shortly."


def test_a_file_of_another_type_or_too_large_is_refused(serve: Serve) -> None:
    client = serve(projects=["toy_plain"], max_file=2_000)
    assert client.post("/toy_plain/predict/file", json={}).status_code == 415
    refusal = client.post("/toy_plain/predict/file", content="x" * 2_001, headers=CSV_TYPE)
    assert refusal.status_code == 413
    assert "2000 bytes" in refusal.json()["detail"]


def test_the_template_is_a_file_that_can_be_predicted(client: Client) -> None:
    for name in ("toy", "toy_plain", "toy_price"):
        assert len(returned(sent(client, client.get(f"/{name}/predict/template").text, name))) == 1


def test_a_file_that_is_no_table_is_refused_before_the_answer_begins(client: Client) -> None:
    response = client.post("/toy_plain/predict/file", content="", headers=CSV_TYPE)
    assert (response.status_code, response.json()["detail"]) == (422, "The file is empty.")
