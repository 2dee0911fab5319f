"""Where a peer's patience with us ends: how long a request and its answer may take, and how much is read.

The HTTP library has time-outs for each single byte that comes. A peer that drips, or that sends interim
answers (100, 102, 103) for ever, never meets them. So an `Allowance` counts over a whole request, below the
library, where the bytes come from the wire:

=======================  =======================================  ==========================================
step                     seconds, from its beginning              bytes on the wire
=======================  =======================================  ==========================================
sending the request      `timeout`, and one for every 4 KiB       -
the head of the answer   `timeout`, from the first read on,       256 KiB
                         interim answers included
the answer's content     `timeout`; for `fetch` its own           8 times what is read of it, and 256 KiB for
                                                                  what chunks cost
=======================  =======================================  ==========================================

An answer packed with gzip or deflate, though we ask for none, is unpacked, and its limit holds for what
comes out: a bomb ends at `max_answer`. Other packings (br, zstd, several at once) are refused.
"""

from __future__ import annotations

import ssl
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2

_SLOWEST = 4096  # bytes a second; a line that takes less for long is as good as none
_HEAD = 262_144  # bytes
_WIRE = 8  # bytes on the wire for one byte of content: chunks of one byte cost six
_SLICE = 65_536  # bytes that are written before the clock is looked at again
_PIECE = 65_536  # bytes that are unpacked at a time


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of an answer with status 200 is read: bytes, and seconds for all of it.

    It travels with a request as the extension ``limit``; what has none keeps the limits of the options.
    """

    size: int
    seconds: float


class Allowance:
    """What the request under way may still take. One request at a time, like the line that it belongs to."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._patience = seconds  # for sending
        self._deadline: float | None = None
        self._bytes = _HEAD
        self._sending = True

    def begin(self, size: int) -> None:
        """A new request, with a body of so many bytes; its time runs from the first byte that is written."""
        self._patience = self._seconds + size / _SLOWEST
        self._deadline, self._bytes, self._sending = None, _HEAD, True

    def answer(self, limit: Limit) -> None:
        """The head of the answer is there; from now on its content is read."""
        self._deadline = time.monotonic() + limit.seconds
        self._bytes = limit.size * _WIRE + _HEAD

    def to_write(self, timeout: float | None) -> float:
        """Seconds for the next piece. Raises `httpcore2.WriteTimeout`."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._patience
        return self._left(timeout, httpcore2.WriteTimeout)

    def to_read(self, timeout: float | None) -> float:
        """Seconds for the next piece. Raises `httpcore2.ReadTimeout`, and `ReadError` after too many
        bytes."""
        if self._sending:
            self._sending, self._deadline = False, time.monotonic() + self._seconds
        if self._bytes < 0:
            raise httpcore2.ReadError("too large")
        return self._left(timeout, httpcore2.ReadTimeout)

    def has_read(self, size: int) -> None:
        """So many bytes came."""
        self._bytes -= size

    def _left(self, timeout: float | None, late: type[httpcore2.TimeoutException]) -> float:
        assert self._deadline is not None  # noqa: S101
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise late("too slow")
        return left if timeout is None else min(left, timeout)


class LimitedBackend(httpcore2.SyncBackend):
    """Connections whose bytes are counted, and whose time runs out."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance

    def connect_tcp(self, host: str, port: int, timeout: float | None = None,
                    local_address: str | None = None,
                    socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None
                    ) -> httpcore2.NetworkStream:
        stream = super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Wire(stream, self._allowance)


class _Wire(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream, allowance: Allowance) -> None:
        self._stream, self._allowance = stream, allowance

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, self._allowance.to_read(timeout))
        self._allowance.has_read(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _SLICE):
            self._stream.write(buffer[start:start + _SLICE], self._allowance.to_write(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str | None = None,
                  timeout: float | None = None) -> httpcore2.NetworkStream:
        return _Wire(self._stream.start_tls(ssl_context, server_hostname, timeout), self._allowance)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class LimitedStream(httpx2.SyncByteStream):
    """An answer's content, unpacked; ends what is too long or takes too long.

    Raises `httpx2.ReadError` with ``too large``, ``packed`` (in a way that is not undone) or ``cut``.
    """

    def __init__(self, stream: httpx2.SyncByteStream, limit: Limit, packing: str) -> None:
        self._stream = stream
        self._limit = limit
        self._packing = packing.strip().lower()

    def __iter__(self) -> Iterator[bytes]:
        left = self._limit.size
        for piece in self._unpacked():
            left -= len(piece)
            if left < 0:
                raise httpx2.ReadError("too large")
            yield piece

    def _unpacked(self) -> Iterator[bytes]:
        if self._packing in ("", "identity"):
            yield from self._stream
        elif self._packing in ("gzip", "x-gzip"):
            yield from _inflated(self._stream, zlib.MAX_WBITS | 16)
        elif self._packing == "deflate":
            yield from _inflated(self._stream, zlib.MAX_WBITS)
        else:
            raise httpx2.ReadError("packed")

    def close(self) -> None:
        self._stream.close()


def _inflated(stream: Iterable[bytes], bits: int) -> Iterator[bytes]:
    """In pieces, so that nobody holds a bomb. Several members of gzip are one content (RFC 1952 §2.2).

    ``deflate`` is zlib's format (RFC 9110 §8.4.1.2); some peers send it without zlib's frame.
    """
    made, begun = zlib.decompressobj(bits), False
    for data in stream:
        rest = data
        while rest:
            if made.eof:
                made = zlib.decompressobj(bits)
            if not begun and bits == zlib.MAX_WBITS and rest[0] & 0x0F != zlib.DEFLATED:
                made = zlib.decompressobj(-bits)
            begun = True
            try:
                piece = made.decompress(rest, _PIECE)
            except zlib.error as error:
                raise httpx2.ReadError("cut") from error
            rest = made.unconsumed_tail or made.unused_data
            if piece:
                yield piece
    if begun and not made.eof:
        raise httpx2.ReadError("cut")
