"""The server.

make serve
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Server
from litestar.template import TemplateConfig

from serve.api.compression import compressing
from serve.api.documentation import documentation_routes
from serve.api.internal import internal_server
from serve.api.middleware import RequestMiddleware, answer_head
from serve.api.prefix import without_prefix
from serve.api.problems import HANDLERS
from serve.api.protection import Guesses
from serve.api.routes import metrics_route, status_routes, v1_router
from serve.api.sessions import Sessions
from serve.api.stopping import announced_stop
from serve.api.telemetry import set_up_logging
from serve.pages import make_site, page_routes
from serve.pages.site import not_found, templates
from serve.service import Service
from serve.settings import Settings
from stages.projects._base import load_project


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
            async with site.assets.bundle.made_early(), internal_server(service):
                with announced_stop(service):
                    yield
        finally:
            await service.stop()

    app = Litestar(
        route_handlers=[
            v1_router(service, projects),
            *status_routes(service),
            *([] if settings.internal else [metrics_route(service)]),
            *documentation_routes(projects, settings),
            *page_routes(site),
        ],
        template_config=TemplateConfig(instance=templates(site.root, site.assets.address)),
        lifespan=[lifespan],
        middleware=[RequestMiddleware(service)],
        exception_handlers={**HANDLERS, NotFoundException: not_found, MethodNotAllowedException: not_found},
        request_max_body_size=settings.max_body,
        cors_config=CORSConfig(allow_origins=settings.cors_origins) if settings.cors_origins else None,
        openapi_config=OpenAPIConfig(
            title="Veritable",
            version="1.0.0",
            path="/schema",
            render_plugins=[],
            servers=[Server(url=settings.root_path or "/")],
        ),
        logging_config=None,
    )
    app.asgi_handler = compressing(app.asgi_handler)
    app.asgi_handler = answer_head(app)  # outside of it, so that the headers are those of the compressed body
    app.asgi_handler = without_prefix(app.asgi_handler, settings.root_path)
    app.state.service = service
    app.state.site = site
    app.state.settings = settings
    app.state.guesses = Guesses(settings.max_guesses)
    app.state.sessions = Sessions()
    app.state.connections = {}  # open ones by client, see serve/api/protocol.py
    return app
