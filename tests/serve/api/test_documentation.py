"""Tests of serve/api/documentation.py: a document that is true, and a page that needs no other host."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from stages.projects._base import FIRST_DAY, LAST_DAY, Project, project_names
from tests.serve.conftest import Client
from tests.serve.process import Server

BODIES = ("predict", "predict/batch", "explain", "feedback")


@pytest.fixture(scope="module")
def document(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def body_schema(document: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    body = document["paths"][f"/v1/{name}/{path}"]["post"]["requestBody"]
    assert body["required"]
    schema: dict[str, Any] = body["content"]["application/json"]["schema"]
    return schema


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_is_documented(document: dict[str, Any]) -> None:
    expected = {"/health", "/ready", "/metrics", "/v1/projects", "/v1/reload", "/v1/predictions/{prediction_id}"}
    for name in project_names():
        parts = [
            "",
            "/predict",
            "/predict/batch",
            "/explain",
            "/feedback",
            "/card",
            "/history",
            "/drift",
            "/predictions",
            "/reload",
        ]
        expected |= {f"/v1/{name}{part}" for part in parts}
    assert set(document["paths"]) == expected


def test_fields_show_units_ranges_and_categories(document: dict[str, Any], project: Project) -> None:
    schema = body_schema(document, project.name, "predict")
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {column.name for column in project.columns}
    assert schema["required"] == [column.name for column in project.columns if column.required]
    for column in project.columns:
        field = schema["properties"][column.name]
        kinds = {key: value for kind in [field, *field.get("anyOf", [])] for key, value in kind.items()}
        assert field["title"] == column.title
        assert field["examples"]
        assert column.unit in field.get("description", "")
        if column.kind == "date":
            assert "Between 1900-01-01 and 2200-12-31." in field["description"]
            for year in (FIRST_DAY.year - 1, FIRST_DAY.year, 1999, 2000, 2199, LAST_DAY.year, LAST_DAY.year + 1, 9999):
                listed = FIRST_DAY.year <= year <= LAST_DAY.year
                assert bool(re.search(field["pattern"], f"{year}-12-31")) is listed
        if column.choices:
            assert kinds["enum"] == list(column.choices)
        for bound, keyword in (
            ("ge", "minimum"), ("gt", "exclusiveMinimum"), ("le", "maximum"), ("lt", "exclusiveMaximum"),
            ("min_length", "minLength"), ("max_length", "maxLength"),
        ):  # fmt: skip
            assert kinds.get(keyword) == getattr(column, bound)


@pytest.mark.parametrize("path", ["predict", "predict/batch", "explain"])
def test_the_example_of_every_project_is_accepted_as_it_stands(
    client: Client, document: dict[str, Any], project: Project, path: str
) -> None:
    example = body_schema(document, project.name, path)["example"]
    response = client.post(f"/v1/{project.name}/{path}", json=example)
    assert response.status_code == 200, response.text


def test_classifiers_alone_take_a_threshold(document: dict[str, Any], project: Project) -> None:
    for path in ("predict", "predict/batch"):
        parameters = document["paths"][f"/v1/{project.name}/{path}"]["post"]["parameters"]
        key = parameters.pop()
        assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", False)
        if project.task == "regression":
            assert parameters == []
        else:
            (threshold,) = parameters
            assert threshold["name"] == "threshold"
            assert (threshold["schema"]["minimum"], threshold["schema"]["maximum"]) == (0, 1)


@pytest.mark.parametrize("blank", [chr(code) for code in range(0x3100) if chr(code).isspace()])
def test_the_pattern_of_a_text_knows_every_blank_that_the_server_takes_off(document: dict[str, Any], blank: str) -> None:
    schema = body_schema(document, "toy", "predict")["properties"]["sender"]
    assert jsonschema_rs.is_valid(schema, "abcd")
    assert not jsonschema_rs.is_valid(schema, f"{blank}abc")


def test_the_largest_batch_is_documented(document: dict[str, Any]) -> None:
    rows = body_schema(document, "toy_plain", "predict/batch")["properties"]["rows"]
    assert (rows["minItems"], rows["maxItems"]) == (1, 1_000)


def test_errors_are_documented_as_problem_details(document: dict[str, Any], project: Project) -> None:
    for path in BODIES:
        responses = document["paths"][f"/v1/{project.name}/{path}"]["post"]["responses"]
        for status in ("400", "401", "413", "415", "422", "429", "503"):
            assert list(responses[status]["content"]) == ["application/problem+json"]


def test_every_route_under_v1_documents_that_it_refuses_unknown_query_parameters(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("422" in operation["responses"]) is path.startswith("/v1"), path


def test_the_page_and_all_it_loads_come_from_this_host(client: Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 3
    for link in links:
        assert urlsplit(link).netloc == ""
        file = client.get(link)
        assert file.status_code == 200
        assert file.headers.get_list("cache-control") == ["public, max-age=31536000, immutable"]
        assert file.headers["content-encoding"] == "gzip"
    script = client.get(links[2]).text
    assert "//" not in script
    assert '"/openapi.json"' in script
    style = client.get(links[0]).text
    assert not re.search(r"url\(['\"]?(https?:)?//", style)
    assert "@import" not in style
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy


def test_the_document_names_no_other_host(document: dict[str, Any]) -> None:
    found = set(re.findall(r"https?://[^\s\"]+", json.dumps(document)))
    assert found <= {"https://json-schema.org/draft/2020-12/schema"}


def test_no_file_outside_the_folder_can_be_had(client: Client) -> None:
    for path in ("../__init__.py", "%2e%2e/__init__.py", "..%2f__init__.py", "/etc/passwd", "%2fetc/passwd"):
        response = client.get(f"/docs/0/{path}")
        assert response.status_code == 404, path


# Rows are read as people write them: false is 0 in a column of 0 and 1, and an empty text a missing value. The document
# shows one way to write a row, and what breaks it there may be accepted.
LENIENT = """
[[operations]]
include-path-regex = "/(predict|predict/batch|explain)$"
checks.negative_data_rejection.enabled = false
"""
# A key that was given with another request is refused, which the document cannot tell of a request by itself.
NEW_KEYS = """
import re, uuid
import schemathesis

@schemathesis.hook
def before_call(context, case, kwargs):
    if re.fullmatch("[!-~]{1,255}", (case.headers or {}).get("Idempotency-Key", "")):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
"""


@pytest.mark.slow
def test_generated_requests_get_only_documented_answers(checkout: Path, tmp_path: Path) -> None:
    """Schemathesis with all its checks, on right and wrong requests."""
    (tmp_path / "schemathesis.toml").write_text('hooks = "new_keys"\n' + LENIENT)
    (tmp_path / "new_keys.py").write_text(NEW_KEYS)
    chosen = {"SERVE_ADMIN_TOKEN": "letmein-for-tests", "SERVE_PROJECTS": '["toy", "toy_price"]'}
    with Server(checkout, tmp_path, **chosen) as server:
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json",
            "--header", "Authorization: Bearer letmein-for-tests", "--max-examples", "10", "--generation-deterministic",
            "--continue-on-failure", "--no-color", "--suppress-health-check", "filter_too_much",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert f"Tested: {7 + 10 * 2}" in done.stdout
