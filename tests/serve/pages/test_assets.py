"""Tests of serve/pages/assets.py."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve.pages import assets
from tests.serve.conftest import Serve

SLOW = """
import gzip, os, sys, time
with open({started!r}, "a") as file:
    print(os.getpid(), file=file)
time.sleep({seconds})
sys.stdout.buffer.write(gzip.compress(b"made"))
"""


def slow_bundle(monkeypatch: pytest.MonkeyPatch, folder: Path, delay: float, seconds: float) -> Path:
    """Let the making of the bundle take some time; the file that gets a line, its process, whenever it begins."""
    started = folder / "started"
    started.touch()
    monkeypatch.setattr(assets, "DELAY", delay)
    monkeypatch.setattr(assets, "EMIT", SLOW.format(started=str(started), seconds=seconds))
    return started


def wait_for_line(file: Path) -> int:
    """The process that has begun."""
    deadline = time.monotonic() + 10
    while not file.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(file.read_text())


def test_the_charts_are_made_before_anybody_asks_and_once(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = slow_bundle(monkeypatch, tmp_path, delay=0, seconds=0.5)
    client = serve()
    wait_for_line(started)
    with ThreadPoolExecutor(4) as pool:  # who comes while they are made waits for the same work
        found = list(pool.map(lambda _: client.get("/static/vega.js").content, range(4)))
    assert found == [b"made"] * 4
    assert len(started.read_text().splitlines()) == 1


def test_a_server_is_ready_before_the_charts_are_made_and_answers_who_asks_before(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = slow_bundle(monkeypatch, tmp_path, delay=60, seconds=0)
    client = serve()
    assert client.get("/ready").status_code == 200
    assert started.read_text() == ""
    assert client.get("/static/vega.js").content == b"made"


@pytest.mark.parametrize("delay", [0, 60])
def test_a_stop_does_not_wait_for_the_charts_and_leaves_no_process(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    started = slow_bundle(monkeypatch, tmp_path, delay, seconds=60)
    client = serve()
    process = wait_for_line(started) if delay == 0 else None
    start = time.perf_counter()
    client.__exit__(None, None, None)
    assert time.perf_counter() - start < 20
    if process:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_where_the_charts_cannot_be_made_the_server_starts_and_its_log_says_why(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assets, "DELAY", 0)
    monkeypatch.setattr(assets, "EMIT", "raise SystemExit('no bundle today')")
    client = serve()
    assert client.get("/static/vega.js").status_code == 503
    assert client.get("/toy/predict").status_code == 200
    assert "no bundle today" in capsys.readouterr().err
