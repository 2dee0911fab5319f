"""The steps of the store's schema (Alembic). `hub.store.database.sqlite.migrate` runs them."""
