"""A hub as a process, ended whatever happens; its log is shown when a test fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.hub_process import HubProcess


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """Not started yet, so that a test can change its configuration first."""
    process = HubProcess(tmp_path / "hub")
    yield process
    process.close()
