"""What Alembic runs: the migrations that are missing, in the transaction of the connection that it is given."""

from __future__ import annotations

from alembic import context

from serve.log.migrations import TABLE
from serve.log.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=TABLE,
    transactional_ddl=True,  # SQLite too, as its transaction is begun before
)
with context.begin_transaction():
    context.run_migrations()
