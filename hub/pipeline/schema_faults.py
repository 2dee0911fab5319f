"""Why a document does not fit its schema, in German sentences that name places and rules.

Of a citizen's value only its type and its length are told. Both engines put values into their messages, so
their messages are never passed on: they are looked into for the kind of the error. What is wrong with a value
is found out from the type that the schema declares for it (`hub.pipeline.value_faults`).

lxml validates and says only roughly what failed. xmlschema says it well, but about 80 times slower, and its
patterns run in Python's `re`, where 40 letters can take for ever. So xmlschema is asked only about small
documents, and only for `SECONDS` of CPU time; an interval timer enforces that inside of `re` too. Otherwise
lxml's own log is put into words.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from hub.i18n.sentence import Name, Place, Sentence, lines, say
from hub.pipeline import value_faults
from hub.pipeline.places import NOWHERE, path_of
from hub.pipeline.schema_names import names_of

MOST = 10
SECONDS = 2.0
MAX_ELEMENTS = 5_000
MAX_TEXT = 200_000
MAX_NAMES = 2_000
"""Names of a schema that is read for a large document, too: a mapping's own has some hundreds."""


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
    """The document that does not fit, the names that its schema declares, and the schema, if it was read."""

    root: etree._Element
    names: frozenset[str]
    schema: xmlschema.XMLSchema10 | None = None

    def fault(self, element: etree._Element | None, reason: Sentence) -> Fault:
        """A fault at an element, or somewhere in the document."""
        path = NOWHERE if element is None else path_of(element, self.root, self.names)
        return Fault(element, path, reason)

    def value_fault(self, element: etree._Element | None, attribute: str = "") -> Sentence | None:
        """Why the text of an element, or its attribute, is none of its declared type; None: not known."""
        declared = None if element is None else _declared(self.schema, element, self.root)
        if element is None or declared is None:
            return None
        if attribute:
            found = declared.attributes.get(attribute)
            return None if found is None else value_faults.reason(found.type, attribute,
                                                                  element.get(attribute))
        simple = declared.type if declared.type.is_simple() else declared.type.content
        if not hasattr(simple, "primitive_type") and not hasattr(simple, "member_types"):
            return None
        if len(element):
            return say("enthält weitere Elemente statt eines Werts")
        return value_faults.reason(simple, declared.local_name, element.text)

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
    names, small = names_of(file, uri_mapper), _is_small(root)
    schema = _schema(file, uri_mapper) if small or len(names) <= MAX_NAMES else None
    document = _Document(root, names, schema)
    if small and schema is not None:
        try:
            with cpu_limit(SECONDS):
                faults = [*islice(_once(_fault(error, document) for error in schema.iter_errors(root)),
                                  MOST + 1)]
        except (TooLongError, xmlschema.XMLSchemaException, RecursionError):
            faults = []
        if faults:
            return faults
    return [*islice(_once(_roughly(entry, document) for entry in log), MOST + 1)]


def _once(faults: Iterable[Fault]) -> Iterator[Fault]:
    """Each fault once: an engine tells each member of a union and each facet that a value does not fit."""
    seen = set()
    for fault in faults:
        same = (None if fault.element is None else id(fault.element), fault.path, fault.reason)
        if same not in seen:
            seen.add(same)
            yield fault


def _declared(schema: xmlschema.XMLSchema10 | None, element: etree._Element,
              root: etree._Element) -> Any:
    """What the schema declares for an element of the document; None where it is not found."""
    if schema is None:
        return None
    steps = [element, *element.iterancestors()]
    if root not in steps:
        return None
    *inside, top = steps[:steps.index(root) + 1]
    found: Any = schema.elements.get(etree.QName(top).localname)
    for step in reversed(inside):
        content: Any = None if found is None else getattr(found.type, "content", None)
        children = content.iter_elements() if hasattr(content, "iter_elements") else ()
        found = next((child for child in children if child.name == step.tag), None)
    return found


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


def _schema(file: Path, uri_mapper: Callable[[str], str]) -> xmlschema.XMLSchema10 | None:
    """The schema as xmlschema reads it; None where it does not take what libxml2 takes."""
    try:
        return _build(str(file.resolve()), file.stat().st_mtime_ns, uri_mapper)
    except (xmlschema.XMLSchemaException, RecursionError):
        return None


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
    if type(validator).__name__ == "XsdAttributeGroup":
        return _attributes_reason(validator, element, document)
    if "is not an element of the schema" in str(error.reason):
        return say("ist im Schema nicht vorgesehen")
    attribute = re.match(r"attribute ([\w:.-]{1,100})=", str(error.reason))
    name = (attribute[1].rpartition(":")[2] if attribute else "")
    what = document.value_fault(element, name) or _generally(error)
    if name in document.names:
        return say("Attribut „{name}“ {what}", name=Name(name), what=what)
    return what


def _generally(error: Any) -> Sentence:
    """Why a value does not fit whose declaration was not found."""
    validator = error.validator
    if type(validator).__name__ == "XsdEnumerationFacets":
        return value_faults.not_allowed([str(value) for value in validator.enumeration])
    if type(validator).__name__ == "XsdPatternFacets":
        return value_faults.unmatched([str(value) for value in validator.regexps])
    if isinstance(error, XMLSchemaDecodeError):
        value = error.obj if isinstance(error.obj, str) else None
        return value_faults.no(getattr(validator, "local_name", None), value) or say("hat die falsche Form")
    return say("passt nicht zum Schema")


def _attributes_reason(group: Any, element: Any, document: _Document) -> Sentence:
    """The attributes that the schema wants and the element has not; else it has one too many."""
    missing = document.listed(
        name.rpartition("}")[2] for name, attribute in group.items() if isinstance(name, str)
        and getattr(attribute, "use", "") == "required" and name not in element.attrib)
    if missing:
        return say("es fehlt das Attribut {names}", names=missing)
    return say("hat ein Attribut, das nicht vorgesehen ist")


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
    attribute = re.match(r"Element '[^']*', attribute '([^']*)'", message)
    known = document.value_fault(element, attribute[1] if attribute else "")
    if known is not None and attribute is None:
        reason = known
    elif known is not None and attribute is not None and attribute[1] in document.names:
        reason = say("Attribut „{name}“ {what}", name=Name(attribute[1]), what=known)
    elif facet and facet[1] in _ROUGH_FACETS:
        reason = _ROUGH_FACETS[facet[1]]
    elif ": Missing child element(s)" in message[:300]:
        reason = _missing(names)
    elif ": This element is not expected." in message[:300]:
        reason = _not_expected(names)
    elif typed:
        reason = value_faults.no(typed[1], value) or say("hat die falsche Form")
    elif message.endswith(("is not a valid value of the local atomic type.", "of the local union type.")):
        reason = say("hat die falsche Form") if value else say("ist leer")
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
