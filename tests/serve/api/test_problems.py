"""Tests of problem details: whatever is sent, the answer is a clear status with problem details, and nothing is logged."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from stages.projects._base import Project, load_project
from tests.serve.checkout import example
from tests.serve.conftest import Client, Serve

JSON = {"Content-Type": "application/json"}
MARKER = "xyzzy-4711"


def check_problem(response: Any, *statuses: int) -> dict[str, Any]:
    assert response.status_code in statuses, (response.status_code, response.text[:300])
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == response.status_code
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == response.url.path
    assert "Traceback" not in response.text
    assert 'File "' not in response.text
    assert set(problem) <= {"type", "title", "status", "detail", "instance", "errors"}
    return problem


def post(client: Client, path: str, content: bytes | str) -> Any:
    return client.post(path, content=content, headers=JSON)


def send(client: Client, name: str, content: str) -> list[tuple[str, Any]]:
    """The answers to a body as one row, as one row of three, and as a row to explain."""
    good = json.dumps(example(name))
    return [
        ("predict", post(client, f"/v1/{name}/predict", content)),
        ("predict/batch", post(client, f"/v1/{name}/predict/batch", f'{{"rows": [{good}, {content}, {good}]}}')),
        ("explain", post(client, f"/v1/{name}/explain", content)),
    ]


def logged(client: Client, name: str) -> Any:
    return client.get(f"/v1/{name}/predictions", params={"limit": 1}).json()["predictions"]


def with_value(project: Project, field: str, value: str) -> str:
    others = {key: given for key, given in example(project.name).items() if key != field}
    return f'{json.dumps(others)[:-1]}, "{field}": {value}}}'


WRONG = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e308",
    "-1e308",
    "1e400",
    "9" * 400,
    "true",
    "[]",
    "{}",
    '{"a": [1]}',
    '"\\u0000x"',
]


@pytest.mark.parametrize("value", WRONG)
def test_a_value_that_no_field_can_have_is_refused_and_not_logged(client: Client, project: Project, value: str) -> None:
    before = logged(client, project.name)
    for column in project.columns:
        readable = column.kind == "text" and not column.choices and value[0] in '"-1'
        if readable or (column.choices == (0, 1) and value == "true"):
            continue
        for path, response in send(client, project.name, with_value(project, column.name, value)):
            problem = check_problem(response, 400, 422)
            if response.status_code == 422:
                (error,) = problem["errors"]
                assert error["field"] == column.name
                assert error["message"]
                assert error.get("row") == (1 if path == "predict/batch" else None)
    assert logged(client, project.name) == before


def test_null_is_taken_in_optional_fields_only(client: Client, project: Project) -> None:
    for column in project.columns:
        for _, response in send(client, project.name, with_value(project, column.name, "null")):
            if column.required:
                (error,) = check_problem(response, 422)["errors"]
                assert error["field"] == column.name
            else:
                assert response.status_code == 200, response.text


def test_every_missing_field_is_listed(client: Client, project: Project) -> None:
    required = [column.name for column in project.columns if column.required]
    for path, response in send(client, project.name, "{}"):
        errors = check_problem(response, 422)["errors"]
        assert [error["field"] for error in errors] == required
        assert {error.get("row") for error in errors} == {1 if path == "predict/batch" else None}


def test_an_unknown_field_and_an_unknown_category_are_refused_by_name(client: Client, project: Project) -> None:
    content = json.dumps({**example(project.name), "surname": "Smith"})
    for _, response in send(client, project.name, content):
        assert [error["field"] for error in check_problem(response, 422)["errors"]] == ["surname"]
    for column in project.columns:
        if column.choices and column.kind == "text":
            for _, response in send(client, project.name, with_value(project, column.name, '"elsewhere"')):
                (error,) = check_problem(response, 422)["errors"]
                assert error["field"] == column.name
                assert str(column.choices[0]) in error["message"]


def test_the_target_is_no_input(client: Client, project: Project) -> None:
    for _, response in send(client, project.name, json.dumps({**example(project.name), project.target: 1})):
        assert [error["field"] for error in check_problem(response, 422)["errors"]] == [project.target]


def test_all_wrong_rows_of_a_batch_are_named_and_none_is_logged(client: Client) -> None:
    before = logged(client, "toy")
    good = example("toy")
    rows = [good, {**good, "distance": 7}, good, {**good, "carrier": "X", "value": -1}]
    problem = check_problem(client.post("/v1/toy/predict/batch", json={"rows": rows}), 422)
    assert [(error["row"], error["field"]) for error in problem["errors"]] == [(1, "distance"), (3, "carrier"), (3, "value")]
    assert logged(client, "toy") == before


@pytest.mark.parametrize("rows", [0, 1_001])
def test_a_batch_of_no_rows_or_too_many_is_refused(client: Client, rows: int) -> None:
    response = client.post("/v1/toy_plain/predict/batch", json={"rows": [example("toy_plain")] * rows})
    assert [error["field"] for error in check_problem(response, 422)["errors"]] == ["rows"]


def test_the_largest_batch_is_answered(client: Client) -> None:
    response = client.post("/v1/toy_plain/predict/batch", json={"rows": [example("toy_plain")] * 1_000})
    assert len(response.json()["predictions"]) == 1_000


def test_a_text_of_many_megabytes_is_refused(client: Client, project: Project) -> None:
    row = json.dumps({**example(project.name), project.columns[0].name: "x" * 4_000_000})
    for _, response in send(client, project.name, row):
        problem = check_problem(response, 422)
        assert [error["field"] for error in problem["errors"]] == [project.columns[0].name]
        assert len(response.content) < 2_000
    row = json.dumps({**example(project.name), project.columns[0].name: "x" * 10_000_000})
    for _, response in send(client, project.name, row):
        check_problem(response, 413)


@pytest.mark.parametrize("path", ["predict", "predict/batch", "explain", "feedback"])
def test_a_body_of_20_megabytes_is_refused(client: Client, path: str) -> None:
    check_problem(post(client, f"/v1/toy_plain/{path}", b"[" + b"1," * 10_000_000 + b"1]"), 413)


@pytest.mark.parametrize("path", ["predict", "predict/batch", "explain", "feedback"])
@pytest.mark.parametrize(
    "content",
    [
        b"", b" ", b"null", b"7", b'"text"', b"[]", b"[[]]", b"{", b"}", b"{}{}", b"not json", b"<row/>", b"a=1&b=2",
        b"\x00",
        b"\xff\xfe{}", b'{"crime": "\xff"}', b'{"prediction_id": "\xff", "outcome": 1}', b"\xef\xbb\xbf{}", b"'{}'", b"{,}",
        b'{"a": 01}', b"{'a': 1}", b"// x", b"[" * 100_000, b'{"a":' * 100_000, b'{"rows":' + b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000, b"9" * 100_000, b'{"rows": [{"rooms": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    ],
    ids=range(29),
)  # fmt: skip
def test_a_body_that_is_no_row_is_refused(client: Client, path: str, content: bytes) -> None:
    check_problem(post(client, f"/v1/toy_plain/{path}", content), 400, 422)


@pytest.mark.parametrize("path", ["predict", "predict/batch", "explain", "feedback"])
@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_word_for_a_number_that_json_lacks_is_named_with_its_place(client: Client, path: str, word: str) -> None:
    content = f'{{"outcome": {word}}}'.encode()
    name = word.removeprefix("-")
    assert check_problem(post(client, f"/v1/toy_plain/{path}", content), 400)["detail"] == (
        f"The body is no JSON: {name} at byte {content.index(name.encode())} is no JSON number; "
        "send null for a missing value."
    )


@pytest.mark.parametrize("path", ["predict", "explain", "feedback"])
def test_text_that_is_no_utf8_is_refused(client: Client, path: str) -> None:
    content = json.dumps({**example("toy_price"), "builder": "@"}).encode()
    content = content if path != "feedback" else b'{"prediction_id": "@", "outcome": 1}'
    check_problem(post(client, f"/v1/toy_price/{path}", content.replace(b'"@"', b'"\xff"')), 400)


def test_of_a_field_given_twice_the_last_counts(client: Client) -> None:
    content = json.dumps(example("toy_plain"))
    answers = [
        post(client, "/v1/toy_plain/predict", body).json()["prediction"]
        for body in (
            content,
            content.replace('"rooms": 6.21', '"rooms": 9, "rooms": 6.21'),
            content.replace('"rooms": 6.21', '"rooms": 9'),
        )
    ]
    assert answers[0] == answers[1] != answers[2]
    check_problem(post(client, "/v1/toy_plain/predict", content[:-1] + ', "rooms": 0}'), 422)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", "x", "é"]
)
@pytest.mark.parametrize("path", ["predict", "predict/batch", "explain", "feedback"])
def test_another_content_type_is_refused(client: Client, path: str, content_type: str) -> None:
    headers = {"Content-Type": content_type.encode("latin-1")}
    response = client.post(f"/v1/toy_plain/{path}", content=json.dumps(example("toy_plain")), headers=headers)  # type: ignore[arg-type]
    check_problem(response, 415)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_taken_however_its_type_is_spelt(client: Client, content_type: str) -> None:
    response = client.post(
        "/v1/toy_plain/predict", content=json.dumps(example("toy_plain")), headers={"Content-Type": content_type}
    )
    assert response.status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate, gzip"])
@pytest.mark.parametrize("path", ["predict", "predict/batch", "explain", "feedback"])
def test_a_compressed_body_is_refused(client: Client, path: str, encoding: str) -> None:
    content = gzip.compress(json.dumps(example("toy_plain")).encode())
    response = client.post(f"/v1/toy_plain/{path}", content=content, headers={**JSON, "Content-Encoding": encoding})
    detail = check_problem(response, 415)["detail"]
    assert f"`Content-Encoding: {encoding}`" in detail
    assert "send it uncompressed" in detail
    assert response.headers["accept-encoding"] == "identity"


def test_a_body_that_says_it_is_not_compressed_is_taken(client: Client) -> None:
    headers = {"Content-Encoding": "identity"}
    assert client.post("/v1/toy_plain/predict", json=example("toy_plain"), headers=headers).status_code == 200


@pytest.mark.parametrize("day", ["0001-01-01", "1899-12-31", "2201-01-01", "9999-12-31"])
def test_a_date_that_no_row_can_have_is_refused_by_name(client: Client, day: str) -> None:
    content = json.dumps({**example("toy_price"), "posted": day})
    for path, response in send(client, "toy_price", content):
        (error,) = check_problem(response, 422)["errors"]
        assert (error["field"], error.get("row")) == ("posted", 1 if path == "predict/batch" else None)
        assert error["message"] == f'is not between 1900-01-01 and 2200-12-31: "{day}"'


@pytest.mark.parametrize(
    "path", ["/v1/nowhere/predict", "/v1/nowhere", "/v1", "/nowhere", "/v1/toy_plain/nowhere", "/v1//predict"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_not_there_is_not_found(client: Client, path: str, method: str) -> None:
    problem = check_problem(client.request(method, path), 404)
    assert "/v1/projects" in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/toy_plain/predict", "POST"),
        ("PUT", "/v1/toy_plain/predict", "POST"),
        ("PATCH", "/v1/toy_plain/feedback", "POST"),
        ("POST", "/v1/toy_plain", "GET"),
        ("DELETE", "/v1/toy_plain/card", "GET"),
        ("POST", "/health", "GET"),
        ("GET", "/v1/reload", "POST"),
        ("PUT", "/v1/predictions/7", "GET"),
        ("POST", "/openapi.json", "GET"),
    ],
)
def test_a_wrong_method_is_refused_with_those_that_are_allowed(client: Client, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    check_problem(response, 405)
    assert allowed in response.headers["allow"]


def break_scoring(client: Client) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError(f"a secret of the server {MARKER}")

    client.app.state.service.active["toy"].score_all = fail


def test_a_fault_of_the_server_is_told_to_its_log_and_not_to_the_client(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    client = serve()
    break_scoring(client)
    response = client.post("/v1/toy/predict", json=example("toy"), headers={"X-Request-ID": "lookmeup"})
    check_problem(response, 500)
    assert MARKER not in response.text
    assert "ZeroDivisionError" not in response.text
    assert response.headers["x-request-id"] == "lookmeup"
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if "trace" in line]
    assert line["request_id"] == "lookmeup"
    assert line["level"] == "error"
    assert "ZeroDivisionError" in line["trace"]
    assert client.post("/v1/toy/predict/batch", json={"rows": [example("toy")]}).status_code == 500
    assert client.get("/health").status_code == 200


def test_no_body_ever_reaches_the_logs(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    client = serve(projects=["toy", "toy_price"])
    row = {**example("toy_price"), "builder": MARKER}
    assert client.post("/v1/toy_price/predict", json=row).status_code == 200
    assert client.post("/v1/toy_price/explain", json=row).status_code == 200
    client.post("/v1/toy_price/predict", json={**row, "cabins": MARKER, MARKER: 1})
    client.post("/v1/toy_price/predict/batch", json={"rows": [row, {MARKER: MARKER}]})
    client.post("/v1/toy_price/predict", content=f"{{{MARKER}".encode(), headers=JSON)
    client.post("/v1/toy_price/feedback", json={"prediction_id": MARKER, "outcome": 1})

    def fail(*_: Any) -> Any:
        raise RuntimeError("broken")

    client.app.state.service.active["toy_price"].score_all = fail
    assert client.post("/v1/toy_price/predict", json=row).status_code == 500
    output = capsys.readouterr()
    assert MARKER not in output.out + output.err
    for line in output.err.splitlines():
        found = json.loads(line)
        assert {"time", "level", "logger", "message"} <= set(found)


def test_problems_of_the_projects_that_are_not_served_are_not_found(serve: Serve) -> None:
    client = serve(projects=["toy_plain"])
    check_problem(client.post("/v1/toy/predict", json=example("toy")), 404)
    assert [entry["name"] for entry in client.get("/v1/projects").json()] == ["toy_plain"]
    assert load_project("toy_plain").title == client.get("/v1/toy_plain").json()["title"]
