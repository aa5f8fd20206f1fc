"""The prefix of all addresses, `SERVE_ROOT_PATH`, where the server shares a host with others behind a proxy."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send


def without_prefix(handle: ASGIApp, prefix: str) -> ASGIApp:
    """An application's handler that is given addresses without the prefix, whether the proxy has taken it off or not. ASGI's
    `root_path` is left alone: Litestar would look for it anywhere in the path.
    """
    if not prefix:
        return handle

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and f"{scope['path']}/".startswith(f"{prefix}/"):
            scope = {**scope, "path": scope["path"].removeprefix(prefix) or "/"}
        return await handle(scope, receive, send)

    return answer


def full_path(request: Request[Any, Any, Any]) -> str:
    """The path that a request was sent to, with the prefix."""
    prefix: str = request.app.state.settings.root_path
    return prefix + request.url.path
