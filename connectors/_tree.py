"""Trees of tables, lists and templates that a delivery fills in: a JSON document, parameters of a SOAP call.

A string is a template (`connectors._template`), or as a whole value one part of the delivery:

``{base64:pdf}`` ``{text:xml}`` ``{json:json}`` ``{xml:xml}``
    the one part of that role; which of the kinds are possible, the format says
``{part:base64}``
    inside a table with ``each = "attachment"``, which is repeated for every part of that role (``*``: for
    all); its other strings know ``{part:name}``, ``{part:filename}`` (what the citizen called it),
    ``{part:media_type}``, ``{part:size}`` and ``{part:sha256}``
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from connectors import _template
from connectors._template import EACH, REQUEST, WHOLE, Context
from hub.errors import Permanent
from hub.message import Delivery, ManifestPart, unique_names

Kind = Literal["base64", "text", "json", "xml"]
_WHOLE = re.compile(r"\{(base64|text|json|xml|part):([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class PartValue:
    """A part in a tree, to be written by whoever writes the tree."""

    kind: Kind
    part: ManifestPart


def check(value: Any, kinds: tuple[Kind, ...], *, each: bool = False) -> None:
    """A tree; `kinds` are those that its format can hold. Raises ValueError."""
    if isinstance(value, Mapping):
        if "each" in value and not isinstance(value["each"], str):
            raise ValueError("each names a role")
        for item in value.values():
            check(item, kinds, each=each or "each" in value)
    elif isinstance(value, list | tuple):
        for item in value:
            check(item, kinds, each=each)
    elif isinstance(value, str):
        known = EACH if each else REQUEST
        if _WHOLE.fullmatch(value):
            known = Context((*known.names, *(name for name in WHOLE.names if name.partition(":")[0] in kinds),
                             *(("part:base64",) if each else ())))
        known.check(value)


def fill(value: Any, delivery: Delivery) -> Any:
    """The tree filled in: plain values and `PartValue`s. Raises `Permanent`, `Misconfigured`."""
    return _fill(value, delivery, _template.request_values(delivery), None)


def _fill(value: Any, delivery: Delivery, row: Mapping[str, str], part: ManifestPart | None) -> Any:
    if isinstance(value, Mapping):
        return {key: _fill(item, delivery, row, part) for key, item in value.items() if key != "each"}
    if isinstance(value, list | tuple):
        return [filled for item in value for filled in _items(item, delivery, row, part)]
    if not isinstance(value, str):
        return value
    whole = _WHOLE.fullmatch(value)
    if whole and whole[1] != "part":
        return PartValue(whole[1], the_part(delivery, whole[2]))  # type: ignore[arg-type]
    if whole and whole[2] == "base64" and part is not None:
        return PartValue("base64", part)
    return _template.fill(value, row, _template.in_text)


def _items(item: Any, delivery: Delivery, row: Mapping[str, str], part: ManifestPart | None) -> Iterator[Any]:
    if not (isinstance(item, Mapping) and "each" in item):
        yield _fill(item, delivery, row, part)
        return
    found = parts(delivery, item["each"])
    for name, one in zip(unique_names([one.name for one in found]), found, strict=True):
        yield _fill(item, delivery, {**row, "part:name": name, "part:filename": one.title,
                                     "part:media_type": one.media_type, "part:size": str(one.size),
                                     "part:sha256": one.sha256}, one)


def roles(value: Any) -> frozenset[str] | None:
    """The roles of the parts that a tree takes up; None: all of them."""
    found = frozenset(_roles(value))
    return None if "*" in found else found


def _roles(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "each" in value:
            yield value["each"]
        for item in value.values():
            yield from _roles(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _roles(item)
    elif isinstance(value, str) and (whole := _WHOLE.fullmatch(value)) and whole[1] != "part":
        yield whole[2]


def parts(delivery: Delivery, role: str) -> tuple[ManifestPart, ...]:
    """The parts of a role; ``*`` means all."""
    return delivery.manifest.parts if role == "*" else delivery.manifest.of_role(role)


def the_part(delivery: Delivery, role: str) -> ManifestPart:
    """The one part of a role. Raises `Permanent` when there is none, or several."""
    found = parts(delivery, role)
    if len(found) != 1:
        raise Permanent(f"Es gibt {len(found)} Teile der Rolle {role!r}, das Ziel braucht genau einen.")
    return found[0]
