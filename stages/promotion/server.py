"""Calling the server from a script."""

from __future__ import annotations

import json
import os
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from stages.core.cli import UserError

TIMEOUT = 60.0  # seconds; a server that loads a model takes a few


def call(url: str, method: str = "GET", **headers: str) -> Any:
    """The JSON that the server answers with. UserError with the `detail` of its problem details where it refuses, and with
    the reason where it cannot be reached. An API key is taken from the environment variable VERITABLE_API_KEY.
    """
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url!r} is no address of a server: it must start with http:// or https://")
    if key := os.environ.get("VERITABLE_API_KEY"):
        headers.setdefault("X-API-Key", key)
    try:
        with urlopen(Request(url, method=method, headers=headers), timeout=TIMEOUT) as answer:  # noqa: S310 - checked above
            return json.load(answer)
    except HTTPError as error:
        raise UserError(f"{url} answered {error.code}: {_detail(error)}") from None
    except URLError as error:
        raise UserError(f"{url} cannot be reached ({error.reason}): is the server running there?") from None
    except (OSError, HTTPException, ValueError) as error:
        raise UserError(f"{url} gave no answer that can be read ({type(error).__name__}: {error})") from None


def reload_model(project: str, server: str, digest: str) -> None:
    """Have a server load the model that is in its models/; UserError where it refuses, or loads one of another hash."""
    token = os.environ.get("VERITABLE_ADMIN_TOKEN")
    if not token:
        raise UserError(f"{server} was not asked to load the model, as VERITABLE_ADMIN_TOKEN is not set")
    loaded = call(f"{server.rstrip('/')}/v1/{project}/reload", "POST", Authorization=f"Bearer {token}")["hash"]
    if loaded != digest:
        raise UserError(f"{server} serves {loaded}, not {digest}: it reads the models/ of another folder, its SERVE_ROOT")


def _detail(error: HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return str(error.reason)
