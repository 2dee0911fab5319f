"""What systemd is told: ready, reloading, stopping, alive (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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
