"""Sign-ins of browsers: the cookie holds a random id, the server its hash and the key that it stands for, in memory."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from serve.api.protection import SIGNED_IN_FOR, digest

MAX_SESSIONS = 10_000


class Sessions:
    """The sessions of one process. Each ends `SIGNED_IN_FOR` seconds after its sign-in; one too many ends the oldest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._opened: dict[str, tuple[float, str]] = {}  # by the hash of the id, oldest first: when, and the key's hash

    def open(self, key: str) -> str:
        """The id of a new session for the key with this hash."""
        session = secrets.token_urlsafe(32)
        self._opened[digest(session)] = self._clock(), key
        if len(self._opened) > MAX_SESSIONS:
            del self._opened[next(iter(self._opened))]
        return session

    def key(self, session: str) -> str | None:
        """The hash of the key that a session was opened with; None for one that is not open."""
        found = self._opened.get(digest(session))
        return found[1] if found and self._clock() < found[0] + SIGNED_IN_FOR else None

    def close(self, session: str) -> None:
        """End a session."""
        self._opened.pop(digest(session), None)
