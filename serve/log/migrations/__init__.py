"""The log's tables by version, as Alembic migrations: `versions/` has a module for each.

A server brings the tables to the last version when it starts. A migration must leave them usable to servers of the version
before, which go on writing while they are replaced one by one: add tables, indexes and columns that may be null.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

FOLDER = Path(__file__).parent
TABLE = "log_schema"  # holds the version
FIRST, HEAD = "0001", "0002"  # the version of tables that were made without one, and the last
LOCK = 0x766572697461  # for PostgreSQL: a number that no other application is likely to lock


class SchemaError(Exception):
    """The tables are of a version that this server does not know; the message says what to do."""


def migrate(connection: Connection) -> None:
    """Bring the tables to the last version, or create them, in the transaction of `connection`. Of servers that start at
    once, one does it and the others wait. SchemaError for tables of a newer server, which are left as they are.
    """
    if version_of(connection) == HEAD:
        return
    lock(connection)
    refuse_newer(connection)
    from alembic import command  # here, as it takes a third of a second and is rarely needed
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    if version_of(connection) is None and inspect(connection).has_table("predictions"):
        command.stamp(config, FIRST)
    command.upgrade(config, "head")


def refuse_newer(connection: Connection) -> None:
    """SchemaError for tables of a version that only a newer server knows."""
    if (found := version_of(connection)) and found > HEAD:
        raise SchemaError(
            f"the prediction log's tables are of version {found}, and this server knows them up to {HEAD}: start a server "
            "of the release that made them, or a newer one"
        )


def version_of(connection: Connection) -> str | None:
    """The version of the tables; None where there are none, or they were made before there were versions."""
    if not inspect(connection).has_table(TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {TABLE}"))  # noqa: S608 - the name is a constant
    return found


def lock(connection: Connection) -> None:
    """Keep other servers from migrating until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # Python begins none for statements that define tables
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})
