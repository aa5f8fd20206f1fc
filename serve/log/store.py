"""The databases behind the prediction log. The schema, the reads and PostgreSQL go through SQLAlchemy's async engine.

Inserts take the shortest way that each driver has, with a statement compiled from the same table. Processor time per row,
measured on one core with synchronous=OFF to leave the disk out (rows of 700 bytes, three indexes):

    SQLite, 32 rows in a commit: one INSERT of 32 rows 4-6 us, executemany 6-8 us, INSERT FROM json_each 9-14 us
    SQLite, 1 row in a commit: 20-28 us

One INSERT of many rows also is one call into SQLite that commits by itself, so the writer thread asks for the interpreter's
lock once per commit. `executemany` asks once per row, and waits up to 5 ms each time while the event loop is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import asyncpg  # type: ignore[import-untyped]
from msgspec.structs import astuple
from sqlalchemy import URL, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from serve.log.migrations import SchemaError, migrate, refuse_newer
from serve.log.tables import Entry, microseconds, predictions

Thread = Callable[..., Awaitable[Any]]  # runs a function in the log's writer thread

ERRORS = (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

_asyncpg_dialect: Any = asyncpg_dialect
_COLUMNS = Entry.__struct_fields__
_TIME = _COLUMNS.index("time")
_CHUNK = 64  # rows of one INSERT into SQLite: with more the time per row falls no more, and each size is a cached statement

FREED = 100  # pages of a SQLite file given back at once


class DownError(Exception):
    """The database cannot be written to now; the message is the reason."""


class RefusedError(Exception):
    """The database is there but refuses these rows for what they hold."""


class Store(Protocol):
    """A database that takes groups of entries. `insert` returns when they are durable, and takes all of them or none."""

    engine: AsyncEngine

    async def open(self) -> None:
        """Connect, or connect again, and bring the tables to the last version; DownError if that fails."""

    async def insert(self, entries: Sequence[Entry]) -> None:
        """Commit entries, ignoring those it already has; DownError or RefusedError."""

    async def shrink(self) -> int:
        """Give some of the free space in the database's file back; how many pages. Any of `ERRORS`."""

    async def close(self) -> None:
        """Let go of all connections."""


def connect(url: str, timeout: float, in_thread: Thread) -> Store:
    """The store for a database URL; ValueError for one that the log cannot use."""
    address = make_url(url)
    backend = address.get_backend_name()
    if backend == "sqlite":
        if not address.database or address.database == ":memory:" or address.query:
            raise ValueError(f"{url}: the prediction log needs a plain file, such as sqlite+aiosqlite:///serve.db")
        return SqliteStore(address.set(drivername="sqlite+aiosqlite"), timeout, in_thread)
    if backend in ("postgresql", "postgres"):
        return PostgresStore(address.set(drivername="postgresql+asyncpg"), timeout)
    raise ValueError(f"the prediction log takes sqlite+aiosqlite:///file or postgresql+asyncpg://..., not {backend}")


async def check_schema(url: str, timeout: float = 2.0) -> None:
    """SchemaError for tables that a newer server made. A database that cannot be asked now may become usable: no error."""
    engine = connect(url, timeout, asyncio.to_thread).engine
    try:
        async with asyncio.timeout(timeout), engine.connect() as connection:
            await connection.run_sync(refuse_newer)
    except ERRORS:
        pass
    finally:
        await engine.dispose()


def reason(error: BaseException) -> str:
    """What went wrong in one line, without the statement and its values."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig.__cause__ or error.orig
    text = " ".join(str(error).split()) or ("no answer in time" if isinstance(error, TimeoutError) else "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _row(entry: Entry) -> list[Any]:
    row = list(astuple(entry))
    row[_TIME] = microseconds(entry.time)
    return row


class SqliteStore:
    """A SQLite file in WAL mode, synced on every commit. The writing connection lives in the log's writer thread."""

    def __init__(self, url: URL, timeout: float, in_thread: Thread) -> None:
        self.engine = create_async_engine(url, hide_parameters=True, connect_args={"timeout": timeout})
        event.listen(self.engine.sync_engine, "connect", self._prepare)
        self._path = Path(str(url.database)).absolute()
        self._timeout = timeout
        self._in_thread = in_thread
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    async def open(self) -> None:
        await self.close()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            async with self.engine.begin() as connection:
                await connection.run_sync(migrate)
            await self._in_thread(self._open)
        except (*ERRORS, SchemaError) as error:
            await self.close()
            raise DownError(reason(error)) from error

    async def insert(self, entries: Sequence[Entry]) -> None:
        try:
            await self._in_thread(self._insert, entries)
        except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, ValueError, OverflowError) as error:
            raise RefusedError(reason(error)) from error
        except (sqlite3.Error, OSError) as error:
            await self._in_thread(self._close)
            raise DownError(reason(error)) from error

    async def shrink(self) -> int:
        freed: int = await self._in_thread(self._shrink)
        return freed

    async def close(self) -> None:
        await self._in_thread(self._close)
        await self.engine.dispose()

    def _shrink(self) -> int:
        if self._connection is None:
            raise sqlite3.OperationalError("not connected")
        free: int = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
        self._connection.executescript(f"PRAGMA incremental_vacuum({FREED})")  # `execute` would end after the first page
        left: int = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
        return free - left

    def _prepare(self, connection: Any, _record: object = None) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA page_count")
        if cursor.fetchone() == (0,):  # later this would be a write, and change nothing
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def _open(self) -> None:
        self._connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=_CHUNK + 8
        )
        self._prepare(self._connection)
        self._connection.execute("BEGIN IMMEDIATE")  # fails while another process holds the file locked
        self._connection.execute("ROLLBACK")
        self._file = _identity(self._path)

    def _insert(self, entries: Sequence[Entry]) -> None:
        connection = self._connection
        if connection is None:
            raise sqlite3.OperationalError("not connected")
        if len(entries) <= _CHUNK:
            self._insert_chunk(connection, entries)
        else:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for start in range(0, len(entries), _CHUNK):
                    self._insert_chunk(connection, entries[start : start + _CHUNK])
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        if _identity(self._path) != self._file:  # SQLite would go on writing to a file that nobody can find any more
            raise sqlite3.OperationalError(f"{self._path} was moved or replaced while it was open")

    @staticmethod
    def _insert_chunk(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        connection.execute(_sqlite_insert(len(entries)), [value for entry in entries for value in _row(entry)])

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


class PostgresStore:
    """A PostgreSQL database. Groups are written over one connection that is kept; reads have a pool of their own."""

    def __init__(self, url: URL, timeout: float) -> None:
        self.engine = create_async_engine(
            url, hide_parameters=True, pool_size=2, max_overflow=2, pool_timeout=timeout, connect_args={"timeout": timeout}
        )
        self._timeout = timeout
        self._connection: AsyncConnection | None = None
        self._driver: Any = None

    async def open(self) -> None:
        await self.close()
        try:
            async with asyncio.timeout(2 * self._timeout):
                async with self.engine.begin() as connection:
                    await connection.run_sync(migrate)
                self._connection = await self.engine.connect()
                self._driver = (await self._connection.get_raw_connection()).driver_connection
                # A server may be set to acknowledge commits that it could still lose; this log may not.
                await self._driver.execute(
                    "SELECT set_config('synchronous_commit', 'on', false) "
                    "WHERE current_setting('synchronous_commit') = 'off'"
                )
                if await self._driver.fetchval("SHOW transaction_read_only") == "on":
                    raise OSError("the server takes no writes: it is a standby or set to read-only")
        except (*ERRORS, SchemaError) as error:
            await self.close()
            raise DownError(reason(error)) from error

    async def insert(self, entries: Sequence[Entry]) -> None:
        if self._driver is None:
            raise DownError("not connected")
        try:
            async with asyncio.timeout(self._timeout):
                await self._driver.executemany(_postgres_insert(), [_row(entry) for entry in entries])
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError) as error:
            raise RefusedError(reason(error)) from error
        except (*ERRORS, TypeError) as error:  # TypeError: what asyncio of Python 3.12 makes of a connection lost in a write
            await self.close()
            raise DownError(reason(error)) from error

    async def shrink(self) -> int:
        """PostgreSQL's autovacuum makes the space free for later rows."""
        return 0

    async def close(self) -> None:
        if self._driver is not None:
            self._driver.terminate()  # a polite goodbye would wait for a server that may not answer
            self._driver = None
        if self._connection is not None:
            with contextlib.suppress(*ERRORS):
                await self._connection.invalidate()
                await self._connection.close()
            self._connection = None
        with contextlib.suppress(*ERRORS):
            async with asyncio.timeout(self._timeout):
                await self.engine.dispose()


@cache
def _sqlite_insert(rows: int) -> str:
    values = [dict.fromkeys(_COLUMNS)] * rows
    return str(sqlite.insert(predictions).values(values).on_conflict_do_nothing().compile(dialect=sqlite.dialect()))


@cache
def _postgres_insert() -> str:
    return str(postgresql.insert(predictions).on_conflict_do_nothing().compile(dialect=_asyncpg_dialect()))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
