"""The store's schema, step by step (Alembic). Run by `hub.database.migrate`; no ``alembic.ini`` is needed."""
