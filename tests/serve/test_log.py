"""Tests of serve/log.py and its parts, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from serve.log import Entry, Overloaded, PredictionLog, Unavailable, new_id
from serve.log_spill import REJECTED, Spill
from serve.log_tables import first_id
from tests.serve.conftest import Database

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
MISSING = "019c0000-0000-7000-8000-000000000000"


def entry(**changes: Any) -> Entry:
    made = Entry(new_id(), NOW, "boston", "hash", "rev", "1.0.0", '{"RM":6.5}', '{"prediction":21.5}', 21.5, None, 80, "req")
    return replace(made, **changes)


@asynccontextmanager
async def opened(url: str, tmp_path: Path, **settings: Any) -> AsyncIterator[PredictionLog]:
    log = PredictionLog(url, spill_path=tmp_path / "spill", **{"timeout": 0.5, **settings})
    await log.start()
    try:
        yield log
    finally:
        await log.stop(5)


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def all_ids(log: PredictionLog, project: str = "boston") -> list[str]:
    """Every id of a project, page by page."""
    ids: list[str] = []
    while page := await log.page(project, 500, ids[-1] if ids else None):
        ids += [found.id for found in page]
    return ids


def test_an_appended_entry_reads_back_as_it_was(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        first = entry(score=0.1 + 0.2, label="stays", input='{"town":"Zürich \\u0000"}')
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


def test_an_append_of_many_rows_is_one_commit_of_all_or_nothing(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path, max_rows=100) as log:
            await log.append([entry() for _ in range(250)])
            assert (log.stats().commits, log.stats().last_commit_rows) == (1, 250)
            with pytest.raises(ValueError, match="refuses"):
                await log.append([*[entry() for _ in range(200)], entry(latency_us=2**70)])
            assert len(await all_ids(log)) == 250

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
from serve.log import Entry, PredictionLog, new_id

async def append(log):
    while True:
        row = Entry(new_id(), datetime.datetime.now(datetime.UTC), "boston", "hash", "rev", "1", "{}", "{}", 21.5)
        await log.append([row])
        sys.stdout.write(row.id + "\\n")
        sys.stdout.flush()

async def main():
    log = PredictionLog(sys.argv[1], spill_path=sys.argv[2])
    await log.start()
    await asyncio.gather(*[append(log) for _ in range(16)])

asyncio.run(main())
"""


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
                    await log.page("boston")
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


def test_a_spill_file_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    first, second = Spill(tmp_path), Spill(tmp_path)
    first.open()
    first.write([entry()])
    second.open()
    assert second.read(10) == []
    assert len(first.read(10)) == 1


def test_a_spill_file_is_read_in_parts_and_gone_at_the_end(tmp_path: Path) -> None:
    spill, rows = Spill(tmp_path), [entry() for _ in range(5)]
    spill.open()
    spill.write(rows[:4])
    assert spill.read(3) == rows[:3]
    assert spill.read(3) == rows[:3]
    spill.done()
    spill.write(rows[4:])
    assert spill.read(3) == rows[3:4]
    spill.done()
    assert spill.read(3) == rows[4:]
    spill.done()
    assert (spill.read(3), spill.bytes, list(tmp_path.iterdir())) == ([], 0, [])


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

                patch.setattr("serve.log_spill.os.fsync", full)
                with pytest.raises(Unavailable, match="No space left"):
                    await log.append([entry()])
            last = entry()
            await log.append([last])
            (tmp_path / "database").unlink()
            await until(lambda: log.stats().state == "healthy")
            assert await all_ids(log) == [last.id, kept.id]

    asyncio.run(scenario())


def test_pages_follow_one_another_without_gap_or_overlap_while_rows_come_in(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            await log.append([entry(project=("boston", "telecom")[n % 2]) for n in range(120)])
            for limit in (1, 7, 50, 200):
                expected = [found.id for found in await log.page("boston", 500)]
                assert expected == sorted(expected, reverse=True)
                assert len(expected) >= 60
                ids: list[str] = []
                while page := await log.page("boston", limit, ids[-1] if ids else None):
                    assert {found.project for found in page} == {"boston"}
                    assert len(page) == min(limit, len(expected) - len(ids))
                    ids += [found.id for found in page]
                    await log.append([entry()])  # belongs before the first page
                assert ids == expected
            with pytest.raises(ValueError, match="not the id"):
                await log.page("boston", 5, "'; --")

    asyncio.run(scenario())


def test_recent_and_counts_see_one_project_only(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            hour = timedelta(hours=1)
            await log.append([entry(label="stays", time=NOW - 2 * hour, score=0.0), entry(label="stays", score=0.1)])
            await log.append([entry(label="leaves", score=0.2), entry(project="telecom", label="ultra")])
            assert [found.score for found in await log.recent("boston", 2)] == [0.2, 0.1]
            assert (await log.recent("boston", 1))[0].time == NOW
            assert await log.counts("boston", NOW - hour) == {"stays": 1, "leaves": 1}
            assert await log.counts("boston", NOW - 3 * hour) == {"stays": 2, "leaves": 1}

    asyncio.run(scenario())


def at(time: datetime, **changes: Any) -> Entry:
    """A prediction with an id of this time."""
    return entry(time=time, id=first_id(time) + new_id()[13:], **changes)


def test_predictions_are_counted_by_the_hour_they_were_made_in(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            noon, hour = NOW.replace(microsecond=0), timedelta(hours=1)
            edges = [noon - hour - timedelta(milliseconds=1), noon - hour, noon - timedelta(milliseconds=1), noon]
            await log.append([at(time) for time in edges] + [at(noon, project="telecom")])
            hours = [noon - 3 * hour, noon - 2 * hour, noon - hour, noon, noon + hour]
            assert await log.numbers("boston", hours) == [0, 1, 2, 1]
            assert await log.numbers("telecom", hours[2:]) == [0, 1]
            assert await log.numbers("boston' OR 1=1 --", hours) == [0, 0, 0, 0]

    asyncio.run(scenario())


def test_latencies_are_those_of_a_share_of_the_predictions_since_then(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            hour = timedelta(hours=1)
            await log.append([at(NOW, latency_us=number) for number in range(4_000)])
            await log.append([at(NOW - 2 * hour), at(NOW, project="telecom")])
            found = await log.latencies("boston", NOW - hour)
            assert sorted(latency for _, latency in found) == list(range(4_000))
            assert {time for time, _ in found} == {NOW}
            drawn = await log.latencies("boston", NOW - hour, share=0.25)
            assert 850 < len(drawn) < 1_150  # 1,000, give or take five and a half standard deviations
            assert set(drawn) < set(found)
            assert await log.latencies("boston", NOW - hour, share=0.0) == []

    asyncio.run(scenario())


def test_what_the_pages_ask_of_the_log_goes_by_its_indexes(sqlite_url: str, tmp_path: Path) -> None:
    plans: list[str] = []

    async def scenario() -> None:
        async with opened(sqlite_url, tmp_path) as log:
            read = log._read

            async def explained(query: Any) -> Any:
                compiled = query.compile(dialect=log._store.engine.dialect, compile_kwargs={"literal_binds": True})
                plans.extend(row[-1] for row in await read(text(f"EXPLAIN QUERY PLAN {compiled}")))
                return await read(query)

            log._read = explained  # type: ignore[method-assign]
            await log.page("boston", 50, MISSING)
            await log.get(MISSING)
            await log.numbers("boston", [NOW - timedelta(hours=1), NOW, NOW + timedelta(hours=1)])
            await log.latencies("boston", NOW, 0.1)
            await log.recent("boston", 1_000)

    asyncio.run(scenario())
    assert not [plan for plan in plans if plan.startswith("SCAN predictions") or "TEMP B-TREE" in plan]
    by_project = [plan for plan in plans if "predictions_of_project (project=?" in plan]
    assert len(by_project) == 4
    assert sum("COVERING" in plan for plan in by_project) == 1


def test_the_first_feedback_is_the_outcome_and_corrections_are_kept(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            row = entry()
            await log.append([row])
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
            await log.page("boston")
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


def test_ids_are_version_7_and_strictly_increase(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_id() for _ in range(50_000)]
    after = time.time_ns() // 1_000_000
    assert ids == sorted(set(ids))
    form = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(form.fullmatch(made) for made in ids)
    times = [int(made.replace("-", "")[:12], 16) for made in ids]
    assert before <= times[0] <= times[-1] <= after
    monkeypatch.setattr("serve.log_tables.time.time_ns", lambda: (after - 5_000) * 1_000_000)
    assert new_id() > ids[-1]  # the clock was set back


def test_the_counter_of_an_id_overflows_into_the_next_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    last = new_id()
    monkeypatch.setattr(new_id, "_counter", 2**42 - 2)
    ids = [last, new_id(), new_id(), new_id()]
    assert ids == sorted(set(ids))


def test_a_forked_process_makes_ids_of_its_own() -> None:
    new_id()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, new_id()[-12:].encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 12).decode() != new_id()[-12:]
    os.close(reading)
    os.close(writing)


def test_leftovers_of_an_erasure_that_was_cut_off_are_removed(tmp_path: Path) -> None:
    (tmp_path / "spill-1.tmp").write_bytes(b"half")
    Spill(tmp_path).open()
    assert not list(tmp_path.iterdir())
