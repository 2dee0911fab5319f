"""The store's tables and statements, and the two databases: SQLite and PostgreSQL."""
