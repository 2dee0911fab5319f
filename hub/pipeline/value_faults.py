"""Why a value is none of its type, one German sentence for each type: ``ist keine Zahl (Beispiel 12,5)``.

What the engines report depends on how a schema is built: of a number that may be empty (a union) they say
that it is not 0 characters long, or that it fits no member. So the declared type is looked at instead, as
xmlschema has read it, and the value is compared with it once more.

Nothing of the value is told. No pattern is tried here: a value for which everything else holds is one that
its pattern does not take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from hub.i18n.sentence import Name, Sentence, Shape, Words, lines, say

MOST = 10
"""Values of a list that are told."""

_XS = "{http://www.w3.org/2001/XMLSchema}"
_INTEGERS = ("integer", "int", "long", "short", "byte", "nonNegativeInteger", "positiveInteger",
             "nonPositiveInteger", "negativeInteger", "unsignedInt", "unsignedShort", "unsignedByte",
             "unsignedLong")
_NUMBERS = (*_INTEGERS, "decimal")
_DAYS = ("date", "time", "dateTime")
TYPES: Mapping[str, Sentence] = {
    "date": say("kein Datum (Beispiel 2026-06-20)"), "time": say("keine Uhrzeit (Beispiel 14:30:00)"),
    "dateTime": say("kein Zeitpunkt (Beispiel 2026-06-20T14:30:00)"),
    "decimal": say("keine Zahl (Beispiel 12,5)"), "double": say("keine Zahl (Beispiel 12.5)"),
    "float": say("keine Zahl (Beispiel 12.5)"), "boolean": say("keine Ja/Nein-Angabe (Beispiel true)"),
    "gYear": say("keine Jahreszahl (Beispiel 2026)"), "gYearMonth": say("kein Monat (Beispiel 2026-06)"),
    "anyURI": say("keine Adresse (Beispiel https://www.example.org/)"), "base64Binary": say("kein Base64"),
    **dict.fromkeys(_INTEGERS, say("keine ganze Zahl (Beispiel 12)")),
}
"""What a value is not that has not the form of its built-in type."""
FORMATS: Mapping[str, Sentence] = {
    "iban": say("keine IBAN (Beispiel DE12 3456 7890 1234 5678 90)"),
    "bic": say("kein BIC (Beispiel ABCDDE22XXX)"), "plz": say("keine Postleitzahl (Beispiel 01234)"),
    "email": say("keine Mailadresse (Beispiel name@example.org)"),
}
"""What a text is not that does not match its pattern; by the end of the type's name or the field's."""

_COMMA = re.compile(r"[+-]?\d{1,3}(?:\.?\d{3})*,\d+|[+-]?\d+,\d+", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_DIGITS = re.compile(r"(?:\\d|\[0-9\])\{(\d{1,4})(?:,(\d{1,4}))?\}")


def reason(simple: Any, name: str, value: str | None) -> Sentence | None:
    """Why `value` is none of the simple type `simple` of the element `name`; None where it cannot be told."""
    members = [member for member in _members(simple) if not _is_empty(member)]
    if len(members) != 1:
        return None
    what = _what(members[0], name, (value or "").strip())
    if what is None or not value:
        return what
    return say("{what} (gesendet: {shape})", what=what, shape=Shape(value))


def no(type_: str | None, value: str | None) -> Sentence | None:
    """What a value is not that has not the form of a built-in type; None where no sentence is known."""
    what = TYPES.get(type_ or "")
    if what is None:
        return None
    if not value:
        return say("ist leer und damit {what}", what=what)
    if type_ in _NUMBERS and _COMMA.fullmatch(value):
        return say("ist mit Komma geschrieben; gebraucht wird ein Punkt (Beispiel 12.5)"
                   ) if type_ == "decimal" else say("ist {what}", what=what)
    return say("ist {what}", what=what)


def some(values: Sequence[str]) -> Sentence:
    """Values and patterns that stand in the schema."""
    shown = [say("{value}", value=Words(value[:60])) for value in values[:MOST]]
    return lines([*shown, say("…")] if len(values) > MOST else shown, ", ")


def not_allowed(values: Sequence[str]) -> Sentence:
    """The value is none of a list."""
    return say("ist keiner der erlaubten Werte ({some})", some=some(values))


def unmatched(patterns: Sequence[str], *names: str) -> Sentence:
    """The text does not match the patterns of its type, or of its field."""
    for name in names:
        for ending, what in FORMATS.items():
            if name.lower().endswith(ending):
                return say("ist {what}", what=what)
    digits = _DIGITS.fullmatch(patterns[0]) if len(patterns) == 1 else None
    if digits and digits[2]:
        return say("besteht nicht aus {least} bis {most} Ziffern", least=int(digits[1]), most=int(digits[2]))
    if digits:
        return say("besteht nicht aus genau {count} Ziffern", count=int(digits[1]))
    return say("entspricht nicht dem verlangten Muster ({some})", some=some(patterns))


def _members(simple: Any) -> Iterator[Any]:
    """The types that a value may be of."""
    union = getattr(simple, "member_types", None)
    if not union:
        yield simple
    for member in union or ():
        yield from _members(member)


def _is_empty(member: Any) -> bool:
    """Whether only an empty text is of the type: how a schema says that a value may be left out."""
    return any(facet.value == 0 for facet in _facets(member, "XsdLengthFacet", "XsdMaxLengthFacet"))


def _chain(member: Any) -> Iterator[Any]:
    while member is not None:
        yield member
        member = getattr(member, "base_type", None)


def _facets(member: Any, *kinds: str) -> Iterator[Any]:
    """The facets of some kinds, the type's own before those of what it restricts."""
    for type_ in _chain(member):
        facets = getattr(type_, "facets", None) or {}
        yield from (facet for facet in facets.values() if type(facet).__name__ in kinds)


def _what(member: Any, name: str, value: str) -> Sentence | None:
    builtin = next((type_.local_name for type_ in _chain(member)
                    if str(type_.name).startswith(_XS) and type_.local_name in TYPES), None)
    if builtin is not None and not (value and _has_form(member, builtin, value)):
        return no(builtin, value)
    if not value:
        return say("ist leer")
    for facet in _facets(member, "XsdEnumerationFacets"):
        allowed = [str(each) for each in facet.enumeration]
        if value not in allowed:
            return not_allowed(allowed)
    for judge in (_length, _bound, _digits):
        if (what := judge(member, builtin, value)) is not None:
            return what
    patterns = next(_facets(member, "XsdPatternFacets"), None)
    if patterns is None:
        return None
    regexps = [str(each) for each in patterns.regexps]
    return no(builtin, value) or unmatched(regexps, member.local_name or "", _named(member), name)


def _named(member: Any) -> str:
    """The name of the union that an anonymous type stands in."""
    return getattr(getattr(member, "parent", None), "local_name", None) or ""


def _has_form(member: Any, builtin: str, value: str) -> bool:
    if builtin in _INTEGERS:
        return _WHOLE.fullmatch(value) is not None
    return bool(member.primitive_type.is_valid(value))


def _length(member: Any, _builtin: str | None, value: str) -> Sentence | None:
    for facet in _facets(member, "XsdLengthFacet", "XsdMinLengthFacet", "XsdMaxLengthFacet"):
        most = say("{most}", most=facet.value)
        kind = type(facet).__name__
        if kind == "XsdLengthFacet" and len(value) != facet.value:
            return say("ist nicht genau {most} Zeichen lang", most=most)
        if kind == "XsdMinLengthFacet" and len(value) < facet.value:
            return say("ist kürzer als {most} Zeichen", most=most)
        if kind == "XsdMaxLengthFacet" and len(value) > facet.value:
            return say("ist länger als {most} Zeichen", most=most)
    return None


_BOUNDS: Mapping[str, tuple[Callable[[Any, Any], bool], Sentence, Sentence]] = {
    "XsdMinInclusiveFacet": (lambda value, bound: value < bound, say("ist kleiner als"), say("liegt vor")),
    "XsdMaxInclusiveFacet": (lambda value, bound: value > bound, say("ist größer als"), say("liegt nach")),
    "XsdMinExclusiveFacet": (lambda value, bound: value <= bound, say("ist nicht größer als"),
                             say("liegt nicht nach")),
    "XsdMaxExclusiveFacet": (lambda value, bound: value >= bound, say("ist nicht kleiner als"),
                             say("liegt nicht vor")),
}


def _bound(member: Any, builtin: str | None, value: str) -> Sentence | None:
    if builtin not in (*_NUMBERS, *_DAYS):
        return None
    for facet in _facets(member, *_BOUNDS):
        beyond, number, moment = _BOUNDS[type(facet).__name__]
        bound = str(facet.value)
        compared = (Decimal(value), Decimal(bound)) if builtin in _NUMBERS else (value, bound)
        if beyond(*compared):
            return say("{words} {bound}", words=number if builtin in _NUMBERS else moment, bound=Name(bound))
    return None


def _digits(member: Any, builtin: str | None, value: str) -> Sentence | None:
    if builtin not in _NUMBERS:
        return None
    _sign, figures, exponent = Decimal(value).normalize().as_tuple()
    behind = max(0, -int(exponent))
    for facet in _facets(member, "XsdFractionDigitsFacet", "XsdTotalDigitsFacet"):
        if type(facet).__name__ == "XsdFractionDigitsFacet" and behind > facet.value:
            return say("hat mehr als {most} Nachkommastellen", most=facet.value)
        if type(facet).__name__ == "XsdTotalDigitsFacet" and max(len(figures), behind) > facet.value:
            return say("hat mehr als {most} Ziffern", most=facet.value)
    return None
