"""What every test of the command line shares."""

from __future__ import annotations

import pytest

from hub.telemetry import logs


@pytest.fixture(autouse=True)
def unchanged_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sets up the log of its process, for good: here that is the one of all tests that come
    after."""
    monkeypatch.setattr(logs, "setup", lambda _level: None)
