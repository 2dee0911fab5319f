"""A mail as it goes over the line: the same delivery gives the same bytes.

The parts ``text`` and ``html`` are the body, every other part is a file. Everything is plain ASCII in whole
lines: texts in quoted-printable, files in base64, headers in RFC 2047 words. `email` does not write it,
because it raises at some line separators.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from email.utils import format_datetime, getaddresses
from functools import lru_cache
from html import escape
from typing import Annotated, Protocol

from pydantic import AfterValidator

from hub.errors import Misconfigured, Permanent
from hub.message import BERLIN, NOTE, REPLY_TO, Delivery, ManifestPart, unique_names

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@lru_cache(maxsize=1024)
def _one_mailbox(value: str) -> str:
    if _ADDRESS.fullmatch(value):
        return value  # nothing around it: a country's thousands need no parser of headers
    mailboxes = getaddresses([value])
    if len(mailboxes) != 1 or not _ADDRESS.fullmatch(mailboxes[0][1]) or not value.isprintable():
        raise ValueError(
            "is no mail address such as 'Amt <amt@musterstadt.example>' (domain in ASCII: xn--…)")
    return value


Mailbox = Annotated[str, AfterValidator(_one_mailbox)]


class Addresses(Protocol):
    """From whom to whom."""

    @property
    def from_(self) -> Mailbox:
        """The sender."""

    @property
    def to(self) -> tuple[Mailbox, ...]:
        """Recipients."""

    @property
    def cc(self) -> tuple[Mailbox, ...]:
        """Recipients of a copy."""

    @property
    def reply_to(self) -> Mailbox | None:
        """Where answers go."""


_LINE = 57  # bytes of a base64 line of 76 characters
_CHUNK = _LINE * 4096
_EXTRA_HEADER = re.compile(r"X-[A-Za-z0-9-]{1,60}|Importance|Priority|Keywords|Sensitivity|Organization")
_MEDIA_TYPE = re.compile(r"(application|audio|font|image|model|text|video)/[A-Za-z0-9.+_-]{1,100}"
                         r"(; charset=[A-Za-z0-9.:_+-]{1,40})?")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as a row of finished pieces (whole lines) and parts still to be encoded, and its exact size."""

    message_id: str
    pieces: tuple[bytes | ManifestPart, ...]

    @property
    def size(self) -> int:
        """Bytes on the wire, dots not doubled: what SIZE means (RFC 1870 §5)."""
        return sum(len(piece) if isinstance(piece, bytes) else base64_size(piece.size)
                   for piece in self.pieces)

    def lines(self, delivery: Delivery) -> Iterator[bytes]:
        """The bytes in chunks of whole lines; files are read and encoded on the way."""
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                with closing(delivery.open(piece)) as file:
                    while chunk := file.read(_CHUNK):
                        yield base64_lines(chunk)


def base64_size(size: int) -> int:
    """Length of `base64_lines` for so many bytes."""
    return (size + 2) // 3 * 4 + (size + _LINE - 1) // _LINE * 2


def base64_lines(chunk: bytes) -> bytes:
    """Base64 in lines of 76 characters. A chunk that is not the last one has a multiple of 57 bytes."""
    text = binascii.b2a_base64(chunk, newline=False)
    return b"\r\n".join([text[at:at + 76] for at in range(0, len(text), 76)]) + b"\r\n"


def plain(text: str) -> str:
    """One line. Everything that is no visible character becomes a single space.

    That is line separators of all kinds, controls, lone surrogates, direction marks.
    """
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def encoded(text: str) -> str:
    """Text for a header, folded: as it is when short ASCII, else RFC 2047 words of UTF-8 in base64."""
    text = plain(text)
    if text.isascii() and len(text) <= 70 and "=?" not in text:
        return text
    words, word = [], b""
    for char in text:
        if len(word) + len(char.encode()) > 39:
            words.append(word)
            word = b""
        word += char.encode()
    return "\r\n ".join(f"=?utf-8?b?{binascii.b2a_base64(piece, newline=False).decode()}?="
                        for piece in [*words, word])


def mailbox(value: str) -> str:
    """A configured mailbox as a header wants it."""
    (name, address), = getaddresses([value])
    if not name:
        return address
    return f"{encoded(name)} <{address}>" if re.fullmatch(r"[A-Za-z0-9 ]+", name) or not name.isascii() else (
        '"' + re.sub(r'(["\\])', r"\\\1", name) + f'" <{address}>')


def address(value: str) -> str:
    """The bare address."""
    return getaddresses([value])[0][1]


def subject(delivery: Delivery) -> str:
    """With its warnings in front."""
    test = "[TEST] " if delivery.test else ""
    repeated = "möglicherweise doppelt: " if delivery.repeat_marked else ""
    return test + repeated + plain(delivery.manifest.subject)[:200]


def build(addresses: Addresses, delivery: Delivery) -> Mail:
    """The mail. Raises `Misconfigured` for a header that may not be set."""
    domain = address(addresses.from_).rpartition("@")[2]
    message_id = f"<{delivery.id}@{domain}>"
    boundary = "=_" + hashlib.sha256(delivery.id.encode()).hexdigest()[:32]  # no encoding here gives a "=_"
    bodies = [*delivery.manifest.of_role("text"), *delivery.manifest.of_role("html")]
    files = [part for part in delivery.manifest.parts if part not in bodies]
    body = _bodies(delivery, bodies, f"{boundary}_b")
    if files:
        content: list[bytes | ManifestPart] = [
            f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode()]
        content += [f"--{boundary}\r\n".encode(), body]
        for name, part in zip(unique_names([part.name for part in files]), files, strict=True):
            content += [_file_header(boundary, name, part), part]
        content.append(f"\r\n--{boundary}--\r\n".encode())
    else:
        content = [body]
    return Mail(message_id, (_header(addresses, delivery, message_id), *content))


def _header(addresses: Addresses, delivery: Delivery, message_id: str) -> bytes:
    rows = [("Date", format_datetime(delivery.created_at.astimezone(BERLIN))),
            ("From", mailbox(addresses.from_)), ("To", ",\r\n ".join(map(mailbox, addresses.to)))]
    if addresses.cc:
        rows.append(("Cc", ",\r\n ".join(map(mailbox, addresses.cc))))
    if answers := _answers_to(addresses, delivery):
        rows.append(("Reply-To", answers))
    rows += [("Message-ID", message_id), ("Subject", encoded(subject(delivery))),
             ("Auto-Submitted", "auto-generated")]
    for name, value in delivery.manifest.headers.items():
        if not _EXTRA_HEADER.fullmatch(name):
            raise Misconfigured(
                "Die Route setzt eine Kopfzeile, die nicht erlaubt ist; erlaubt sind X-… und Keywords.")
        rows.append((name, encoded(value)))
    rows.append(("MIME-Version", "1.0"))
    return "".join(f"{name}: {value}\r\n" for name, value in rows).encode("ascii")


def _answers_to(addresses: Addresses, delivery: Delivery) -> str | None:
    """The applicant's address where the route wants it and it is nothing but one; else the configured one."""
    applicant = delivery.manifest.properties.get(REPLY_TO, "")
    if len(applicant) <= 254 and _ADDRESS.fullmatch(applicant):
        return applicant
    return mailbox(addresses.reply_to) if addresses.reply_to else None


def _bodies(delivery: Delivery, parts: Sequence[ManifestPart], boundary: str) -> bytes:
    note = delivery.manifest.properties.get(NOTE)
    texts = [_text(part.role, _noted(part.role, delivery.read(part), note)) for part in parts]
    if not texts:
        texts = [_text("text", note.encode() if note else b"Der Antrag liegt dieser Mail als Datei bei.\n")]
    if len(texts) == 1:
        return texts[0]
    inner = b"".join(f"--{boundary}\r\n".encode() + text + b"\r\n" for text in texts)
    return (f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'.encode() + inner
            + f"--{boundary}--\r\n".encode())


def _noted(role: str, content: bytes, note: str | None) -> bytes:
    """With the hub's words for the clerk in front."""
    if note is None:
        return content
    if role == "text":
        return f"{note}\n\n".encode() + content
    words = f"<p>{escape(note)}</p>".replace("\n", "<br>").encode()
    body = re.search(rb"<body[^>]*>", content, re.IGNORECASE)
    place = body.end() if body else 0
    return content[:place] + words + content[place:]


def _text(role: str, content: bytes) -> bytes:
    """A text part in quoted-printable, so that no lone CR and no long line is left. Raises `Permanent` where
    it is not UTF-8: a mail with signs lost would be taken for what the applicant wrote."""
    kind = "html" if role == "html" else "plain"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Permanent("Der Text der Mail ist nicht in UTF-8: das Stylesheet berichtigen (drehscheibe "
                        "check), neu laden, dann die Nachricht erneut verarbeiten.") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    body = b"\r\n".join(binascii.b2a_qp(line).replace(b"\n", b"\r\n") for line in text.encode().split(b"\n"))
    return (f"Content-Type: text/{kind}; charset=utf-8\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n").encode() + body + b"\r\n"


def _file_header(boundary: str, name: str, part: ManifestPart) -> bytes:
    media_type = part.media_type if _MEDIA_TYPE.fullmatch(part.media_type) else "application/octet-stream"
    return (f"\r\n--{boundary}\r\nContent-Type: {media_type};\r\n name=\"{name}\"\r\n"
            "Content-Transfer-Encoding: base64\r\n"
            f"Content-Disposition: attachment;\r\n filename=\"{name}\"\r\n\r\n").encode("ascii")


def gathered(chunks: Iterator[bytes], least: int = 1 << 16) -> Iterator[bytes]:
    """Larger chunks of the same bytes: each costs a TLS record and a system call."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= least:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def dots_doubled(lines: bytes) -> bytes:
    """RFC 5321 §4.5.2, for whole lines."""
    return re.sub(rb"(?m)^\.", b"..", lines)
