"""Tests of serve/api/compression.py."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import httpx
import pytest

from serve.api.compression import MIN_SIZE, accepts_gzip, compressing
from tests.serve.checkout import example, json_rows
from tests.serve.conftest import Client, Serve

GZIP = {"Accept-Encoding": "gzip"}
PLAIN = {"Accept-Encoding": "identity"}


def raw(client: Client, path: str, method: str = "GET", **options: Any) -> tuple[httpx.Response, bytes]:
    """A response and its body as it was sent."""
    with client.stream(method, path, **options) as response:
        return response, b"".join(response.iter_raw())


@pytest.mark.parametrize(
    "path", ["/", "/toy/predict", "/toy/model", "/openapi.json", "/v1/toy", "/v1/projects", "/metrics", "/v1/toy/card"]
)
def test_what_is_large_is_compressed_for_those_who_take_it(client: Client, path: str) -> None:
    plain, whole = raw(client, path, headers=PLAIN)
    found, body = raw(client, path, headers=GZIP)
    assert "content-encoding" not in plain.headers
    assert found.headers["content-encoding"] == "gzip"
    assert int(found.headers["content-length"]) == len(body) < len(whole) == int(plain.headers["content-length"])
    if path != "/metrics":  # which has counted the request before
        assert gzip.decompress(body) == whole
    for response in (plain, found):
        assert response.headers["vary"] == "Accept-Encoding"
        assert response.headers["cache-control"] == "no-store"
        assert len(response.headers.get_list("content-length")) == 1


def test_the_answer_to_one_row_is_sent_as_it_is_and_a_batch_compressed(client: Client) -> None:
    one, body = raw(client, "/v1/toy/predict", "POST", json=example("toy"), headers=GZIP)
    assert len(body) < MIN_SIZE
    assert not {"content-encoding", "vary"} & set(one.headers)
    batch, body = raw(client, "/v1/toy/predict/batch", "POST", json={"rows": [example("toy")] * 500}, headers=GZIP)
    assert batch.headers["content-encoding"] == "gzip"
    assert len(gzip.decompress(body)) > 10 * len(body)


def test_the_parts_of_a_predicted_file_are_not_held_back(client: Client) -> None:
    row = json_rows("toy_plain", 1)[0]
    file = "\r\n".join([",".join(row), *[",".join(map(str, row.values()))] * 500])
    headers = {"Content-Type": "text/csv", **GZIP}
    response, body = raw(client, "/toy_plain/predict/file", "POST", content=file, headers=headers)
    assert "content-encoding" not in response.headers
    assert response.headers["x-accel-buffering"] == "no"
    assert body.count(b"\n") == 6


def test_what_is_compressed_already_is_not_again_where_other_origins_may_call(serve: Serve) -> None:
    client = serve(cors_origins=["https://listed.example"])
    style = f"{client.app.state.site.assets.address}/style.css"
    for path in (style, "/v1/toy"):
        found = client.get(path, headers={"Origin": "https://listed.example"} | GZIP)
        assert found.headers.get_list("content-encoding") == ["gzip"]
        assert "Accept-Encoding" in found.headers["vary"]
        assert found.headers["access-control-allow-origin"] == "https://listed.example"


def test_a_stream_is_sent_part_by_part() -> None:
    sent: list[Any] = []
    seen: list[int] = []
    head = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/html"), (b"content-length", b"9000")],
    }

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        await send(dict(head))
        for more in (True, True, False):
            await send({"type": "http.response.body", "body": b"x" * 3_000, "more_body": more})
            seen.append(len(sent))

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "headers": [(b"accept-encoding", b"gzip")]}
    asyncio.run(compressing(handle)(scope, None, send))  # type: ignore[arg-type]
    assert seen == [2, 3, 4]
    assert sent[0] == head
    assert b"".join(message["body"] for message in sent[1:]) == b"x" * 9_000


def test_what_would_not_get_smaller_is_sent_as_it_is(client: Client) -> None:
    for path in ("/health", "/nowhere"):
        assert "content-encoding" not in raw(client, path, headers=GZIP)[0].headers


@pytest.mark.parametrize("path", ["/", "/v1/toy", "/openapi.json"])
def test_head_has_the_headers_of_the_compressed_body(client: Client, path: str) -> None:
    found, asked = raw(client, path, headers=GZIP)[0].headers, client.head(path, headers=GZIP).headers
    assert asked["content-encoding"] == found["content-encoding"] == "gzip"
    assert asked["content-length"] == found["content-length"]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("br, GZIP", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip; q=1.0, *;q=0", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("gzip;q=x", False),
        ("*;q=0", False),
    ],
)
def test_a_client_says_what_it_takes(header: str, taken: bool) -> None:
    assert accepts_gzip(header.encode()) is taken
