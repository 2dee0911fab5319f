"""The store's schema, step by step (Alembic). Run by
`hub.store.database.sqlite.migrate`; no ``alembic.ini`` is needed."""
