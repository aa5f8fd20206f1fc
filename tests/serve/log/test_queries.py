"""What the log answers, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from serve.log.prediction_log import Entry, new_id
from serve.log.tables import LAST, first_id, microseconds
from tests.serve.conftest import Database
from tests.serve.logs import MISSING, NOW, entry, opened


def test_pages_follow_one_another_without_gap_or_overlap_while_rows_come_in(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            await log.append([entry(project=("toy_plain", "toy")[n % 2]) for n in range(120)])
            for limit in (1, 7, 50, 200):
                expected = [found.id for found in await log.page("toy_plain", 500)]
                assert expected == sorted(expected, reverse=True)
                assert len(expected) >= 60
                ids: list[str] = []
                while page := await log.page("toy_plain", limit, ids[-1] if ids else None):
                    assert {found.project for found in page} == {"toy_plain"}
                    assert len(page) == min(limit, len(expected) - len(ids))
                    ids += [found.id for found in page]
                    await log.append([entry()])  # belongs before the first page
                assert ids == expected
            with pytest.raises(ValueError, match="not the id"):
                await log.page("toy_plain", 5, "'; --")

    asyncio.run(scenario())


def test_recent_and_counts_see_one_project_only(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            hour = timedelta(hours=1)
            await log.append([entry(label="punctual", time=NOW - 2 * hour, score=0.0), entry(label="punctual", score=0.1)])
            await log.append([entry(label="late", score=0.2), entry(project="toy", label="ultra")])
            assert [found.score for found in await log.recent("toy_plain", 2)] == [0.2, 0.1]
            assert (await log.recent("toy_plain", 1))[0].time == NOW
            assert await log.counts("toy_plain", NOW - hour) == {"punctual": 1, "late": 1}
            assert await log.counts("toy_plain", NOW - 3 * hour) == {"punctual": 2, "late": 1}

    asyncio.run(scenario())


def at(time: datetime, **changes: Any) -> Entry:
    """A prediction with an id of this time."""
    return entry(time=time, id=first_id(time) + new_id()[13:], **changes)


def test_predictions_are_counted_by_the_hour_they_were_made_in(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            noon, hour = NOW.replace(microsecond=0), timedelta(hours=1)
            edges = [noon - hour - timedelta(milliseconds=1), noon - hour, noon - timedelta(milliseconds=1), noon]
            await log.append([at(time) for time in edges] + [at(noon, project="toy")])
            hours = [noon - 3 * hour, noon - 2 * hour, noon - hour, noon, noon + hour]
            assert await log.numbers("toy_plain", hours) == [0, 1, 2, 1]
            assert await log.numbers("toy", hours[2:]) == [0, 1]
            assert await log.numbers("toy_plain' OR 1=1 --", hours) == [0, 0, 0, 0]

    asyncio.run(scenario())


def start_at(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a new process is at the start, with a clock that shows this moment."""
    monkeypatch.setattr("serve.ids.time.time_ns", lambda: microseconds(moment) * 1_000)
    monkeypatch.setattr(new_id, "_millisecond", 0)
    monkeypatch.setattr(new_id, "_counter", 0)


def test_the_rows_after_a_clock_was_set_back_and_a_restart_are_the_newest(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        made = list[Entry]()
        for clock in (NOW, NOW - timedelta(hours=2), NOW - timedelta(hours=1)):
            start_at(clock, monkeypatch)
            async with opened(database.url, tmp_path) as log:
                for score in (1.0, 2.0):
                    made.append(entry(time=clock, score=score))
                    await log.append(made[-1:])
                    assert await log.feedback(made[0].id, len(made), clock)
                assert [found.id for found in await log.page("toy_plain")] == [row.id for row in reversed(made)]
                assert [found.time for found in await log.recent("toy_plain", 2)] == [clock, clock]
                assert [told.outcome for told in await log.history(made[0].id)] == [*range(1, len(made) + 1)]
                assert await log.numbers("toy_plain", [clock - timedelta(hours=5), LAST]) == [len(made)]

    asyncio.run(scenario())


def test_the_rows_after_those_that_were_spilled_by_a_clock_ahead_are_the_newest(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        start_at(NOW, monkeypatch)
        (tmp_path / "database").touch()
        async with opened(sqlite_url, tmp_path) as log:
            await log.append([first := entry()])
        (tmp_path / "database").unlink()
        start_at(NOW - timedelta(hours=2), monkeypatch)
        async with opened(sqlite_url, tmp_path) as log:
            while log.stats().state != "healthy":
                await asyncio.sleep(0.01)
            await log.append([second := entry()])
            assert [found.id for found in await log.page("toy_plain")] == [second.id, first.id]

    asyncio.run(scenario())


def test_latencies_are_those_of_a_share_of_the_predictions_since_then(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            hour = timedelta(hours=1)
            await log.append([at(NOW, latency_us=number) for number in range(4_000)])
            await log.append([at(NOW - 2 * hour), at(NOW, project="toy")])
            found = await log.latencies("toy_plain", NOW - hour)
            assert sorted(latency for _, latency in found) == list(range(4_000))
            assert {time for time, _ in found} == {NOW}
            drawn = await log.latencies("toy_plain", NOW - hour, share=0.25)
            assert 850 < len(drawn) < 1_150  # 1,000, give or take five and a half standard deviations
            assert set(drawn) < set(found)
            assert await log.latencies("toy_plain", NOW - hour, share=0.0) == []

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
            await log.page("toy_plain", 50, MISSING)
            await log.get(MISSING)
            await log.histories([entry(), entry()])
            await log.numbers("toy_plain", [NOW - timedelta(hours=1), NOW, NOW + timedelta(hours=1)])
            await log.latencies("toy_plain", NOW, 0.1)
            await log.recent("toy_plain", 1_000)

    asyncio.run(scenario())
    assert not [plan for plan in plans if plan.startswith(("SCAN predictions", "SCAN feedback")) or "TEMP B-TREE" in plan]
    by_project = [plan for plan in plans if "predictions_of_project (project=?" in plan]
    assert len(by_project) == 4
    assert sum("COVERING" in plan for plan in by_project) == 1
