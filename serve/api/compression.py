"""Responses compressed for a client that takes gzip: pages, documents and JSON of some size. A stream passes as it is, part
by part, and so does the answer to one row: it is sent in one packet either way.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

MIN_SIZE = 1_000  # bytes
IN_THREAD = 50_000  # bytes that take a millisecond, in which other requests would wait
LEVEL = 1  # the highest makes a page smaller by a fifth, and takes five times as long
VARY = (b"vary", b"Accept-Encoding")
TYPES = ("text/", "application/json", "application/problem+json", "image/svg+xml")


@dataclass(frozen=True)
class Compressed:
    """A body that is compressed once and sent many times."""

    media_type: str
    zipped: bytes

    def response(self, request: Request[Any, Any, Any], **headers: str) -> Response[bytes]:
        """The body as the client takes it."""
        headers["Vary"] = "Accept-Encoding"
        if accepts_gzip(accept_encoding(request.scope)):
            return Response(self.zipped, media_type=self.media_type, headers={**headers, "Content-Encoding": "gzip"})
        return Response(gzip.decompress(self.zipped), media_type=self.media_type, headers=headers)


def compressing(handle: ASGIApp) -> ASGIApp:
    """An application's handler with its responses compressed where that is worth it and the client takes it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            return await handle(scope, receive, send)
        head: Any = None  # of a response that may be compressed, until its body comes

        def compress(message: Message) -> Awaitable[None]:
            nonlocal head
            if message["type"] == "http.response.start":
                if is_worth_it(message["headers"]):
                    head = message
                    return nothing()
                message["headers"] = with_vary(message["headers"])
            if head is not None:
                held, head = head, None
                return send_both(held, message, scope, send)
            return send(message)

        return await handle(scope, receive, compress)

    return answer


async def nothing() -> None:
    """Sends nothing yet."""


async def send_both(head: Any, message: Any, scope: Scope, send: Send) -> None:
    """Send the head and the body of a response, compressed if this is all of the body and the client takes it."""
    if not message.get("more_body"):
        head["headers"] = [*head["headers"], VARY]
        if accepts_gzip(accept_encoding(scope)):
            message["body"] = await smaller(message["body"])
            head["headers"] = compressed_headers(head["headers"], len(message["body"]))
    await send(head)
    await send(message)


def is_worth_it(headers: Any) -> bool:
    """Whether a response with these headers gets smaller: one of some size, of a type that does, not compressed before."""
    for name, value in headers:
        if name == b"content-length" and int(value) < MIN_SIZE:
            return False
    found = dict(headers)
    return (
        b"content-length" in found
        and b"content-encoding" not in found
        and found.get(b"content-type", b"").decode("latin-1").startswith(TYPES)
        and found.get(b"vary") != VARY[1]  # which a `Compressed` has that is sent as it was
    )


def with_vary(headers: Any) -> Any:
    """The headers of a response, with the Vary of a compressed one, which Litestar's CORS replaces by its own."""
    names = dict(headers)
    lacks = b"content-encoding" in names and names.get(b"vary", VARY[1]) != VARY[1]
    return [*headers, VARY] if lacks else headers


def accept_encoding(scope: Scope) -> bytes:
    """The header Accept-Encoding of a request."""
    return b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")


@lru_cache(1024)
def accepts_gzip(header: bytes) -> bool:
    """Whether an Accept-Encoding takes gzip: by its name, or else by `*`, with a quality that is not 0."""
    taken = {}
    for part in header.decode("latin-1").lower().split(","):
        name, _, quality = part.partition(";")
        try:
            taken[name.strip()] = float(quality.replace(" ", "").removeprefix("q=") or 1) > 0
        except ValueError:
            taken[name.strip()] = False
    return taken.get("gzip", taken.get("*", False))


async def smaller(body: bytes) -> bytes:
    """A body compressed."""
    if len(body) > IN_THREAD:
        return await asyncio.to_thread(gzip.compress, body, LEVEL, mtime=0)
    return gzip.compress(body, LEVEL, mtime=0)


def compressed_headers(headers: Any, size: int) -> list[tuple[bytes, bytes]]:
    """The headers of a response whose body was compressed to `size` bytes."""
    others = [(name, value) for name, value in headers if name != b"content-length"]
    return [*others, (b"content-encoding", b"gzip"), (b"content-length", str(size).encode())]
