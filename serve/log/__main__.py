"""What is done to the prediction log from the command line.

python -m serve.log dump PROJECT --hours 24 --output FILE.csv [--database URL]

`dump` writes the predictions of the last hours as a batch for `python -m stages.drift --batch` and `python -m stages.retrain
--batch`: a CSV file with the columns of the project's row, in their order, and the target as it was reported last. An empty
cell is a missing value or an outcome that nobody has reported. It reads while a server writes. Without --database it reads
the log that SERVE_DATABASE_URL names. Exit code 1 where nothing was logged or the log cannot be read.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import math
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine

from serve.log.queries import rows_with_outcomes
from serve.log.store import ERRORS, connect, reason
from serve.settings import WrongSettingsError, read_settings
from stages.projects._base import Project, load_project, project_names

PAGE = 5_000  # predictions in memory at once
TIMEOUT = 10.0  # seconds that the database may take to answer


class DumpError(Exception):
    """The log cannot be dumped: the message says what is wrong and what to do."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do what it says; SystemExit with a sentence where that fails."""
    given = parse(arguments)
    project = load_project(given.project)
    try:
        rows, outcomes = asyncio.run(dump(project, given.hours, given.output, given.database or default_database()))
    except DumpError as error:
        sys.exit(f"{project.name}: {error}")
    made = f"{rows:,} prediction{'' if rows == 1 else 's'} of the last {given.hours:g} hours"
    print(f"{given.output}: {made}, {outcomes:,} with an outcome")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; SystemExit with code 2 for wrong ones."""
    parser = argparse.ArgumentParser(
        prog="python -m serve.log", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command = parser.add_subparsers(dest="command", required=True).add_parser("dump", help="write logged predictions as CSV")
    command.add_argument("project", choices=project_names())
    command.add_argument("--hours", type=float, default=24.0, help="how far to go back (24)")
    command.add_argument("--output", type=Path, required=True, metavar="FILE", help="the CSV file to write")
    command.add_argument("--database", metavar="URL", help="the log, if not the one that SERVE_DATABASE_URL names")
    given = parser.parse_args(arguments)
    if not (math.isfinite(given.hours) and 0 < given.hours < 24 * 366 * 100):
        command.error("--hours: must be more than 0 and less than a century")
    if given.output.suffix.lower() != ".csv":
        command.error(f"--output: {given.output} must end in .csv, by which its readers know what it is")
    return given


def default_database() -> str:
    """The log that the server's own settings name."""
    try:
        return read_settings().database_url
    except WrongSettingsError as error:
        raise DumpError(f"the settings of the server are wrong: {error}") from None


async def dump(project: Project, hours: float, output: Path, database: str) -> tuple[int, int]:
    """Write the file and return how many predictions it holds, and how many of them have an outcome. DumpError leaves a file
    of that name as it was.
    """
    engine = open_log(database)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    fields = tuple(project.row.model_fields)
    rows = outcomes = 0
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*fields, project.target])
            async for page in pages(engine, project.name, hours):
                writer.writerows([*(row.get(field) for field in fields), outcome] for row, outcome in page)
                rows += len(page)
                outcomes += sum(outcome is not None for _, outcome in page)
        if not rows:
            raise DumpError(f"the prediction log holds no prediction of the last {hours:g} hours: nothing was written")
        os.replace(temporary, output)
    except OSError as error:
        raise DumpError(f"{output} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # it may never have been made
            temporary.unlink()
        await engine.dispose()
    return rows, outcomes


def open_log(database: str) -> AsyncEngine:
    """The database of a log; DumpError for an address that can be none, or a SQLite file that does not exist."""
    try:
        engine = connect(database, TIMEOUT, asyncio.to_thread).engine
    except (ValueError, ArgumentError) as error:
        raise DumpError(f"--database: {error}") from None
    if engine.url.get_backend_name() == "sqlite" and not Path(str(engine.url.database)).is_file():
        raise DumpError(
            f"there is no file {engine.url.database}: name the server's log with --database or SERVE_DATABASE_URL"
        )
    return engine


async def pages(engine: AsyncEngine, project: str, hours: float) -> AsyncIterator[list[tuple[dict[str, Any], Any]]]:
    """Inputs and latest outcomes, None where there is none, in the order of the predictions, at most `PAGE` at once.
    DumpError where the database cannot be read.
    """
    now = datetime.now(UTC)
    query = rows_with_outcomes(project, now - timedelta(hours=hours), now).limit(PAGE)
    last = ""
    while True:
        try:
            async with engine.connect() as connection:
                found = (await connection.execute(query.where(query.selected_columns.id > last))).all()
        except ERRORS as error:
            raise DumpError(f"the log cannot be read: {reason(error)}") from error
        if not found:
            return
        last = found[-1].id
        yield [(msgspec.json.decode(row.input), outcome_of(row.outcome)) for row in found]


def outcome_of(text: str | None) -> Any:
    """An outcome as a cell of the file; a class that was logged as true or false is 1 or 0."""
    outcome = None if text is None else msgspec.json.decode(text)
    return int(outcome) if isinstance(outcome, bool) else outcome


if __name__ == "__main__":
    main()
