"""The stored bodies: in their row, as files beside SQLite, or as chunks in PostgreSQL."""
