"""Tests of serve/api/sessions.py."""

from __future__ import annotations

from serve.api.protection import SIGNED_IN_FOR
from serve.api.sessions import MAX_SESSIONS, Sessions


def test_a_session_stands_for_its_key_until_it_ends() -> None:
    now = 0.0
    sessions = Sessions(clock=lambda: now)
    first, second = sessions.open("hash of a"), sessions.open("hash of b")
    assert (sessions.key(first), sessions.key(second)) == ("hash of a", "hash of b")
    sessions.close(first)
    sessions.close("never opened")
    assert (sessions.key(first), sessions.key(second)) == (None, "hash of b")
    now = SIGNED_IN_FOR - 1.0
    assert sessions.key(second) == "hash of b"
    now = SIGNED_IN_FOR
    assert sessions.key(second) is None


def test_the_number_of_sessions_is_bounded_and_the_oldest_ends_first() -> None:
    sessions = Sessions()
    opened = [sessions.open("hash") for _ in range(MAX_SESSIONS + 1)]
    assert len(sessions._opened) == MAX_SESSIONS
    assert sessions.key(opened[0]) is None
    assert sessions.key(opened[1]) == sessions.key(opened[-1]) == "hash"


def test_what_is_stored_does_not_open_a_session() -> None:
    sessions = Sessions()
    session = sessions.open("hash")
    (stored,) = sessions._opened
    assert stored != session
    assert sessions.key(stored) is None
