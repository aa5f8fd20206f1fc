"""HTTP/1.1 as uvicorn speaks it, with limits on what a connection may take before a route is asked: uvicorn has none."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from itertools import chain
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serve.api.addresses import client_of, is_within
from serve.api.problems import MEDIA_TYPE, Problem
from serve.settings import Settings

TICK = 1.0  # seconds between two looks at a connection
BODY_RATE = 10_000  # bytes that a body may take another second for


class LimitedProtocol(HttpToolsProtocol):
    """Closes connections that take too long, send too many headers, or are too many from one client.

    The headers have `header_seconds`, also where nothing is sent at all. A body has `body_seconds` from the first byte of
    its request, and a second more for every `BODY_RATE` bytes of it, so that a large file may take its time and a trickle
    may not. Time in which the server does not read is not counted. A response that the client has stopped reading is given
    up after `body_seconds`.
    """

    def __init__(self, config: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        state = config.loaded_app.state
        self.settings: Settings = state.settings
        self.max_headers = self.settings.max_headers
        self.header_seconds = self.settings.header_seconds
        self.more_seconds = self.settings.body_seconds - self.header_seconds
        self.counts: dict[str, int] = state.connections
        self.metrics = state.service.metrics
        self.source = ""
        self.timer: asyncio.TimerHandle | None = None
        self.deadline: float | None = None  # None between requests, where uvicorn's own applies, and while one is at work
        self.unparsed = 0  # bytes that have come since the last complete part of a request
        self.chunk = self.before = 0  # bytes that came last, and with the end of the request before
        self.unsent, self.stuck_since = 0, 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if address and not is_within(address, self.settings.proxy_networks):
            self.source = client_of(address)
            self.counts[self.source] = self.counts.get(self.source, 0) + 1
            if self.counts[self.source] > self.settings.max_connections:
                self.refuse(429, f"More than {self.settings.max_connections} connections are open from this address.")
        self.deadline = self.loop.time() + self.header_seconds
        self.timer = self.loop.call_later(TICK, self.check)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timer is not None:
            self.timer.cancel()
        if self.source:
            self.counts[self.source] -= 1
            if not self.counts[self.source]:
                del self.counts[self.source]

    # The base class is called by its name, which costs less than `super()`: these run for every request.

    def data_received(self, data: bytes) -> None:
        if self.deadline is None:
            self.deadline = self.loop.time() + self.header_seconds
        self.chunk = len(data)
        self.unparsed += self.chunk
        HttpToolsProtocol.data_received(self, data)
        if self.unparsed > self.max_headers and not self.transport.is_closing():
            self.refuse(431, self.too_large())

    def on_headers_complete(self) -> None:
        # Their size need be added up only where as much has come, part of it perhaps with the request before.
        if self.before + self.unparsed > self.max_headers and self.header_size() > self.max_headers:
            raise ValueError(self.too_large())  # the parser stops, and `send_400_response` is called
        self.unparsed = 0
        if self.deadline is None:  # it came with the request before
            self.deadline = self.loop.time() + self.header_seconds
        self.deadline += self.more_seconds
        HttpToolsProtocol.on_headers_complete(self)

    def on_body(self, body: bytes) -> None:
        self.unparsed = 0
        if self.deadline is not None and not self.cycle.response_complete:
            self.deadline += len(body) / BODY_RATE
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        self.unparsed, self.before = 0, self.chunk
        if self.cycle.response_complete:  # before the body was: uvicorn's keep-alive has ended with the rest of it
            self.deadline = self.loop.time() + self.header_seconds
        else:
            self.deadline = None
        HttpToolsProtocol.on_message_complete(self)

    def header_size(self) -> int:
        """Bytes of the address and the headers of the request that is parsed."""
        return len(self.url) + sum(map(len, chain.from_iterable(self.headers)))

    def send_400_response(self, msg: str) -> None:
        if self.before + self.unparsed > self.max_headers:
            self.refuse(431, self.too_large())
        else:
            super().send_400_response(msg)

    def too_large(self) -> str:
        """What is said of headers over the limit."""
        return f"The headers are larger than the limit of {self.max_headers} bytes."

    def check(self) -> None:
        """Close the connection if the client has used up its time; look again in a second."""
        now = self.loop.time()
        self.timer = self.loop.call_later(TICK, self.check)
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self.unsent:
            self.unsent, self.stuck_since = unsent, now
        elif now > self.stuck_since + self.settings.body_seconds:
            self.transport.abort()
        if self.deadline is None or self.transport.is_closing():
            return
        if self.flow.read_paused or self.answering():
            self.deadline += TICK
        elif now > self.deadline:
            self.refuse(408, "The request was not complete in time; send it faster, or in smaller parts.")

    def answering(self) -> bool:
        """Whether a request that has come completely is at work."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def refuse(self, status: int, detail: str) -> None:
        """Close the connection, with problem details where no response is on its way."""
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not cycle.more_body) or not cycle.response_started:
            body = msgspec.json.encode(Problem(HTTPStatus(status).phrase, status, detail))
            head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
            self.metrics.count_request("", "", status, 0.0)
        if cycle is not None:
            cycle.disconnected = True  # the route that reads the body learns of it, and its answer goes nowhere
            cycle.message_event.set()
        self.transport.close()
