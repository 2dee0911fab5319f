"""Templates that a configuration writes and a delivery fills in, without a value ever becoming structure.

A placeholder is ``{name}``; ``{{`` and ``}}`` are the braces themselves.

``{id}`` ``{message}`` ``{short}`` ``{case}`` ``{service}`` ``{version}`` ``{ags}`` ``{tenant}`` ``{recipient}`` ``{subject}``
``{day}`` ``{time}`` ``{created}`` ``{test}`` ``{repeat}``
    the delivery's own; ``{id}`` never changes between tries, ``{repeat}`` is true when an earlier try may have arrived
``{property:name}``
    from the recipient's ``properties``
``{base64:pdf}`` ``{text:xml}`` ``{json:json}`` ``{xml:xml}``
    the one part of that role: only as a whole value of a tree (JSON, SOAP parameters)
``{part:name}`` ``{part:media_type}`` ``{part:size}`` ``{part:sha256}`` ``{part:base64}``
    inside a table with ``each = "attachment"``, which is repeated for every part of that role (``*``: for all)

Values go into finished structures (a segment of a path, a header, a string of a tree); nothing is ever parsed after it
was filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal
from urllib.parse import quote

from hub.errors import Misconfigured, Permanent
from hub.message import BERLIN, Delivery, ManifestPart, unique_names

NAMES = ("id", "message", "short", "case", "service", "version", "ags", "tenant", "recipient", "subject", "day", "time",
         "created", "test", "repeat")
BODIES = ("base64", "text", "json", "xml")
_PART_WORDS = ("name", "media_type", "size", "sha256", "base64")
_WHOLE = re.compile(r"\{(base64|text|json|xml|part):([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class PartValue:
    """A part in a tree, to be written by whoever writes the tree."""

    kind: Literal["base64", "text", "json", "xml"]
    part: ManifestPart


def check(text: str, *, each: bool = False) -> None:
    """Raises ValueError for a placeholder that does not exist."""
    for key in keys(text):
        word, colon, rest = key.partition(":")
        known = (word == "property" and rest) or (each and word == "part" and rest in _PART_WORDS[:-1])
        if not (known if colon else key in NAMES):
            raise ValueError(f"unknown placeholder {{{key}}}; known are "
                             + ", ".join(f"{{{name}}}" for name in NAMES) + " and {property:…}")


def keys(text: str) -> list[str]:
    """The placeholders of a template, in order. Raises ValueError."""
    return [key for _, key in _pieces(text) if key is not None]


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    try:
        for literal, key, spec, conversion in Formatter().parse(text):
            yield literal, None if key is None else key + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
    except ValueError as error:
        raise ValueError(f"{text!r} is no template ({error}); braces themselves are written {{{{ and }}}}") from error


def check_tree(value: Any, allowed: tuple[str, ...] = BODIES, *, each: bool = False) -> None:
    """A tree of tables, lists and templates. Raises ValueError; `allowed` are the kinds of bodies."""
    if isinstance(value, Mapping):
        inner = each or "each" in value
        if "each" in value and not isinstance(value["each"], str):
            raise ValueError("each names a role")
        for item in value.values():
            check_tree(item, allowed, each=inner)
    elif isinstance(value, list | tuple):
        for item in value:
            check_tree(item, allowed, each=each)
    elif isinstance(value, str):
        whole = _WHOLE.fullmatch(value)
        if whole and whole[1] == "part":
            if not each or whole[2] not in _PART_WORDS:
                raise ValueError(f"{value} stands only in a table with each, and is one of "
                                 + ", ".join(f"{{part:{word}}}" for word in _PART_WORDS))
        elif whole and whole[1] not in allowed:
            raise ValueError(f"{value} is not possible here")
        elif not whole:
            check(value, each=each)


def values(delivery: Delivery) -> dict[str, str]:
    """What the placeholders stand for."""
    created = delivery.created_at.astimezone(BERLIN)
    return {"short": "", "version": "", **delivery.manifest.name_parts, "id": delivery.id, "message": delivery.message_id,
            "case": delivery.case or "", "service": delivery.service, "ags": delivery.ags, "tenant": delivery.tenant,
            "recipient": delivery.recipient, "subject": delivery.manifest.subject, "day": f"{created:%Y-%m-%d}",
            "time": f"{created:%H:%M:%S}", "created": created.isoformat(timespec="seconds"),
            "test": "true" if delivery.test else "false", "repeat": "true" if delivery.repeat_marked else "false",
            **{f"property:{name}": value for name, value in delivery.manifest.properties.items()}}


def fill(text: str, row: Mapping[str, str], safe: Callable[[str, str], str] = lambda _, value: value) -> str:
    """The template with each value made safe by `safe(key, value)`. Raises `Misconfigured` for a property that is not
    there."""
    done = []
    for literal, key in _pieces(text):
        done.append(literal)
        if key is not None:
            if key not in row:
                raise Misconfigured(f"Der Platzhalter {{{key}}} hat in dieser Zustellung keinen Wert: die Eigenschaft beim "
                                    "Empfänger (properties) angeben.")
            done.append(safe(key, row[key]))
    return "".join(done)


def in_url(key: str, value: str) -> str:
    """One segment of a path, or one value of a query. Raises `Permanent` for what would change the path."""
    if value.strip(".") == "":
        raise Permanent(f"Der Platzhalter {{{key}}} ist leer oder besteht aus Punkten; so entsteht keine Adresse.")
    return quote(value.encode("utf-8", "replace"), safe="")


def in_header(key: str, value: str) -> str:  # noqa: ARG001
    """Visible ASCII; everything else as its percent-encoded UTF-8, so that no value makes a new line."""
    return quote(value.encode("utf-8", "replace"), safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~").strip()


def in_text(key: str, value: str) -> str:  # noqa: ARG001
    """Text without what XML 1.0 cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", " ", value)


def tree(value: Any, delivery: Delivery) -> Any:
    """The tree with everything filled in: plain values and `PartValue`s. Raises `Permanent`, `Misconfigured`."""
    return _tree(value, delivery, values(delivery), None)


def _tree(value: Any, delivery: Delivery, row: Mapping[str, str], part: ManifestPart | None) -> Any:
    if isinstance(value, Mapping):
        return {key: _tree(item, delivery, row, part) for key, item in value.items() if key != "each"}
    if isinstance(value, list | tuple):
        return [filled for item in value for filled in _items(item, delivery, row, part)]
    if not isinstance(value, str):
        return value
    whole = _WHOLE.fullmatch(value)
    if whole and whole[1] != "part":
        return PartValue(whole[1], the_part(delivery, whole[2]))  # type: ignore[arg-type]
    if whole and whole[2] == "base64" and part is not None:
        return PartValue("base64", part)
    if part is not None:
        row = {**row, "part:media_type": part.media_type, "part:size": str(part.size), "part:sha256": part.sha256}
    return fill(value, row, in_text)


def _items(item: Any, delivery: Delivery, row: Mapping[str, str], part: ManifestPart | None) -> Iterator[Any]:
    if isinstance(item, Mapping) and "each" in item:
        found = parts(delivery, item["each"])
        for name, one in zip(unique_names([one.name for one in found]), found, strict=True):
            yield _tree(item, delivery, {**row, "part:name": name}, one)
    else:
        yield _tree(item, delivery, row, part)


def parts(delivery: Delivery, role: str) -> tuple[ManifestPart, ...]:
    """The parts of a role; ``*`` means all."""
    return delivery.manifest.parts if role == "*" else delivery.manifest.of_role(role)


def the_part(delivery: Delivery, role: str) -> ManifestPart:
    """The one part of a role. Raises `Permanent` when there is none, or several."""
    found = parts(delivery, role)
    if len(found) != 1:
        raise Permanent(f"Es gibt {len(found)} Teile der Rolle {role!r}, das Ziel braucht genau einen.")
    return found[0]
