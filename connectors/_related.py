"""An answer in several parts: multipart/related (RFC 2387), with MTOM's references into its parts (XOP 1.0).

The root is the part that `start` names; without it (or where nothing bears that name) the first one of the
media type that `type` names, else the first. Its element ``xop:Include`` stands for the base64 of another
part, which it names by ``cid:``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from urllib.parse import unquote

from lxml import etree

from connectors._charset import Garbled

_INCLUDE = "{http://www.w3.org/2004/08/xop/include}Include"
_MOST_PARTS = 1000


@dataclass(frozen=True, slots=True)
class Related:
    """The parts of one answer; `content_type` is the root's."""

    root: bytes
    content_type: str
    parts: Mapping[str, bytes]

    def resolve(self, root: etree._Element) -> None:
        """Put the parts where the document refers to them; a reference to none stays as it is.

        Raises `Garbled` when that makes more than the parts hold: one may be named thousands of times.
        """
        left = sum(map(len, self.parts.values()))
        for include in list(root.iter(_INCLUDE)):
            name = unquote(str(include.get("href", "")).removeprefix("cid:"))
            around = include.getparent()
            if around is None or name not in self.parts:
                continue
            left -= len(self.parts[name])
            if left < 0:
                raise Garbled("sie nennt denselben Teil zu oft")
            around.remove(include)
            around.text = base64.b64encode(self.parts[name]).decode()


def is_related(content_type: str | None) -> bool:
    """Whether the media type is multipart/related."""
    return (content_type or "").partition(";")[0].strip().lower() == "multipart/related"


def split_parts(content: bytes, content_type: str) -> Related:
    """The parts of an answer. Raises `Garbled`."""
    shown = "".join(filter(str.isprintable, content_type))
    outer = Message()
    outer["Content-Type"] = shown
    boundary = outer.get_boundary()
    if not boundary or content.count(b"--" + boundary.encode("ascii", "replace")) > _MOST_PARTS:
        raise Garbled("ihre Teile sind nicht zu trennen")
    head = b"Content-Type: " + shown.encode("latin-1", "replace") + b"\r\n\r\n"
    try:
        whole = message_from_bytes(head + content)
    except RecursionError as error:
        raise Garbled("sie ist zu tief verschachtelt") from error
    parts = [part for part in whole.get_payload() if isinstance(part, Message)]
    if not parts:
        raise Garbled("ihre Teile sind nicht zu trennen")
    root = _root(parts, _name(str(outer.get_param("start", ""))), str(outer.get_param("type", "")).lower())
    named = {_name(str(part.get("Content-ID", ""))): _bytes(part) for part in parts if part is not root}
    return Related(_bytes(root), str(root.get("Content-Type", "")), named)


def _root(parts: list[Message], start: str, kind: str) -> Message:
    by_name = [part for part in parts if start and _name(str(part.get("Content-ID", ""))) == start]
    by_type = [part for part in parts if kind and part.get_content_type() == kind]
    return (by_name or by_type or parts)[0]


def _name(content_id: str) -> str:
    return content_id.strip().removeprefix("<").removesuffix(">")


def _bytes(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""
