"""Templates: text with placeholders that a configuration writes and a delivery fills in.

The grammar is one for all places: ``{name}``, or ``{word:name}``; ``{{`` and ``}}`` are the braces
themselves. Which placeholders a place knows is its `Context`. Values go into finished structures (a segment
of a path, a header, a file's name, a string of a tree); nothing is ever parsed after it was filled in.

=========================================================  =========  ========  =======
placeholder                                                FILE_NAME  REQUEST   RECORD
=========================================================  =========  ========  =======
``{id}`` of the delivery, the same in every try            yes        yes       yes
``{message}`` ``{short}`` ``{case}`` ``{service}``
``{version}`` (of the mapping) ``{ags}`` ``{tenant}``
``{recipient}``                                            yes        yes       yes
``{day}``                                                  20261122   created,  arrived,
                                                                      ISO       ISO
``{time}``                                                 101112     10:11:12  10:11:12
``{subject}`` ``{created}`` ``{test}`` ``{property:…}``    no         yes       yes
``{repeat}``: an earlier try may have arrived              no         yes       no
what the delivery does not have                            ``ohne``   empty     empty
a `properties` entry that the recipient does not have      -          an error  empty
=========================================================  =========  ========  =======

``{day}`` of a file's name is ISO, too, where a mapping gave no name parts. `EACH` also knows a part in a
table with ``each`` (``{part:name}`` …), `DOCUMENT` a document of a record (``{name}``, ``{filename}``,
``{role}``, ``{kind}``, ``{number}``); their ``filename`` is what the citizen called it. Whole parts in trees:
`connectors._tree`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from functools import lru_cache
from string import Formatter
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator

from hub.errors import Misconfigured, Permanent
from hub.message import BERLIN, Delivery, ManifestPart, safe_name

PIECE_LIMIT = 40
"""The longest value in a file's name, in characters."""
_ANY = "…"  # after a colon: any name
_KINDS = {"pdf": "Antrag", "attachment": "Anlage", "original": "Original"}
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# --- the grammar ------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def pieces(text: str) -> tuple[tuple[str, str | None], ...]:
    """The template as pairs of literal text and the placeholder after it, if any. Raises ValueError."""
    try:
        found = tuple(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no template ({error}); braces themselves are written {{{{ and }}}}") from error
    return tuple((literal, None if key is None else key + (f"!{conversion}" if conversion else "")
                  + (f":{spec}" if spec else "")) for literal, key, spec, conversion in found)


def keys(text: str) -> list[str]:
    """The placeholders of a template, in order. Raises ValueError."""
    return [key for _, key in pieces(text) if key is not None]


def fill(text: str, row: Mapping[str, str], safe: Callable[[str, str], str] = lambda _, value: value, *,
         absent: str | None = None) -> str:
    """The template with each value made safe by `safe(key, value)`; `absent` stands for a value that `row`
    lacks.

    Raises `Misconfigured` for such a value where there is no `absent`.
    """
    done = []
    for literal, key in pieces(text):
        done.append(literal)
        if key is None:
            continue
        value = row.get(key, absent)
        if value is None:
            raise Misconfigured(
                f"Der Platzhalter {{{key}}} hat in dieser Zustellung keinen Wert: die Eigenschaft beim "
                                "Empfänger (properties) angeben.")
        done.append(safe(key, value))
    return "".join(done)


# --- what a place knows -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Context:
    """The placeholders that a kind of place knows; ``word:…`` stands for the word with any name behind it."""

    names: tuple[str, ...]

    def knows(self, key: str) -> bool:
        """Whether the placeholder exists here."""
        word, colon, name = key.partition(":")
        return key in self.names or bool(colon and name and f"{word}:{_ANY}" in self.names)

    def check(self, text: str) -> str:
        """The template itself. Raises ValueError that names an unknown placeholder and the known ones."""
        for key in keys(text):
            if not self.knows(key):
                hint = self._hint(key)
                raise ValueError(f"unknown placeholder {{{key}}}: known here are {self}"
                                 + (f": {hint}" if hint else ""))
        return text

    def _hint(self, key: str) -> str:
        for other, where in _ELSEWHERE:
            if other.knows(key):
                return where
        close = get_close_matches(key.lower(), self.names, 1)
        return f"did you mean {{{close[0]}}}?" if close else ""

    def __str__(self) -> str:
        return ", ".join(f"{{{name}}}" for name in self.names)


_EVERYWHERE = ("id", "message", "short", "case", "service", "version", "ags", "tenant", "recipient", "day",
               "time")
FILE_NAME = Context(_EVERYWHERE)
"""A file or a folder in a drop: what names nobody, and what file systems take."""
RECORD = Context((*_EVERYWHERE, "subject", "created", "test", f"property:{_ANY}"))
"""One line about an application in records management: the same in every try."""
REQUEST = Context((*RECORD.names, "repeat"))
"""A request to a Fachverfahren: its address, headers, fields and trees."""
_OF_A_PART = Context(("part:name", "part:filename", "part:media_type", "part:size", "part:sha256"))
EACH = Context((*REQUEST.names, *_OF_A_PART.names))
"""The same, once for every part of a role."""
_OF_A_DOCUMENT = Context(("name", "filename", "role", "kind", "number"))
DOCUMENT = Context((*RECORD.names, *_OF_A_DOCUMENT.names))
"""One line about a document in records management."""
WHOLE = Context((f"base64:{_ANY}", f"text:{_ANY}", f"json:{_ANY}", f"xml:{_ANY}", "part:base64"))
"""A part of the delivery as one value of a tree."""
_ELSEWHERE = (
    (_OF_A_PART, "it stands only in a table with each"),
    (_OF_A_DOCUMENT, "it is known only about one document in a DMS"),
    (WHOLE, "a part stands only as a whole value, and in a kind that the format knows"))

Template = Annotated[str, AfterValidator(RECORD.check)]
DocumentTemplate = Annotated[str, AfterValidator(DOCUMENT.check)]


# --- what the placeholders stand for ----------------------------------------------------------------------


def request_values(delivery: Delivery) -> dict[str, str]:
    """The values of `REQUEST`."""
    created = delivery.created_at.astimezone(BERLIN)
    known = delivery.manifest.name_parts
    return {"id": delivery.id, "message": delivery.message_id, "short": known.get("short", ""),
            "case": delivery.case or "", "service": delivery.service, "version": known.get("version", ""),
            "ags": delivery.ags, "tenant": delivery.tenant, "recipient": delivery.recipient,
            "day": f"{created:%Y-%m-%d}", "time": f"{created:%H:%M:%S}", "subject": delivery.manifest.subject,
            "created": created.isoformat(timespec="seconds"), "test": "true" if delivery.test else "false",
            "repeat": "true" if delivery.repeat_marked else "false",
            **{f"property:{name}": value for name, value in delivery.manifest.properties.items()}}


def record_line(template: str, delivery: Delivery, number: int = 0) -> str:
    """A template of `RECORD`, or of `DOCUMENT` for the part of this number (from 1 on), as one line."""
    row = request_values(delivery) | {"day": arrival_day(delivery).isoformat()}
    if number:
        part = delivery.manifest.parts[number - 1]
        row |= {"name": safe_name(part.name), "filename": part.title, "role": part.role,
                "kind": document_kind(part), "number": str(number)}
    return one_line(fill(template, row, absent=""))


def file_name(template: str, delivery: Delivery) -> str:
    """A template of `FILE_NAME` as a name that every file system takes."""
    created = delivery.created_at.astimezone(BERLIN)
    row = {"message": delivery.message_id, "service": delivery.service, "ags": delivery.ags,
           "tenant": delivery.tenant,
           "case": delivery.case or "ohne", "recipient": delivery.recipient,
           "day": created.date().isoformat(),
           "time": f"{created:%H%M%S}", **delivery.manifest.name_parts, "id": delivery.id}
    return fill(template, row, in_name, absent="ohne")


def document_kind(part: ManifestPart) -> str:
    """What a part is, in a clerk's word."""
    return _KINDS.get(part.role, "Antragsdaten")


def arrival_day(delivery: Delivery) -> date:
    """The day on which the hub accepted the application; without it that of the delivery."""
    try:
        return datetime.strptime(delivery.manifest.name_parts.get("day", ""), "%Y%m%d").date()
    except ValueError:
        return delivery.created_at.astimezone(BERLIN).date()


# --- safe in its place ------------------------------------------------------------------------------------


def in_url(key: str, value: str) -> str:
    """One segment of a path, or one value of a query. Raises `Permanent` for what would change the path."""
    if value.strip(".") == "":
        raise Permanent(
            f"Der Platzhalter {{{key}}} ist leer oder besteht aus Punkten; so entsteht keine Adresse.")
    return quote(value.encode("utf-8", "replace"), safe="")


def in_header(key: str, value: str) -> str:  # noqa: ARG001
    """Visible ASCII; everything else as its percent-encoded UTF-8, so that no value makes a new line."""
    return quote(value.encode("utf-8", "replace"), safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~").strip()


def in_text(key: str, value: str) -> str:  # noqa: ARG001
    """Text without what XML 1.0 cannot hold."""
    return _NOT_XML.sub(" ", value)


def in_name(key: str, value: str) -> str:  # noqa: ARG001
    """A piece of a file's name, at most `PIECE_LIMIT` characters."""
    return safe_name(value.replace("/", "_").replace("\\", "_"), PIECE_LIMIT)


def one_line(text: str) -> str:
    """Without line separators, control characters and what neither XML 1.0 nor UTF-8 can carry."""
    return _UNPRINTABLE.sub(" ", text).strip()
