"""What inlets share: a body that is spooled while it arrives, and the words of a sender made clean.

What is *in* a body is never looked at. A body up to 64 KiB stays in memory. A longer one goes to a file in
the spool, from where the store takes it by renaming. Its SHA-256 is computed on the way. Nothing here syncs:
that is the store's, with its commit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable
from email.message import Message
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from hub.message import IncomingPart, safe_name

IN_MEMORY = 64 * 1024
MAX_TEXT = 255
MAX_ENDING = 20


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


def decoded(value: bytes) -> str:
    """A sender's bytes as text: UTF-8 as browsers and Java send it, else Windows-1252 (or Latin-1)."""
    for encoding in ("utf-8", "windows-1252"):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode(encoding)
    return value.decode("latin-1")


def unescaped(text: str | None) -> str | None:
    """With percent-encoding undone, where all of a text is so encoded; any other text stays as it is."""
    if text is None or "%" not in text or not _ESCAPED.fullmatch(text):
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def case_of(text: str | None) -> str | None:
    """A case's number as a sender writes it: the same text whichever way it came, or None."""
    text = unescaped(text)
    return clean(text if text is None else unicodedata.normalize("NFC", text))


_ESCAPED = re.compile(r"(?:%[0-9A-Fa-f]{2}|[^%])*")


def file_name(text: str | None) -> str | None:
    """A sender's file name like `clean`, with a blank for each kind of blank. Where it is cut, its ending
    stays."""
    name = clean(text and plain_blanks(text), 10_000)
    if name is None or len(name) <= MAX_TEXT:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > MAX_ENDING:
        return clean(name)
    return f"{stem[:MAX_TEXT - len(ending) - 1]}.{ending}"


def plain_blanks(text: str) -> str:
    """With a blank for every kind of blank (Unicode's Zs, and tabs): macOS writes some into its names."""
    return _BLANK.sub(" ", text)


def name_on_disk(path: Path) -> str:
    """The name of a file that lies in a folder: its bytes read like a sender's (`decoded`)."""
    return file_name(decoded(os.fsencode(path.name))) or "datei"


_BLANK = re.compile("[\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")


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


def media_type(content_type: str, default: str = "application/octet-stream") -> str:
    """``type/subtype`` in lower case, without parameters."""
    value = content_type.partition(";")[0].strip().lower()
    return value if re.fullmatch(r"[\w.+-]{1,100}/[\w.+-]{1,100}", value, re.ASCII) else default


BLANKS = " '"
_CHARSET = re.compile(r"[A-Za-z0-9][\w.:+-]{0,39}", re.ASCII)


def labelled(content_type: str, default: str = "application/octet-stream") -> str:
    """Like `media_type`, with the character set that the sender names: ``text/xml; charset=iso-8859-1``."""
    kind = media_type(content_type, default)
    charset = parameter(content_type, "charset")
    if charset is None or not _CHARSET.fullmatch(charset.strip(BLANKS)):
        return kind
    return f"{kind}; charset={charset.strip(BLANKS).lower()}"


def parameter(content_type: str, name: str) -> str | None:
    """A parameter of a content type."""
    header = Message()
    header["content-type"] = "".join(c for c in content_type if c.isprintable())
    value = header.get_param(name)
    return value if isinstance(value, str) else None
