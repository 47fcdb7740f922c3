"""What Alembic runs for each migration: the connection is handed over to it."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,  # SQLite undoes a table, too: a cut in the middle leaves nothing
)
with context.begin_transaction():
    context.run_migrations()
