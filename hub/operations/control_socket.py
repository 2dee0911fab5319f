"""The daemon's Unix socket: the command line asks it instead of opening the store a second time.

One line of JSON each way. ``{"do": "show", "with": {"id": "…"}}`` is answered by ``{"ok": …}``, or by
``{"error": …}`` with the error's class (`hub.operations.wire`). The kernel says who asks (SO_PEERCRED): the
daemon's own user and root have every right, everybody else has none. Their name stands in the history of what
they change. `hub.operations.verbs` says which right a verb needs.
"""

from __future__ import annotations

import inspect
import json
import os
import pwd
import socket
import socketserver
import struct
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog

from hub.errors import Busy, HubError
from hub.operations import wire
from hub.operations.verbs import EVERY_RIGHT, VERBS, Right, right_of

if TYPE_CHECKING:
    # what it brings along (the store) takes longer than most commands that ask the daemon
    from hub.operations.operator import Operator

log = structlog.get_logger("hub.operations.control_socket")

_LIMIT = 1 << 20
_TIMEOUT = 10.0
PATIENCE = 60.0
"""Seconds that a command waits for the daemon's answer."""


class NotRunning(ConnectionError):
    """No daemon listens on the socket."""


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """The socket's address while its folder is held open.

    The kernel takes an address of 107 bytes and no more, and a path may be longer.
    """
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
                self._server = _Server(address, operator)
        finally:
            os.umask(mask)
        self._path = path
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.5},
                                        name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, address: str, operator: Operator) -> None:
        self.operator = operator
        super().__init__(address, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    timeout = _TIMEOUT

    def handle(self) -> None:
        credentials = self.request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, _ = struct.unpack("3i", credentials)
        try:
            request = self.rfile.readline(_LIMIT)
        except OSError:  # it says nothing, or is gone
            return
        try:
            answer = {"ok": self._answer(uid, request)}
        except (HubError, OSError) as error:
            answer = {"error": wire.described(error)}
        except Exception as error:  # noqa: BLE001 - who asks must hear of it, but not what a citizen wrote
            log.error("an operator's verb failed; please report this", error_class=type(error).__name__)
            answer = {"error": wire.described(HubError(type(error).__name__))}
        with suppress(OSError):  # it did not wait for the answer
            self.wfile.write(json.dumps(answer, ensure_ascii=False, default=str).encode() + b"\n")

    def _answer(self, uid: int, line: bytes) -> Any:
        rights = rights_of(uid)
        if not rights:
            raise HubError("Nur der Benutzer der Drehscheibe und root dürfen das.")
        try:
            request = json.loads(line)
            verb, arguments = str(request["do"]), dict(request["with"])
        except (ValueError, TypeError, LookupError) as error:
            raise HubError("the request is not understood") from error
        return perform(cast("_Server", self.server).operator, verb, arguments, _user(uid), rights)


def rights_of(uid: int) -> frozenset[Right]:
    """What a user of this machine may do here."""
    return EVERY_RIGHT if uid in (0, os.getuid()) else frozenset()


def perform(operator: Operator, verb: str, arguments: dict[str, Any], who: str,
            rights: frozenset[Right]) -> Any:
    """Perform one of the operator's verbs for `who`, who has these rights. A change is logged.

    Raises `HubError` for a verb that is not known or not allowed, and for a wrong argument; and whatever the
    verb raises.
    """
    right = right_of(verb, arguments)
    if right not in rights:
        raise HubError(f"{verb}: {who} may not do this")
    if VERBS[verb].named:
        arguments["who"] = who
    act = getattr(operator, verb)
    try:
        inspect.signature(act).bind(**arguments)
    except TypeError as error:
        raise HubError(f"{verb}: {error}") from error
    if right is Right.CHANGE:
        log.info("an operator acts", verb=arguments["verb"] if verb == "begin" else verb, who=who,
                 id=arguments.get("id"))
    return act(**arguments)


def ask(path: Path, verb: str, arguments: dict[str, Any]) -> Any:
    """Ask the running daemon for one verb.

    Raises `NotRunning` when none listens, `Busy` when it gives no answer, and otherwise the error that the
    daemon raised, as its class.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection, _address(path) as address:
            connection.settimeout(PATIENCE)
            connection.connect(address)
            answer = _exchange(connection, {"do": verb, "with": arguments})
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(f"no daemon listens on {path}") from error
    except PermissionError as error:
        raise PermissionError(error.errno, error.strerror, str(path)) from error
    if "error" in answer:
        raise wire.error_from(answer["error"])
    return answer["ok"]


def _exchange(connection: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
    """Send the request and read the answer. Raises `Busy` when there is none."""
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as file:
            line = file.readline()
    except TimeoutError as error:
        raise Busy(f"the hub gave no answer for {PATIENCE:.0f} seconds: ask again") from error
    except ConnectionError as error:
        raise Busy("the hub ended meanwhile: ask again") from error
    if not line.endswith(b"\n"):
        raise Busy("the hub ended meanwhile: ask again")
    answer: dict[str, Any] = json.loads(line)
    return answer


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
