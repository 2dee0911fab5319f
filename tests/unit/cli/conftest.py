"""What every test of the command line shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from hub.telemetry import logs


@pytest.fixture(autouse=True)
def unchanged_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command sets up the log of its process, for good: here that is the one of all tests that come
    after. Standard output is the answer's alone, as it is there."""
    monkeypatch.setattr(logs, "setup", lambda _level: None)
    with capture_logs():
        yield
