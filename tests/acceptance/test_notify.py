"""What the running command tells a service manager: ready (when it accepts), alive, stopping."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.hub_process import HubProcess
from tests.services import accepts, wait_until


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket at which the hub's notifications arrive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(30)
        yield channel


def next_with(manager: socket.socket, word: str) -> None:
    """Wait for a notification with this word. Others may come before it."""
    while word not in manager.recv(4096).decode().split("\n"):
        pass


def test_ready_comes_when_the_inlets_listen_and_the_end_is_announced(hub: HubProcess,
                                                                     manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "600000"}
    with socket.create_server(("127.0.0.1", hub.https)):
        hub.launch(environment)
        wait_until(lambda: "an inlet ended; it is started again" in hub.log.read_text(),
                   "the inlet to find its port taken")
        with pytest.raises(OSError, match="503"):
            hub.http("/readyz")
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)
        manager.settimeout(30)
    next_with(manager, "READY=1")
    assert accepts(hub.https)
    next_with(manager, "WATCHDOG=1")
    assert hub.stop() == 0
    next_with(manager, "STOPPING=1")
