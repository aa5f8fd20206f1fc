"""The server.

make serve
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from litestar import Litestar, Request, Response
from litestar.config.cors import CORSConfig
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.middleware import ASGIMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.template import TemplateConfig
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from serve.api.documentation import documentation_routes
from serve.api.problems import HANDLERS, ProblemError
from serve.api.protection import RateLimiter, caller, require_key, security_headers
from serve.api.routes import status_routes, v1_router
from serve.api.telemetry import request_id, set_up_logging
from serve.pages import make_site, page_routes
from serve.pages.site import HEADERS as PAGE_HEADERS
from serve.pages.site import failed, templates, wants_html
from serve.service import BUSY, Service
from serve.settings import Settings
from stages.projects._base import load_project

REQUEST_ID = re.compile(r"[\w.:-]{1,64}")
STARTED, NUMBERS = secrets.token_hex(6), count(1)  # an id of random bytes each would take ten times as long
HEADERS = security_headers(
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


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
            self.service.count_request(opt.get("project", ""), scope["path_template"], status, time.perf_counter() - start)

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


def lost(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """The answer to a path or method that leads nowhere. The router gives it without passing the gate, so what the gate does
    is done here: headers, an id, counting.
    """
    response = failed(request, error)
    if not request_id.get():
        headers = PAGE_HEADERS if wants_html(request) else HEADERS
        response.headers.update({name.decode(): value.decode() for name, value in headers})
        response.headers["x-request-id"] = identify(request.scope)
        request.app.state.service.count_request("", "", response.status_code, 0.0)
    return response


def create_app(settings: Settings | None = None) -> Litestar:
    """The application; without settings, those of the environment."""
    settings = settings or Settings()
    service = Service(settings)
    projects = [load_project(name) for name in service.names]
    site = make_site(service, projects)

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
            *page_routes(site),
        ],
        template_config=TemplateConfig(instance=templates()),
        lifespan=[lifespan],
        middleware=[Gate(service)],
        exception_handlers={**HANDLERS, NotFoundException: lost, MethodNotAllowedException: lost},
        request_max_body_size=settings.max_body,
        cors_config=CORSConfig(allow_origins=settings.cors_origins) if settings.cors_origins else None,
        openapi_config=OpenAPIConfig(title="Veritable", version="1.0.0", path="/schema", render_plugins=[]),
        logging_config=None,
    )
    app.state.service = service
    app.state.site = site
    app.state.settings = settings
    return app
