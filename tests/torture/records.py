"""Reads the hub's store without the hub: SQLite's file, or the PostgreSQL that ``database.json`` names."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import psycopg
from psycopg.rows import dict_row
from pysqlite3 import dbapi2

from tests.torture.world import World


def records(world: World, question: str, *values: Any) -> list[dict[str, Any]]:
    """The rows of a query. ``?`` stands for each value."""
    if world.database.exists():
        with psycopg.connect(**json.loads(world.database.read_text()), row_factory=dict_row) as session:
            return session.execute(question.replace("?", "%s"), values).fetchall()  # type: ignore[arg-type]
    file = world.state / "store.sqlite3"
    with closing(dbapi2.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        connection.row_factory = dbapi2.Row
        return [dict(row) for row in connection.execute(question, values)]
