"""What the tests of the server share: trained models, clients of the application, and databases (SQLite files, and a real
PostgreSQL from PyPI's pgserver).
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from serve.app import create_app
from serve.ids import new_id
from tests.serve.browser import browser, chromium, expected, page, site
from tests.serve.checkout import settings

__all__ = ["browser", "chromium", "expected", "page", "site"]  # fixtures

Client = TestClient[Litestar]
Serve = Callable[..., Client]


@pytest.fixture(autouse=True)
def _ids_of_the_present() -> Iterator[None]:
    """Ids go on after the newest of a log: one from the future, in a test about clocks, is not for the tests after it."""
    yield
    if new_id._millisecond > time.time_ns() // 1_000_000:
        new_id._reset()


@pytest.fixture
def root(checkout: Path, tmp_path: Path) -> Path:
    """A copy of the checkout, to be changed."""
    copy = tmp_path / "checkout"
    for part in ("models", "reports"):
        shutil.copytree(checkout / part, copy / part)
    shutil.copy(checkout / "dvc.lock", copy)
    return copy


@pytest.fixture(scope="module")
def client(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server of all toys, with an admin token, that the tests of a module share."""
    chosen = {"admin_token": "letmein-for-tests", "max_guesses": 1_000}  # some tests try wrong ones
    app = create_app(settings(checkout, tmp_path_factory.mktemp("log"), **chosen))
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def serve(checkout: Path, tmp_path: Path) -> Iterator[Serve]:
    """Opens clients of servers with settings of their own; all serve the classifier alone unless told."""
    with contextlib.ExitStack() as stack:

        def open_client(root: Path = checkout, **changes: Any) -> Client:
            chosen = settings(root, tmp_path, **{"projects": ["toy"], "admin_token": "letmein-for-tests", **changes})
            return stack.enter_context(TestClient(create_app(chosen), raise_server_exceptions=False))

        yield open_client


@dataclass
class Database:
    """A database that can be taken away and brought back."""

    url: str
    stop: Callable[[], None]
    start: Callable[[], None]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server on a Unix socket."""
    pgserver = pytest.importorskip(
        "pgserver", reason="no PostgreSQL for the tests: run `.venv/bin/uv pip install pgserver`", exc_type=ImportError
    )
    # Not pytest's own folder: it is closed to the user that the server runs as when the tests run as root.
    memory = Path("/dev/shm")  # a busy disk makes every start ten times slower
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30
    folder = tempfile.mkdtemp(prefix="veritable-postgres-", dir=memory if roomy else None)
    server = pgserver.get_server(folder)
    # The tests crash the server, never the machine. With fsync each restart would first sync every file it has.
    server.psql("ALTER SYSTEM SET fsync = off")
    server.psql("SELECT pg_reload_conf()")
    yield server
    with contextlib.suppress(subprocess.CalledProcessError):
        pgserver.pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet, in a folder that does not either."""
    return f"sqlite+aiosqlite:///{tmp_path}/database/log.db"


@pytest.fixture
def postgres_url(postgres: Any) -> str:
    """An empty database of its own on the PostgreSQL server."""
    postgres.ensure_postgres_running()
    name = f"log_{uuid4().hex}"
    postgres.psql(f"CREATE DATABASE {name}")
    return str(postgres.get_uri(database=name))


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Either database. SQLite is taken away by locking the file, PostgreSQL by stopping it without a goodbye."""
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
        holder = contextlib.ExitStack()

        def lock() -> None:
            connection = sqlite3.connect(
                url.removeprefix("sqlite+aiosqlite:///"), isolation_level=None, check_same_thread=False
            )
            holder.callback(connection.close)
            connection.execute("BEGIN EXCLUSIVE")

        yield Database(url, lock, holder.close)
        holder.close()
    else:
        url, server = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres")
        pgserver = pytest.importorskip("pgserver")

        def stop() -> None:
            pgserver.pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)

        yield Database(url, stop, server.ensure_postgres_running)
        server.ensure_postgres_running()
