"""A second address for health, readiness and metrics, `SERVE_INTERNAL_ADDRESS`, in the same process and event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from uvicorn import Config
from uvicorn.server import ServerState

from serve.api.compression import compressing
from serve.api.middleware import RequestMiddleware, answer_head
from serve.api.problems import HANDLERS
from serve.api.protocol import LimitedProtocol
from serve.api.routes import metrics_route, status_routes
from serve.service import Service


def internal_app(service: Service) -> Litestar:
    """The application that answers there, without a prefix."""
    app = Litestar(
        route_handlers=[*status_routes(service), metrics_route(service)],
        middleware=[RequestMiddleware(service)],
        exception_handlers=HANDLERS,
        openapi_config=None,
        logging_config=None,
    )
    app.asgi_handler = compressing(app.asgi_handler)
    app.asgi_handler = answer_head(app)
    app.state.service = service
    app.state.settings = service.settings.model_copy(update={"root_path": ""})
    app.state.connections = {}
    return app


@asynccontextmanager
async def internal_server(service: Service) -> AsyncIterator[None]:
    """While the server runs: listens at the internal address, if there is one."""
    if service.settings.internal is None:
        yield
        return
    config = Config(
        internal_app(service),
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        access_log=False,
        log_config=None,
    )
    config.load()
    state = ServerState()

    def connect() -> asyncio.Protocol:
        return LimitedProtocol(config, state, {})

    server = await asyncio.get_running_loop().create_server(connect, *service.settings.internal)
    try:
        yield
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
