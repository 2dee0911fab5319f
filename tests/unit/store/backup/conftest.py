"""Fixtures of several files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.store.store import Store
from tests.unit.store_kit import (
    opened,
)


@pytest.fixture()
def store(tmp_path: Path) -> Iterator[Store]:
    """Bodies over 1000 bytes are files."""
    with opened(tmp_path / "store", inline=1000) as store:
        yield store
