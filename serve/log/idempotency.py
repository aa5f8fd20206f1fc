"""What the log knows of requests with an idempotency key: the key, the request and its time, from which the ids of its
predictions follow. So a retry finds the answer in the log or, after a crash, logs the same ids again, which are ignored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.log.tables import idempotency_keys as keys

KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=60)  # after which a server that was at work on a request is taken to have crashed
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class Key(Struct, frozen=True):
    """Hashes: of what a client named its request, and of the request."""

    key: str
    request: str


class Claim(Struct, frozen=True):
    """What the log holds of a key: the hash of the request that came first, and its time. `is_new` if it is this one."""

    request: str
    time: datetime
    is_new: bool


async def claim(connection: AsyncConnection, key: Key, now: datetime) -> Claim:
    """Record a request as begun, unless one with its key was less than a day ago."""
    await connection.execute(delete(keys).where(keys.c.key == key.key, keys.c.time < now - KEPT))
    insert_into = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(keys)
    begun = {"key": key.key, "request": key.request, "time": now, "busy_until": now + LEASE}
    is_new = (await connection.execute(insert_into.values(begun).on_conflict_do_nothing())).rowcount == 1
    found = (await connection.execute(select(keys.c.request, keys.c.time).where(keys.c.key == key.key))).one()
    return Claim(found.request, found.time, is_new)


async def take_over(connection: AsyncConnection, key: Key, now: datetime) -> bool:
    """Whether nobody is at work on a request any more; then the caller is."""
    free = update(keys).where(keys.c.key == key.key, keys.c.busy_until <= now)
    return (await connection.execute(free.values(busy_until=now + LEASE))).rowcount == 1


async def give_up(connection: AsyncConnection, key: Key) -> None:
    """Let a retry of a request that failed begin at once."""
    await connection.execute(update(keys).where(keys.c.key == key.key).values(busy_until=NEVER))


async def forget(connection: AsyncConnection, now: datetime, limit: int) -> int:
    """Delete keys that are older than a day, at most `limit`; how many."""
    old = select(keys.c.key).where(keys.c.time < now - KEPT).order_by(keys.c.time).limit(limit)
    return (await connection.execute(delete(keys).where(keys.c.key.in_(old)))).rowcount
