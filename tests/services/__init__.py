"""Real services for tests, from Debian's packages. Each is started on loopback, with data of its own.

When a service is missing, its tests are skipped with the reason. In CI (``CI=true``) they fail.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

SBIN = "/usr/sbin:/sbin:/usr/lib/rabbitmq/bin:/usr/lib/postfix/sbin"


def missing(what: str, remedy: str) -> NoReturn:
    """Skip the test; in CI fail it. The text says what is missing and how to get it."""
    text = f"{what} is missing: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def need(binary: str, package: str) -> str:
    """The path of a program. Without it the test is skipped (in CI it fails)."""
    path = shutil.which(binary, path=f"{os.environ.get('PATH', '')}:{SBIN}")
    if path is None:
        missing(binary, f"apt-get install {package}")
    return path


def need_pango() -> None:
    """Skip the test (in CI fail it) unless the library that prints PDFs is there."""
    try:
        ctypes.CDLL("libpango-1.0.so.0")
        ctypes.CDLL("libpangoft2-1.0.so.0")
    except OSError:
        missing("libpango", "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0")


def standards() -> Path:
    """The folder of real schemas and messages. Without it the test is skipped (in CI it fails)."""
    place = Path(os.environ.get("DREHSCHEIBE_STANDARDS", Path(__file__).parents[3] / "shared" / "standards"))
    if not place.is_dir():
        missing("the folder of standards", "set DREHSCHEIBE_STANDARDS")
    return place


_given: set[int] = set()
_FIRST_PORT, _PORTS, _SHARES = 10_000, 22_000, 8


def free_port() -> int:
    """A port on loopback that was free a moment ago, and that this process has not given before.

    It is below the range from which the kernel takes ports for outgoing connections. Otherwise a connection
    of another test could take the port while a server is restarted. Each process of pytest-xdist has a share
    of its own. Otherwise two of them could be given the same port before either of them uses it.
    """
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    first = _FIRST_PORT + share * (_PORTS // _SHARES)
    while True:
        port = random.randrange(first, first + _PORTS // _SHARES)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for a condition. When it does not come in time, the test fails and names it."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain for: {what}", pytrace=False)
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Whether something listens on this port of loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False
