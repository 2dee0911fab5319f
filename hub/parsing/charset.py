"""Which characters a document's bytes are: its own word first, then its media type's, then UTF-8.

1. A byte order mark, or the zeros of UTF-16 without one. Nothing else can be meant.
2. What the document declares (the XML declaration).
3. The charset parameter of its media type. RFC 7303 §3.2 puts it above the declaration; we do not, because
   gateways add one that the document's author does not know of. For the same reason bytes that are UTF-8 with
   letters outside of ASCII are read as UTF-8, whatever the parameter says.
4. UTF-8.

ISO-8859-1 is read as Windows-1252, as browsers do (WHATWG, Encoding Standard §4.2): the bytes 80 to 9F are
quotation marks, dashes and the euro sign. Where the media type and the document contradict each other, a note
says so.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from functools import lru_cache

from hub.errors import Rejected
from hub.i18n.sentence import Name, Sentence, say
from hub.message import Reason

Note = Callable[[Sentence], None]

Marks = tuple[tuple[bytes, str], ...]
"""Beginnings that give UTF-16 away."""

BYTE_ORDER: Marks = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_AS_IS = frozenset({"utf-8", "ascii"})
_TRANSCODED = frozenset({"iso8859-1", "iso8859-15", "cp1252"})
_SAME = {"ascii": "utf-8", "utf-8-sig": "utf-8", "cp1252": "iso8859-1", "utf-16-le": "utf-16",
         "utf-16-be": "utf-16"}
_LABEL = re.compile(r"[\w.:+-]{1,40}", re.ASCII)
_DEFAULT_UTF_8 = re.compile(r"(?:application|text)/(?:.*\+)?(?:xml|json)")
_C1 = re.compile("[\x80-\x9f]")
_WINDOWS = {code: bytes([code]).decode("cp1252") for code in range(0x80, 0xA0)
            if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}  # the five that Windows-1252 does not use


def unheard(_: Sentence) -> None:
    """Nobody wants the notes."""


def of_media_type(media_type: str) -> str | None:
    """The charset parameter of a stored media type (``text/xml; charset=iso-8859-1``)."""
    return media_type.partition("charset=")[2].strip(" \"'") or None


def labelled(media_type: str) -> str:
    """A stored media type as it is handed on: of its parameters only the charset, and that only where a
    reader would not take it for granted (UTF-8 in XML and JSON)."""
    plain = media_type.partition(";")[0].strip().lower()
    charset = of_media_type(media_type)
    if charset is None or not _LABEL.fullmatch(charset):
        return plain
    if _canonical(charset) in _AS_IS and _DEFAULT_UTF_8.fullmatch(plain):
        return plain
    return f"{plain}; charset={charset.lower()}"


def is_utf_16(charset: str | None) -> bool:
    """Whether a charset is one of UTF-16."""
    name = _canonical(charset or "")
    return _SAME.get(name, name) == "utf-16"


def to_utf8(view: memoryview, marks: Marks, declared: str | None, outside: str | None,
            note: Note = unheard) -> memoryview:
    """The document as UTF-8 without a byte order mark.

    `declared` is what the document says of itself, `outside` what its media type says. Raises `Rejected`
    (``unreadable``).
    """
    head = bytes(view[:4])
    if head.startswith(codecs.BOM_UTF8):
        _compare("utf-8", outside, note)
        return view[len(codecs.BOM_UTF8):]
    for start, encoding in marks:
        if head.startswith(start):
            _compare(encoding, outside, note)
            return _transcoded(view[2:] if (start, encoding) in BYTE_ORDER else view, encoding)
    if declared is None:
        return _transcoded(view, _undeclared(view, outside, note))
    name = _canonical(declared)
    if is_utf_16(declared):
        raise _unreadable(say("das Dokument nennt sich UTF-16 und ist es nicht"))
    if name not in _AS_IS | _TRANSCODED:
        raise _unreadable(say("der angegebene Zeichensatz wird nicht unterstützt"))
    _compare(name, outside, note)
    return _transcoded(view, name)


def _undeclared(view: memoryview, outside: str | None, note: Note) -> str:
    name = _canonical(outside) if outside is not None else "utf-8"
    if name in _AS_IS:
        return name
    if name in _TRANSCODED:
        try:
            text = str(view, "utf-8")
        except UnicodeDecodeError:
            return name
        if text.isascii():
            return "utf-8"
    note(say("die Übertragung nennt einen Zeichensatz ({outside}), der nicht stimmt; "
             "gelesen ist das Dokument als UTF-8", outside=Name(name or "unbekannt")))
    return "utf-8"


def _compare(inside: str, outside: str | None, note: Note) -> None:
    if outside is None:
        return
    name = _canonical(outside)
    if _SAME.get(name, name) != _SAME.get(inside, inside):
        note(say("die Übertragung nennt den Zeichensatz {outside}, das Dokument {inside}; "
                 "es gilt das Dokument",
                 outside=Name(name or "unbekannt"), inside=Name(inside)))


@lru_cache(maxsize=64)
def _canonical(encoding: str) -> str:
    """Python's name of a character set; empty for one that it does not know."""
    try:
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        return ""


def _transcoded(view: memoryview, encoding: str) -> memoryview:
    if encoding in _AS_IS:
        return view
    if encoding in ("iso8859-1", "cp1252"):
        text = str(view, "latin-1")
        return memoryview((text.translate(_WINDOWS) if _C1.search(text) else text).encode())
    try:
        return memoryview(str(view, encoding, "strict").encode("utf-8"))
    except UnicodeError:
        raise _unreadable(say("die Bytes passen nicht zum Zeichensatz")) from None


def _unreadable(text: Sentence) -> Rejected:
    return Rejected(Reason.UNREADABLE, text)
