"""How alembic runs a migration: on the connection that it is handed, inside its transaction."""

from __future__ import annotations

from alembic import context

from supportd.db.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
)
context.run_migrations()
