"""What is wrong with a stylesheet, found by reading it: before a message meets it.

libxslt (XSLT 1.0) compiles nearly everything and fails at the first message that comes by: at an unknown
element, a prefix without namespace, a function, a variable, a template or a key that is not there. Saxon (2.0
and 3.0) finds these itself. What neither knows is the hub's own: which fields the form has, what a
rendering's role asks of the output, and that no stylesheet may read a document.

`review` reads a stylesheet with all that it imports and tells faults as lines
``mapping:v1/table.xsl: line 12: what is wrong: what to do``.

BUGS: a name is looked for in the whole field table unless the path before it names its group. Elements that
the stylesheet makes itself, without namespace, count as known, because it may read them again.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from lxml import etree

from hub.mapping.model import FieldTable, Rendering
from hub.pipeline.places import line_of
from hub.pipeline.xpath_names import UNKNOWN, Call, Context, Names, expressions_in, names_in
from hub.pipeline.xslt import DENIED, XSL
from hub.pipeline.xslt_elements import ATTRIBUTES_1, EXPRESSIONS

PARAMETERS = frozenset({"name", "ags", "hub", "message-id", "case", "day", "subject", "service", "version"})
"""What the hub hands to every stylesheet."""

MOST = 20
"""Faults told of one stylesheet."""

_OWN = frozenset({"instance", "value", "attachment"})
_READERS = frozenset({
    "document", "doc", "doc-available", "unparsed-text", "unparsed-text-lines", "unparsed-text-available",
    "collection", "uri-collection", "json-doc", "transform", "fn:transform", "stream-available"})
_WRITERS = frozenset({"document", "output", "write", "result-document", "source-document", "stream"})
_EXSLT = "{http://exslt.org/functions}"
_META = re.compile(r"charset\s*=\s*[\"']?([\w-]+)", re.IGNORECASE)
_TEXTS = frozenset({"text", "csv", "json"})


@dataclass(frozen=True, slots=True)
class Sheet:
    """A stylesheet to be judged: its own name, and by name the texts of it and of all that it imports."""

    name: str
    modules: Mapping[str, str]
    output: Callable[[str], str | None]
    """What its xsl:output says of an attribute (`hub.pipeline.xslt.output_of`)."""
    rendering: Rendering
    parameters: Collection[str] = ()
    tables: Callable[[str], FieldTable | None] = lambda _: None
    """By a module's name: the fields that it may name; None: they are not looked at."""


@dataclass(slots=True)
class _Known:
    """What the modules declare together."""

    globals: set[str] = field(default_factory=set)
    templates: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)


def review(sheet: Sheet) -> list[str]:
    """The faults of a stylesheet, each once, at most `MOST`."""
    roots = {name: etree.fromstring(text.encode(), _parser()) for name, text in sheet.modules.items()}
    known = _declared(roots.values(), sheet)
    found = [f"{sheet.name}: xsl:output: {fault}" for fault in _output(sheet)]
    for name, root in roots.items():
        reader = _Module(sheet, root, known, sheet.tables(name))
        found += [f"{name}: line {line}: {fault}" for line, fault in reader.faults()]
    return list(dict.fromkeys(found))[:MOST]


def _parser() -> etree.XMLParser:
    return etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False, remove_comments=True,
                           remove_pis=True)


def _declared(roots: Collection[etree._Element], sheet: Sheet) -> _Known:
    known = _Known(globals={*PARAMETERS, *sheet.parameters})
    for root in roots:
        for element in root.iter(etree.Element):
            tag, name = str(element.tag), element.get("name", "")
            if element.getparent() is root and tag in (f"{XSL}param", f"{XSL}variable"):
                known.globals.add(name)
            elif tag == f"{XSL}template" and name:
                known.templates.add(name)
            elif tag == f"{XSL}key":
                known.keys.add(name)
            elif tag == f"{_EXSLT}function":
                known.functions.add(name)
            elif tag == f"{XSL}element" and "{" not in name:
                known.made.add(name)
            elif not tag.startswith("{"):
                known.made.add(tag)
    return known


# --- what a role asks of the output -------------------------------------------------------------------------


def _output(sheet: Sheet) -> Iterator[str]:
    role, method, encoding = sheet.rendering.role, sheet.output("method"), sheet.output("encoding")
    allowed = {"xml": (None, "xml", "xhtml"), "json": ("text", "json")}.get(
        role, ("text",) if role in _TEXTS else (None, "html", "xhtml", "xml"))
    if method not in allowed:
        said = f"method is {method}" if method else "method is missing"
        yield f"{said}, and {role} is made of it: write method=\"{next(filter(None, allowed))}\""
    if encoding is None:
        return
    codec = _codec(encoding)
    if codec is None:
        yield f"encoding {encoding} is unknown: write encoding=\"UTF-8\""
    elif role == "xml":
        if codec != "utf-8" and sheet.output("omit-xml-declaration") in ("yes", "true", "1"):
            yield f"{encoding} without an XML declaration cannot be read: write omit-xml-declaration=\"no\""
    elif codec != "utf-8" and (role != "csv" or codec != _codec(sheet.rendering.encoding)):
        yield (f"encoding is {encoding}, and {role} is {sheet.rendering.encoding.upper()}: "
               "write encoding=\"UTF-8\"")


@lru_cache(maxsize=256)
def _codec(encoding: str) -> str | None:
    """The one name of an encoding that both Python and libxml2 can write; None: there is none."""
    try:
        etree.tostring(etree.Element("a"), encoding=encoding.removesuffix("-sig"))
        "".encode(encoding)
    except (LookupError, ValueError):
        return None
    return codecs.lookup(encoding).name


# --- one module ---------------------------------------------------------------------------------------------


class _Module:
    """One file of a stylesheet, read from its beginning to its end."""

    def __init__(self, sheet: Sheet, root: etree._Element, known: _Known, table: FieldTable | None) -> None:
        self._sheet = sheet
        self._root = root
        self._known = known
        self._table = table
        self._fields = set() if table is None else {*table.groups, *(row.id for row in table.field), *_OWN,
                                                    *known.made}
        self._old = root.get("version", root.get(f"{XSL}version")) == "1.0"
        self._extensions = {root.nsmap.get(prefix) for prefix in
                            (root.get("extension-element-prefixes") or "").split()}

    def faults(self) -> Iterator[tuple[int, str]]:
        """Line and fault, in the order of the file."""
        for element, context in _walk(self._root, UNKNOWN):
            line = line_of(element)
            for fault in (*self._element(element), *self._content(element)):
                yield line, fault
            for expression, begins in _expressions(element, context):
                for fault in self._expression(element, names_in(expression, begins)):
                    yield line, fault

    def _element(self, element: etree._Element) -> Iterator[str]:
        """Elements and attributes that there are not, or that would read or write."""
        tag, local = etree.QName(element), str(element.tag).rpartition("}")[2]
        if local in _WRITERS and element.tag != f"{XSL}output" and (
                tag.namespace in self._extensions or str(element.tag).startswith(XSL)):
            yield f"{local} reads or writes a document: stylesheets may not; make it one rendering more"
            return
        if not self._old or not str(element.tag).startswith(XSL):
            return
        allowed = ATTRIBUTES_1.get(local)
        if allowed is None:
            yield f"xsl:{local} does not exist in XSLT 1.0: correct its spelling, or write version=\"3.0\""
            return
        for name in map(str, element.keys()):
            if not name.startswith("{") and name not in allowed:
                yield f"xsl:{local} has no attribute {name}: correct its spelling, or remove it"
        if local == "call-template" and element.get("name") not in self._known.templates:
            yield f"there is no template {element.get('name')}: correct the name"

    def _content(self, element: etree._Element) -> Iterator[str]:
        """What would make XML that is none, and HTML that says a wrong encoding of itself."""
        role = self._sheet.rendering.role
        if role == "xml":
            if element.get("disable-output-escaping") in ("yes", "true", "1"):
                yield ("disable-output-escaping can make XML that is none: make elements of it, or leave the "
                       "attribute out")
            if element.tag == f"{XSL}output-character" and set("<&") & set(element.get("string", "")):
                yield "xsl:output-character can make XML that is none: make elements of it"
        if role in ("html", "pdf") and str(element.tag).rpartition("}")[2].lower() == "meta":
            said = element.get("charset") or (_META.search(element.get("content", "")) or [None, None])[1]
            if said and "{" not in said and _codec(said) != "utf-8":
                yield f"meta says {said}, and {role} is UTF-8: write charset=\"UTF-8\""

    def _expression(self, element: etree._Element, names: Names) -> Iterator[str]:
        yield from self._readers(names.calls)
        if self._old:
            yield from self._undeclared(element, names)
        if self._table is not None and not _default_namespace(element):
            yield from self._unknown_fields(names, self._table)

    def _readers(self, calls: Collection[Call]) -> Iterator[str]:
        for call in calls:
            itself = call.name in ("document", "doc") and call.first == "" and call.alone
            if call.name in _READERS and not (itself and not self._old):
                remedy = ("a table of words goes into an xsl:variable, to be read by exsl:node-set, or write "
                          "version=\"3.0\"" if itself else "hand it over as a field or as a parameter")
                yield f"{call.name}() reads a document, which stylesheets may not: {remedy}"

    def _undeclared(self, element: etree._Element, names: Names) -> Iterator[str]:
        spaces = {prefix: uri for prefix, uri in element.nsmap.items() if prefix}
        missing = {prefix for prefix in names.prefixes if prefix not in spaces and prefix != "xml"}
        for prefix in sorted(missing):
            yield f"prefix {prefix} has no namespace: declare it by xmlns:{prefix}"
        for variable in names.variables:
            if variable not in self._known.globals and not _in_scope(element, variable):
                yield f"${variable} is not declared: declare it by xsl:param or xsl:variable"
        for call in names.calls:
            prefix, _, local = call.name.rpartition(":")
            if call.name in _READERS or call.name in self._known.functions or prefix in missing:
                continue
            if not _available(spaces.get(prefix) if prefix else None, local):
                yield f"there is no function {call.name}(): correct its spelling"
            if call.name == "key" and call.first is not None and call.first not in self._known.keys:
                yield f"there is no xsl:key {call.first}: correct the name"

    def _unknown_fields(self, names: Names, table: FieldTable) -> Iterator[str]:
        for step in names.steps:
            group = step.before[-2] if step.before[-1:] == ("instance",) and len(step.before) > 1 else None
            fields = table.rows_of.get(group, {}) if group is not None and group in table.groups else None
            if step.name not in self._fields:
                yield f"{step.name} is no field of the form: correct the name, or the field table"
            elif group is not None and fields is not None and step.name not in {*fields, *_OWN,
                                                                                *self._known.made}:
                yield f"{step.name} is no field of {group}: correct the name, or the field table"


# --- reading ------------------------------------------------------------------------------------------------


def _walk(element: etree._Element, context: Context) -> Iterator[tuple[etree._Element, Context]]:
    """The elements in order, each with the context that its own expressions begin at."""
    yield element, context
    inside = context
    if element.tag == f"{XSL}template":
        match = element.get("match")
        inside = names_in(match).end if match and not element.get("name") else UNKNOWN
    elif element.tag in (f"{XSL}for-each", f"{XSL}for-each-group"):
        inside = names_in(element.get("select", ""), context).end
    elif element.tag in (f"{XSL}function", f"{XSL}iterate", f"{XSL}key", f"{XSL}analyze-string"):
        inside = UNKNOWN
    for child in element.iterchildren(etree.Element):
        yield from _walk(child, inside)


def _expressions(element: etree._Element, context: Context) -> Iterator[tuple[str, Context]]:
    """The expressions of an element's own attributes and texts, each with where it begins."""
    ours = str(element.tag).startswith(XSL)
    for name, value in element.items():
        if ours and name in EXPRESSIONS:
            yield str(value), UNKNOWN if name in ("match", "use", "count", "from") else context
        else:
            for expression in expressions_in(str(value)):
                yield expression, context
    if _expands(element):
        for text in (element.text, *(child.tail for child in element)):
            for expression in expressions_in(text or ""):
                yield expression, UNKNOWN


def _expands(element: etree._Element) -> bool:
    """Whether braces in its texts are expressions (XSLT 3.0)."""
    for each in (element, *element.iterancestors()):
        said = each.get("expand-text" if str(each.tag).startswith(XSL) else f"{XSL}expand-text")
        if said is not None:
            return said in ("yes", "true", "1")
    return False


def _default_namespace(element: etree._Element) -> bool:
    """Whether a name without prefix means an element of some namespace (XSLT 2.0)."""
    return any(each.get("xpath-default-namespace" if str(each.tag).startswith(XSL)
                        else f"{XSL}xpath-default-namespace")
               for each in (element, *element.iterancestors()))


def _in_scope(element: etree._Element, variable: str) -> bool:
    """Whether a variable is declared before the element, beside it or beside what it stands in."""
    return any(before.tag in (f"{XSL}param", f"{XSL}variable") and before.get("name") == variable
               for each in (element, *element.iterancestors())
               for before in each.itersiblings(etree.Element, preceding=True))


@lru_cache(maxsize=1024)
def _available(namespace: str | None, local: str) -> bool:
    """Whether libxslt knows a function."""
    declared = f' xmlns:f="{namespace}"' if namespace else ""
    name = f"f:{local}" if namespace else local
    sheet = (f'<x:stylesheet version="1.0" xmlns:x="{XSL[1:-1]}"{declared}><x:output method="text"/>'
             f'<x:template match="/"><x:value-of select="function-available(\'{name}\')"/></x:template>'
             "</x:stylesheet>")
    asked = etree.XSLT(etree.fromstring(sheet), access_control=DENIED)
    return str(asked(etree.Element("a"))) == "true"
