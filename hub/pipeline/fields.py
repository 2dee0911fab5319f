"""The field table at work: text becomes typed text, typed text becomes what a clerk reads.

`type_values` turns every generation's way of writing a value into one::

    date      2015-07-08T00:00:00.000+02:00 · 2015-07-07T22:00:00+0000 · 2015-07-08  ->  2015-07-08
    time      1970-01-01T11:55:00.000+01:00 · 11:55:00 · 11:55                       ->  11:55:00
    money, decimal, integer                                             ->  plain decimal with '.'
    boolean                                                             ->  true, false

Days and times are those of Europe/Berlin.

Nothing is guessed from the look of a value: only the table's type counts. A value that does not fit stays as
it was sent, so that the schema reports it; no value raises. Headings and texts of the form, which the
platform's form content and dumps before 1.6 carry as empty fields, are left out; anything that was filled in
stays, known to the table or not.

`annotate` adds attributes in the envelope's namespace for stylesheets: ``e:title`` on groups, and
``e:applicant`` on that of the applicant; ``e:label``, ``e:type`` and ``e:text`` (the value as a clerk reads
it) on fields; and it brings groups and fields into the table's order. Mails and pages show ``e:shown``
instead of ``e:text`` where a field has it (`hub.pipeline.wording`); ``e:payment`` is the state of a payment
in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import date, datetime
from datetime import time as clock
from decimal import Decimal, InvalidOperation
from typing import Any

from lxml import etree

from hub.mapping.model import FieldRow, FieldTable
from hub.message import BERLIN
from hub.pipeline import wording

NAMESPACE = "urn:datendrehscheibe:envelope:1"
E = f"{{{NAMESPACE}}}"
_TITLE, _LABEL, _TYPE, _TEXT, _APPLICANT, _SHOWN_AS, _PAYMENT = (
    f"{E}{name}" for name in ("title", "label", "type", "text", "applicant", "shown", "payment"))

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:?[0-9]{2})?")
_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")


def type_values(envelope: etree._Element, table: FieldTable) -> etree._Element:
    """A copy of the canonical envelope whose values are written as the table's types say. Never raises for a
    value."""
    typed = deepcopy(envelope)
    for group in _groups(typed):
        name, filled = str(group.tag), False
        rows = table.rows_of.get(name, {})
        for instance in group.iterchildren("instance"):
            for field in list(instance):
                row = rows.get(field.tag)
                if row is None and not len(field) and not (field.text or "").strip():
                    instance.remove(field)  # a heading or a text of the form
                    continue
                filled = True
                if row is not None and row.type in _TYPED:
                    _type(field, row.type)
        if not filled and name not in table.groups:
            _parent(group).remove(group)
    return typed


def _type(field: etree._Element, type_: str) -> None:
    for carrier in _carriers(field):
        text = carrier.text
        if text and not len(carrier) and (typed := typed_text(text, type_)) != text:
            carrier.text = typed


def typed_text(text: str, type_: str) -> str:
    """One value as its type writes it, or unchanged where it does not fit."""
    write = _TYPED.get(type_)
    if write is None:
        return text
    try:
        return write(text.strip())
    except (ValueError, OverflowError, InvalidOperation):
        return text


def annotate(envelope: etree._Element, table: FieldTable) -> etree._Element:
    """The typed envelope itself, now with titles, labels, types and readable texts, in the table's order."""
    names = {item.get("id", ""): item.get("name", "")
             for item in envelope.iterfind(f"{E}attachments/{E}attachment")}
    groups = _groups(envelope)
    for group in groups:
        name = str(group.tag)
        group.set(_TITLE, table.groups[name].title if name in table.groups else name)
        if name in table.groups and table.groups[name].applicant:
            group.set(_APPLICANT, "true")
        rows, ranks = table.rows_of.get(name, {}), table.ranks.get(name, {})
        for instance in group.iterchildren("instance"):
            fields = list(instance)
            for field in fields:
                row = rows.get(field.tag)
                plain = not len(field)
                if plain:
                    text = field.text or ""
                    as_sent = row is None or (row.values is None and row.type not in _READABLE)
                    field.set(_TEXT, text if as_sent else readable(text, row, table))
                if row is None:
                    field.set(_LABEL, field.tag)
                    field.set(_TYPE, "text")
                else:
                    field.set(_LABEL, row.label)
                    field.set(_TYPE, row.type)
                if not plain:
                    field.set(_TEXT, _annotate_inside(field, row, table, names))
                elif row is None or row.type in _SHOWN:
                    _show(field)
            _arrange(instance, fields, ranks)
    if groups:
        _arrange(_parent(groups[0]), groups, table.ranks[""])
    return envelope


def _show(field: etree._Element) -> None:
    """What mails and pages show, where that is not the readable text: no code, no point in time as machines
    write it, and no JSON on one line."""
    text = field.text or ""
    if field.get(_TYPE) == "json":
        lines, state = wording.json_lines(text), wording.payment_state(text)
        if lines:
            field.set(_SHOWN_AS, lines)
        if state:
            field.set(_PAYMENT, state)
    elif shown := wording.plain_words(str(field.tag), text):
        field.set(_SHOWN_AS, shown)


def readable(text: str, row: FieldRow | None, table: FieldTable) -> str:
    """One typed value as a clerk reads it: ``08.07.2015``, ``1.234,50 €``, ``ja``, the value list's label."""
    if row is None or not text:
        return text
    if row.values is not None:
        return table.values.get(row.values, {}).get(text, text)
    write = _READABLE.get(row.type)
    if write is None:
        return text
    try:
        return write(text)
    except (KeyError, ValueError, InvalidOperation, RecursionError):
        return text


def _groups(envelope: etree._Element) -> list[etree._Element]:
    return [group for fields in envelope.iterchildren(f"{E}fields") for group in fields]


def _parent(element: etree._Element) -> etree._Element:
    parent = element.getparent()
    assert parent is not None  # noqa: S101  # for the type
    return parent


def _carriers(field: etree._Element) -> Sequence[etree._Element]:
    """The elements that carry text: the ``value`` children of a list, else the field itself."""
    return (list(field.iterchildren("value")) if len(field) else None) or (field,)


def _annotate_inside(field: etree._Element, row: FieldRow | None, table: FieldTable,
                     names: Mapping[str, str]) -> str:
    """The readable texts of what a field holds, each written there; all of them together."""
    texts = []
    references = list(field.iterchildren("attachment"))
    for reference in references:
        texts.append(names.get(reference.get("ref", ""), ""))
        reference.set(_TEXT, texts[-1])
    for carrier in () if references else _carriers(field):
        texts.append(readable(carrier.text or "", row, table))
        carrier.set(_TEXT, texts[-1])
    return ", ".join(filter(None, texts))


def _arrange(parent: etree._Element, children: Sequence[etree._Element], ranks: Mapping[str, int]) -> None:
    """Bring the children into order, unknown ones last; most are."""
    found = [ranks.get(child.tag, _LAST) for child in children]
    if found != sorted(found):
        parent[:] = [children[place] for place in sorted(range(len(found)), key=found.__getitem__)]


_LAST = 1 << 30
_GERMAN_MARKS = str.maketrans(",.", ".,")


def _date(text: str) -> str:
    """A day in Europe/Berlin. Midnight on the sender's own clock is that day, whatever the offset was
    then."""
    if _DATE.fullmatch(text):
        date.fromisoformat(text)
        return text
    moment = _moment(text)
    if moment.tzinfo is None or moment.time() == clock():
        return moment.date().isoformat()
    return moment.astimezone(BERLIN).date().isoformat()


def _time(text: str) -> str:
    """A time of day in Europe/Berlin."""
    if _CLOCK.fullmatch(text):
        return clock.fromisoformat(text).isoformat()
    moment = _moment(text)
    local = moment if moment.tzinfo is None else moment.astimezone(BERLIN)
    if local.microsecond:
        raise ValueError("a fraction of a second has no place in a form's time")
    return local.time().isoformat()


def _moment(text: str) -> datetime:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("no date and time")
    if match[1]:
        text = text.replace(match[1], match[1][:7].ljust(7, "0"), 1)
    return datetime.fromisoformat(text)


def _decimal(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise ValueError("no decimal number")
    return format(Decimal(text), "f") if "e" in text.lower() else text


def _integer(text: str) -> str:
    whole, _, fraction = _decimal(text).partition(".")
    if fraction.strip("0"):
        raise ValueError("no whole number")
    return whole


def _boolean(text: str) -> str:
    if text.lower() not in ("true", "false"):
        raise ValueError("neither true nor false")
    return text.lower()


def _german_date(text: str) -> str:
    if not _DATE.fullmatch(text):
        return text
    date.fromisoformat(text)
    return f"{text[8:]}.{text[5:7]}.{text[:4]}"


def _german_time(text: str) -> str:
    return f"{text.removesuffix(':00') if len(text) == 8 else text} Uhr" if _CLOCK.fullmatch(text) else text


def _german_money(text: str) -> str:
    number = Decimal(_decimal(text))
    places = max(2, -int(number.as_tuple().exponent))
    return f"{number:,.{places}f}".translate(_GERMAN_MARKS) + " €"


def _german_decimal(text: str) -> str:
    return _decimal(text).replace(".", ",")


def _german_boolean(text: str) -> str:
    return {"true": "ja", "false": "nein"}[text]


def _german_json(text: str) -> str:
    return _flat(json.loads(text))


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_flat(item) for item in value)
    if isinstance(value, bool):
        return "ja" if value else "nein"
    return "" if value is None else str(value)


_SHOWN = ("text", "textarea", "json")
_TYPED: Mapping[str, Callable[[str], str]] = {
    "date": _date, "time": _time, "money": _decimal, "decimal": _decimal, "integer": _integer,
    "boolean": _boolean,
}
_READABLE: Mapping[str, Callable[[str], str]] = {
    "date": _german_date, "time": _german_time, "money": _german_money, "decimal": _german_decimal,
    "boolean": _german_boolean, "json": _german_json,
}
