"""What systemd is told: ready, reloading, stopping, alive (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RUNS = Path("/run/systemd/system")
"""Is there while systemd is the machine's service manager (sd_booted(3))."""
UNITS = (Path("/etc/systemd/system/drehscheibe.service"), Path("/usr/lib/systemd/system/drehscheibe.service"))
"""Where the hub's unit is installed (systemd.unit(5))."""


def runs_the_hub() -> bool:
    """Whether systemd runs the hub of this machine: then nobody starts it by hand."""
    return RUNS.is_dir() and any(unit.exists() for unit in UNITS)


def watchdog_interval() -> float:
    """Seconds between two looks: a third of what systemd allows."""
    return int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 / 3 or 10.0


@contextmanager
def fed() -> Iterator[None]:
    """Feed the watchdog meanwhile: during a stop, which only TimeoutStopSec shall bound, and a reload."""
    done = threading.Event()

    def feed() -> None:
        while not done.wait(watchdog_interval()):
            notify("WATCHDOG=1")

    thread = threading.Thread(target=feed, name="stop-feeds-watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing happens where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # systemd itself may be starting anew
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, suppress(OSError):
        channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


class StatusLine:
    """What `systemctl status` shows, told whenever it has changed. `status` makes the line."""

    def __init__(self, status: Callable[[], str]) -> None:
        self._status = status
        self._told: str | None = None
        self._lock = threading.Lock()
        self._over = False

    def say(self) -> None:
        """Tell systemd, if it is another line than the last one."""
        with self._lock:
            if self._over or (line := " ".join(self._status().split())) == self._told:
                return
            self._told = line
            notify(f"STATUS={line}")

    def stop(self) -> None:
        """Say nothing any more: the stop has words of its own."""
        with self._lock:
            self._over = True
