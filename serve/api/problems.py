"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException

from serve.api.prefix import full_path
from serve.models.errors import FieldError, InvalidInputError, MalformedError
from serve.service import KeyBusyError, NotFoundError, UnavailableError

logger = logging.getLogger("serve")

MEDIA_TYPE = "application/problem+json"
BUSY = {"Retry-After": "1"}
STATUS: dict[type[Exception], int] = {  # of what models and service raise
    MalformedError: 400,
    NotFoundError: 404,
    InvalidInputError: 422,
    KeyBusyError: 409,
    UnavailableError: 503,
}


class Problem(msgspec.Struct, omit_defaults=True):
    """Problem details: `errors` lists every wrong field."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    instance: str = ""
    errors: list[FieldError] = []


class ProblemError(Exception):
    """Ends a request with problem details."""

    def __init__(
        self, status: int, detail: str, errors: list[FieldError] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}


def as_problem(error: Exception) -> ProblemError:
    """What a client is told of an error that models or service raise."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    errors = error.errors if isinstance(error, InvalidInputError) else []
    return ProblemError(status, str(error), errors, BUSY if isinstance(error, UnavailableError) and error.busy else None)


def plain_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The response to an error that models or service raise."""
    return problem_response(request, as_problem(error))


def problem_response(request: Request[Any, Any, Any], error: ProblemError) -> Response[bytes]:
    """The response to a `ProblemError`."""
    problem = Problem(
        HTTPStatus(error.status).phrase, error.status, error.detail, instance=full_path(request), errors=error.errors
    )
    return Response(msgspec.json.encode(problem), status_code=error.status, media_type=MEDIA_TYPE, headers=error.headers)


def http_response(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The response to an error of the framework: a wrong method, path or query parameter, or a body that is too large."""
    detail = error.detail or HTTPStatus(error.status_code).phrase
    if isinstance(error, NotFoundException):
        root = request.app.state.settings.root_path
        lists = f"GET {root}/v1/projects lists the projects and GET {root}/docs the routes"
        detail = f"There is nothing at {full_path(request)}; {lists}."
    status = error.status_code
    errors = []
    for item in error.extra if isinstance(error.extra, list) else []:
        errors.append(FieldError(str(item.get("key", "")), str(item.get("message", ""))))
    if status == HTTPStatus.BAD_REQUEST and errors:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    headers = {key: value for key, value in (error.headers or {}).items() if key.lower() in ("allow", "retry-after")}
    return problem_response(request, ProblemError(status, detail, errors, headers))


def unexpected_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The response to a fault of the server itself: the trace goes to the log, never to the client."""
    logger.error("unexpected error at %s", request.url.path, exc_info=error)
    detail = "The server failed; its log says why, under this request's X-Request-ID."
    return problem_response(request, ProblemError(500, detail))


HANDLERS: Any = {
    **dict.fromkeys(STATUS, plain_response),
    ProblemError: problem_response,
    HTTPException: http_response,
    Exception: unexpected_response,
}
