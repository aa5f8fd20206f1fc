"""What happens to every request before and after its route."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable
from itertools import count
from typing import Any

from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from serve.api.problems import BUSY, ProblemError
from serve.api.protection import RateLimiter, caller, require_key, security_headers
from serve.api.telemetry import request_id
from serve.service import Service

REQUEST_ID = re.compile(r"[\w.:-]{1,64}")
STARTED, NUMBERS = secrets.token_hex(6), count(1)  # an id of random bytes each would take ten times as long
HEADERS = security_headers(
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class RequestMiddleware(ASGIMiddleware):
    """Gives a request its id, refuses one too many or without a key, and counts and times it."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, service: Service) -> None:
        self.service = service
        self.limiter = RateLimiter(service.settings.rate_limit)
        self.working = 0

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Work on one request."""
        start = time.perf_counter()
        identifier = identify(scope)
        request_id.set(identifier)
        opt = scope["route_handler"].opt
        headers = opt.get("headers", HEADERS)
        status = 500

        def watch(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *headers, (b"x-request-id", identifier.encode())]
            return send(message)

        self.working += 1
        try:
            if scope["path"].startswith("/v1") or opt.get("page"):
                self.check(scope, needs_key=not opt.get("open"))
            await next_app(scope, receive, watch)
        except ProblemError as error:
            status = error.status
            raise
        finally:
            self.working -= 1
            seconds = time.perf_counter() - start
            self.service.metrics.count_request(opt.get("project", ""), scope["path_template"], status, seconds)

    def check(self, scope: Scope, *, needs_key: bool) -> None:
        """ProblemError for a request too many, or without a key where one is needed."""
        settings = self.service.settings
        if self.working > settings.max_requests:
            raise ProblemError(503, "Too many requests are in work; try again shortly.", headers=BUSY)
        if settings.rate_limit or settings.api_keys:
            request: Request[Any, Any, Any] = Request(scope)
            self.limiter.check(caller(request, settings))
            if needs_key:
                require_key(request, settings)


def identify(scope: Scope) -> str:
    """The id that the client gave the request, or a new one."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if REQUEST_ID.fullmatch(given) else f"{STARTED}-{next(NUMBERS):x}"
