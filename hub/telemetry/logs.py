"""How log lines are written. A line is a sentence with its consequence, and ids as fields.

No line holds the name, the address, the subject or the body of anything that a citizen sent.

Under systemd the lines go to journald's native socket. Each field is a field of the journal, so that
``journalctl MESSAGE_ID_HUB=…`` works. The fields also follow the sentence, for people. Elsewhere the lines
are JSON on standard error, or plain text on a terminal. A line that cannot be written is lost: nothing fails
because of its log.

Used by the commands and the demo, which call `setup` once.
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
_ENCODE = json.JSONEncoder(ensure_ascii=False, default=str).encode


def setup(level: str = "INFO") -> None:
    """Set up the logging of the process, its libraries included. Libraries log from `warning` on.

    The hub's own lines do not pass through `logging`, which would cost more than the rest of a line. Every
    message causes several lines.
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
    """The logger below structlog: it writes every level to the same place."""

    def __init__(self, name: str, write: Callable[[str], None]) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = write


def _to_stderr(line: str) -> None:
    with suppress(OSError, ValueError):  # the disk is full, or nobody reads any more
        sys.stderr.write(f"{line}\n")  # standard error is not buffered


def _add_name(logger: _Lines, _: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["logger"] = logger.name
    return event


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return _ENCODE(event)


def under_journald() -> bool:
    """Whether standard error is journald's stream.

    The variable alone proves nothing, because every child of a service or of a terminal inherits it
    (systemd.exec(5), JOURNAL_STREAM).
    """
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return (os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"
            and os.path.exists(JOURNAL))  # noqa: PTH110 - a socket, not a file


def _without_tracebacks(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep only the class of an error: the traceback of a library may quote what a citizen wrote."""
    info = event.pop("exc_info", None)
    record = event.get("_record")
    info = info or (record.exc_info if record is not None else None)
    if isinstance(info, tuple) and info[0] is not None:
        event["error_class"] = info[0].__name__
    if record is not None:
        record.exc_info = record.exc_text = None
    return event


def journal_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """The fields of one entry as JSON, because a formatter must return text.

    Time and level are left out: journald has fields of its own for them.
    """
    fields = {key: value for key, value in event.items() if value is not None
              and key not in ("event", "level", "at")}
    shown = [f"{key}={value}" for key, value in fields.items() if key != "logger"]
    named = {_field_name(key): value for key, value in fields.items()}
    return json.dumps({
        **named, "MESSAGE": " ".join([str(event.get("event", "")), *shown]),
        "PRIORITY": _PRIORITY.get(str(event.get("level")), 6), "SYSLOG_IDENTIFIER": "drehscheibe",
    }, ensure_ascii=False, default=str)


def _field_name(key: str) -> str:
    """The name of a field in the journal. journald drops a field whose name it does not allow.

    The id of a message becomes MESSAGE_ID_HUB, because MESSAGE_ID has another meaning in journald.
    """
    return ("MESSAGE_ID_HUB" if key == "message"
            else re.sub(r"[^A-Z0-9_]", "_", key.upper()).lstrip("_0123456789")[:64])


def datagram(fields: Mapping[str, Any]) -> bytes:
    """An entry in journald's native protocol (systemd, JOURNAL_NATIVE_PROTOCOL).

    A field is a line ``KEY=value``. A value with a line break is written as key, length and bytes. A list
    becomes one field for each of its values.
    """
    lines = bytearray()
    for key, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            text = str(value).encode(errors="replace")
            framed = b"\n" + struct.pack("<Q", len(text)) + text if b"\n" in text else b"=" + text
            lines += key.encode() + framed + b"\n"
    return bytes(lines)


class Journal(logging.Handler):
    """Sends entries to journald's socket. An entry too large for a datagram goes as a sealed memfd."""

    def __init__(self, place: str = JOURNAL) -> None:
        super().__init__()
        self._place = place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def emit(self, record: logging.LogRecord) -> None:
        self.write(self.format(record))

    def write(self, fields: str) -> None:
        """Send one entry, given as its fields in JSON. An entry that journald does not take is lost."""
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
                self._socket.sendmsg([], [rights], 0, self._place)  # socket.send_fds() ignores the address

    def close(self) -> None:
        self._socket.close()
        super().close()
