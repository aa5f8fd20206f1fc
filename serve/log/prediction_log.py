"""The prediction log: every served prediction is in the database, or safe on disk, before its response is sent.

Entries wait in a queue; one writer takes all that wait and commits them together, so that requests which arrive during a
commit share the next one and nobody waits for a timer. Appends of many rows are committed in parts, in turns with the single
rows, which would wait for the whole of each otherwise. While the database is down, groups go to spill files instead
(synced before they are acknowledged); a background task connects again and replays them. Replaying twice does no harm: ids
are unique and an entry that is already there is ignored. So neither `kill -9` nor a database that dies in the middle of a
commit, having done it or not, loses or repeats an acknowledged entry.

Measured by `python -m tests.benchmarks.bench_log` on one core, 700 bytes a row, 32 appends at once, SQLite with
synchronous=FULL: 5-10 us of event-loop time a row (14-26 us in the whole process, writer thread and sync included);
55,000 rows/s where a sync takes 0.25 ms, 7,000 rows/s where it takes 4 ms. PostgreSQL: 14 us, all in the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import Executable, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.ids import new_id
from serve.log import idempotency
from serve.log.idempotency import Claim, Key
from serve.log.queries import LogQueries, canonical, history_of, to_feedback
from serve.log.spill import Spill
from serve.log.store import ERRORS, DownError, RefusedError, connect, reason
from serve.log.tables import Entry, Feedback, Outcome, Recent, feedback, microseconds, predictions
from stages.runtime.wording import count

__all__ = ["Entry", "Feedback", "Outcome", "Overloaded", "PredictionLog", "Recent", "Stats", "Unavailable", "new_id"]

_log = logging.getLogger(__name__)

PART = 50  # rows of an append of many in one commit: a single row waits for at most one of these
REPLAY = 500  # rows of one replay commit: live groups wait for at most one of these
PURGE, REST = 100, 9.0  # rows deleted at once, and how many times as long as that took nothing is deleted
FIRST_RETRY, LAST_RETRY = 0.1, 5.0

Result = TypeVar("Result")


class Overloaded(Exception):  # noqa: N818 - an answer to the caller more than an error
    """More entries wait than the queue may hold; try again shortly."""


class Unavailable(Exception):  # noqa: N818
    """The log cannot do this now; the message is the reason."""


class Stats(Struct, frozen=True):
    """The state of the log. `reason` is set when, and only when, it is degraded; it is not `writable` if predictions can
    neither be logged nor spilled. Totals count from the start.
    """

    state: Literal["healthy", "degraded"]
    reason: str | None
    writable: bool
    queued: int
    rows: int
    commits: int
    last_commit_rows: int
    last_commit_seconds: float
    spill_bytes: int
    spill_free_bytes: int
    rejected_rows: int


class _Waiting(NamedTuple):
    entries: Sequence[Entry]
    done: asyncio.Future[None]


class PredictionLog(LogQueries):
    """See the module. Belongs to one event loop; use between `start` and `stop`."""

    def __init__(
        self,
        url: str,
        *,
        spill_path: Path | str = "serve.spill",
        max_spill: int = 1_000_000_000,
        max_queue: int = 10_000,
        max_rows: int = 1_000,
        timeout: float = 2.0,
        on_commit: Callable[[float, int], None] | None = None,
    ) -> None:
        """`url` is `sqlite+aiosqlite:///file` or `postgresql+asyncpg://...`; `spill_path` a folder on a disk that stays.

        `max_spill` bytes may lie there, `max_queue` rows may wait, `max_rows` share a commit. A database that takes longer
        than `timeout` seconds is down. `on_commit(seconds, rows)` is called for every group that is acknowledged, and must
        be quick.
        """
        self.max_queue = max_queue
        self.max_rows = max_rows
        self.on_commit = on_commit
        self._timeout = timeout
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._store = connect(url, timeout, self._in_thread)
        self._spill = Spill(Path(spill_path), max_spill)
        self._singles: deque[_Waiting] = deque()
        self._parts: deque[_Waiting] = deque()  # of appends of many rows, which wait in a queue of their own
        self._group: list[_Waiting] = []  # what the writer has taken from the queue
        self._part_is_next = False
        self._queued = 0
        self._rows = self._commits = self._last_rows = 0
        self._last_seconds = 0.0
        self._accepts = self._down = False
        self._writable = True  # until no row can be made durable
        self._reason: str | None = "not started"
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect and create what is missing. A database that is down makes the log degraded; OSError without a disk."""
        self._wake, self._degraded = asyncio.Event(), asyncio.Event()
        self._writing = asyncio.Lock()  # one change at a time: no row comes back that was erased while it was replayed
        await self._in_thread(self._spill.open)
        self._reason = None
        try:
            await self._open()
        except DownError as error:
            self._degrade(str(error))
        if self._spill.bytes:
            self._reason = self._reason or "replaying predictions that were spilled while the database was down"
            self._degraded.set()
        self._accepts = True
        self._tasks = [
            asyncio.create_task(self._write(), name="log_writer"),
            asyncio.create_task(self._recover(), name="log_recovery"),
        ]

    async def stop(self, timeout: float = 10.0) -> None:
        """Take no more entries, write those that wait, at most for `timeout` seconds, and let go of everything."""
        self._accepts = False
        if not self._tasks:
            return
        try:
            async with asyncio.timeout(timeout):
                while self._queued:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            _log.error("stopped with %d predictions not written; their requests were not answered", self._queued)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in [*self._group, *self._singles, *self._parts]:
            _fail(waiting, Unavailable("the log was stopped before this was written"))
        self._singles.clear()
        self._parts.clear()
        self._queued, self._tasks, self._reason = 0, [], "stopped"
        with contextlib.suppress(TimeoutError):  # a disk that hangs holds the writer thread
            async with asyncio.timeout(2 * self._timeout):
                await self._store.close()
                await self._in_thread(self._spill.close)
        self._thread.shutdown(wait=False)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Return once all entries are durable. Overloaded, Unavailable or ValueError: none of them is, unless the database
        went away before those written could be erased.
        """
        if not self._accepts:
            raise Unavailable(self._reason or "the log is stopping")
        for entry in entries:
            _check(entry)
        if not entries:
            return
        if self._queued + len(entries) > self.max_queue:
            raise Overloaded(f"waiting to be logged: {count(self._queued, 'prediction')}")
        self._queued += len(entries)
        self._wake.set()
        loop = asyncio.get_running_loop()
        parts = [_Waiting(entries[at : at + PART], loop.create_future()) for at in range(0, len(entries), PART)]
        if len(entries) == 1:
            self._singles += parts
            await parts[0].done
        else:
            self._parts += parts
            await self._all(parts)

    async def _all(self, parts: list[_Waiting]) -> None:
        """Wait for the parts of an append. If one fails, its failure is raised once the others are erased."""
        failures = await asyncio.gather(*[part.done for part in parts], return_exceptions=True)
        failure = next((failure for failure in failures if failure is not None), None)
        if failure is None:
            return
        try:
            for part, failed in zip(parts, failures, strict=True):
                if failed is None:
                    await self._erase([entry.id for entry in part.entries])
        except Unavailable as error:
            _log.error("predictions that were not answered may be in the log: %s", error)
        raise failure

    def stats(self) -> Stats:
        """The state of the log now."""
        return Stats(
            state="degraded" if self._reason else "healthy",
            reason=self._reason,
            writable=self._writable,
            queued=self._queued,
            rows=self._rows,
            commits=self._commits,
            last_commit_rows=self._last_rows,
            last_commit_seconds=self._last_seconds,
            spill_bytes=self._spill.bytes,
            spill_free_bytes=self._spill.free(),
            rejected_rows=self._spill.rejected(),
        )

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What runs while the log is open; one that has ended has failed."""
        return self._tasks

    async def get(self, prediction_id: str) -> Entry | None:
        """One prediction, or None. Unavailable while it may be among those that wait to be replayed."""
        if (key := canonical(prediction_id)) is None:
            return None
        rows = await self._read(select(predictions).where(predictions.c.id == key))
        self._require_replayed(bool(rows))
        return Entry(*rows[0]) if rows else None

    async def feedback(self, prediction_id: str, outcome: Outcome, time: datetime) -> list[Feedback] | None:
        """Record what turned out to be true and return the whole history; None if there is no such prediction.

        ValueError for an outcome that is not finite or a time without a zone.
        """
        if (key := canonical(prediction_id)) is None:
            return None
        microseconds(time)
        if isinstance(outcome, float) and not isfinite(outcome):
            raise ValueError(f"an outcome must be finite, not {outcome}")
        row = {"id": new_id(), "prediction_id": key, "outcome": msgspec.json.encode(outcome).decode(), "time": time}

        async def work(connection: AsyncConnection) -> list[Feedback] | None:
            if (await connection.execute(select(predictions.c.id).where(predictions.c.id == key))).first() is None:
                return None
            await connection.execute(insert(feedback).values(row))
            return to_feedback((await connection.execute(history_of(key))).all())

        async with self._writing:
            found = await self._change(work)
        self._require_replayed(found is not None)
        return found

    async def delete(self, prediction_id: str) -> bool:
        """Erase a prediction and its feedback, also where it waits to be replayed; False if there was none.

        Unavailable if the database may still hold it: ask again then.
        """
        key = canonical(prediction_id)
        return key is not None and await self._erase([key])

    async def _erase(self, keys: list[str]) -> bool:
        """`delete` for several ids; True if there was any."""

        async def work(connection: AsyncConnection) -> int:
            return (await connection.execute(delete(predictions).where(predictions.c.id.in_(keys)))).rowcount

        async with self._writing:
            try:
                spilled = any([await self._in_thread(self._spill.erase, key) for key in keys])
            except OSError as error:
                raise Unavailable(f"the spill files cannot be rewritten: {reason(error)}") from error
            stored = await self._change(work)
            if stored and self._store.engine.dialect.name == "sqlite":
                with contextlib.suppress(Unavailable):  # the row's old bytes are in the -wal file too
                    await self._read(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        return spilled or stored > 0

    async def purge(self, before: datetime) -> int:
        """Delete predictions older than that, and their feedback; how many there were. A few at a time and with pauses, in
        which predictions are logged. The space they took in a SQLite file is given back.
        """
        total = 0
        old = select(predictions.c.id).where(predictions.c.time < before).order_by(predictions.c.time).limit(PURGE)

        async def work(connection: AsyncConnection) -> int:
            return (await connection.execute(delete(predictions).where(predictions.c.id.in_(old)))).rowcount

        async def shrink() -> int:
            try:
                return await self._store.shrink()
            except ERRORS as error:
                raise Unavailable(reason(error)) from error

        while deleted := await self._now_and_then(lambda: self._change(work)):
            total += deleted
        while await self._now_and_then(shrink):
            pass
        return total

    async def _now_and_then(self, work: Callable[[], Awaitable[int]]) -> int:
        """Change the database, and leave it alone for a while."""
        async with self._writing:
            start = time.perf_counter()
            found = await work()
            seconds = time.perf_counter() - start
        await asyncio.sleep(REST * seconds)
        return found

    async def _open(self) -> None:
        """Connect, and go on after the newest id: a clock that was set back must not hide later predictions behind it."""
        await self._store.open()
        try:
            async with asyncio.timeout(2 * self._timeout), self._store.engine.connect() as connection:
                found = [
                    (await connection.execute(select(func.max(table.c.id)))).scalar() for table in (predictions, feedback)
                ]
        except ERRORS as error:
            raise DownError(reason(error)) from error
        for newest in filter(None, found):
            if new_id.go_on_after(newest):
                _log.warning("the log holds %s, an id of a time that is yet to come: was the clock set back?", newest)

    async def claim(self, key: Key, now: datetime) -> Claim:
        """Record that a request with a key has begun, or find the one that had the key before."""
        async with self._writing:
            found: Claim = await self._change(lambda connection: idempotency.claim(connection, key, now))
        return found

    async def take_over(self, key: Key, now: datetime) -> bool:
        """Whether nobody is at work on a request with a key any more; then the caller is."""
        async with self._writing:
            return bool(await self._change(lambda connection: idempotency.take_over(connection, key, now)))

    async def give_up(self, key: Key) -> None:
        """Let a retry of a request with a key, which failed, begin at once."""
        async with self._writing:
            await self._change(lambda connection: idempotency.give_up(connection, key))

    async def forget_keys(self, now: datetime) -> None:
        """Delete the keys of requests that are older than a day."""
        deleted = REPLAY
        while deleted == REPLAY:
            async with self._writing:
                deleted = await self._change(lambda connection: idempotency.forget(connection, now, REPLAY))

    async def outputs(self, ids: Sequence[str]) -> list[bytes] | None:
        """What was answered with these ascending ids, as JSON; None unless all are logged. Unavailable while they may be
        among those that wait to be replayed.
        """
        query, found = select(predictions.c.output).order_by(predictions.c.id), list[bytes]()
        for first in range(0, len(ids), REPLAY):
            part = query.where(predictions.c.id.in_(ids[first : first + REPLAY]))
            found += [output.encode() for (output,) in await self._read(part)]
        self._require_replayed(len(found) == len(ids))
        return found if len(found) == len(ids) else None

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            while self._singles or self._parts:
                self._group = self._take()
                await self._commit(self._group)
                await asyncio.sleep(0)  # lets those who were just answered join the next group
            self._wake.clear()

    def _take(self) -> list[_Waiting]:
        """All single rows that wait, up to `max_rows`, in turns with one part of an append of many."""
        if self._parts and (self._part_is_next or not self._singles):
            self._part_is_next = False
            return [self._parts.popleft()]
        self._part_is_next = True
        return [self._singles.popleft() for _ in range(min(len(self._singles), self.max_rows))]

    async def _commit(self, group: list[_Waiting]) -> None:
        entries = [entry for waiting in group for entry in waiting.entries]
        start = time.perf_counter()
        try:
            async with self._writing:
                await self._keep(entries)
        except RefusedError as error:
            if len(group) > 1:  # one caller's bad row must not fail the others
                for waiting in group:
                    await self._commit([waiting])
                return
            failure: Exception | None = ValueError(f"the database refuses this prediction: {error}")
        except Unavailable as error:
            failure = error
        except Exception as error:
            _log.exception("a group of predictions was not written")
            failure = Unavailable(reason(error))
        else:
            failure = None
            self._last_rows, self._last_seconds = len(entries), time.perf_counter() - start
            self._rows += self._last_rows
            self._commits += 1
            if self.on_commit is not None:
                self.on_commit(self._last_seconds, self._last_rows)
        self._queued -= len(entries)
        for waiting in group:
            if waiting.done.done():  # whoever waited was cancelled
                continue
            if failure is None:
                waiting.done.set_result(None)
            else:
                waiting.done.set_exception(failure)

    async def _keep(self, entries: Sequence[Entry]) -> None:
        """Make entries durable: in the database, or else in a spill file."""
        if not self._down:
            try:
                await self._store.insert(entries)
            except DownError as error:
                self._degrade(str(error))
            else:
                self._writable = True
                return
        try:
            await self._in_thread(self._spill.write, entries)
            self._writable = True
        except OSError as error:
            self._writable = False
            raise Unavailable(f"database: {self._reason}; spill file: {reason(error)}") from error
        except (ValueError, OverflowError) as error:
            raise RefusedError(reason(error)) from error

    def _degrade(self, why: str) -> None:
        if not self._down:
            _log.warning("the prediction log's database is down, predictions go to %s: %s", self._spill.folder, why)
        self._down, self._reason = True, why
        self._degraded.set()

    async def _recover(self) -> None:
        delay = FIRST_RETRY
        while True:
            await self._degraded.wait()
            try:
                if self._down:
                    await self._open()
                    self._down = False
                await self._replay()
                if await self._is_writable():
                    delay = FIRST_RETRY
                    continue
            except DownError as error:
                self._degrade(str(error))
                await self._is_writable()
            except Exception as error:
                _log.exception("spilled predictions cannot be replayed")
                self._reason = f"spilled predictions cannot be replayed: {reason(error)}"
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY)

    async def _is_writable(self) -> bool:
        """Whether rows can be made durable again. No row would show it, as a server that is not ready gets none. A database
        in a file answers on a full disk too.
        """
        if not self._writable:
            try:
                if self._down or self._store.engine.dialect.name == "sqlite":
                    await self._in_thread(self._spill.probe)
                self._writable = True
            except OSError as error:
                self._reason = f"predictions can neither be logged nor spilled: {reason(error)}"
                self._degraded.set()
        return self._writable

    async def _replay(self) -> None:
        """Move what was spilled to the database."""
        total = 0
        while True:
            async with self._writing:
                if self._down:  # a live group met a database that is gone again
                    raise DownError(self._reason)
                entries: list[Entry] = await self._in_thread(self._spill.read, REPLAY)
                if not entries:
                    self._reason = None
                    self._degraded.clear()
                    break
                for key in filter(None, (canonical(entry.id) for entry in entries)):
                    new_id.go_on_after(key)
                try:
                    await self._store.insert(entries)
                except RefusedError:
                    await self._replay_singly(entries)
                await self._in_thread(self._spill.done)
                total += len(entries)
            await asyncio.sleep(0)
        _log.info("the prediction log's database is back, %d spilled predictions were replayed", total)

    async def _replay_singly(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            try:
                await self._store.insert([entry])
            except RefusedError as error:
                await self._in_thread(self._spill.reject, entry, str(error))

    async def _read(self, query: Executable) -> Sequence[Any]:
        async def work(connection: AsyncConnection) -> Sequence[Any]:
            return (await connection.execute(query)).all()

        return await self._change(work)

    async def _change(self, work: Callable[[AsyncConnection], Any]) -> Any:
        """Run statements in a transaction of their own; Unavailable with the reason if the database is down."""
        if self._down or not self._tasks:
            raise Unavailable(self._reason or "not started")
        try:
            async with asyncio.timeout(2 * self._timeout), self._store.engine.begin() as connection:
                return await work(connection)
        except ERRORS as error:
            raise Unavailable(reason(error)) from error

    def _require_replayed(self, found: bool) -> None:
        if not found and self._spill.bytes:
            raise Unavailable("not in the database, but spilled predictions are still being replayed")

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)


def _check(entry: Entry) -> None:
    """Refuse here what one of the databases or the spill file could not hold."""
    if not isfinite(entry.score) or entry.time.tzinfo is None:
        raise ValueError(f"prediction {entry.id}: needs a finite score and a time with its zone")
    if "\0" in entry.input or "\0" in entry.output or "\0" in (entry.label or "") or "\0" in (entry.request_id or ""):
        raise ValueError(f"prediction {entry.id}: a text holds the character NUL, which PostgreSQL cannot store")
