"""Two nodes on one real PostgreSQL, for the tests of several files. Both are stores of one process here;
`tests/acceptance/test_two_nodes.py` has the real command twice, and kills it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.config.sections import StoreSection
from hub.errors import StoreUnavailable
from hub.message import MessageState
from hub.store.database.postgresql import Node
from hub.store.store import Store
from tests.services import wait_until
from tests.services.postgresql import PostgreSQL, postgresql
from tests.unit.store_kit import (
    accept,
    incoming,
    unbalanced,
)

__all__ = ["a", "b", "comes_back", "node", "postgresql", "refused", "section", "seen_by"]


@pytest.fixture()
def section(postgresql: PostgreSQL) -> Iterator[StoreSection]:
    database = postgresql.add_database(postgresql.template)
    yield postgresql.section(database)
    postgresql.drop_database(database)


@contextmanager
def node(folder: Path, section: StoreSection, **options: Any) -> Iterator[Store]:
    store = Store.open(folder, served=section, **options)
    try:
        store.recover()
        yield store
    finally:
        store.close()


@pytest.fixture()
def a(tmp_path: Path, section: StoreSection) -> Iterator[Store]:
    with node(tmp_path / "a", section) as store:
        yield store
        assert unbalanced(store) == []
        assert store.check() == []


@pytest.fixture()
def b(tmp_path: Path, section: StoreSection, a: Store) -> Iterator[Store]:
    with node(tmp_path / "b", section) as store:
        yield store


def seen_by(watcher: Store, of: Store) -> Node:
    """A node as another one sees it."""
    return next(each for each in watcher.nodes() if each.fencing == of.fencing)


def refused(act: Callable[[], Any]) -> bool:
    """Whether the store says that it cannot now."""
    try:
        act()
    except StoreUnavailable:
        return True
    return False


def comes_back(store: Store) -> None:
    """A canary: accepted, and read again."""
    found: list[str] = []

    def canary() -> bool:
        try:
            found.append(accept(store, incoming(b"canary")).id)
            return store.get_message(found[-1]).state is MessageState.RECEIVED
        except StoreUnavailable:
            return False

    wait_until(canary, "the store to take messages again", 30)
    # what was answered with an error and is there all the same is a duplicate the second time
    assert len(set(found)) == 1
