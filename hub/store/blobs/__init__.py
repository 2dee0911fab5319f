"""Bodies too large for a row: files beside SQLite, chunks in PostgreSQL."""
