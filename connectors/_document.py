"""A peer's answer as a document in which values are found: JSON by pointer, XML by XPath.

Whatever a peer sends, reading it ends with a document or with `Unreadable`, which says why. Unreadable are,
because nobody knows what they mean or because they would cost too much: JSON with a name twice in one object,
with NaN, infinity, whole numbers of more than 4300 digits or half a character (a lone surrogate); XML with a
DOCTYPE; both when nested too deep. In which characters it is written: `connectors._charset`.

White space, line ends and a byte order mark before an XML declaration are no fault.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lxml import etree

from connectors import _related
from connectors._charset import Garbled, charset_of, decode
from connectors._http_answer import Answer

Kind = Literal["json", "xml", "none"]
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_BEFORE = re.compile(rb"(?:\xef\xbb\xbf|[ \t\r\n])+")
_DECLARATION = re.compile(
    rb"""<\?xml\s[^>]{0,200}?\bencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,39})["']""")


class Document(Protocol):
    """An answer that was read."""

    def find(self, path: str) -> str | None:
        """The text at a path, or None."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An answer that nobody can read, or need not; `why` is a German phrase, empty if nobody need."""

    why: str

    def find(self, path: str) -> None:
        """There is nothing in it."""


@dataclass(frozen=True, slots=True)
class Json:
    """An answer in JSON."""

    root: Any

    def find(self, path: str) -> str | None:
        """By JSON pointer (RFC 6901); only single values."""
        value = self.root
        for step in path.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            else:
                return None
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value).strip() if isinstance(value, str | int | float) else None


@dataclass(frozen=True, slots=True)
class Xml:
    """An answer in XML."""

    root: etree._Element
    namespaces: Mapping[str, str]

    def find(self, path: str) -> str | None:
        """By XPath: the string value of the first hit."""
        found: Any = self.root.xpath(path, namespaces=dict(self.namespaces))
        if isinstance(found, list):
            if not found:
                return None
            found = found[0]
        if isinstance(found, etree._Element):
            found = found.xpath("string()")
        if isinstance(found, bool):
            return "true" if found else "false"
        return str(found).strip() or None


def read(kind: Kind, answer: Answer, namespaces: Mapping[str, str]) -> Document:
    """The answer as a document. Never raises for anything that a peer may send."""
    if answer.content is None:
        return Unreadable(f"sie ist {answer.why}" if answer.why else "")
    try:
        if kind == "json":
            return Json(parse_json(answer.content, answer.charset))
        if kind == "xml":
            return Xml(_xml_of(answer.content, answer.content_type), namespaces)
    except Garbled as error:
        return Unreadable(str(error))
    return Unreadable("")


def parse_json(content: bytes, charset: str | None = None) -> Any:
    """JSON that means one thing. Raises `Garbled`."""
    text = decode(content, outside=charset)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except Garbled:
        raise
    except UnicodeEncodeError as error:
        raise Garbled("ein Zeichen darin ist nur ein halbes") from error
    except RecursionError as error:
        raise Garbled("sie ist zu tief verschachtelt") from error
    except ValueError as error:
        raise Garbled("sie ist kein JSON, oder eine Zahl darin ist zu lang") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Garbled("ein Name steht darin doppelt")
    return made


def _constant(_: str) -> Any:
    raise Garbled("eine Zahl darin ist keine")


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _constant(text)


def parse_xml(content: bytes, charset: str | None = None) -> etree._Element:
    """XML without DOCTYPE, entities and network. Raises `Garbled`."""
    wide = b"\0" in content[:2]  # the zeros of UTF-16: there white space is two bytes long
    before = None if wide else _BEFORE.match(content)
    content = content[before.end():] if before else content
    declared = found[1].decode() if (found := _DECLARATION.match(content)) else None
    if before and b"\xef\xbb\xbf" in before[0]:
        declared = "utf-8"
    text = decode(content, declared, charset).lstrip("\ufeff \t\r\n")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
                             remove_comments=True, remove_pis=True, encoding="utf-8")
    try:
        root: etree._Element = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        raise Garbled("sie ist kein XML") from error
    docinfo: Any = root.getroottree().docinfo
    if docinfo.doctype:
        raise Garbled("sie hat eine DOCTYPE")
    return root


def _xml_of(content: bytes, content_type: str) -> etree._Element:
    if not _related.is_related(content_type):
        return parse_xml(content, charset_of(content_type))
    parts = _related.split_parts(content, content_type)
    root = parse_xml(parts.root, charset_of(parts.content_type))
    parts.resolve(root)
    return root
