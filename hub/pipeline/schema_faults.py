"""Why a document does not fit its schema, in German sentences that name places and rules, never the citizen's
values.

lxml validates and says only roughly what failed; xmlschema says it well, but about 80 times slower, and its
patterns run in Python's `re`, where 40 letters can take for ever. So xmlschema is asked only about small
documents, and only for `SECONDS` of CPU time, which an interval timer enforces inside of `re` too. Otherwise
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

MOST = 10
SECONDS = 2.0
MAX_ELEMENTS = 5_000
MAX_TEXT = 200_000

_TYPES = {
    "date": "kein Datum (JJJJ-MM-TT)", "time": "keine Uhrzeit (hh:mm:ss)", "dateTime": "kein Zeitpunkt",
    "decimal": "keine Zahl (mit Punkt statt Komma)", "boolean": "weder true noch false",
    "gYear": "keine Jahreszahl",
    "anyURI": "keine gültige Adresse", "base64Binary": "kein Base64", "double": "keine Zahl",
    "float": "keine Zahl",
    **dict.fromkeys(("integer", "int", "long", "short", "nonNegativeInteger", "positiveInteger",
                     "unsignedInt",
                     "unsignedShort", "unsignedByte", "unsignedLong"), "keine ganze Zahl"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not fit: the element (None where unknown), its path, and the reason in German."""

    element: etree._Element | None
    path: str
    reason: str


class _TooLongError(Exception):
    pass


def explain(file: Path, root: etree._Element, log: Sequence[Any],
            uri_mapper: Callable[[str], str]) -> list[Fault]:
    """Up to `MOST` faults of the document `root` against the schema in `file`, and one more where there are
    more.

    `log` is a copy of lxml's error log; `uri_mapper` gives the file of a schema's URL.
    """
    if _is_small(root):
        try:
            schema = _schema(file, uri_mapper)
            with _cpu_limit(SECONDS):
                faults = [_fault(error, root) for error in islice(schema.iter_errors(root), MOST + 1)]
        except (_TooLongError, xmlschema.XMLSchemaException, RecursionError):
            faults = []
        if faults:
            return faults
    return [_roughly(entry, root) for entry in log[:MOST + 1]]


def entries(schema: etree.XMLSchema) -> list[Any]:
    """A copy of the schema's log of its last validation, which the next one overwrites."""
    return [*cast(Iterable[Any], schema.error_log)]


def path_of(element: etree._Element, root: etree._Element) -> str:
    """Where an element is, by local names: ``/fields/halter/instance[2]/name``."""
    steps: list[str] = []
    here: etree._Element | None = element
    while here is not None and here is not root:
        parent = here.getparent()
        same = parent.findall(str(here.tag)) if parent is not None else [here]
        name = etree.QName(here).localname
        steps.append(f"{name}[{same.index(here) + 1}]" if len(same) > 1 else name)
        here = parent
    return "/" + "/".join([etree.QName(root).localname, *reversed(steps)])


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
def _cpu_limit(seconds: float) -> Iterator[None]:
    """Raise `_TooLongError` after that much CPU time. `re` looks for signals, so it ends an endless pattern
    as well."""
    if threading.current_thread() is not threading.main_thread():
        raise _TooLongError  # no signals here: be content with lxml's words

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _fault(error: Any, root: etree._Element) -> Fault:
    """xmlschema's error. Its `reason` holds values, so only its kind and the schema's own words are used."""
    element: Any = error.elem
    if isinstance(error, XMLSchemaChildrenValidationError):
        child: Any = error.invalid_child
        expected = _expected(error)
        if child is not None:
            return Fault(child, path_of(child, root), "ist hier nicht vorgesehen" + (
                f"; erwartet wird {expected}" if expected else ""))
        return Fault(element, path_of(element, root), f"es fehlt {expected}" if expected
                     else "ist unvollständig")
    reason = _attribute(error) + _because(error)
    return Fault(element, path_of(element, root) if element is not None else str(error.path), reason)


def _expected(error: Any) -> str:
    names = [particle.local_name for particle in error.expected or ()
             if getattr(particle, "local_name", None)]
    return " oder ".join(f"„{name}“" for name in names[:MOST])


def _attribute(error: Any) -> str:
    match = re.match(r"attribute ([\w:.-]{1,100})=", str(error.reason))
    return f"Attribut „{match[1]}“ " if match else ""


def _because(error: Any) -> str:
    validator = error.validator
    kind = type(validator).__name__
    if kind == "XsdEnumerationFacets":
        return f"ist keiner der erlaubten Werte ({_some([str(value) for value in validator.enumeration])})"
    if kind == "XsdPatternFacets":
        return f"entspricht nicht dem verlangten Muster ({_some([str(value) for value in validator.regexps])})"
    if kind in _FACETS:
        return _FACETS[kind].format(validator.value)
    if kind == "XsdAttributeGroup":
        return _attributes_reason(str(error.reason))
    if isinstance(error, XMLSchemaDecodeError):
        return _type_reason(getattr(validator, "local_name", None), error.elem)
    if "is not an element of the schema" in str(error.reason):
        return "ist im Schema nicht vorgesehen"
    return "passt nicht zum Schema"


def _type_reason(name: str | None, element: Any) -> str:
    is_not = _TYPES.get(name or "")
    if element is not None and not element.text and not len(element) and not element.attrib:
        return f"ist leer und damit {is_not}" if is_not else "ist leer"
    if is_not:
        return f"ist {is_not}"
    return f"hat die falsche Form (verlangt: {name})" if name else "hat die falsche Form"


def _attributes_reason(reason: str) -> str:
    missing = re.match(r"missing required attribute '([^']{1,100})'", reason)
    if missing:
        return f"es fehlt das Attribut „{missing[1]}“"
    return "hat ein Attribut, das nicht vorgesehen ist"


def _some(values: Sequence[str]) -> str:
    shown = ", ".join(value[:60] for value in values[:MOST])
    return f"{shown}, …" if len(values) > MOST else shown


_FACETS: Mapping[str, str] = {
    "XsdMaxLengthFacet": "ist länger als {} Zeichen", "XsdMinLengthFacet": "ist kürzer als {} Zeichen",
    "XsdLengthFacet": "ist nicht genau {} Zeichen lang", "XsdMinInclusiveFacet": "ist kleiner als {}",
    "XsdMaxInclusiveFacet": "ist größer als {}", "XsdMinExclusiveFacet": "ist nicht größer als {}",
    "XsdMaxExclusiveFacet": "ist nicht kleiner als {}", "XsdTotalDigitsFacet": "hat mehr als {} Ziffern",
    "XsdFractionDigitsFacet": "hat mehr als {} Nachkommastellen",
}
_ROUGH_FACETS = {
    "maxLength": "ist zu lang", "minLength": "ist zu kurz", "length": "hat nicht die verlangte Länge",
    "minInclusive": "ist zu klein", "maxInclusive": "ist zu groß", "minExclusive": "ist zu klein",
    "maxExclusive": "ist zu groß", "totalDigits": "hat zu viele Ziffern",
    "fractionDigits": "hat zu viele Nachkommastellen", "enumeration": "ist keiner der erlaubten Werte",
    "pattern": "entspricht nicht dem verlangten Muster",
}


def _roughly(entry: Any, root: etree._Element) -> Fault:
    """lxml's log entry. Its message begins with names and goes on with values: only the beginning is read."""
    message = str(entry.message)
    facet = re.match(r"Element '[^']*'(?:, attribute '[^']*')?: \[facet '(\w+)'\]", message)
    typed = re.search(r" atomic type '(?:xs:)?(\w+)'\.$", message)
    expected = re.match(r"Element '[^']*': (?:Missing child element\(s\)|This element is not expected)\. "
                        r"Expected is (?:one of )?\(([^()]*)\)", message)
    element = _at(entry.path, root)
    if facet and facet[1] in _ROUGH_FACETS:
        reason = _ROUGH_FACETS[facet[1]]
    elif ": Missing child element(s)" in message[:300]:
        reason = f"es fehlt {_rough_names(expected[1])}" if expected else "ist unvollständig"
    elif ": This element is not expected." in message[:300]:
        reason = "ist hier nicht vorgesehen" + (f"; erwartet wird {_rough_names(expected[1])}" if expected
                                                else "")
    elif typed:
        reason = _type_reason(typed[1], element)
    elif message.endswith(("is not a valid value of the local atomic type.", "of the local union type.")):
        reason = _type_reason(None, element)
    else:
        reason = "passt nicht zum Schema"
    return Fault(element, path_of(element, root) if element is not None else str(entry.path or "/"), reason)


def _rough_names(names: str) -> str:
    locals_ = [name.strip().rpartition("}")[2].lstrip("#") for name in names.split(",")]
    return " oder ".join(f"„{name}“" for name in locals_[:MOST] if name)


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
