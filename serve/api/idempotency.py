"""The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a retry is not logged as another prediction."""

from __future__ import annotations

import re
from hashlib import sha256

from serve.api.bodies import Call
from serve.api.problems import ProblemError
from serve.api.protection import caller
from serve.log.idempotency import Key

VALID = re.compile(rb"[!-~]{1,255}")


def read_key(request: Call, project: str, body: bytes) -> Key | None:
    """The key of a request, for its caller and project alone; None without the header, ProblemError 400 for a wrong one."""
    given = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    if not given:
        return None
    if len(given) > 1 or not VALID.fullmatch(given[0]):
        raise ProblemError(400, "The header Idempotency-Key must be given once, with 1 to 255 visible ASCII characters.")
    who = caller(request, request.app.state.settings)
    return Key(
        hashed(who.encode(), project.encode(), given[0]),
        hashed(request.scope["path"].encode(), request.scope["query_string"], body),
    )


def hashed(*parts: bytes) -> str:
    """One hash of several parts."""
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()
