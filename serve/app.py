"""The server.

make serve
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request
from litestar.config.cors import CORSConfig
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from serve.documentation import documentation_routes
from serve.problems import HANDLERS, ProblemError
from serve.protection import RateLimiter, caller, require_key
from serve.routes import status_routes, v1_router
from serve.service import BUSY, Service
from serve.settings import Settings
from serve.telemetry import request_id, set_up_logging
from stages.project import load_project

REQUEST_ID = re.compile(r"[\w.:-]{1,64}")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
]


class Gate(ASGIMiddleware):
    """Gives a request its id, refuses one too many or without a key, and counts and times it."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, service: Service) -> None:
        self.service = service
        self.limiter = RateLimiter(service.settings.rate_limit)
        self.working = 0

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Work on one request."""
        start = time.perf_counter()
        request_id.set(identify(scope))
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.working += 1
        try:
            if scope["path"].startswith("/v1"):
                self.check(scope)
            await next_app(scope, receive, watch)
        except ProblemError as error:
            status = error.status
            raise
        finally:
            self.working -= 1
            handler = scope["route_handler"]
            self.service.count_request(
                handler.opt.get("project", ""), scope["path_template"], status, time.perf_counter() - start
            )

    def check(self, scope: Scope) -> None:
        """ProblemError for a request too many, or without a key where one is needed."""
        settings = self.service.settings
        if self.working > settings.max_requests:
            raise ProblemError(503, "Too many requests are in work; try again shortly.", headers=BUSY)
        if settings.rate_limit or settings.api_keys:
            request: Request[Any, Any, Any] = Request(scope)
            self.limiter.check(caller(request, settings))
            require_key(request, settings)


def identify(scope: Scope) -> str:
    """The id that the client gave the request, or a new one."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


async def add_headers(message: Message, scope: Scope) -> None:
    """Security headers and the request's id, on every response, errors of the framework included."""
    if message["type"] == "http.response.start":
        identifier = request_id.get() or identify(scope)  # a path that leads nowhere does not pass the gate
        message["headers"] = [*message["headers"], *HEADERS, (b"x-request-id", identifier.encode())]


def create_app(settings: Settings | None = None) -> Litestar:
    """The application; without settings, those of the environment."""
    settings = settings or Settings()
    service = Service(settings)
    projects = [load_project(name) for name in service.names]

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        set_up_logging()
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = Litestar(
        route_handlers=[
            v1_router(service, projects),
            *status_routes(service),
            *documentation_routes(projects, settings.max_batch),
        ],
        lifespan=[lifespan],
        middleware=[Gate(service)],
        before_send=[add_headers],
        exception_handlers=HANDLERS,
        request_max_body_size=settings.max_body,
        cors_config=CORSConfig(allow_origins=settings.cors_origins) if settings.cors_origins else None,
        openapi_config=OpenAPIConfig(title="Veritable", version="1.0.0", path="/schema", render_plugins=[]),
        logging_config=None,
    )
    app.state.service = service
    app.state.settings = settings
    return app
