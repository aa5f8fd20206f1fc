"""Tests of serve/api/protocol.py: what a connection may take, tried on a server in a process of its own."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from serve.api.protection import digest
from tests.serve.checkout import example
from tests.serve.process import Server

pytestmark = pytest.mark.slow
KEY = "a-long-random-key"
LIMITS = {
    "SERVE_HEADER_SECONDS": "1", "SERVE_BODY_SECONDS": "2", "SERVE_MAX_CONNECTIONS": "5", "SERVE_MAX_REQUESTS": "3",
    "SERVE_PROJECTS": '["toy"]', "SERVE_API_KEYS": f'["{digest(KEY)}"]',
}  # fmt: skip
FORM = b"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nContent-Length: 100\r\n\r\nkey="


@pytest.fixture(scope="module")
def server(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with tight limits that asks for a key."""
    with Server(checkout, tmp_path_factory.mktemp("server"), **LIMITS) as started:
        yield started


def connect(server: Server, source: str = "127.0.0.2") -> socket.socket:
    """A connection from another address of this machine, whose reads give up after 10 s."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=(source, 0))


def answer(connection: socket.socket) -> bytes:
    """What is sent until the connection is closed."""
    found = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            found += part
    return found


def predict(server: Server) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/toy/predict", json=example("toy"), headers={"X-API-Key": KEY})


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nX: a", FORM], ids=["nothing", "headers", "body"])
def test_a_request_that_does_not_arrive_is_ended(server: Server, sent: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(sent)
        start = time.monotonic()
        assert answer(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json")
        assert time.monotonic() - start < 5


WHOLE = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = b"POST /v1/toy/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"


def test_half_a_request_sent_together_with_a_whole_one_is_ended(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(WHOLE + FORM)
        found = answer(connection)
    assert b"HTTP/1.1 200" in found
    assert b"HTTP/1.1 408" in found


def test_a_connection_whose_body_came_after_the_refusal_is_ended_when_idle(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(REFUSED)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")
        connection.sendall(b"{}")
        connection.settimeout(4)
        answer(connection)


def test_a_trickle_does_not_keep_a_connection(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - start < 8:
                connection.sendall(b"\r\n")  # a parser skips blank lines before a request
                time.sleep(0.2)
        assert time.monotonic() - start < 5


def test_a_steady_body_may_take_longer(server: Server) -> None:
    with connect(server) as connection:
        size = 8 * 20_000
        head = f"POST /v1/toy/predict HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {size}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nConnection: close\r\n\r\n".encode())
        for _ in range(8):
            connection.sendall(b" " * 20_000)
            time.sleep(0.5)
        assert answer(connection).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("end", [b"\r\n", b""], ids=["in fields", "in one field"])
def test_headers_over_the_limit_are_refused_while_they_are_sent(server: Server, end: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX: a" + end)
        sent = 0
        with suppress(OSError):
            while sent < 5_000_000:
                sent += connection.send(b"x: " + b"a" * 9_000 + end)
        assert sent < 5_000_000


def test_headers_over_the_limit_get_431_and_those_within_are_taken(server: Server) -> None:
    refused = httpx.get(f"{server.url}/health", headers={"X": "a" * 33_000})
    assert refused.status_code == 431
    assert refused.json()["detail"] == "The headers are larger than the limit of 32000 bytes."
    assert httpx.get(f"{server.url}/health", headers={"X": "a" * 30_000}).status_code == 200


def test_connections_of_one_address_are_limited_and_those_of_others_are_served(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connect(server))
        with connect(server) as connection:
            assert answer(connection).startswith(b"HTTP/1.1 429")
        assert predict(server).status_code == 200
    time.sleep(0.2)
    with connect(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 200")


def test_half_sent_requests_do_not_take_the_place_of_others(server: Server) -> None:
    with ExitStack() as stack:
        for number in range(8):
            stack.enter_context(connect(server, f"127.0.1.{number + 1}")).sendall(FORM)
        time.sleep(0.3)
        assert predict(server).status_code == 200


def test_requests_sent_together_are_answered_in_turn(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
        found = answer(connection)
        assert found.count(b"HTTP/1.1 200") == 20
        assert found.count(b"HTTP/1.1 404") == 1


def test_a_forwarded_address_is_not_believed_from_loopback(checkout: Path, tmp_path: Path) -> None:
    with Server(checkout, tmp_path, SERVE_PROJECTS='["toy"]', SERVE_RATE_LIMIT="2") as server:
        path = f"{server.url}/v1/toy"
        found = [httpx.get(path, headers={"X-Forwarded-For": f"10.0.0.{number}"}).status_code for number in range(3)]
    assert found == [200, 200, 429]
