"""Tells an address of each line that a ledger gets, as a signed message of the form that Standard Webhooks defines
(https://www.standardwebhooks.com), so that receivers can check it with a library.

VERITABLE_WEBHOOK is the address, VERITABLE_WEBHOOK_SECRET what messages are signed with. A message is sent in the
background: no command waits for it but at its end, and none fails by it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import uuid
from collections.abc import Mapping
from http.client import HTTPException
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from stages.core.cli import UserError

ADDRESS, SECRET = "VERITABLE_WEBHOOK", "VERITABLE_WEBHOOK_SECRET"
SHORTEST = 16  # characters of a secret
PAUSES = (0.0, 1.0, 3.0)  # seconds before each attempt
TIMEOUT = 5.0  # seconds of an attempt


def check_webhook() -> None:
    """UserError for an address that is none, or one without a secret to sign messages with."""
    address, secret = os.environ.get(ADDRESS), os.environ.get(SECRET, "")
    if address and not address.startswith(("https://", "http://")):
        raise UserError(f"{ADDRESS} is {address!r}, no address: it must start with https:// or http://")
    if address and len(secret) < SHORTEST:
        raise UserError(
            f"{ADDRESS} is set, so {SECRET} must hold at least {SHORTEST} characters, with which messages are signed"
        )


def notify(project: str, entry: Mapping[str, Any]) -> None:
    """Begin to send a line of the ledger, with its `project`, to the webhook, where one is set."""
    if address := os.environ.get(ADDRESS):
        body = json.dumps({"project": project, **entry}, sort_keys=True, ensure_ascii=False).encode()
        Thread(target=_deliver, args=(address, body, f"{project}: {entry['event']}"), name="webhook").start()


def signature(secret: str, identifier: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature` of a message: HMAC-SHA256 with the secret's bytes, or with what its base64 after
    `whsec_` stands for.
    """
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    content = f"{identifier}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()}"


class _NoRedirect(HTTPRedirectHandler):
    """Redirected, a POST would become a GET without its body."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


def _deliver(address: str, body: bytes, what: str) -> None:
    identifier, fault = f"msg_{uuid.uuid4().hex}", ""
    for pause in PAUSES:
        time.sleep(pause)
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": identifier,  # the same in each attempt, so that a receiver can tell a repetition
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(os.environ[SECRET], identifier, timestamp, body),
        }
        request = Request(address, body, headers)  # noqa: S310 - check_webhook has seen the address
        try:
            with build_opener(_NoRedirect).open(request, timeout=TIMEOUT):
                return
        except HTTPError as error:
            fault = f"it answered {error.code}"
        except (OSError, HTTPException) as error:
            fault = str(getattr(error, "reason", None) or error or type(error).__name__)
    print(f"{what} was not delivered to {ADDRESS} ({fault}); the ledger has it", file=sys.stderr)
