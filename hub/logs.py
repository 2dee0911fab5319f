"""Log lines: a sentence and its consequence, with ids as fields; never a name, an address, a subject or a body.

Under systemd they go to journald's native socket, each field by itself, so that ``journalctl MESSAGE_ID_HUB=…`` works;
elsewhere they are JSON lines on standard error, or plain text on a terminal.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

JOURNAL = "/run/systemd/journal/socket"
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def setup(level: str = "INFO") -> None:
    """Send all logging of the process, libraries' included, one way. Libraries speak from `warning` on."""
    shared: list[Any] = [structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name,
                         structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")]
    if os.environ.get("JOURNAL_STREAM") and os.path.exists(JOURNAL):  # noqa: PTH110 - a socket, not a file
        renderer: Any = _journal_fields
        handler: logging.Handler = _Journal()
    else:
        renderer = (structlog.dev.ConsoleRenderer() if sys.stderr.isatty()
                    else structlog.processors.JSONRenderer(ensure_ascii=False))
        handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _without_tracebacks],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("hub").setLevel(level)
    wrap = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
    structlog.configure(processors=[structlog.stdlib.filter_by_level, *shared, wrap],
                        logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,
                        cache_logger_on_first_use=True)


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


def _journal_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    event = dict(event)
    fields = {"MESSAGE": event.pop("event", ""), "PRIORITY": _PRIORITY.get(str(event.get("level")), 6),
              "SYSLOG_IDENTIFIER": "drehscheibe"}
    # MESSAGE_ID means something else to journald, so the hub's own is MESSAGE_ID_HUB
    fields |= {("MESSAGE_ID_HUB" if key == "message" else key.upper().lstrip("_")): value for key, value in event.items()}
    return json.dumps(fields, ensure_ascii=False, default=str)


class _Journal(logging.Handler):
    """journald's native protocol: ``KEY=value`` lines, or key, length and bytes where the value has a line's end."""

    def __init__(self) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def emit(self, record: logging.LogRecord) -> None:
        datagram = b""
        for key, value in json.loads(self.format(record)).items():
            text = str(value).encode()
            framed = b"\n" + struct.pack("<Q", len(text)) + text if b"\n" in text else b"=" + text
            datagram += key.encode() + framed + b"\n"
        try:
            self._socket.sendto(datagram, JOURNAL)
        except OSError:
            self.handleError(record)
