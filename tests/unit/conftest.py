"""Fixtures of several files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.config.sections import StoreSection
from tests.services.postgresql import PostgreSQL, postgresql
from tests.unit import store_kit

__all__ = ["backend", "postgresql"]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The test runs once on each database. A store in the same folder is the same store."""
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        databases: dict[Path, str] = {}

        def served(directory: Path) -> StoreSection:
            if directory not in databases:
                databases[directory] = server.add_database(server.template)
            return server.section(databases[directory])

        monkeypatch.setattr(store_kit, "served", served)
        yield request.param
        for name in databases.values():
            server.drop_database(name)
    else:
        yield request.param
