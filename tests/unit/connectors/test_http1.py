"""HTTP/1.1 that can be read in one way only."""

from __future__ import annotations

import h11
import pytest

from connectors._http1 import MAX_HEADER_BYTES, Connection


def events(data: bytes, cut: int) -> list[type]:
    """What comes of these bytes, in pieces of `cut`."""
    connection = Connection()
    found: list[type] = []
    for start in range(0, len(data), cut):
        connection.receive_data(data[start:start + cut])
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            found.append(type(event))
    return found


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_what_is_clear_comes_through(cut: int) -> None:
    data = b"POST /in/1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\n\n\n"
    found = events(data, cut)
    assert (found[0], found[-1]) == (h11.Request, h11.EndOfMessage)


@pytest.mark.parametrize("cut", [1, 7, 100_000])
@pytest.mark.parametrize(("data", "status"), [
    (b"POST / HTTP/1.1\nHost: x\r\n\r\n", 400), (b"POST / HTTP/1.1\r\nHost: x\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\n\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (b"POST /" + b"x" * MAX_HEADER_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"POST / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 8_000 + b"\r\n", 431)])
def test_what_is_not_is_refused_however_it_is_cut(data: bytes, status: int, cut: int) -> None:
    with pytest.raises(h11.RemoteProtocolError) as refused:
        events(data, cut)
    assert refused.value.error_status_hint == status
