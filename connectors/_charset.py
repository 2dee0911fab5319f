"""Which characters a peer's bytes are: the document's own word first, then its media type's, then UTF-8.

1. A byte order mark, or the zeros of UTF-16 without one: nothing else can be meant.
2. What the document declares (the XML declaration).
3. The charset parameter of its media type. RFC 7303 §3.2 puts it above the declaration; we do not, because
   gateways add one that the document's author does not know of.
4. UTF-8.

ISO-8859-1 is read as Windows-1252, as browsers do (WHATWG, Encoding Standard §4.2): the bytes 80 to 9F are
quotation marks, dashes and the euro sign, not control characters.
"""

from __future__ import annotations

import codecs
import re
from email.message import Message

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
          (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))  # LE of 32 begins like 16's
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,39}")
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"})
_WIDE = re.compile(r"utf-?(16|32)(-?[bl]e)?|ucs-?[24]|iso-10646-ucs-[24]")
_C1 = {code: bytes([code]).decode("cp1252") for code in range(0x80, 0xA0)
       if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}  # the five that Windows-1252 does not use


class Garbled(ValueError):
    """What a peer sent cannot be read. The text is a German phrase that says why, without its words."""


def charset_of(content_type: str | None) -> str | None:
    """The charset parameter of a media type, if it names one that we know."""
    if not content_type:
        return None
    header = Message()
    header["content-type"] = "".join(filter(str.isprintable, content_type))
    try:
        name = header.get_content_charset()
    except (LookupError, ValueError):
        return None
    return name if name and (_is_wide(name) or _known(name)) else None


def decode(content: bytes, declared: str | None = None, outside: str | None = None) -> str:
    """The text, without a byte order mark.

    `declared` is what the document says of itself, `outside` what its media type says. Raises `Garbled`.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return _decoded(content[len(mark):], name)
    if wide := _zeros(content):
        return _decoded(content, wide)
    name = declared or outside or "utf-8"
    if _is_wide(name):
        raise Garbled("sie nennt sich UTF-16 und ist es nicht")
    if not _known(name):
        raise Garbled("ihre Kodierung ist unbekannt")
    found = codecs.lookup(name).name
    return _decoded(content, "utf-8" if found == "ascii" else found)  # whoever says ASCII may mean more


def _zeros(content: bytes) -> str | None:
    """UTF-16 by the zeros beside its first character, which is of ASCII in XML and JSON."""
    if content[:1] == b"\0" and content[1:2] not in (b"", b"\0"):
        return "utf-16-be"
    if content[:1] != b"\0" and content[1:2] == b"\0" and content[2:4] != b"\0\0":
        return "utf-16-le"
    return None


def _decoded(content: bytes, name: str) -> str:
    if name in ("iso8859-1", "cp1252"):
        return content.decode("latin-1").translate(_C1)
    try:
        return content.decode(name)
    except ValueError as error:
        raise Garbled(f"sie ist kein {name.upper()}") from error


def _is_wide(name: str) -> bool:
    return _WIDE.fullmatch(name.lower().replace("_", "-")) is not None


def _known(name: str) -> bool:
    if not _NAME.fullmatch(name):
        return False
    try:
        found = codecs.lookup(name)
    except LookupError:
        return False
    return found._is_text_encoding and found.name not in _NO_CHARSETS
