"""HTTP/1.1 without what two readers could read in two ways (RFC 9112 §11.2), and with limits for its header.

h11 takes a bare line feed for the end of a line, and lets Transfer-Encoding win over Content-Length. A proxy
in front of the hub may not. Then one of them sees a request where the other sees a body.
"""

from __future__ import annotations

import re
from typing import Any

import h11

MAX_HEADER_BYTES = 32 * 1024
"""Request line and header together."""
MAX_TARGET_BYTES = 8 * 1024

_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_END_OF_HEADER = re.compile(rb"\n\r?\n")


class Connection(h11.Connection):
    """A server's side. Raises `h11.RemoteProtocolError`; its `error_status_hint` is the status to answer."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEADER_BYTES)

    def next_event(self) -> Any:
        """The next event of the peer, like h11's."""
        head = bytes(self.trailing_data[0]) if self.their_state is h11.IDLE else b""
        if head:
            end = _END_OF_HEADER.search(head)
            if _BARE_LINE_FEED.search(head, 0, end.end() if end else len(head)):
                raise h11.RemoteProtocolError("a line ends with a bare line feed", 400)
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431 and b"\n" not in head:
                raise h11.RemoteProtocolError("the target is too long", 414) from error
            raise
        if isinstance(event, h11.Request):
            _check(event)
        return event


def _check(request: h11.Request) -> None:
    if len(request.target) > MAX_TARGET_BYTES:
        raise h11.RemoteProtocolError("the target is too long", 414)
    if sum(len(name) + len(value) + 4 for name, value in request.headers) > MAX_HEADER_BYTES:
        raise h11.RemoteProtocolError("the header is too long", 431)
    names = {name for name, _ in request.headers}
    if {b"transfer-encoding", b"content-length"} <= names:
        raise h11.RemoteProtocolError("Transfer-Encoding beside Content-Length", 400)
