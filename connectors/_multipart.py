"""Multipart (RFC 2046) taken apart while it streams, under limits.

Why not by a library: python-multipart knows the stricter RFC 7578 alone (no folded headers, no blanks after
the first boundary), multipart wants form fields, and the standard library's parser keeps all of it in memory.
So only the borders are looked for here. Headers are read by `email.message`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value
from enum import Enum, auto
from typing import Any, Protocol

from python_multipart.decoders import QuotedPrintableDecoder
from python_multipart.exceptions import DecodeError

from connectors._framing import (
    Body,
    FramingError,
    OverLimitError,
    Spool,
    clean,
    decoded,
    file_name,
    labelled,
    media_type,
    parameter,
    plain_blanks,
)
from hub.message import IncomingPart

CHUNK = 256 * 1024
MAX_PREAMBLE = 16 * 1024
MAX_HEADER = 8 * 1024
MAX_HEADERS = 50
MAX_PADDING = 256
MAX_DEPTH = 4
"""Multiparts within multiparts."""


class Multipart:
    """Takes ``multipart/form-data``, ``multipart/mixed`` and so on apart: `feed` bytes, then `finish`.

    The name of a part is its form field, else its Content-ID, else the name of the multipart it is in, else
    ``part-<n>``. Multiparts within are taken apart as well, each file by itself. Transfer encodings base64
    and quoted-printable are undone. Raises `FramingError`, `OverLimitError`, and `OSError` for the spool.
    """

    def __init__(self, content_type: str, spool: Spool, max_parts: int = 200) -> None:
        self._spool = spool
        self._parts: list[IncomingPart] = []
        self._open: list[Body] = []
        self._max_parts = max_parts
        self._splitter = Splitter(boundary_of(content_type), lambda header: self._part(header, None, 1))

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        self._splitter.write(data)

    def finish(self) -> tuple[IncomingPart, ...]:
        """All parts. Raises `FramingError` when the closing boundary never came or there is no part."""
        self._splitter.end()
        if not self._parts:
            raise FramingError("the multipart body has no part")
        return tuple(self._parts)

    def discard(self) -> None:
        """Forget everything that was spooled."""
        for body in self._open:
            body.discard()
        self._open.clear()
        self._spool.release(self._parts)

    def _part(self, header: Message, inherited: str | None, depth: int) -> Sink:
        """Where a part's bytes go."""
        name = (clean(_parameter(header, "content-disposition", "name"))
                or clean(str(header.get("content-id", "")).strip(" <>")) or inherited)
        content_type = str(header.get("content-type", ""))
        filename = file_name(_parameter(header, "content-disposition", "filename")
                             or _parameter(header, "content-type", "name"))
        if media_type(content_type).startswith("multipart/") and (
                filename is None or parameter(content_type, "boundary")):
            if depth >= MAX_DEPTH:
                raise OverLimitError(f"multiparts within multiparts, deeper than {MAX_DEPTH}")
            inner: Sink = Splitter(boundary_of(content_type),
                                   lambda found: self._part(found, name, depth + 1))
        else:
            inner = self._file(header, name, filename)
        return _undone(inner, str(header.get("content-transfer-encoding", "")))

    def _file(self, header: Message, name: str | None, filename: str | None) -> Sink:
        if len(self._parts) >= self._max_parts:
            raise OverLimitError(f"more than {self._max_parts} parts")
        body = Body(self._spool)
        self._open.append(body)

        def end() -> None:
            kind = labelled(str(header.get("content-type", "")), "text/plain")
            self._parts.append(body.part(name or f"part-{len(self._parts) + 1}", kind, filename))
            self._open.remove(body)

        return _File(body.write, end)


class Sink(Protocol):
    """Takes bytes until their end."""

    def write(self, data: bytes, /) -> int:
        """The next bytes."""

    def end(self) -> None:
        """There are no more."""


class _File:
    """A body that arrives, and what to do at its end."""

    def __init__(self, write: Callable[[bytes], int], end: Callable[[], None]) -> None:
        self.write = write
        self.end = end


class _State(Enum):
    PREAMBLE = auto()
    BORDER = auto()
    """After a delimiter: another part follows, or the end."""
    HEADER = auto()
    BODY = auto()
    EPILOGUE = auto()


class Splitter:
    """Finds the borders of one multipart. `begin` gets a part's header, and gives what takes its bytes."""

    def __init__(self, boundary: bytes, begin: Callable[[Message], Sink]) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._begin = begin
        self._buffer = bytearray(b"\r\n")  # so that a delimiter at the very start is one like all others
        self._state = _State.PREAMBLE
        self._skip = 0
        self._sink: Sink | None = None
        self._steps = {
            _State.PREAMBLE: self._preamble, _State.BORDER: self._border, _State.HEADER: self._header,
            _State.BODY: self._body, _State.EPILOGUE: self._epilogue}

    def write(self, data: bytes) -> int:
        """The next bytes."""
        for start in range(0, len(data), CHUNK):
            self._buffer += data[start:start + CHUNK]
            while self._steps[self._state]():
                pass
        return len(data)

    def end(self) -> None:
        """Raises `FramingError` when the closing boundary never came."""
        if self._state is not _State.EPILOGUE:
            raise FramingError("the multipart body ends before its closing boundary")

    # Each step takes what it can from the buffer, and says whether the next one can go on.

    def _preamble(self) -> bool:
        start = self._buffer.find(self._delimiter)
        if start < 0:
            if len(self._buffer) > MAX_PREAMBLE:
                raise FramingError("the multipart body does not begin with its boundary")
            return False
        del self._buffer[:start + len(self._delimiter)]
        self._state = _State.BORDER
        return True

    def _border(self) -> bool:
        """Blanks after a boundary are padding (RFC 2046 §5.1.1)."""
        if self._buffer.startswith(b"--"):
            self._close()
            self._state = _State.EPILOGUE
            return True
        line = bytes(self._buffer[:MAX_PADDING + 3])
        padding = len(line) - len(line.lstrip(b" \t"))
        if padding > MAX_PADDING:
            raise FramingError("a boundary is followed by too many blanks")
        after = line[padding:padding + 2]
        if after == b"\r\n":
            self._close()
            del self._buffer[:padding]  # the line break may be that of an empty line, too
            self._state = _State.HEADER
            return True
        if b"\r\n".startswith(after) or line == b"-":
            return False
        if self._sink is None:
            self._state = _State.PREAMBLE
        else:  # a line that only begins like a boundary
            self._sink.write(self._delimiter[self._skip:])
            self._skip = 0
            self._state = _State.BODY
        return True

    def _header(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if max(end, len(self._buffer) if end < 0 else 0) > MAX_HEADER:
            raise FramingError("a part's header is too long")
        if end < 0:
            return False
        block = bytes(self._buffer[2:end + 2])
        del self._buffer[:end + 2]
        self._sink = self._begin(_header_of(block))
        self._skip = 2  # the empty line; it may be the line break of the next delimiter, too
        self._state = _State.BODY
        return True

    def _body(self) -> bool:
        assert self._sink is not None  # noqa: S101 - a body has a header before it
        start = self._buffer.find(self._delimiter)
        end = start if start >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        if end > self._skip:
            self._sink.write(bytes(self._buffer[self._skip:end]))
        self._skip = max(0, self._skip - end)
        del self._buffer[:end]
        if start < 0:
            return False
        del self._buffer[:len(self._delimiter)]
        self._state = _State.BORDER
        return True

    def _epilogue(self) -> bool:
        self._buffer.clear()
        return False

    def _close(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.end()


class _Base64:
    """Decodes base64 in lines of any length, as it arrives."""

    def __init__(self, inner: Sink) -> None:
        self._inner = inner
        self._rest = b""
        self._ended = False

    def write(self, data: bytes) -> int:
        """The next bytes."""
        text = self._rest + data.translate(None, b" \t\r\n")
        cut = len(text) - len(text) % 4
        if self._ended and text:
            raise FramingError("base64 goes on after its end")
        try:
            self._inner.write(binascii.a2b_base64(text[:cut], strict_mode=True))
        except binascii.Error as error:
            raise FramingError("a part is not the base64 it says it is") from error
        self._rest, self._ended = text[cut:], text[:cut].endswith(b"=")
        return len(data)

    def end(self) -> None:
        """There are no more."""
        if self._rest:
            raise FramingError("a part's base64 is cut off")
        self._inner.end()


class _QuotedPrintable:
    """Decodes quoted-printable as it arrives."""

    def __init__(self, inner: Sink) -> None:
        self._inner = inner
        self._decoder = QuotedPrintableDecoder(inner)

    def write(self, data: bytes) -> int:
        """The next bytes."""
        try:
            return self._decoder.write(data)
        except (DecodeError, ValueError) as error:
            raise FramingError("a part is not the quoted-printable it says it is") from error

    def end(self) -> None:
        """There are no more."""
        self._decoder.finalize()
        self._inner.end()


def _undone(inner: Sink, encoding: str) -> Sink:
    """With the part's transfer encoding undone."""
    encoding = encoding.partition(";")[0].strip().lower()
    if encoding == "base64":
        return _Base64(inner)
    return _QuotedPrintable(inner) if encoding == "quoted-printable" else inner


_BOUNDARY = re.compile(r"[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]", re.ASCII)


def boundary_of(content_type: str) -> bytes:
    """The boundary of a multipart content type (RFC 2046 §5.1.1). Raises `FramingError` if there is none."""
    boundary = parameter(content_type, "boundary")
    if boundary is None or not _BOUNDARY.fullmatch(boundary):
        raise FramingError("the multipart content type has no usable boundary")
    return boundary.encode("ascii")


_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FOLD = re.compile(rb"\r\n(?=[ \t])")


def _header_of(block: bytes) -> Message:
    """A part's header; folded lines are one (RFC 5322 §2.2.3)."""
    header = Message()
    lines = [line for line in _FOLD.sub(b"", block).split(b"\r\n") if line]
    if len(lines) > MAX_HEADERS:
        raise FramingError("a part has too many header fields")
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _FIELD_NAME.fullmatch(name.rstrip(b" \t")):
            raise FramingError("a part's header cannot be read")
        header[name.rstrip(b" \t").decode("ascii")] = _text(value)
    return header


def _text(value: bytes) -> str:
    """A header's value: UTF-8 as browsers and Java send it, else Windows-1252; no control characters."""
    return "".join(filter(str.isprintable, plain_blanks(decoded(value)))).strip()


def _parameter(header: Message, field: str, name: str) -> str | None:
    """A header's parameter: as in RFC 2231 (``filename*=``), which wins (RFC 6266 §4.3), or plain."""
    found: Any = header.get_params([], field)
    values = [value for key, value in found if key.lower() == name]
    if not values:
        return None
    value = next((value for value in values if isinstance(value, tuple)), values[0])
    return clean(_unworded(collapse_rfc2231_value(value)), 10_000)


_ENCODED_WORD = re.compile(r"=\?[\w*+.-]{1,60}\?[bq]\?[^ ?]*\?=", re.ASCII | re.IGNORECASE)


def _unworded(text: str) -> str:
    """With encoded words (RFC 2047) undone: RFC 5987 forbids them in a name, and mail programs write them."""
    if not _ENCODED_WORD.search(text):
        return text
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, ValueError, HeaderParseError):
        return text
