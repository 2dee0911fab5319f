"""What a municipality writes about an application in its records management: short templates, filled per delivery.

Shared by `connectors.xdomea` and `connectors.cmis`. A template is text with placeholders: ``{subject}``, ``{id}`` (of the
delivery), ``{message}``, ``{case}``, ``{day}`` (of arrival, ``2026-11-22``), ``{service}``, ``{version}`` (of the mapping),
``{ags}``, ``{tenant}``, ``{recipient}``, ``{short}``, and ``{property:key}`` for a `properties` entry of the route's
recipient. A template about one document also knows ``{name}`` (of the file), ``{role}``, ``{kind}`` (Antrag, Anlage, …) and
``{number}``. What a delivery does not have becomes empty text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator

from hub.message import BERLIN, Delivery, ManifestPart, safe_name

PLACEHOLDERS = ("subject", "id", "message", "case", "day", "service", "version", "ags", "tenant", "recipient", "short")
DOCUMENT_PLACEHOLDERS = ("name", "role", "kind", "number")
_KINDS = {"pdf": "Antrag", "attachment": "Anlage", "original": "Original"}
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")


def check_template(value: str) -> str:
    """The template itself; raises ValueError that says what is wrong."""
    return _check(value, PLACEHOLDERS)


def check_document_template(value: str) -> str:
    """The same for a template about one document."""
    return _check(value, (*PLACEHOLDERS, *DOCUMENT_PLACEHOLDERS))


def _check(template: str, known: Sequence[str]) -> str:
    for _, key, _ in _pieces(template):
        if key is not None and key not in (*known, "property"):
            names = ", ".join("{" + part + "}" for part in known)
            raise ValueError(f"unknown placeholder {key!r} in {template!r}; known are {names} and {{property:key}}")
    return template


Template = Annotated[str, AfterValidator(check_template)]
DocumentTemplate = Annotated[str, AfterValidator(check_document_template)]


def placeholders(template: str) -> set[str]:
    """The names that a template uses."""
    return {key for _, key, _ in _pieces(template) if key is not None}


def _pieces(template: str) -> Iterator[tuple[str, str | None, str]]:
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r} is no template ({error})") from error
    for literal, key, spec, conversion in pieces:
        if conversion or (key == "property") != bool(spec):
            raise ValueError(f"{template!r} is no template (placeholders are {{name}} or {{property:key}})")
        yield literal, key, spec or ""


def fill(template: str, delivery: Delivery, number: int = 0) -> str:
    """The text for this delivery, or for its part of this number (from 1 on): one line, the same on every try."""
    values = _values(delivery) | _document_values(delivery, number)
    pieces = []
    for literal, key, spec in _pieces(template):
        pieces.append(literal)
        if key is not None:
            pieces.append(delivery.manifest.properties.get(spec, "") if key == "property" else values[key])
    return one_line("".join(pieces))


def _values(delivery: Delivery) -> dict[str, str]:
    known = delivery.manifest.name_parts
    return {"subject": delivery.manifest.subject, "id": delivery.id, "message": delivery.message_id,
            "case": delivery.case or "", "day": arrival_day(delivery).isoformat(), "service": delivery.service,
            "version": known.get("version", ""), "ags": delivery.ags, "tenant": delivery.tenant,
            "recipient": delivery.recipient, "short": known.get("short", "")}


def _document_values(delivery: Delivery, number: int) -> dict[str, str]:
    if number == 0:
        return {}
    part = delivery.manifest.parts[number - 1]
    return {"name": safe_name(part.name), "role": part.role, "kind": kind(part), "number": str(number)}


def kind(part: ManifestPart) -> str:
    """What a part is, in a clerk's word."""
    return _KINDS.get(part.role, "Antragsdaten")


def arrival_day(delivery: Delivery) -> date:
    """The day on which the hub accepted the application; without it that of the delivery."""
    try:
        return datetime.strptime(delivery.manifest.name_parts.get("day", ""), "%Y%m%d").date()
    except ValueError:
        return delivery.created_at.astimezone(BERLIN).date()


def one_line(text: str) -> str:
    """Without line separators, control characters and what neither XML 1.0 nor UTF-8 can carry."""
    return _UNPRINTABLE.sub(" ", text).strip()
