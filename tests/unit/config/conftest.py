"""What the tests of the configuration share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config import kit


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A small configuration that is in order."""
    return kit.write(tmp_path)
