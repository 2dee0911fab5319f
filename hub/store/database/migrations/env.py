"""Alembic's entry: upgrade the store on the connection, and in the transaction, of whoever asked."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
