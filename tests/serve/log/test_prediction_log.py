"""The log as a whole, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from serve.log.prediction_log import PART, PURGE, Entry, Overloaded, PredictionLog, Unavailable
from serve.log.spill import REJECTED, Spill
from serve.log.store import FREED
from tests.serve.conftest import Database
from tests.serve.logs import MISSING, NOW, all_ids, entry, opened


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def test_an_appended_entry_reads_back_as_it_was(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        first = entry(score=0.1 + 0.2, label="punctual", input='{"town":"Zürich \\u0000"}')
        second = entry(request_id=None, latency_us=2**40)
        async with opened(database.url, tmp_path) as log:
            await log.append([first, second])
            assert await log.get(first.id) == first
            assert await log.get(second.id.upper()) == second
            assert await log.get(MISSING) is None
            assert await log.get("no id at all\0") is None
            assert log.stats().state == "healthy"
        async with opened(database.url, tmp_path) as log:
            assert await log.get(first.id) == first

    asyncio.run(scenario())


def test_concurrent_appends_share_commits(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        seen: list[tuple[float, int]] = []
        async with opened(database.url, tmp_path, on_commit=lambda *values: seen.append(values)) as log:
            await asyncio.gather(*[log.append([entry()]) for _ in range(300)])
            stats = log.stats()
            assert (stats.rows, stats.queued) == (300, 0)
            assert stats.commits == len(seen) <= 20
            assert sum(rows for _, rows in seen) == 300
            assert stats.last_commit_seconds > 0
            assert len(set(await all_ids(log))) == 300

    asyncio.run(scenario())


def test_an_append_of_many_rows_is_all_or_nothing(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            await log.append([entry() for _ in range(PART + 50)])
            assert (log.stats().commits, log.stats().last_commit_rows) == (2, 50)
            rows = [entry() for _ in range(3 * PART)]
            rows[PART] = entry(latency_us=2**70)
            with pytest.raises(ValueError, match="refuses"):
                await log.append(rows)
            assert len(await all_ids(log)) == PART + 50

    asyncio.run(scenario())


def test_what_was_spilled_of_an_append_that_failed_is_erased_too(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, parts = Spill.write, list[int]()

    def write_until_the_disk_is_full(spill: Spill, entries: Sequence[Entry]) -> None:
        parts.append(len(entries))
        if len(parts) == 3:
            raise OSError(28, "No space left on device")
        write(spill, entries)

    monkeypatch.setattr(Spill, "write", write_until_the_disk_is_full)

    async def scenario() -> None:
        (tmp_path / "database").touch()
        async with opened(sqlite_url, tmp_path) as log:
            await log.append([entry()])
            with pytest.raises(Unavailable, match="No space left"):
                await log.append([entry() for _ in range(2 * PART)])
            text = b"".join(path.read_bytes() for path in (tmp_path / "spill").iterdir())
            assert text.count(b"\n") == 1
        assert parts == [1, PART, PART]

    asyncio.run(scenario())


def test_single_rows_and_parts_of_large_appends_are_committed_in_turns(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        commits: list[int] = []
        settings = {"max_rows": 2, "on_commit": lambda _, rows: commits.append(rows)}
        async with opened(database.url, tmp_path, **settings) as log:
            async with log._writing:
                waiting = [asyncio.create_task(log.append([entry() for _ in range(3 * PART)]))]
                await asyncio.sleep(0.01)
                waiting += [asyncio.create_task(log.append([entry()])) for _ in range(5)]
                await asyncio.sleep(0.01)
            await asyncio.gather(*waiting)
        assert commits == [PART, 2, PART, 2, PART, 1]

    asyncio.run(scenario())


def test_a_row_that_the_database_refuses_fails_only_its_own_request(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            rows = [entry() for _ in range(9)] + [entry(latency_us=2**70)] + [entry() for _ in range(9)]
            results = await asyncio.gather(*[log.append([row]) for row in rows], return_exceptions=True)
            assert [type(result) for result in results] == [type(None)] * 9 + [ValueError] + [type(None)] * 9
            assert len(await all_ids(log)) == 18
            assert log.stats().state == "healthy"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "changes", [{"score": float("nan")}, {"input": "\0"}, {"request_id": "\0"}, {"time": datetime(2026, 1, 1)}]
)
def test_what_not_every_database_can_hold_is_refused_at_once(
    changes: dict[str, Any], sqlite_url: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            with pytest.raises(ValueError, match=r"needs a finite score|NUL"):
                await log.append([entry(**changes)])

    asyncio.run(scenario())


def test_an_entry_appended_twice_is_kept_once(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            row = entry()
            await log.append([row])
            await log.append([row, entry()])
            await log.append([])
            assert len(await all_ids(log)) == 2

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once_and_takes_rows_again_later(sqlite_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path, max_queue=10) as log:
            results = await asyncio.gather(*[log.append([entry()]) for _ in range(25)], return_exceptions=True)
            assert sum(isinstance(result, Overloaded) for result in results) == 15
            await log.append([entry()])
            assert len(await all_ids(log)) == 11

    asyncio.run(scenario())


def test_a_caller_that_gives_up_disturbs_nobody(sqlite_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            tasks = [asyncio.create_task(log.append([entry()])) for _ in range(10)]
            await asyncio.sleep(0)
            tasks[3].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [result for result in results if result is not None] == [results[3]]
            await log.append([entry()])

    asyncio.run(scenario())


WRITER = """
import asyncio, datetime, sys
from serve.log.prediction_log import Entry, PredictionLog, new_id

async def append(log):
    while True:
        row = Entry(new_id(), datetime.datetime.now(datetime.UTC), "toy_plain", "hash", "rev", "1", "{}", "{}", 21.5)
        await log.append([row])
        sys.stdout.write(row.id + "\\n")
        sys.stdout.flush()

async def main():
    log = PredictionLog(sys.argv[1], spill_path=sys.argv[2])
    await log.start()
    await asyncio.gather(*[append(log) for _ in range(16)])

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("database_is_up", [True, False])
def test_kill_loses_no_acknowledged_entry(database: Database, tmp_path: Path, database_is_up: bool) -> None:
    (tmp_path / "file").touch()
    url = database.url if database_is_up else f"sqlite:///{tmp_path}/file/log.db"
    draw, acknowledged = random.Random(7), set[str]()
    for _ in range(3 if database_is_up else 2):
        command = [sys.executable, "-c", WRITER, url, str(tmp_path / "spill")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged.add(process.stdout.readline().strip())
            time.sleep(draw.uniform(0, 0.2))
            process.kill()
            acknowledged.update(line.strip() for line in process.stdout if line.endswith("\n"))

    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            await until(lambda: log.stats().state == "healthy")
            ids = await all_ids(log)
            assert len(ids) == len(set(ids))
            assert acknowledged <= set(ids)
            assert log.stats().spill_bytes == 0

    assert len(acknowledged) > 20
    asyncio.run(scenario())


@pytest.mark.slow
def test_a_database_that_stops_and_starts_loses_and_repeats_nothing(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        acknowledged: list[str] = []
        running = True

        async def client(log: PredictionLog) -> None:
            while running:
                row = entry()
                await log.append([row])
                acknowledged.append(row.id)
                await asyncio.sleep(0.002)

        async def more() -> None:
            enough = len(acknowledged) + 50
            await until(lambda: len(acknowledged) > enough)

        async with opened(database.url, tmp_path) as log:
            clients = [asyncio.create_task(client(log)) for _ in range(8)]
            for _ in range(2):
                await more()
                await asyncio.to_thread(database.stop)
                await until(lambda: log.stats().state == "degraded")
                await more()
                stats = log.stats()
                assert stats.reason
                assert stats.spill_bytes > 0
                with pytest.raises(Unavailable, match=re.escape(str(stats.reason)[:10])):
                    await log.page("toy_plain")
                await asyncio.to_thread(database.start)
                await until(lambda: log.stats().state == "healthy")
                assert log.stats().spill_bytes == 0
            running = False
            await asyncio.gather(*clients)
            ids = await all_ids(log)
            assert len(ids) == len(set(ids))
            assert set(ids) == set(acknowledged)
            assert not list((tmp_path / "spill").iterdir())

    asyncio.run(scenario())


def test_the_log_starts_and_stops_without_its_database_and_replays_at_the_next_start(
    database: Database, tmp_path: Path
) -> None:
    async def scenario() -> None:
        (tmp_path / "file").touch()
        rows = [entry() for _ in range(1200)]
        async with opened(f"sqlite:///{tmp_path}/file/log.db", tmp_path) as log:
            assert log.stats().state == "degraded"
            await asyncio.gather(*[log.append(rows[start : start + 100]) for start in range(0, 1200, 100)])
            with pytest.raises(Unavailable, match=r"NotADirectoryError|FileExistsError"):
                await log.get(rows[0].id)
        async with opened(database.url, tmp_path) as log:
            await until(lambda: log.stats().state == "healthy")
            assert await all_ids(log) == [row.id for row in reversed(rows)]
            assert await log.get(rows[7].id) == rows[7]

    asyncio.run(scenario())


def test_a_server_that_hangs_is_given_up_after_the_timeout(postgres_url: str, postgres: Any, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")

    async def scenario() -> None:
        async with opened(postgres_url, tmp_path) as log:
            await log.append([entry()])
            main = psutil.Process(postgres.get_pid())
            processes = [main, *main.children()]
            for process in processes:
                os.kill(process.pid, signal.SIGSTOP)
            try:
                start = time.perf_counter()
                await log.append([entry()])
                assert time.perf_counter() - start < 2
                assert "no answer" in str(log.stats().reason)
            finally:
                for process in processes:
                    os.kill(process.pid, signal.SIGCONT)
            await until(lambda: log.stats().state == "healthy")
            assert len(await all_ids(log)) == 2

    asyncio.run(scenario())


def test_a_sqlite_file_that_is_moved_away_is_noticed_before_a_row_is_acknowledged(sqlite_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            await log.append([entry()])
            path = tmp_path / "database" / "log.db"
            path.rename(path.with_suffix(".moved"))
            row = entry()
            await log.append([row])
            await until(lambda: log.stats().state == "healthy")
            assert await all_ids(log) == [row.id]

    asyncio.run(scenario())


def test_the_sqlite_file_is_in_wal_mode(sqlite_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            await log.append([entry()])
            assert (tmp_path / "database" / "log.db-wal").stat().st_size > 0

    asyncio.run(scenario())
    with sqlite3.connect(tmp_path / "database" / "log.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def spilled(tmp_path: Path, rows: list[Entry]) -> Path:
    """The spill file of a process that kept these rows while its database was down, and is gone."""
    spill = Spill(tmp_path / "spill")
    spill.open()
    spill.write(rows)
    spill.close()
    return next((tmp_path / "spill").glob("spill-*.jsonl"))


def test_a_torn_last_line_of_a_spill_file_is_dropped(sqlite_url: str, tmp_path: Path) -> None:
    rows = [entry() for _ in range(3)]
    path = spilled(tmp_path, rows)
    path.write_bytes(path.read_bytes()[:-40])

    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            await until(lambda: log.stats().state == "healthy")
            assert await all_ids(log) == [rows[1].id, rows[0].id]
            assert not list((tmp_path / "spill").iterdir())

    asyncio.run(scenario())


def test_a_spilled_line_that_no_database_takes_is_put_aside(database: Database, tmp_path: Path) -> None:
    rows = [entry(), entry(latency_us=2**63), entry()]
    path = spilled(tmp_path, rows)
    path.write_bytes(b"garbage\n" + path.read_bytes())

    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            await until(lambda: log.stats().state == "healthy")
            assert await all_ids(log) == [rows[2].id, rows[0].id]
            lines = (tmp_path / "spill" / REJECTED).read_bytes().splitlines()
            assert lines[0] == b"garbage"
            assert rows[1].id.encode() in lines[1]
            assert await log.delete(rows[1].id)
            assert (tmp_path / "spill" / REJECTED).read_bytes() == b"garbage\n"

    asyncio.run(scenario())


def test_a_full_disk_is_said_and_leaves_no_half_written_line(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        (tmp_path / "database").touch()
        async with opened(sqlite_url, tmp_path) as log:
            kept = entry()
            await log.append([kept])
            with monkeypatch.context() as patch:

                def full(descriptor: int) -> None:
                    raise OSError(28, "No space left on device")

                patch.setattr("serve.log.spill.os.fsync", full)
                with pytest.raises(Unavailable, match="No space left"):
                    await log.append([entry()])
            last = entry()
            await log.append([last])
            (tmp_path / "database").unlink()
            await until(lambda: log.stats().state == "healthy")
            assert await all_ids(log) == [last.id, kept.id]

    asyncio.run(scenario())


def test_the_first_feedback_is_the_outcome_and_corrections_are_kept(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            row, other = entry(), entry()
            await log.append([row, other])
            assert await log.history(row.id) == []
            assert await log.feedback(MISSING, 1, NOW) is None
            assert await log.feedback("x", 1, NOW) is None
            assert await log.history("x") == []
            with pytest.raises(ValueError, match="time zone"):
                await log.feedback(row.id, 1, datetime(2026, 1, 1))
            with pytest.raises(ValueError, match="finite"):
                await log.feedback(row.id, float("inf"), NOW)
            first = await log.feedback(row.id, 21.75, NOW)
            second = await log.feedback(row.id, "sold", NOW + timedelta(days=1))
            assert first is not None
            assert second is not None
            assert second[:1] == first
            assert [(found.outcome, found.time) for found in second] == [(21.75, NOW), ("sold", NOW + timedelta(days=1))]
            assert await log.history(row.id) == second
            third = await log.feedback(other.id, True, NOW)
            assert await log.histories([other, row, entry()]) == [third, second, []]
            assert await log.histories([]) == []

    asyncio.run(scenario())


def test_erasure_takes_the_feedback_along(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            row, other = entry(), entry()
            await log.append([row, other])
            await log.feedback(row.id, 1, NOW)
            assert await log.delete(row.id)
            assert not await log.delete(row.id)
            assert not await log.delete("x")
            assert await log.get(row.id) is None
            assert await log.history(row.id) == []
            assert await log.get(other.id) == other

    asyncio.run(scenario())


def test_erasure_leaves_no_bytes_in_the_sqlite_files(sqlite_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            row = entry(input='{"secret":"xyzzy-4711"}')
            await log.append([entry(), row, entry()])
            assert any(b"xyzzy" in path.read_bytes() for path in (tmp_path / "database").iterdir())
            await log.delete(row.id)
            assert not any(b"xyzzy" in path.read_bytes() for path in (tmp_path / "database").iterdir())

    asyncio.run(scenario())


def test_erasure_reaches_entries_that_wait_to_be_replayed(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            rows = [entry(request_id=None) for _ in range(4)]
            rows[2] = replace(rows[2], request_id=rows[1].id)  # only mentions the id
            await log.append(rows[:1])
            await asyncio.to_thread(database.stop)
            await log.append(rows[1:3])
            with pytest.raises(Unavailable):
                await log.delete(rows[1].id)
            await log.append(rows[3:])
            text = b"".join(path.read_bytes() for path in (tmp_path / "spill").iterdir())
            assert text.count(b"\n") == 2
            await asyncio.to_thread(database.start)
            await until(lambda: log.stats().state == "healthy")
            assert not await log.delete(rows[1].id)
            assert await all_ids(log) == [rows[3].id, rows[2].id, rows[0].id]

    asyncio.run(scenario())


def test_a_prediction_that_waits_to_be_replayed_is_not_said_to_be_missing(sqlite_url: str, tmp_path: Path) -> None:
    rows = [entry()]
    spilled(tmp_path, rows)

    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            async with log._writing:
                assert log.stats().state == "degraded"
                with pytest.raises(Unavailable, match="replayed"):
                    await log.get(rows[0].id)
            await until(lambda: log.stats().state == "healthy")
            assert await log.get(rows[0].id) == rows[0]

    asyncio.run(scenario())


def test_retention_deletes_what_is_older_and_its_feedback(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            old = [entry(time=NOW - timedelta(days=40)) for _ in range(1100)]
            young = [entry(time=NOW - timedelta(days=10)) for _ in range(20)]
            await log.append(old)
            await log.append(young)
            await log.feedback(old[0].id, 1, NOW)
            await log.feedback(young[0].id, 1, NOW)
            assert await log.purge(NOW - timedelta(days=30)) == 1100
            assert await log.purge(NOW - timedelta(days=30)) == 0
            assert set(await all_ids(log)) == {row.id for row in young}
            assert await log.history(old[0].id) == []
            assert len(await log.history(young[0].id)) == 1

    asyncio.run(scenario())


def test_predictions_are_logged_in_the_pauses_of_a_purge(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            await log.append([entry(time=NOW - timedelta(days=40)) for _ in range(4 * PURGE)])
            change, deleted, seen = log._change, list[int](), set[int]()

            async def counted(work: Any) -> Any:
                deleted.append(await change(work))
                return deleted[-1]

            log._change = counted  # type: ignore[method-assign]
            purge = asyncio.create_task(log.purge(NOW - timedelta(days=30)))
            while not purge.done():
                await log.append([entry()])
                seen.add(sum(deleted))
            assert await purge == 4 * PURGE
            assert deleted == [PURGE] * 4 + [0]
            assert seen & {PURGE, 2 * PURGE, 3 * PURGE}

    asyncio.run(scenario())


def pages(url: str) -> tuple[int, int]:
    """The pages of a SQLite file, and those of them that are free."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///"))) as connection:
        return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))


def test_a_sqlite_file_shrinks_when_its_predictions_are_deleted(sqlite_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            empty, _ = pages(sqlite_url)
            await log.append([entry(time=NOW - timedelta(days=40), input="x" * 2_000) for _ in range(1_000)])
            await log.append([young := entry()])
            assert pages(sqlite_url)[0] > empty + 2 * FREED
            assert await log.purge(NOW - timedelta(days=30)) == 1_000
            assert pages(sqlite_url) == (empty, 0)
            assert await all_ids(log) == [young.id]

    asyncio.run(scenario())


def test_a_sqlite_file_that_was_made_without_it_is_purged_and_keeps_its_size(sqlite_url: str, tmp_path: Path) -> None:
    path = tmp_path / "database" / "log.db"
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (x)")

    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            await log.append([entry(time=NOW - timedelta(days=40)) for _ in range(500)])
            before, _ = pages(sqlite_url)
            assert await log.purge(NOW - timedelta(days=30)) == 500
            count, free = pages(sqlite_url)
            assert count == before
            assert free > 20

    asyncio.run(scenario())


def test_stop_writes_what_waits_and_takes_nothing_more(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        rows = [entry() for _ in range(200)]
        async with opened(database.url, tmp_path, max_rows=10) as log:
            waiting = [asyncio.create_task(log.append([row])) for row in rows]
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        with pytest.raises(Unavailable, match="stopped"):
            await log.append([entry()])
        with pytest.raises(Unavailable, match="stopped"):
            await log.page("toy_plain")
        async with opened(database.url, tmp_path) as log:
            assert len(await all_ids(log)) == 200

    asyncio.run(scenario())


def test_stop_gives_up_after_its_timeout_and_tells_those_who_wait(sqlite_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            async with log._writing:
                waiting = [asyncio.create_task(log.append([entry()])) for _ in range(3)]
                await asyncio.sleep(0.01)
                await log.stop(0.05)
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(result) for result in results] == [Unavailable] * 3

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name"])
def test_a_database_that_the_log_cannot_use_is_refused_with_the_forms_it_takes(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sqlite\\+aiosqlite:///"):
        PredictionLog(url, spill_path=tmp_path)
