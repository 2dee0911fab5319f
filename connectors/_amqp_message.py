"""What an AMQP message says, whatever its sender wrote into it.

``message_id`` is the duplicate key. The headers ``municipality``, ``service``, ``test``, ``case`` and the
properties ``content_type``, ``reply_to``, ``correlation_id`` say the rest. What is missing stays empty. A
multipart body is taken apart; one that cannot be is kept as it came. Nothing is ever decompressed or
deserialised, and no body is decoded by its ``content_encoding``: the bytes that were sent are kept. A body
that its sender compressed or coded is kept as it came, and the hub parks it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from typing import Any

from amqp.basic_message import Message
from amqp.method_framing import frame_handler

from connectors._framing import (
    Body,
    FramingError,
    OverLimitError,
    Spool,
    case_of,
    clean,
    decoded,
    flag,
    labelled,
    media_type,
    parameter,
)
from connectors._multipart import Multipart
from hub.message import Incoming, IncomingPart

CODED = frozenset({
    "gzip", "x-gzip", "deflate", "x-deflate", "compress", "x-compress", "br", "zstd", "zlib", "bz2", "bzip2",
    "x-bzip2", "lzma", "xz", "zip", "lz4", "snappy", "exi", "aes128gcm", "base64", "quoted-printable", "hex",
    "uuencode", "x-uuencode"})
"""Content encodings that somebody must undo before the bytes are a document."""


class Reader:
    """Makes a message out of body and properties; large bodies go to the spool."""

    def __init__(self, spool: Spool, inlet: str, max_parts: int) -> None:
        self._spool = spool
        self._inlet = inlet
        self._max_parts = max_parts

    def read(self, sender: str, body: bytes, properties: Mapping[str, Any]) -> Incoming:
        """What the message says. Raises `OSError` when the spool cannot be written, and leaves nothing there.
        """
        headers: Mapping[str, Any] = properties.get("application_headers") or {}
        encoding = text(properties.get("content_encoding")) or ""
        parts, unreadable = self._parts(body, _typed(text(properties.get("content_type")) or "", encoding))
        if _is_coded(encoding) or headers.get("compression"):
            unreadable = ("Der Inhalt ist komprimiert oder kodiert (content_encoding); "
                          "der Eingang packt nichts aus.")
        elif not properties:
            unreadable = "Die Eigenschaften der AMQP-Nachricht fehlen oder sind nicht lesbar."
        return Incoming(
            inlet=self._inlet, sender=sender, ags=text(headers.get("municipality")) or "",
            service=text(headers.get("service")) or "", parts=parts, test=flag(headers.get("test")),
            key=text(properties.get("message_id")), case=case_of(text(headers.get("case"))),
            correlation=text(properties.get("correlation_id")), reply_to=text(properties.get("reply_to")),
            unreadable=unreadable)

    def release(self, incoming: Incoming) -> None:
        """Forget what is spooled of a message and was not taken over."""
        self._spool.release(incoming.parts)

    def _parts(self, body: bytes, content_type: str) -> tuple[tuple[IncomingPart, ...], str | None]:
        if not media_type(content_type).startswith("multipart/"):
            return (self._whole(body, content_type),), None
        try:
            return self._multipart(body, content_type), None
        except (FramingError, OverLimitError):
            unreadable = "Die Nachricht lässt sich nicht in ihre Teile zerlegen."
            return (self._whole(body, content_type),), unreadable

    def _whole(self, body: bytes, content_type: str) -> IncomingPart:
        sink = Body(self._spool)
        try:
            sink.write(body)
            return sink.part("application", labelled(content_type))
        except BaseException:
            sink.discard()
            raise

    def _multipart(self, body: bytes, content_type: str) -> tuple[IncomingPart, ...]:
        sink = Multipart(content_type, self._spool, self._max_parts)
        try:
            sink.feed(body)
            return sink.finish()
        except BaseException:
            sink.discard()
            raise


def _is_coded(content_encoding: str) -> bool:
    """Whether somebody must undo this content encoding before the body can be read.

    Many clients put a character set or a transfer encoding like ``8bit`` there. An encoding that nobody knows
    says nothing: the bytes are kept as they came, and what they hold decides.
    """
    return any(name.strip() in CODED for name in content_encoding.lower().split(","))


def _typed(content_type: str, content_encoding: str) -> str:
    """The content type with the character set that the client put into its content encoding instead.

    UTF-8 is what is read anyway, and many clients say it of pictures, too.
    """
    if not _DOCUMENT.fullmatch(media_type(content_type)) or parameter(content_type, "charset") is not None:
        return content_type
    try:
        "x".encode(content_encoding)  # says no to base64 and the like, which codecs also knows
        name = codecs.lookup(content_encoding).name
    except (LookupError, ValueError):  # no character set
        return content_type
    return content_type if name in ("utf-8", "ascii") else f"{content_type}; charset={name}"


_DOCUMENT = re.compile(r"text/.*|application/(.*\+)?(xml|json)")


def text(value: object) -> str | None:
    """A property or header as clean text, whatever AMQP type the sender chose."""
    if value is None:
        return None
    return clean(decoded(value) if isinstance(value, bytes) else str(value))


def tolerant_frames(connection: Any, callback: Callable[..., Any]) -> Callable[[tuple[int, int, Any]], bool]:
    """py-amqp's frame handler. One message with properties that cannot be decoded does not end the
    connection.

    Without this it would come back after each reconnect, and the consumer would never start.
    """
    handle = frame_handler(connection, callback)

    def on_frame(frame: tuple[int, int, Any]) -> bool:
        kind, channel, data = frame
        if kind != 2:
            return bool(handle(frame))
        without = kind, channel, bytes(data[:12]) + b"\0\0"  # class, weight, size; no properties
        if not any(data[4:12]):  # no body follows: it is delivered at once, and the receiver may raise
            return bool(handle(frame if _readable(data) else without))
        try:
            return bool(handle(frame))
        except Exception:  # noqa: BLE001 - whatever a sender's bytes make of py-amqp's decoder
            return bool(handle(without))

    return on_frame


def _readable(header: bytes) -> bool:
    try:
        Message().inbound_header(header)
    except Exception:  # noqa: BLE001 - whatever a sender's bytes make of py-amqp's decoder
        return False
    return True
