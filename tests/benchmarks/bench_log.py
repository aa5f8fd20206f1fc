"""Prediction log: rows per second and processor time per row, at 1 and 32 concurrent appends.

Run `taskset -c 0 .venv/bin/python -m tests.benchmarks.bench_log [URL]`; the default is a SQLite file in a temporary folder.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime

import uvloop

from serve.log.prediction_log import Entry, PredictionLog, new_id

SECONDS = 4.0


def entry() -> Entry:
    """An entry of the usual size."""
    return Entry(
        new_id(),
        datetime.now(UTC),
        "bankchurn",
        "a" * 64,
        "b" * 40,
        "1.2.0",
        '{"x":1}' * 40,
        '{"y":2}' * 30,
        0.25,
        "stays",
        90,
    )


async def measure(url: str, folder: str, tasks: int) -> None:
    """Append single rows from so many tasks at once, and print what it cost."""
    log = PredictionLog(url, spill_path=f"{folder}/spill")
    await log.start()
    rows = 0

    async def append(until: float) -> None:
        nonlocal rows
        while time.perf_counter() < until:
            await log.append([entry()])
            rows += 1

    await log.append([entry()])
    commits, loop_time, process_time, start = (
        log.stats().commits,
        time.thread_time(),
        time.process_time(),
        time.perf_counter(),
    )
    await asyncio.gather(*[append(start + SECONDS) for _ in range(tasks)])
    seconds, loop_time, process_time = (
        time.perf_counter() - start,
        time.thread_time() - loop_time,
        time.process_time() - process_time,
    )
    stats = log.stats()
    print(
        f"{tasks:3} at once: {rows / seconds:7,.0f} rows/s, {rows / (stats.commits - commits):5.1f} rows a commit, "
        f"us a row: {loop_time / rows * 1e6:6.1f} event loop, {process_time / rows * 1e6:6.1f} whole process, {stats.state}"
    )
    await log.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for tasks in (1, 32):
            uvloop.run(measure(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/log.db", folder, tasks))
