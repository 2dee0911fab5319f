"""What systemd is told, and when; with a real one it is `tests/integration/test_systemd.py`'s."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.operations import systemd


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What stands for systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


def test_a_state_arrives_as_it_is(listening: socket.socket) -> None:
    systemd.notify("READY=1\nSTATUS=takes applications")
    assert listening.recv(4096) == b"READY=1\nSTATUS=takes applications"


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"drehscheibe-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{name}")
        channel.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.notify("STOPPING=1")
        assert channel.recv(4096) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_nobody_need_listen(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("READY=1")


@pytest.mark.parametrize(("allowed", "seconds"), [("30000000", 10.0), ("3000000", 1.0), ("0", 10.0),
                                                  (None, 10.0)])
def test_the_watchdog_is_fed_three_times_in_what_systemd_allows(monkeypatch: pytest.MonkeyPatch,
                                                                allowed: str | None, seconds: float) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    if allowed is not None:
        monkeypatch.setenv("WATCHDOG_USEC", allowed)
    assert systemd.watchdog_interval() == seconds


def test_the_watchdog_is_fed_during_a_stop_and_not_after_it(listening: socket.socket,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    with systemd.fed():
        assert [listening.recv(64) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    listening.setblocking(False)
    while True:  # what was sent before the end
        try:
            listening.recv(64)
        except BlockingIOError:
            break
    time.sleep(0.1)
    with pytest.raises(BlockingIOError):
        listening.recv(64)


def test_the_status_line_is_told_when_it_changes_and_not_after_the_stop(listening: socket.socket) -> None:
    now = ["takes applications", "takes applications", "takes no applications: the disk\nfills",
           "takes applications", "never told"]
    line = systemd.StatusLine(lambda: now.pop(0))
    for _ in range(4):
        line.say()
    line.stop()
    line.say()
    systemd.notify("STOPPING=1")
    assert [listening.recv(4096).decode() for _ in range(4)] == [
        "STATUS=takes applications", "STATUS=takes no applications: the disk fills",
        "STATUS=takes applications", "STOPPING=1"]
