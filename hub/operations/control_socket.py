"""The daemon's Unix socket: while it runs, the command line asks it instead of opening the store a second
time.

One line of JSON each way: ``{"do": "show", "with": {"id": "…"}}`` is answered by ``{"ok": …}`` or ``{"error":
"…"}``. The kernel says who asks (SO_PEERCRED): the daemon's own user and root; their name stands in the
history of what they change.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import socketserver
import struct
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog

from hub.errors import HubError

if TYPE_CHECKING:
    from hub.operations.operator import (
        Operator,  # what it brings along (the store) takes longer than most commands that ask the daemon
    )

log = structlog.get_logger("hub.operations.control_socket")

_LIMIT = 1 << 20
_TIMEOUT = 10.0


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """The socket's address while the folder is held open: the kernel takes 107 bytes and no more, a path may
    be longer."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class ControlServer:
    """Answers on the socket until closed."""

    def __init__(self, path: Path, operator: Operator) -> None:
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)  # the socket is created with its rights, not given them later
        try:
            with _address(path) as address:
                self._server = _Server(address, _Handler)
        finally:
            os.umask(mask)
        self._server.operator = operator
        self._path = path
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.5},
                                        name="control",
                                        daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    operator: Operator


class _Handler(socketserver.StreamRequestHandler):
    timeout = _TIMEOUT

    def handle(self) -> None:
        credentials = self.request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, _ = struct.unpack("3i", credentials)
        try:
            answer = self._answer(uid)
        except (HubError, ValueError, TypeError) as error:
            answer = {"error": str(error)}
        except OSError:
            return
        self.wfile.write(json.dumps(answer, ensure_ascii=False, default=str).encode() + b"\n")

    def _answer(self, uid: int) -> dict[str, Any]:
        if uid not in (0, os.getuid()):
            return {"error": "Nur der Benutzer der Drehscheibe und root dürfen das."}
        request = json.loads(self.rfile.readline(_LIMIT))
        verb, arguments = str(request.get("do")), dict(request.get("with") or {})
        return {"ok": perform(cast("_Server", self.server).operator, verb, arguments, _user(uid))}


def perform(operator: Operator, verb: str, arguments: dict[str, Any], who: str) -> Any:
    """One of the operator's verbs; changes are logged with who did them."""
    if verb in operator.CHANGING:
        if verb != "reload":
            arguments["who"] = who
        log.info("an operator acts", verb=verb, who=who, id=arguments.get("id"))
    elif verb not in operator.READING:
        raise HubError(f"unknown verb {verb!r}")
    return getattr(operator, verb)(**arguments)


def ask(path: Path, verb: str, arguments: dict[str, Any]) -> Any:
    """Ask the running daemon. Raises ConnectionError when none listens, `HubError` with its answer when it
    refuses."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, _address(path) as address:
            connection.settimeout(60)
            connection.connect(address)
            connection.sendall(json.dumps({"do": verb, "with": arguments}).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline() or b'{"error": "the daemon closed the connection"}')
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ConnectionError(f"no daemon listens on {path}") from error
    except PermissionError as error:
        raise PermissionError(error.errno, error.strerror, str(path)) from error
    if "error" in answer:
        raise HubError(answer["error"])
    return answer["ok"]


def new_action() -> str:
    """An id for one action of a person, so that a double click acts once."""
    return uuid.uuid4().hex


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def whoami() -> str:
    """Who runs this command."""
    return _user(os.getuid())
