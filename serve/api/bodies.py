"""What handlers read of a request themselves: its body, and the threshold in its query."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request

from serve.api.problems import ProblemError
from serve.models.errors import FieldError, wrong_fields

Call = Request[Any, Any, Any]


async def read_body(request: Call) -> bytes:
    """The body of a JSON request; ProblemError 415 for another content type or a compressed body, 413 for one too large."""
    given = dict(request.scope["headers"]).get(b"content-type", b"application/json")
    if given != b"application/json" and given.partition(b";")[0].strip().lower() != b"application/json":
        raise ProblemError(415, "The body must be JSON, with the header `Content-Type: application/json`.")
    return await read_bytes(request, request.app.state.settings.max_body)


async def read_file(request: Call) -> bytes:
    """The body of a request that is a file; errors as of `read_body`."""
    given = dict(request.scope["headers"]).get(b"content-type", b"")
    if given.partition(b";")[0].strip().lower() != b"text/csv":
        raise ProblemError(415, "The body must be a CSV file, with the header `Content-Type: text/csv`.")
    return await read_bytes(request, request.app.state.settings.max_file)


async def read_bytes(request: Call, limit: int) -> bytes:
    """The body of a request, uncompressed and of at most `limit` bytes."""
    headers = dict(request.scope["headers"])
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.strip().lower() != b"identity":
        raise ProblemError(
            415,
            f"Compressed bodies are not taken, and this one has `Content-Encoding: {encoding.decode('latin-1')}`: "
            "send it uncompressed.",
            headers={"Accept-Encoding": "identity"},
        )
    too_large = ProblemError(413, f"The body is larger than the limit of {limit} bytes: send fewer rows in a request.")
    if int(headers.get(b"content-length", 0)) > limit:
        raise too_large
    parts, size = [], 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ProblemError(400, "The client disconnected before its body was complete.")
        parts.append(message["body"])
        size += len(message["body"])
        if size > limit:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


def read_threshold(request: Call) -> float | None:
    """The threshold in the query; InvalidInputError for what is no probability. Read here because Litestar takes as long to
    look for a parameter that is rarely given as the model takes to predict.
    """
    if not request.scope["query_string"]:
        return None
    given = request.query_params.get("threshold")
    try:
        return None if given is None else msgspec.convert(given, Annotated[float, msgspec.Meta(ge=0, le=1)], strict=False)
    except msgspec.ValidationError as error:
        raise wrong_fields([FieldError("threshold", str(error))]) from None
