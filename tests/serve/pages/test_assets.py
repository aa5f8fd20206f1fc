"""Tests of serve/pages/assets.py."""

from __future__ import annotations

import gzip
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve.api.static_files import StaticFiles
from serve.pages import assets
from tests.serve.conftest import Client, Serve
from tests.serve.pages.test_pages import page

pytestmark = pytest.mark.usefixtures("nothing_made_before")
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_GOOD = "public, max-age=31536000, immutable"
SLOW = """
import gzip, os, sys, time
with open({started!r}, "a") as file:
    print(os.getpid(), file=file)
time.sleep({seconds})
sys.stdout.buffer.write(gzip.compress(b"made"))
"""


@pytest.fixture
def nothing_made_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file that `make` left."""
    monkeypatch.setattr(assets, "MADE", tmp_path / "vega.js.gz")


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
        found = list(pool.map(lambda _: client.get("/static/0/vega.js").content, range(4)))
    assert found == [b"made"] * 4
    assert len(started.read_text().splitlines()) == 1


def test_a_server_is_ready_before_the_charts_are_made_and_answers_who_asks_before(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = slow_bundle(monkeypatch, tmp_path, delay=60, seconds=0)
    client = serve()
    assert client.get("/ready").status_code == 200
    assert started.read_text() == ""
    assert client.get("/static/0/vega.js").content == b"made"


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


def test_what_was_made_before_is_sent_and_names_the_version(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    before = assets.bundle_version()
    monkeypatch.setattr(assets, "EMIT", "raise SystemExit('vl_convert is not here')")
    assets.MADE.write_bytes(gzip.compress(b"made before"))
    assert serve().get("/static/0/vega.js").content == b"made before"
    assert assets.bundle_version() != before


def test_where_the_charts_cannot_be_made_the_server_starts_and_its_log_says_why(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assets, "DELAY", 0)
    monkeypatch.setattr(assets, "EMIT", "raise SystemExit('no bundle today')")
    client = serve()
    assert client.get("/static/0/vega.js").status_code == 503
    assert client.get("/toy/predict").status_code == 200
    assert "no bundle today" in capsys.readouterr().err


@pytest.mark.slow
def test_the_charts_come_from_this_server_and_after_a_failure_are_made_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = serve().get("/static/0/vega.js")
    assert response.headers["content-type"].startswith("text/javascript")
    assert b"window.vegaEmbed" in response.content
    monkeypatch.setattr(assets, "EMIT", "raise SystemExit('no bundle today')")
    client = serve()
    failed = client.get("/static/0/vega.js")
    assert failed.status_code == 503
    assert "JavaScript" in failed.json()["detail"]
    monkeypatch.setattr(assets, "EMIT", "import gzip, sys; sys.stdout.buffer.write(gzip.compress(b'later'))")
    assert client.get("/static/0/vega.js").content == b"later"
    monkeypatch.undo()
    assert client.get("/static/0/vega.js").content == b"later"  # made once


def test_static_files_are_sent_once_and_stored_for_good(client: Client) -> None:
    address = client.app.state.site.assets.address
    for file in assets.STATIC.iterdir():
        response = client.get(f"{address}/{file.name}")
        assert response.content == file.read_bytes()
        assert response.headers["content-encoding"] == "gzip"
        assert response.headers["content-type"].startswith(KINDS[file.suffix])
        assert response.headers.get_list("cache-control") == [FOR_GOOD]
        assert response.headers.get_list("vary") == ["Accept-Encoding"]
        plain = client.get(f"{address}/{file.name}", headers={"Accept-Encoding": "gzip;q=0"})
        assert "content-encoding" not in plain.headers
        assert plain.content == file.read_bytes()
        assert plain.headers.get_list("vary") == ["Accept-Encoding"]
        assert client.head(f"{address}/{file.name}").headers["content-length"] == response.headers["content-length"]


def test_pages_and_scripts_name_files_by_their_hash(client: Client) -> None:
    address = client.app.state.site.assets.address
    found = page(client, "/toy/predict")
    named = [entry["src"] for entry in found.all("script") if "src" in entry]
    named += [entry["href"] for entry in found.all("link")] + [entry["src"] for entry in found.all("img")]
    assert len(named) == 6
    assert all(str(name).startswith(f"{address}/") for name in named)
    for file in assets.STATIC.glob("*.js"):
        imported = re.findall(r'(?:^import .* from |import\()"([^"]+)"', file.read_text(), re.MULTILINE)
        assert all(name.startswith("./") for name in imported), file
        for name in imported:
            assert name == "./vega.js" or client.get(f"{address}/{name}").status_code == 200


def test_an_address_of_another_version_gets_the_file_of_this_one_and_nobody_stores_it(client: Client) -> None:
    response = client.get("/static/0123456789abcdef/style.css")
    assert response.content == (assets.STATIC / "style.css").read_bytes()
    assert response.headers.get_list("cache-control") == ["no-store"]


def test_the_version_changes_with_every_file_and_what_is_sent_beside_them() -> None:
    versions = {
        StaticFiles(contents, others).version
        for contents, others in (
            ({"a.js": b"1"}, ""), ({"a.js": b"2"}, ""), ({"b.js": b"1"}, ""), ({"a.js": b"1", "b.js": b"1"}, ""),
            ({"a.js": b"1"}, "1"),
        )
    }  # fmt: skip
    assert len(versions) == 5
    same = [
        StaticFiles(dict(pairs)).version for pairs in ([("a.js", b"1"), ("b.js", b"2")], [("b.js", b"2"), ("a.js", b"1")])
    ]
    assert same[0] == same[1]


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fassets.py", "%2e%2e%2f%2e%2e%2fapp.py", "../style.css"])
def test_nothing_but_static_files_is_sent_as_such(client: Client, name: str) -> None:
    assert client.get(f"{client.app.state.site.assets.address}/{name}").status_code == 404
