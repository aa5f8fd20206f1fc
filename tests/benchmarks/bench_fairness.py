"""Measures how kinds of work share the server: single rows beside batches, slow explanations and a purge, and batches
beside slow explanations.

python -m tests.benchmarks.bench_fairness        (models as `dvc repro` makes them)
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import uvloop
from msgspec.structs import astuple

from serve.log.prediction_log import Entry, PredictionLog
from serve.log.tables import first_id, microseconds
from stages.projects._base import load_project
from tests.samples import ROOT
from tests.serve.process import Server

TURNS = 3  # as the machine is faster in one minute than in the next
SECONDS = 8.0
PER_SECOND = 100
POOL = 48  # connections of the single rows: enough to send on time while answers are slow
OLD = 700_000  # rows to purge
ROW = load_project("bankchurn").example_row
BATCH = json.dumps({"rows": [ROW] * 1_000}).encode()
SLOW = "telecom"  # its explanations take several milliseconds

Answer = tuple[int, float]  # status, and seconds from when the request was due


class Load(NamedTuple):
    """Connections that post the same body again and again."""

    project: str
    path: str
    body: bytes
    connections: int


BATCHES_8 = Load("bankchurn", "predict/batch", BATCH, 8)
BATCHES_24 = Load("bankchurn", "predict/batch", BATCH, 24)
EXPLANATIONS = Load(SLOW, "explain", json.dumps(load_project(SLOW).example_row).encode(), 8)
ONE_BATCH = Load("bankchurn", "predict/batch", BATCH, 1)


def request(project: str, path: str, body: bytes) -> bytes:
    """A request as it is sent."""
    head = f"POST /v1/{project}/{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> int:
    """Send a request and read the whole answer; its status."""
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
    return int(head.split(" ", 2)[1])


async def send_on_time(port: int, seconds: float) -> list[Answer]:
    """Single rows at a fixed rate, each timed from when it was due: a slow answer must not spare those after it."""
    pool: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(POOL):
        pool.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    sent, answers = request("bankchurn", "predict", json.dumps(ROW).encode()), list[Answer]()

    async def one(due: float) -> None:
        connection = await pool.get()
        status = await ask(*connection, sent)
        answers.append((status, time.perf_counter() - due))
        pool.put_nowait(connection)

    start = time.perf_counter() + 0.1
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * PER_SECOND)):
            due = start + number / PER_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(due))
    while not pool.empty():
        pool.get_nowait()[1].close()
    return answers


async def send_always(port: int, load: Load, seconds: float) -> list[Answer]:
    """Requests one after another on each connection."""
    sent, answers = request(load.project, load.path, load.body), list[Answer]()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        await asyncio.sleep(random.uniform(0, 0.05))
        while (start := time.perf_counter()) < end:
            status = await ask(reader, writer, sent)
            answers.append((status, time.perf_counter() - start))
            if status == 503:
                await asyncio.sleep(0.1)
        writer.close()

    end = time.perf_counter() + seconds
    await asyncio.gather(*[one() for _ in range(load.connections)])
    return answers


def work(port: int, load: Load | None, seconds: float) -> list[Answer]:
    """One kind of load, single rows if it is None, in the process that this is called in."""
    return uvloop.run(send_on_time(port, seconds) if load is None else send_always(port, load, seconds))


def together(port: int, *loads: Load | None) -> list[list[Answer]]:
    """The answers to loads that run at the same time, each in a process of its own. The first begins last and ends first."""
    with multiprocessing.get_context("spawn").Pool(len(loads)) as pool:
        pool.map(abs, range(len(loads) * 4))  # the processes have started
        others = [pool.apply_async(work, (port, load, SECONDS + 2)) for load in loads[1:]]
        time.sleep(1 if others else 0)
        first = pool.apply(work, (port, loads[0], SECONDS))
        return [first, *[other.get() for other in others]]


class Measured(NamedTuple):
    """Milliseconds, how many answers, and how many of them were refusals."""

    p50: float
    p99: float
    answers: int
    refused: int


def measured(answers: list[Answer]) -> Measured:
    """What is told of answers."""
    times = [seconds * 1e3 for status, seconds in answers if status == 200]
    shares = quantiles(times, n=100)
    return Measured(shares[49], shares[98], len(answers), len(answers) - len(times))


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Server]:
    """A server of all projects with a log of its own, warmed up."""
    with Server(ROOT, folder, **environment) as server:
        work(server.port, None, 0.5)
        yield server


def fill(folder: Path) -> Path:
    """A log with old predictions."""

    async def create() -> None:
        log = PredictionLog(f"sqlite:///{folder}/serve.db", spill_path=folder / "spill")
        await log.start()
        await log.stop()

    asyncio.run(create())
    path, start, draw = folder / "serve.db", datetime.now(UTC) - timedelta(days=60), random.Random(0)
    row, answer = json.dumps(ROW), json.dumps({"prediction": 1, "text": "x" * 350})

    def rows() -> Iterator[tuple[object, ...]]:
        for number in range(OLD):
            moment = start + timedelta(seconds=number)
            found = f"{first_id(moment)}-7{draw.getrandbits(12):03x}-8{draw.getrandbits(12):03x}-{draw.getrandbits(48):012x}"
            entry = Entry(found, moment, "bankchurn", "a" * 64, "b" * 40, "1.0.0", row, answer, 0.2, "stays", 90, "c" * 14)
            yield (entry.id, microseconds(moment), *astuple(entry)[2:])

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        with connection:
            connection.executemany(f"INSERT INTO predictions VALUES ({', '.join('?' * 12)})", rows())
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.sync()  # or it would be done while the rows are timed
    return path


def purging() -> tuple[Measured, Measured, str]:
    """Single rows on a large log, the same beside a purge of it, and how fast that was."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = fill(folder)
        with serving(folder) as server:
            alone = measured(together(server.port, None)[0])
        with serving(folder, SERVE_RETENTION_DAYS="1") as server:
            start, left = time.monotonic(), count(path)
            beside = measured(together(server.port, None)[0])
            rate = (left - count(path)) / (time.monotonic() - start)
        return alone, beside, f"beside: {rate:,.0f} rows/s deleted"


def count(path: Path) -> int:
    """How many old predictions a log holds."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        limit = microseconds(datetime.now(UTC) - timedelta(days=1))
        return int(connection.execute("SELECT count(*) FROM predictions WHERE time < ?", (limit,)).fetchone()[0])


def show(what: str, found: Measured, alone: Measured, note: str = "") -> None:
    """One line of the table."""
    ratio = f"x{found.p50 / alone.p50:5.1f} x{found.p99 / alone.p99:5.1f}"
    refused = f"  {found.refused} of {found.answers} REFUSED" if found.refused else ""
    print(f"{what:44}p50 {found.p50:7.2f} ms  p99 {found.p99:7.2f} ms  {ratio}  {note}{refused}", flush=True)


def main() -> None:
    for turn in range(TURNS):
        print(f"turn {turn + 1}")
        with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
            alone = measured(together(server.port, None)[0])
            show("single rows alone", alone, alone)
            for title, load in (
                ("8 connections of batches", BATCHES_8), ("24 connections of batches", BATCHES_24),
                ("slow explanations", EXPLANATIONS),
            ):  # fmt: skip
                single, other = map(measured, together(server.port, None, load))
                note = f"beside: {other.answers} in {SECONDS + 2:.0f} s, p50 {other.p50:.0f} ms, {other.refused} refused"
                show(f"single rows beside {title}", single, alone, note)
            batch = measured(together(server.port, ONE_BATCH)[0])
            show("batches of 1,000 alone", batch, batch)
            show("batches beside slow explanations", measured(together(server.port, ONE_BATCH, EXPLANATIONS)[0]), batch)
    alone, beside, note = purging()
    show("single rows on a large log", alone, alone)
    show("single rows beside a purge", beside, alone, note)


if __name__ == "__main__":
    main()
