"""A mapping's Schematron rules (ISO/IEC 19757-3), bound to XSLT 1.

The text of a rule that fails is read in the rules' file, not in the report: between its words there may only
be numbers, which ``sch:value-of`` counts (``@n + 1``, ``count(…)``). What the report has in such a place is
told where it is a number of up to three digits, else as ``…``. So a rule can say nothing of what a citizen
wrote, whatever its author tried.

An assertion or report with role ``warning`` or ``information`` never rejects. Compiled rules are kept per
process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lxml import etree
from lxml.isoschematron import iso_abstract_expand, iso_svrl_for_xslt1

from hub.errors import ConfigError
from hub.i18n.sentence import Name, Sentence, Words, say
from hub.pipeline import xslt
from hub.pipeline.places import line_of

SCH = "{http://purl.oclc.org/dsdl/schematron}"
SVRL = "{http://purl.oclc.org/dsdl/svrl}"
HOLE = "…"
_CHECKS = (f"{SCH}assert", f"{SCH}report")
_INLINE = (f"{SCH}emph", f"{SCH}span", f"{SCH}dir")
_HARMLESS = frozenset({"warning", "warn", "information", "info"})
_IMPERSONAL = re.compile(r"(@n|position\(\)|last\(\)|count\([^()]*\)|[0-9+* -])+")
_NUMBER = r"(-?\d{1,3})"
_LITERAL = re.compile(r"'[^']*'|\"[^\"]*\"")
_PREFIX = re.compile(r"([A-Za-z_][\w.-]*):(?!:)")
_CALL = re.compile(r"(?<![\w.:-])([A-Za-z_][\w.-]*)\s*\(")
_FUNCTIONS = frozenset(
    ["boolean", "ceiling", "comment", "concat", "contains", "count", "current", "document",
     "element-available", "false", "floor", "format-number", "function-available", "generate-id", "id", "key",
     "lang", "last", "local-name", "name", "namespace-uri", "node", "normalize-space", "not", "number",
     "position", "processing-instruction", "round", "starts-with", "string", "string-length", "substring",
     "substring-after", "substring-before", "sum", "system-property", "text", "translate", "true",
     "unparsed-entity-uri", "and", "or", "div", "mod"])
"""Of XPath 1.0 and XSLT 1.0, with its tests of nodes and the words that may stand before a parenthesis."""
_MARK = "\uE000"


@dataclass(frozen=True, slots=True)
class Failed:
    """A rule that a message does not keep: its sentence, where it stands in the rules' file, and the element
    it is about (None: not found)."""

    text: Sentence
    where: Sentence
    element: etree._Element | None


@dataclass(frozen=True, slots=True)
class _Rule:
    """An assertion or a report as it stands in the file: its id, its line, its words between numbers."""

    name: str
    line: int
    words: tuple[str, ...]


class RuleSet:
    """The rules of one file, compiled; nothing they do can read or write."""

    def __init__(self, file: Path, transformation: etree.XSLT, checks: Mapping[str, _Rule]) -> None:
        self._file = file
        self._transformation = transformation
        self._checks = checks

    def failed(self, envelope: etree._Element) -> list[Failed]:
        """The rules that the envelope does not keep. Raises `ConfigError` when they cannot be applied."""
        try:
            report = self._transformation(envelope)
        except etree.XSLTApplyError as error:
            raise ConfigError.at(self._file, *_culprit(self._file), "mend the rules") from error
        found = report.getroot().iter(f"{SVRL}failed-assert", f"{SVRL}successful-report")
        return [self._failed(item, envelope) for item in found
                if item.get("role", "").lower() not in _HARMLESS]

    def _failed(self, item: etree._Element, envelope: etree._Element) -> Failed:
        rule = self._checks[item.get("id", "")]
        where = say("{file}, Zeile {line}", file=Name(self._file.name), line=rule.line)
        if rule.name:
            where = say("{where}, Regel {name}", where=where, name=Name(rule.name))
        return Failed(self._text(item, rule.words), where, _element(item, envelope))

    def _text(self, item: etree._Element, words: tuple[str, ...]) -> Sentence:
        said = " ".join(str(item.xpath("string(*[local-name()='text'])")).split())
        numbers = re.fullmatch(_NUMBER.join(re.escape(word) for word in words), said)
        pieces = [*numbers.groups()] if numbers else [HOLE] * (len(words) - 1)
        text = "".join(word + piece for word, piece in zip(words, [*pieces, ""], strict=True))
        return say("{text}", text=Words(text)) if text.strip() else say("eine Regel ohne Text")


def _element(item: etree._Element, envelope: etree._Element) -> etree._Element | None:
    found = envelope.xpath(item.get("location", "/*"))
    first = found[0] if isinstance(found, list) and found else None
    return first if isinstance(first, etree._Element) else None


@lru_cache(maxsize=256)
def rule_set(name: str, _at: tuple[int, int]) -> RuleSet:
    """The rules of a file, ready. `_at` changes when the file does. Raises `ConfigError`.

    They visit elements only and say nothing about rules that hold: an envelope has neither comments nor
    processing instructions (`hub.parsing.xml`), and nobody reads the rest.
    """
    file = Path(name)
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False, remove_comments=True)
    try:
        tree = etree.parse(str(file), parser)
        _check(file, tree.getroot())
        checks = _numbered(tree.getroot())
        expanded = iso_abstract_expand(tree)
        transformation = iso_svrl_for_xslt1(expanded, **{"only-child-elements": "'true'",
                                                         "generate-fired-rule": "'false'"})
        return RuleSet(file, etree.XSLT(transformation, access_control=xslt.DENIED), checks)
    except etree.XMLSyntaxError as error:
        raise ConfigError.at(file, f"line {error.lineno}", "is no XML", "mend that line") from error
    except OSError as error:
        raise ConfigError.at(file, "(file)", f"cannot be read ({error.strerror})",
                             "mend its rights") from error
    except etree.XSLTError as error:
        raise ConfigError.at(file, *_culprit(file), "mend the rules") from error


def _numbered(root: etree._Element) -> dict[str, _Rule]:
    """Give each assertion and report an id of ours; what stands in the file, by that id."""
    rules = {}
    for number, check in enumerate(root.iter(*_CHECKS)):
        rules[f"hub-{number}"] = _Rule(check.get("id", ""), line_of(check), _words(check))
        check.set("id", f"hub-{number}")
    return rules


def _words(check: etree._Element) -> tuple[str, ...]:
    """The texts of a check between its numbers, with white space as one blank."""
    marked = deepcopy(check)
    marked.tail = None
    for child in list(marked.iter()):
        if child is not marked and child.tag not in _INLINE:
            child.text = _MARK
    text = " ".join("".join(str(piece) for piece in marked.itertext()).split())
    return tuple(text.split(_MARK))


_WRONG = ("an expression (XPath) is misspelt", "an expression uses a prefix that no sch:ns declares",
          "an expression calls a function that does not exist", "an expression cannot be used")


def _culprit(file: Path) -> tuple[str, str]:
    """Line and kind of the first expression that is wrong: libxslt knows only what was made of the rules."""
    misspelt, no_prefix, no_function, unknown = _WRONG
    root = etree.parse(str(file), etree.XMLParser(no_network=True, resolve_entities=False)).getroot()
    declared = {element.get("prefix") for element in root.iter(f"{SCH}ns")}
    for element in root.iter(etree.Element):
        for expression in filter(None, map(element.get, ("test", "context", "select", "value"))):
            line = f"line {line_of(element)}"
            try:
                etree.XPath(expression)
            except etree.XPathSyntaxError:
                return line, misspelt
            plain = _LITERAL.sub("", expression)
            if {found[1] for found in _PREFIX.finditer(plain)} - declared:
                return line, no_prefix
            if {found[1] for found in _CALL.finditer(plain)} - _FUNCTIONS:
                return line, no_function
    return "(file)", unknown


def _check(file: Path, root: etree._Element) -> None:
    """What the hub cannot run, and what would let a citizen's value into a reason."""
    if root.tag != f"{SCH}schema":
        raise ConfigError.at(file, "(root)", "is no ISO Schematron", f"use a schema element in {SCH[1:-1]}")
    binding = root.get("queryBinding", "xslt").lower()
    if binding not in ("xslt", "xslt1"):
        raise ConfigError.at(file, "queryBinding", f"{binding} is not supported",
                             "write the rules for XSLT 1")
    for element in root.iter(f"{SCH}include", f"{SCH}extends"):
        if element.get("href"):
            raise ConfigError.at(file, f"line {line_of(element)}", "includes another file",
                                 "copy its rules in")
    for element in root.iter(f"{SCH}value-of"):
        if not _IMPERSONAL.fullmatch(element.get("select", "")):
            raise ConfigError.at(file, f"line {line_of(element)}",
                                 "<sch:value-of> may only count (@n + 1, count(…))",
                                 "name the field, not its value: rule texts are stored and logged")
