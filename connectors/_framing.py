"""What inlets share: a body that is spooled while it arrives, and multipart taken apart while it streams.

The transport's framing is the sender's, so it is read here, under limits, by python-multipart. What is *in* a
body is never looked at. A body up to 64 KiB stays in memory. A longer one goes to a file in the spool, from
where the store takes it by renaming. Its SHA-256 is computed on the way. Nothing here syncs: that is the
store's, with its commit.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from email.message import Message
from email.utils import collapse_rfc2231_value
from pathlib import Path
from typing import BinaryIO, Protocol

from python_multipart.decoders import QuotedPrintableDecoder
from python_multipart.exceptions import DecodeError, FormParserError
from python_multipart.multipart import MultipartParser, MultipartState

from hub.message import IncomingPart, safe_name

IN_MEMORY = 64 * 1024
MAX_PREAMBLE = 16 * 1024
MAX_TEXT = 255


class FramingError(ValueError):
    """The framing cannot be read."""


class OverLimitError(ValueError):
    """More bytes or more parts than allowed."""


def clean(text: str | None, limit: int = MAX_TEXT) -> str | None:
    """A sender's text without control characters and cut to `limit`; None when nothing is left."""
    if text is None:
        return None
    if not text.isprintable():
        text = "".join(filter(str.isprintable, text))
    return text[:limit].strip() or None


def flag(text: object) -> bool:
    """Whether a test flag is set. Anything but a clear no counts as yes: no test may reach a real receiver.
    """
    return text is not None and str(text).strip().lower() not in ("", "false", "0", "no", "nein")


class Spool:
    """Files of one inlet in the common spool folder."""

    def __init__(self, folder: Path, inlet: str) -> None:
        self.folder = folder
        self.prefix = f"{safe_name(inlet)}~"  # safe_name never gives a "~": no other inlet's prefix begins so

    def sweep(self) -> None:
        """Remove what a killed process left behind; nothing of it was ever acknowledged."""
        for path in self.folder.glob(f"{self.prefix}*"):
            path.unlink(missing_ok=True)

    def create(self) -> tuple[BinaryIO, Path]:
        """A new file, readable for the hub alone."""
        descriptor, name = tempfile.mkstemp(prefix=self.prefix, dir=self.folder)
        return os.fdopen(descriptor, "wb"), Path(name)

    def release(self, parts: Iterable[IncomingPart]) -> None:
        """Remove files that the store did not take over (a duplicate, or a refusal)."""
        for part in parts:
            if isinstance(part.content, Path) and part.content.parent == self.folder:
                part.content.unlink(missing_ok=True)


class Body:
    """One body while it arrives. Raises `OSError` when the spool cannot be written."""

    def __init__(self, spool: Spool) -> None:
        self.size = 0
        self._spool = spool
        self._digest = hashlib.sha256()
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def write(self, data: bytes) -> int:
        """Append."""
        self.size += len(data)
        self._digest.update(data)
        if self._file is None and len(self._memory) + len(data) > IN_MEMORY:
            self._file, self._path = self._spool.create()
            self._file.write(self._memory)
            self._memory.clear()
        if self._file is None:
            self._memory += data
        else:
            self._file.write(data)
        return len(data)

    def part(self, name: str, media_type: str, filename: str | None = None) -> IncomingPart:
        """The finished body."""
        if self._file is not None:
            self._file.close()
        content = bytes(self._memory) if self._path is None else self._path
        return IncomingPart(name, media_type, content, self.size, self._digest.hexdigest(), filename)

    def discard(self) -> None:
        """Forget it."""
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class _Writer(Protocol):
    def write(self, data: bytes, /) -> int: ...


class _Base64:
    """Decodes base64 in lines of any length, as it arrives."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._rest = b""
        self._ended = False

    def write(self, data: bytes) -> int:
        text = self._rest + data.translate(None, b" \t\r\n")
        cut = len(text) - len(text) % 4
        if self._ended and text:
            raise FramingError("base64 goes on after its end")
        try:
            self._body.write(binascii.a2b_base64(text[:cut], strict_mode=True))
        except binascii.Error as error:
            raise FramingError("a part is not the base64 it says it is") from error
        self._rest, self._ended = text[cut:], text[:cut].endswith(b"=")
        return len(data)

    def finalize(self) -> None:
        if self._rest:
            raise FramingError("a part's base64 is cut off")


def media_type(content_type: str, default: str = "application/octet-stream") -> str:
    """``type/subtype`` in lower case, without parameters."""
    value = content_type.partition(";")[0].strip().lower()
    return value if re.fullmatch(r"[\w.+-]{1,100}/[\w.+-]{1,100}", value, re.ASCII) else default


_BOUNDARY = re.compile(r"[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]", re.ASCII)


def boundary_of(content_type: str) -> bytes:
    """The boundary of a multipart content type (RFC 2046 §5.1.1). Raises `FramingError` if there is none."""
    header = Message()
    header["content-type"] = "".join(c for c in content_type if c.isprintable())
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not _BOUNDARY.fullmatch(boundary):
        raise FramingError("the multipart content type has no usable boundary")
    return boundary.encode("ascii")


class Multipart:
    """Takes ``multipart/form-data`` and ``multipart/mixed`` apart: `feed` bytes, then `finish`.

    The name of a part is its form field, else its Content-ID, else ``part-<n>``. Transfer encodings base64
    and quoted-printable are undone. Raises `FramingError`, `OverLimitError`, and `OSError` for the spool.
    """

    def __init__(self, content_type: str, spool: Spool, max_parts: int = 200) -> None:
        self._spool = spool
        self._max_parts = max_parts
        self._delimiter = b"--" + boundary_of(content_type)
        self._preamble = b""
        self._searching = True
        self._parts: list[IncomingPart] = []
        self._body = Body(spool)
        self._writer: _Writer = self._body
        self._header = Message()
        self._field = self._value = b""
        self._parser = MultipartParser(self._delimiter[2:], {
            "on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end,
            "on_header_field": self._header_field, "on_header_value": self._header_value,
            "on_header_end": self._header_end, "on_headers_finished": self._open,
        }, max_header_count=20, max_header_size=4096)

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        if self._searching:
            data = self._skip_preamble(data)
        try:
            if data:
                self._parser.write(data)
        except (FormParserError, DecodeError) as error:
            raise FramingError("the multipart framing is broken") from error

    def finish(self) -> tuple[IncomingPart, ...]:
        """All parts. Raises `FramingError` when the closing boundary never came or there is no part."""
        if self._parser.state != MultipartState.END:
            raise FramingError("the multipart body ends before its closing boundary")
        if not self._parts:
            raise FramingError("the multipart body has no part")
        return tuple(self._parts)

    def discard(self) -> None:
        """Forget everything that was spooled."""
        self._body.discard()
        self._spool.release(self._parts)

    def _skip_preamble(self, data: bytes) -> bytes:
        """RFC 2046 allows text before the first boundary, python-multipart does not."""
        head = self._preamble + data
        start = 0 if head.startswith(self._delimiter) else head.find(b"\r\n" + self._delimiter) + 2
        if start == 1:
            if len(head) > MAX_PREAMBLE:
                raise FramingError("the multipart body does not begin with its boundary")
            self._preamble = head
            return b""
        self._searching = False
        return head[start:]

    def _begin(self) -> None:
        if len(self._parts) >= self._max_parts:
            raise OverLimitError(f"more than {self._max_parts} parts")
        self._header = Message()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._header[self._field.decode("ascii")] = _text(self._value)
        self._field = self._value = b""

    def _open(self) -> None:
        self._body = Body(self._spool)
        encoding = str(self._header.get("content-transfer-encoding", "")).strip().lower()
        if encoding == "base64":
            self._writer = _Base64(self._body)
        elif encoding == "quoted-printable":
            self._writer = QuotedPrintableDecoder(self._body)
        else:
            self._writer = self._body

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._writer.write(data[start:end])

    def _end(self) -> None:
        if isinstance(self._writer, _Base64 | QuotedPrintableDecoder):
            self._writer.finalize()
        name = (_parameter(self._header, "name")
                or clean(str(self._header.get("content-id", "")).strip(" <>"))
                or f"part-{len(self._parts) + 1}")
        part = self._body.part(name, media_type(str(self._header.get("content-type", "")), "text/plain"),
                               _parameter(self._header, "filename"))
        self._parts.append(part)
        self._body = Body(self._spool)


def _text(value: bytes) -> str:
    """A header's value: UTF-8 as browsers and Java send it, else Latin-1; no control characters."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return "".join(c for c in text if c.isprintable())


def _parameter(header: Message, name: str) -> str | None:
    """A parameter of Content-Disposition, plain or as in RFC 2231 (``filename*=``)."""
    value = header.get_param(name, header="content-disposition")
    return clean(collapse_rfc2231_value(value)) if value is not None else None
