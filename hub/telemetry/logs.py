"""Log lines: a sentence and its consequence, with ids as fields; never a name, an address, a subject or a
body.

Under systemd they go to journald's native socket, each field by itself, so that ``journalctl
MESSAGE_ID_HUB=…`` works, and once more behind the sentence, for people; elsewhere they are JSON lines on
standard error, or plain text on a terminal.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import socket
import struct
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import structlog

JOURNAL = "/run/systemd/journal/socket"
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def setup(level: str = "INFO") -> None:
    """Send all logging of the process, libraries' included, one way. Libraries speak from `warning` on.

    The hub's own lines do not pass through `logging`, which costs more than all the rest of a line: every
    message has several.
    """
    shared: list[Any] = [structlog.processors.add_log_level, _add_name,
                         structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")]
    renderer: Any
    write: Callable[[str], None]
    if under_journald():
        renderer, journal = journal_fields, Journal()
        handler: logging.Handler = journal
        write = journal.write
    else:
        renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else _json
        handler, write = logging.StreamHandler(), _to_stderr
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, shared[-1],
                           _without_tracebacks],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    structlog.configure(processors=[*shared, renderer], logger_factory=lambda name="hub": _Lines(name, write),
                        wrapper_class=structlog.make_filtering_bound_logger(
                            logging.getLevelNamesMapping()[level]),
                        cache_logger_on_first_use=True)


class _Lines:
    """Where structlog hands over what is rendered: the same place for every level."""

    def __init__(self, name: str, write: Callable[[str], None]) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = write


def _to_stderr(line: str) -> None:
    # a full disk, or nobody reads any more: nothing may fail over its log
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")  # at once: standard error keeps no line back


def _add_name(logger: _Lines, _: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["logger"] = logger.name
    return event


_ENCODE = json.JSONEncoder(ensure_ascii=False, default=str).encode


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return _ENCODE(event)


def under_journald() -> bool:
    """Whether standard error is journald's stream. The variable alone says nothing: whatever a service or a
    desktop's terminal starts inherits it (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return (os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"
            and os.path.exists(JOURNAL))  # noqa: PTH110 - a socket, not a file


def _without_tracebacks(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A library's traceback may quote what a citizen wrote: only the class of the error stays."""
    info = event.pop("exc_info", None)
    record = event.get("_record")
    info = info or (record.exc_info if record is not None else None)
    if isinstance(info, tuple) and info[0] is not None:
        event["error_class"] = info[0].__name__
    if record is not None:
        record.exc_info = record.exc_text = None
    return event


def journal_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """The fields of one entry as JSON, which is what a formatter may hand over. journald has time and level
    of its own."""
    fields = {key: value for key, value in event.items() if value is not None
              and key not in ("event", "level", "at")}
    shown = [f"{key}={value}" for key, value in fields.items() if key != "logger"]
    named = {_field_name(key): value for key, value in fields.items()}
    return json.dumps({
        **named, "MESSAGE": " ".join([str(event.get("event", "")), *shown]),
        "PRIORITY": _PRIORITY.get(str(event.get("level")), 6), "SYSLOG_IDENTIFIER": "drehscheibe",
    }, ensure_ascii=False, default=str)


def _field_name(key: str) -> str:
    """What journald takes for a name; it drops a field with another one. Its own MESSAGE_ID means something
    else than ours."""
    return "MESSAGE_ID_HUB" if key == "message" else re.sub(r"[^A-Z0-9_]", "_",
                                                            key.upper()).lstrip("_0123456789")[:64]


def datagram(fields: Mapping[str, Any]) -> bytes:
    """journald's native protocol: ``KEY=value`` lines, or key, length and bytes where the value has a line's
    end.

    A list is one field several times.
    """
    lines = bytearray()
    for key, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            text = str(value).encode(errors="replace")
            framed = b"\n" + struct.pack("<Q", len(text)) + text if b"\n" in text else b"=" + text
            lines += key.encode() + framed + b"\n"
    return bytes(lines)


class Journal(logging.Handler):
    """Sends to journald's socket; what is too large for a datagram goes as a sealed memory file."""

    def __init__(self, place: str = JOURNAL) -> None:
        super().__init__()
        self._place = place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def emit(self, record: logging.LogRecord) -> None:
        self.write(self.format(record))

    def write(self, fields: str) -> None:
        """Send one entry, its fields as JSON. What journald does not take now is lost: nothing may fail over
        its log."""
        with suppress(OSError):
            self._send(datagram(json.loads(fields)))

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._place)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            with os.fdopen(os.memfd_create("entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb",
                           buffering=0) as file:
                file.write(entry)
                fcntl.fcntl(file, fcntl.F_ADD_SEALS,
                            fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file.fileno()))
                self._socket.sendmsg([], [rights], 0, self._place)  # socket.send_fds() forgets the address

    def close(self) -> None:
        self._socket.close()
        super().close()
