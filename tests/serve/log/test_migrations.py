"""The tables by version, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, make_url, text

from serve.log.migrations import FOLDER, HEAD, TABLE, migrate, version_of
from serve.log.migrations.versions.v0001_predictions_and_feedback import revision
from serve.log.store import connect
from serve.log.tables import metadata, predictions
from tests.serve.conftest import Database
from tests.serve.logs import entry, opened


def run(url: str, work: Callable[[Connection], Any]) -> Any:
    """What a function does in a transaction."""

    async def scenario() -> Any:
        if (address := make_url(url)).get_backend_name() == "sqlite":
            Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = connect(url, 2.0, asyncio.to_thread).engine
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()

    return asyncio.run(scenario())


def differences(connection: Connection) -> list[Any]:
    """In what the tables are not those that the server's queries are written for."""
    return compare_metadata(MigrationContext.configure(connection, opts={"version_table": TABLE}), metadata)


def test_the_migrations_make_the_tables_that_the_queries_are_written_for(database: Database) -> None:
    run(database.url, migrate)
    assert run(database.url, version_of) == HEAD
    assert run(database.url, differences) == []
    run(database.url, migrate)
    assert run(database.url, version_of) == HEAD


def test_the_last_version_is_that_of_the_last_module() -> None:
    modules = sorted(path.stem for path in (FOLDER / "versions").glob("v*.py"))
    assert modules[-1].startswith(f"v{HEAD}_")
    assert modules[0].startswith(f"v{revision}_")


def test_tables_that_were_made_before_there_were_versions_are_taken_over(database: Database, tmp_path: Path) -> None:
    old = entry()

    async def before() -> None:
        async with opened(database.url, tmp_path) as log:
            await log.append([old])

    async def after() -> None:
        async with opened(database.url, tmp_path) as log:
            assert log.stats().state == "healthy"
            assert await log.get(old.id) == old

    asyncio.run(before())
    for table in (TABLE, "idempotency_keys"):
        run(database.url, partial(Connection.execute, statement=text(f"DROP TABLE {table}")))
    asyncio.run(after())
    assert run(database.url, version_of) == HEAD


def test_servers_that_start_at_once_on_an_empty_database_make_one_set_of_tables(database: Database, tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from serve.log.store import connect\n"
        "async def main():\n"
        "    store = connect(sys.argv[1], 10.0, asyncio.to_thread)\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    await store.open()\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, database.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert run(database.url, differences) == []


def test_tables_of_a_newer_server_are_left_as_they_are(database: Database, tmp_path: Path) -> None:
    run(database.url, migrate)
    newer = f"UPDATE {TABLE} SET version_num = '0999'"
    run(database.url, lambda connection: connection.execute(text(newer)))

    async def scenario() -> None:
        async with opened(database.url, tmp_path) as log:
            await log.append([entry()])
            assert "of version 0999, and this server knows them up to" in str(log.stats().reason)

    asyncio.run(scenario())
    assert run(database.url, version_of) == "0999"
    rows = run(database.url, lambda connection: connection.execute(predictions.select()).all())
    assert rows == [], "they wait in the spill"


@pytest.mark.parametrize("version", ["0999", HEAD])
def test_a_server_says_in_a_sentence_that_it_does_not_know_the_tables(version: str, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'serve.db'}"
    run(url, migrate)
    run(url, lambda connection: connection.execute(text(f"UPDATE {TABLE} SET version_num = '{version}'")))
    check = "import serve.__main__ as main; main.check(); print('starts')"
    environment = {"SERVE_DATABASE_URL": url, "SERVE_SPILL_PATH": str(tmp_path / "spill"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=environment)
    if version == HEAD:
        assert done.stdout == "starts\n", done.stderr
    else:
        assert done.returncode == 1
        assert done.stderr.splitlines()[0] == "The server does not start."
        assert "start a server of the release that made them, or a newer one" in done.stderr
        assert "Traceback" not in done.stderr
