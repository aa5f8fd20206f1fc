"""Tests of serve/api/middleware.py: queries that no route takes, and bodies that are refused while they are sent."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute

from tests.serve.api.test_problems import check_problem
from tests.serve.checkout import example
from tests.serve.conftest import Client
from tests.serve.process import Server

ADMIN = {"Authorization": "Bearer letmein-for-tests"}
SIZE = 8_000_000  # the limit is 5,000,000
PART = b" " * 64_000


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("GET", "/v1/projects", "none"),
        ("GET", "/v1/toy", "none"),
        ("GET", "/v1/toy/card", "none"),
        ("GET", "/v1/toy/history", "limit"),
        ("GET", "/v1/toy/drift", "none"),
        ("GET", "/v1/toy/predictions", "after, limit"),
        ("GET", "/v1/predictions/7", "none"),
        ("DELETE", "/v1/predictions/7", "none"),
        ("POST", "/v1/reload", "none"),
        ("POST", "/v1/toy/reload", "none"),
        ("POST", "/v1/toy/predict", "threshold"),
        ("POST", "/v1/toy/predict/batch", "threshold"),
        ("POST", "/v1/toy/explain", "none"),
        ("POST", "/v1/toy/feedback", "none"),
        ("POST", "/v1/toy_plain/predict", "none"),
    ],
)
def test_an_unknown_query_parameter_is_refused_with_those_that_are_known(
    client: Client, method: str, path: str, known: str
) -> None:
    content = json.dumps(example("toy")) if method == "POST" else None
    response = client.request(method, f"{path}?treshold=0.3", content=content, headers=ADMIN)
    problem = check_problem(response, 422)
    (error,) = problem["errors"]
    assert error == {"field": "treshold", "message": f"Unknown query parameter: this route takes {known}"}
    assert problem["detail"] == f"treshold: {error['message']}."


@pytest.mark.parametrize(
    ("path", "query", "fault"),
    [
        ("toy/predict", "threshold=0.1&threshold=0.2", "more than once"),
        ("toy/predict", "threshold=", "without a value"),
        ("toy/predict", "threshold", "without a value"),
        ("toy/predictions", "limit=1&limit=2", "more than once"),
        ("toy/predictions", "limit=", "without a value"),
    ],
)
def test_a_query_parameter_has_one_value(client: Client, path: str, query: str, fault: str) -> None:
    method, content = ("POST", json.dumps(example("toy"))) if "threshold" in query else ("GET", None)
    (error,) = check_problem(client.request(method, f"/v1/{path}?{query}", content=content), 422)["errors"]
    assert error["field"] == query.partition("=")[0]
    assert fault in error["message"]


def test_of_very_many_unknown_query_parameters_the_first_are_named(client: Client) -> None:
    query = "&".join(f"x{number}" for number in range(5_000))
    assert len(check_problem(client.get(f"/v1/toy/predictions?{query}"), 422)["errors"]) == 100


def test_known_query_parameters_are_taken_and_those_of_pages_and_documents_are_not_checked(client: Client) -> None:
    assert client.post("/v1/toy/predict?threshold=0.3", json=example("toy")).json()["threshold"] == 0.3
    assert client.get("/v1/toy/predictions?limit=1").status_code == 200
    for path in ("/", "/toy/predict", "/health", "/metrics", "/openapi.json", "/docs"):
        assert client.get(f"{path}?utm_source=mail").status_code == 200, path


def test_head_is_answered_as_get_without_a_body_on_every_route(client: Client) -> None:
    made = client.post("/v1/toy/predict", json=example("toy")).json()["prediction_id"]
    own = {
        "{prediction_id:str}": made,
        "{release:str}": "0",
        "{name:str}": "style.css",
        "{batch:str}": "none",
        "{path:str}": "none",
    }
    tried = 0
    for route in client.app.routes:
        if not isinstance(route, HTTPRoute) or "GET" not in route.methods:
            continue
        path = re.sub(r"{[^}]+}", lambda found: own[found[0]], route.path)
        got, asked = (client.request(method, path, follow_redirects=False) for method in ("GET", "HEAD"))
        assert got.status_code < 500, path
        assert asked.status_code == got.status_code, path
        assert asked.content == b""
        changing = {"x-request-id", *(["content-length"] if path.endswith(("/metrics", "/sample", "/monitoring")) else [])}
        for name in {*got.headers, *asked.headers} - changing:
            assert asked.headers.get_list(name) == got.headers.get_list(name), (path, name)
        tried += 1
    assert tried > 30
    assert client.head("/nowhere").status_code == 404
    assert client.head("/v1/toy/predict").status_code == 405


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/predictions/7", "DELETE, GET, HEAD, OPTIONS"),
        ("/v1/projects", "GET, HEAD, OPTIONS"),
        ("/v1/toy/predict", "OPTIONS, POST"),
    ],
)
def test_allow_names_every_method_of_a_route(client: Client, path: str, methods: str) -> None:
    assert client.options(path).headers["allow"] == methods
    refused = client.put(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, methods)


def test_predictions_and_pages_are_not_stored_and_files_may_be(client: Client) -> None:
    made = client.post("/v1/toy/predict", json=example("toy"))
    for response in (made, client.get("/v1/toy/predictions"), client.get("/"), client.get("/toy/predict")):
        assert response.headers.get_list("cache-control") == ["no-store"]
    style = client.get(f"{client.app.state.site.assets.address}/style.css")
    assert style.headers.get_list("cache-control") == ["public, max-age=31536000, immutable"]


@pytest.fixture(scope="module")
def server(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one toy in a process of its own."""
    with Server(checkout, tmp_path_factory.mktemp("server"), SERVE_PROJECTS='["toy"]') as started:
        yield started


def converse(server: Server, headers: str, content: bytes = b"") -> tuple[str, dict[str, Any]]:
    """Head and problem of the answer to a request whose client reads only after it sent everything."""
    head = f"POST /v1/toy/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode())
        connection.sendall(content)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    given, _, body = answer.partition(b"\r\n\r\n")
    return given.decode().lower(), json.loads(body)


@pytest.mark.slow
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_a_body_over_the_limit_gets_the_refusal(server: Server, connection: str, chunked: bool) -> None:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
    content = f"{SIZE:x}\r\n".encode() + b" " * SIZE + b"\r\n0\r\n\r\n" if chunked else b" " * SIZE
    head, problem = converse(server, f"{framing}\r\nConnection: {connection}", content)
    assert head.startswith("http/1.1 413")
    assert "connection: close" in head
    assert problem["detail"] == "The body is larger than the limit of 5000000 bytes: send fewer rows in a request."


@pytest.mark.slow
@pytest.mark.parametrize("content", [PART * (SIZE // len(PART)), (PART for _ in range(SIZE // len(PART)))])
def test_httpx_gets_the_refusal_too_and_can_go_on(server: Server, content: Any) -> None:
    with httpx.Client(base_url=server.url, headers={"Content-Type": "application/json"}) as opened:
        check_problem(opened.post("/v1/toy/predict", content=content), 413)
        assert opened.post("/v1/toy/predict", json=example("toy")).status_code == 200


@pytest.mark.slow
def test_a_client_that_asks_first_is_refused_before_it_sends_its_body(server: Server) -> None:
    framing = f"Content-Length: {SIZE}\r\nExpect: 100-continue"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(
            f"POST /v1/toy/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode()
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")


@pytest.mark.slow
def test_a_body_without_end_is_not_read_for_ever(server: Server) -> None:
    sent = 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        while sent < 500_000_000:
            sent += len(PART)
            yield PART

    with contextlib.suppress(httpx.TransportError):  # the connection may be closed before the client reads the answer
        check_problem(httpx.post(f"{server.url}/v1/toy/predict", content=parts()), 413)
    assert sent < 100_000_000
