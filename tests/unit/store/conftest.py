"""Fixtures of several files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.store.store import Store
from tests.unit.store_kit import (
    Clock,
    opened,
    unbalanced,
)


@pytest.fixture()
def clock() -> Clock:
    return Clock()


@pytest.fixture()
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with opened(tmp_path / "store", now=clock) as store:
        yield store
        assert unbalanced(store) == []
        assert store.check() == []
