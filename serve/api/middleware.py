"""What happens to every request before and after its route."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable
from contextlib import suppress
from itertools import count
from typing import Any
from urllib.parse import parse_qs

from litestar import Litestar, Request
from litestar.constants import RESERVED_KWARGS
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from serve.api.addresses import client_of
from serve.api.problems import BUSY, ProblemError
from serve.api.protection import NO_STORE, SAFE, RateLimiter, caller, limit_guesses, require_key, security_headers
from serve.api.telemetry import request_id
from serve.models.errors import FieldError
from serve.models.rows import LISTED
from serve.service import Service

REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
STARTED, NUMBERS = secrets.token_hex(6), count(1)  # an id of random bytes each would take ten times as long
UNREAD = (413, 415)  # statuses of a body that is refused before it was read
DRAIN_SECONDS, DRAIN_LIMITS = 5.0, 4  # how long, and how many times `max_body`, is read of such a body
CACHEABLE = security_headers(
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = [*CACHEABLE, NO_STORE]


class RequestMiddleware(ASGIMiddleware):
    """Gives a request its id, refuses one too many, without a key or with an unknown query, and counts and times it."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, service: Service) -> None:
        self.service = service
        self.limiter = RateLimiter(service.settings.rate_limit)
        self.working = 0  # requests that have arrived: half a request takes a connection, not the place of others
        self.of_caller: dict[str, int] = {}

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Work on one request."""
        start = time.perf_counter()
        identifier = identify(scope)
        request_id.set(identifier)
        opt = scope["route_handler"].opt
        headers = opt.get("headers", HEADERS)
        status, unread = 500, True
        who, counted = "", False

        def arrived() -> None:
            nonlocal counted
            if who and not counted:
                counted = True
                self.take_up(who)

        async def read() -> Any:
            nonlocal unread
            message: Any = await receive()
            unread = message.get("more_body", False)
            if not unread:
                arrived()
            return message

        def watch(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                closing = [(b"connection", b"close")] if status in UNREAD else []
                message["headers"] = [*message["headers"], *headers, *closing, (b"x-request-id", identifier.encode())]
            elif status in UNREAD and unread:
                return send_and_drain(message, receive, send, DRAIN_LIMITS * self.service.settings.max_body)
            return send(message)

        try:
            api = scope["path"].startswith("/v1")
            if api or opt.get("page"):
                who = self.check(scope, needs_key=not opt.get("open"))
                if scope.get("method") in SAFE:
                    arrived()
            if api and scope["query_string"]:
                check_query(scope)
            await next_app(scope, read, watch)
        except ProblemError as error:
            status = error.status
            raise
        finally:
            if counted:
                self.put_down(who)
            seconds = time.perf_counter() - start
            self.service.metrics.count_request(opt.get("project", ""), scope["path_template"], status, seconds)

    def check(self, scope: Scope, *, needs_key: bool) -> str:
        """Who sends a request; ProblemError for one over the rate limit, or without a key where one is needed."""
        settings = self.service.settings
        if not (settings.rate_limit or settings.api_keys or settings.trusted_proxies):  # saves what a `Request` costs
            return client_of(scope["client"][0]) if scope["client"] else "unknown"
        request: Request[Any, Any, Any] = Request(scope)
        if settings.api_keys:
            limit_guesses(request, settings)
        who = caller(request, settings)
        self.limiter.check(who)
        if needs_key:
            require_key(request, settings)
        return who

    def take_up(self, who: str) -> None:
        """Count a request that has arrived; ProblemError for one too many."""
        settings = self.service.settings
        self.working += 1
        self.of_caller[who] = own = self.of_caller.get(who, 0) + 1
        if self.working > settings.max_requests or own > settings.max_key_requests:
            raise ProblemError(503, "Too many requests are in work; try again shortly.", headers=BUSY)

    def put_down(self, who: str) -> None:
        """Count a request no longer."""
        self.working -= 1
        if own := self.of_caller.pop(who) - 1:
            self.of_caller[who] = own


def check_query(scope: Scope) -> None:
    """ProblemError 422 for a query parameter that the route does not know, that is given twice, or that has no value."""
    handler = scope["route_handler"]
    declared = handler.parsed_fn_signature.parameters.keys() - RESERVED_KWARGS - scope["path_params"].keys()
    known = handler.opt.get("query", declared)
    errors = []
    for name, values in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).items():
        if name not in known:
            errors.append(
                FieldError(name, f"Unknown query parameter: this route takes {', '.join(sorted(known)) or 'none'}")
            )
        elif len(values) > 1:
            errors.append(FieldError(name, "Query parameter given more than once: give it once"))
        elif not values[0]:
            errors.append(FieldError(name, "Query parameter without a value: give one, or leave it out"))
    if errors:
        raise ProblemError(422, f"{errors[0].field}: {errors[0].message}.", errors[:LISTED])


async def send_and_drain(message: Message, receive: Receive, send: Send, size: int) -> None:
    """Send the end of a response, then read up to `size` bytes of what the client still sends: a connection that is closed
    on unread data is reset, and the client loses the response.
    """
    await send({**message, "more_body": True})  # type: ignore[arg-type]
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            more = True
            while more and size > 0:
                part: Any = await receive()
                size -= len(part.get("body", b""))
                more = part.get("more_body", False)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def identify(scope: Scope) -> str:
    """The id that the client gave the request, or a new one."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if REQUEST_ID.fullmatch(given) else f"{STARTED}-{next(NUMBERS):x}"


def answer_head(app: Litestar) -> ASGIApp:
    """The application's handler with HEAD wherever there is GET: the same answer without its body. In front of the router,
    which knows no HEAD, so `Allow` is completed here; that of Litestar's OPTIONS lacks methods that were registered later.
    """
    handle = app.asgi_handler
    methods = {route.path_format: route.methods for route in app.routes if isinstance(route, HTTPRoute)}

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")
        if method in ("GET", "POST") or scope["type"] != ScopeType.HTTP:
            return await handle(scope, receive, send)

        def allow(given: bytes) -> bytes:
            found = methods.get(scope.get("path_template", ""), set()) | set(given.decode().split(", "))
            return ", ".join(sorted(found | {"HEAD"} if "GET" in found else found)).encode()

        async def adapt(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, allow(value) if name == b"allow" else value) for name, value in message["headers"]
                ]
            elif method == "HEAD" and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        return await handle({**scope, "method": "GET"} if method == "HEAD" else scope, receive, adapt)

    return answer
