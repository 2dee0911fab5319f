"""Why a document does not fit its schema, in German sentences that name places and rules.

Of a citizen's value only its type and its length are told. Both engines put values into their messages, so
their messages are never passed on: they are looked into for the kind of the error.

lxml validates and says only roughly what failed. xmlschema says it well, but about 80 times slower, and its
patterns run in Python's `re`, where 40 letters can take for ever. So xmlschema is asked only about small
documents, and only for `SECONDS` of CPU time; an interval timer enforces that inside of `re` too. Otherwise
lxml's own log is put into words.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, cast

import xmlschema
from lxml import etree
from xmlschema.validators import XMLSchemaChildrenValidationError, XMLSchemaDecodeError

from hub.i18n.sentence import Name, Place, Sentence, Shape, Words, lines, say
from hub.pipeline.places import NOWHERE, path_of
from hub.pipeline.schema_names import names_of

MOST = 10
SECONDS = 2.0
MAX_ELEMENTS = 5_000
MAX_TEXT = 200_000

_TYPES = {
    "date": "kein Datum (JJJJ-MM-TT)", "time": "keine Uhrzeit (hh:mm:ss)", "dateTime": "kein Zeitpunkt",
    "decimal": "keine Zahl (mit Punkt statt Komma)", "boolean": "weder true noch false",
    "gYear": "keine Jahreszahl", "anyURI": "keine gültige Adresse", "base64Binary": "kein Base64",
    "double": "keine Zahl", "float": "keine Zahl",
    **dict.fromkeys(("integer", "int", "long", "short", "nonNegativeInteger", "positiveInteger",
                     "unsignedInt", "unsignedShort", "unsignedByte", "unsignedLong"), "keine ganze Zahl"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not fit: the element (None where unknown), its path, and the reason in German."""

    element: etree._Element | None
    path: Place
    reason: Sentence


class TooLongError(Exception):
    """The time for an explanation is over."""


@dataclass(frozen=True, slots=True)
class _Document:
    """The document that does not fit, and the names that its schema declares."""

    root: etree._Element
    names: frozenset[str]

    def fault(self, element: etree._Element | None, reason: Sentence) -> Fault:
        """A fault at an element, or somewhere in the document."""
        path = NOWHERE if element is None else path_of(element, self.root, self.names)
        return Fault(element, path, reason)

    def listed(self, names: Iterable[str | None]) -> Sentence:
        """Names that the schema declares, quoted; others are left out."""
        known = [name for name in names if name in self.names]
        return lines([say("„{name}“", name=Name(name or "")) for name in known[:MOST]], " oder ")


def explain(file: Path, root: etree._Element, log: Sequence[Any],
            uri_mapper: Callable[[str], str]) -> list[Fault]:
    """Up to `MOST` faults of the document `root` against the schema in `file`, and one more where there are
    more.

    `log` is a copy of lxml's error log; `uri_mapper` gives the file of a schema's URL.
    """
    document = _Document(root, names_of(file, uri_mapper))
    if _is_small(root):
        try:
            schema = _schema(file, uri_mapper)
            with cpu_limit(SECONDS):
                faults = [_fault(error, document) for error in islice(schema.iter_errors(root), MOST + 1)]
        except (TooLongError, xmlschema.XMLSchemaException, RecursionError):
            faults = []
        if faults:
            return faults
    return [_roughly(entry, document) for entry in log[:MOST + 1]]


def entries(schema: etree.XMLSchema) -> list[Any]:
    """A copy of the schema's log of its last validation, which the next one overwrites."""
    return [*cast(Iterable[Any], schema.error_log)]


def _is_small(root: etree._Element) -> bool:
    text = 0
    for count, element in enumerate(root.iter(etree.Element)):
        text += len(element.text or "")
        if count >= MAX_ELEMENTS or text > MAX_TEXT:
            return False
    return True


@lru_cache(maxsize=16)
def _build(file: str, _mtime: int, uri_mapper: Callable[[str], str]) -> xmlschema.XMLSchema10:
    return xmlschema.XMLSchema10(file, uri_mapper=uri_mapper, allow="local", defuse="always")


def _schema(file: Path, uri_mapper: Callable[[str], str]) -> xmlschema.XMLSchema10:
    return _build(str(file.resolve()), file.stat().st_mtime_ns, uri_mapper)


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Raise `TooLongError` after that much CPU time. `re` looks for signals, so it ends an endless pattern as
    well."""
    if threading.current_thread() is not threading.main_thread():
        raise TooLongError  # no signals here: be content with lxml's log

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _fault(error: Any, document: _Document) -> Fault:
    """xmlschema's error. Its `reason` holds values: only its kind and the schema's own words are used."""
    element: Any = error.elem
    if isinstance(error, XMLSchemaChildrenValidationError):
        child: Any = error.invalid_child
        expected = document.listed(getattr(particle, "local_name", None) for particle in error.expected or ())
        if child is not None:
            return document.fault(child, _not_expected(expected))
        return document.fault(element, _missing(expected))
    return document.fault(element, _because(error, document))


def _not_expected(expected: Sentence) -> Sentence:
    if expected:
        return say("ist hier nicht vorgesehen; erwartet wird {expected}", expected=expected)
    return say("ist hier nicht vorgesehen")


def _missing(expected: Sentence) -> Sentence:
    return say("es fehlt {expected}", expected=expected) if expected else say("ist unvollständig")


def _because(error: Any, document: _Document) -> Sentence:
    validator, element = error.validator, error.elem
    kind = type(validator).__name__
    if kind == "XsdAttributeGroup":
        return _attributes_reason(validator, element, document)
    attribute = re.match(r"attribute ([\w:.-]{1,100})=", str(error.reason))
    name = (attribute[1].rpartition(":")[2] if attribute else "")
    value = error.obj if isinstance(error.obj, str) else None
    if value is None and element is not None and not attribute:
        value = element.text
    what = _facet_reason(kind, validator) or (
        _type_reason(getattr(validator, "local_name", None), value, document)
        if isinstance(error, XMLSchemaDecodeError) else say("passt nicht zum Schema"))
    if "is not an element of the schema" in str(error.reason):
        what = say("ist im Schema nicht vorgesehen")
    elif value and (kind in _FACETS or kind in _LISTED or isinstance(error, XMLSchemaDecodeError)):
        what = say("{what} (gesendet: {shape})", what=what, shape=Shape(value))
    if name in document.names:
        return say("Attribut „{name}“ {what}", name=Name(name), what=what)
    return what


def _facet_reason(kind: str, validator: Any) -> Sentence | None:
    if kind == "XsdEnumerationFacets":
        return say("ist keiner der erlaubten Werte ({some})",
                   some=_some([str(value) for value in validator.enumeration]))
    if kind == "XsdPatternFacets":
        return say("entspricht nicht dem verlangten Muster ({some})",
                   some=_some([str(value) for value in validator.regexps]))
    if kind in _FACETS:
        return say("{facet}", facet=Words(_FACETS[kind].format(validator.value)))
    return None


def _type_reason(name: str | None, value: str | None, document: _Document) -> Sentence:
    is_not = _TYPES.get(name or "")
    if not value:
        return say("ist leer und damit {no}", no=Words(is_not)) if is_not else say("ist leer")
    if is_not:
        return say("ist {no}", no=Words(is_not))
    if name in document.names:
        return say("hat die falsche Form (verlangt: {name})", name=Name(name or ""))
    return say("hat die falsche Form")


def _attributes_reason(group: Any, element: Any, document: _Document) -> Sentence:
    """The attributes that the schema wants and the element has not; else it has one too many."""
    missing = document.listed(
        name.rpartition("}")[2] for name, attribute in group.items() if isinstance(name, str)
        and getattr(attribute, "use", "") == "required" and name not in element.attrib)
    if missing:
        return say("es fehlt das Attribut {names}", names=missing)
    return say("hat ein Attribut, das nicht vorgesehen ist")


def _some(values: Sequence[str]) -> Sentence:
    """Values and patterns that stand in the schema."""
    shown = [say("{value}", value=Words(value[:60])) for value in values[:MOST]]
    return lines([*shown, say("…")] if len(values) > MOST else shown, ", ")


_LISTED = frozenset({"XsdEnumerationFacets", "XsdPatternFacets"})
_FACETS: Mapping[str, str] = {
    "XsdMaxLengthFacet": "ist länger als {} Zeichen", "XsdMinLengthFacet": "ist kürzer als {} Zeichen",
    "XsdLengthFacet": "ist nicht genau {} Zeichen lang", "XsdMinInclusiveFacet": "ist kleiner als {}",
    "XsdMaxInclusiveFacet": "ist größer als {}", "XsdMinExclusiveFacet": "ist nicht größer als {}",
    "XsdMaxExclusiveFacet": "ist nicht kleiner als {}", "XsdTotalDigitsFacet": "hat mehr als {} Ziffern",
    "XsdFractionDigitsFacet": "hat mehr als {} Nachkommastellen",
}
_ROUGH_FACETS = {
    "maxLength": say("ist zu lang"), "minLength": say("ist zu kurz"),
    "length": say("hat nicht die verlangte Länge"), "minInclusive": say("ist zu klein"),
    "maxInclusive": say("ist zu groß"), "minExclusive": say("ist zu klein"),
    "maxExclusive": say("ist zu groß"), "totalDigits": say("hat zu viele Ziffern"),
    "fractionDigits": say("hat zu viele Nachkommastellen"),
    "enumeration": say("ist keiner der erlaubten Werte"),
    "pattern": say("entspricht nicht dem verlangten Muster"),
}


def _roughly(entry: Any, document: _Document) -> Fault:
    """lxml's log entry. Its message begins with names and goes on with values: it is only looked into for
    words of libxml2's and for names that the schema declares."""
    message = str(entry.message)
    facet = re.match(r"Element '[^']*'(?:, attribute '[^']*')?: \[facet '(\w+)'\]", message)
    typed = re.search(r" atomic type '(?:xs:)?(\w+)'\.$", message)
    expected = re.match(r"Element '[^']*': (?:Missing child element\(s\)|This element is not expected)\. "
                        r"Expected is (?:one of )?\(([^()]*)\)", message)
    names = document.listed(_rough_names(expected[1]) if expected else ())
    element = _at(entry.path, document.root)
    value = None if element is None or len(element) else element.text
    if facet and facet[1] in _ROUGH_FACETS:
        reason = _ROUGH_FACETS[facet[1]]
    elif ": Missing child element(s)" in message[:300]:
        reason = _missing(names)
    elif ": This element is not expected." in message[:300]:
        reason = _not_expected(names)
    elif typed:
        reason = _type_reason(typed[1], value, document)
    elif message.endswith(("is not a valid value of the local atomic type.", "of the local union type.")):
        reason = _type_reason(None, value, document)
    else:
        reason = say("passt nicht zum Schema")
    return document.fault(element, reason)


def _rough_names(names: str) -> list[str]:
    return [name.strip().rpartition("}")[2].lstrip("#") for name in names.split(",")]


def _at(path: str | None, root: etree._Element) -> etree._Element | None:
    """libxml2's path names prefixes; those of the root must do, or the element stays unknown."""
    if not path:
        return None
    namespaces = {prefix: uri for prefix, uri in root.nsmap.items() if prefix}
    try:
        found = root.getroottree().xpath(path, namespaces=namespaces)
    except etree.XPathError:
        return None
    return found[0] if isinstance(found, list) and found and isinstance(found[0], etree._Element) else None
