"""Why a stylesheet failed, in words of ours: file, line and kind of the error, never what the engine says.

libxslt and Saxon write values into their errors: ``Invalid date "Erika Mustermann"``. So only what is known
beforehand is taken from an error: a code out of a table, a line that the named stylesheet has, the beginning
of a message that is one of libxslt's own. Everything else of it is dropped.

A stylesheet may end itself with ``xsl:message terminate="yes"``. The reason then has the words that stand in
the stylesheet at that place, with ``…`` for each value between them. Which place it was is found out by
comparing those words with what was said.

All of it is the mapping's fault, never the citizen's: the reason is ``mapping``, whatever the value was that
the stylesheet could not take.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import Name, Sentence, Words, lines, say
from hub.message import Reason
from hub.pipeline.places import line_of

XSL = "{http://www.w3.org/1999/XSL/Transform}"
HOLE = "…"
ELEMENTS = frozenset({
    "apply-imports", "apply-templates", "attribute", "attribute-set", "call-template", "choose", "comment",
    "copy", "copy-of", "decimal-format", "element", "for-each", "if", "import", "include", "key", "message",
    "number", "otherwise", "output", "param", "processing-instruction", "sort", "stylesheet", "template",
    "text", "transform", "value-of", "variable", "when", "with-param"})
"""The elements of XSLT 1.0. libxslt names the one at which it failed."""
_MOST_PLACES = 3

_URL = re.compile(r"xml;charset=utf-8;n=(\d{1,6}),")
_PLACE = re.compile(r"^\s*(?:[A-Z][a-z]{1,20} )?[Ee]rror\b[^\n]{0,300}? on line (\d{1,7})"
                    r"(?: column \d{1,7})? of (\S*)", re.MULTILINE)
_CODE = re.compile(r"^  ([A-Z]{4}\d{4})  ", re.MULTILINE)
_ELEMENT = re.compile(r"(?:compilation|runtime) error, element '([a-z-]{1,40})'")

_READS = say("es will ein Dokument lesen oder schreiben; das ist Stylesheets nicht erlaubt")
_NO_NAME = say("es bildet einen Namen, der in XML nicht erlaubt ist")
_NO_FUNCTION = say("es ruft eine Funktion auf, die es nicht gibt")
_NO_VARIABLE = say("es verwendet eine Variable, die nicht deklariert ist")
_NO_TEMPLATE = say("es ruft ein Template auf, das es nicht gibt")
_NO_PREFIX = say("es verwendet ein Präfix ohne Namensraum")
_MISSPELT = say("ein Ausdruck (XPath) ist falsch geschrieben")
_WRONG_TYPE = say("ein Wert hat einen anderen Typ, oder es sind mehr Werte, als der Ausdruck erlaubt")
_WRONG_FORM = say("ein Wert hat nicht die Form des verlangten Typs (Datum, Zahl …)")
_ENDLESS = say("es ruft sich selbst ohne Ende auf")
_FORMAT = say("ein Zahlenformat gibt es nicht")
_MISPLACED = say("ein Element von XSLT steht, wo es nicht stehen darf, oder fehlt")
_INCOMPLETE = say("einem Element von XSLT fehlt etwas")
_TWICE = say("ein Name kommt zweimal vor")
_LATE = say("ein Attribut kommt nach dem Inhalt seines Elements")
_NO_NODES = say("select ergibt keine Knoten")
_FAILED = say("es ist gescheitert")

_OF_SAXON: Mapping[str, Sentence] = {
    "FORG0001": _WRONG_FORM, "FOCA0002": _WRONG_FORM,
    "FODT0001": say("ein Datum liegt außerhalb dessen, womit gerechnet werden kann"),
    "FOAR0001": say("es teilt durch null"),
    "FOAR0002": say("eine Zahl ist zu groß"),
    "FORX0002": say("ein Suchmuster (regulärer Ausdruck) ist falsch"),
    "FOER0000": say("es hat selbst einen Fehler gemeldet (error)"),
    "FODF1280": _FORMAT, "FODF1310": _FORMAT,
    "FODC0002": _READS, "FODC0004": _READS, "FODC0005": _READS, "FOUT1170": _READS, "XTDE1480": _READS,
    "XTDE1490": _READS, "SXRD0002": _READS,
    "XPST0003": _MISSPELT, "XPST0008": _NO_VARIABLE, "XPST0017": _NO_FUNCTION, "XPST0081": _NO_PREFIX,
    "XPTY0004": _WRONG_TYPE, "XPDY0050": _WRONG_TYPE, "XPTY0019": _WRONG_TYPE, "XPTY0020": _WRONG_TYPE,
    "XTTE0505": _WRONG_TYPE, "XTTE0570": _WRONG_TYPE, "XTTE0590": _WRONG_TYPE, "FORG0006": _WRONG_TYPE,
    "XPDY0002": say("es gibt keinen Knoten, auf den sich der Ausdruck bezieht"),
    "XTDE0410": _LATE, "XTDE0420": _LATE,
    "XTDE0820": _NO_NAME, "XTDE0830": _NO_NAME, "XTDE0850": _NO_NAME, "XTDE0860": _NO_NAME,
    "XTDE0890": _NO_NAME,
    "XTDE3160": _MISSPELT, "XTSE0650": _NO_TEMPLATE, "XTDE0040": _NO_TEMPLATE, "XTDE0640": _ENDLESS,
    "SXLM0001": _ENDLESS, "SENR0001": say("was es ausgibt, lässt sich so nicht schreiben"),
    "XTSE0010": _MISPLACED,
    "XTSE0090": say("ein Attribut gibt es in XSLT nicht"),
    "XTSE0110": _INCOMPLETE, "XTSE0660": _TWICE,
    "XTSE0165": say("ein Stylesheet, das es einbindet, fehlt"),
    "XTSE0280": _NO_PREFIX, "XTSE0580": say("ein Parameter kommt zweimal vor"),
    "XTSE0630": say("eine globale Variable kommt zweimal vor"),
}
"""By the codes of XSLT 3.0, XPath and Saxon. A code that is not here is not passed on."""

_OF_XPATH: Mapping[str, Sentence] = {
    "XPATH_UNKNOWN_FUNC_ERROR": _NO_FUNCTION, "XPATH_UNDEF_VARIABLE_ERROR": _NO_VARIABLE,
    "XPATH_UNDEF_PREFIX_ERROR": _NO_PREFIX, "XPATH_EXPR_ERROR": _MISSPELT, "XPATH_INVALID_TYPE": _WRONG_TYPE,
    "XPATH_INVALID_ARITY": say("eine Funktion hat zu viele oder zu wenige Argumente"),
}
_OF_LIBXSLT: Sequence[tuple[str, Sentence]] = (
    ("The called template ", _NO_TEMPLATE), ("document() :", _READS), ("File write for ", _READS),
    ("File read ", _READS), ("Local file read ", _READS), ("xsltDocumentElem", _READS),
    ("xsl:element: The effective name ", _NO_NAME), ("xsl:attribute: The effective name ", _NO_NAME),
    ("xsl:processing-instruction: ", _NO_NAME), ("format-number() : ", _FORMAT),
    ("xsltApplySequenceConstructor: A potential infinite", _ENDLESS),
    ("xsltApplyXSLTTemplate: A potential infinite", _ENDLESS), ("Recursive definition of ", _ENDLESS),
    ("Variable ", _NO_VARIABLE), ("key() : prefix ", _NO_PREFIX), ("xsltCompilePattern : ", _MISSPELT),
    ("Attribute ", _MISSPELT), ("element ", _MISPLACED), ("misplaced text node", _MISPLACED),
    ("xsltParseStylesheetTop: ", _MISPLACED), ("Unexpected XSLT element ", _MISPLACED),
    ("It is an error to call 'apply-imports'", _MISPLACED), ("xsl:choose: ", _INCOMPLETE),
    ("The attribute ", _INCOMPLETE), ("xsl:value-of : select is missing", _INCOMPLETE),
    ("xsl:if : test is not defined", _INCOMPLETE), ("xsl:template: need to specify", _INCOMPLETE),
    ("xsl:template: error duplicate name", _TWICE), ("redefinition of global variable", _TWICE),
    ("XSLT-variable: Redefinition of variable", _TWICE), ("xsl:attribute: Cannot add attributes", _LATE),
    ("xsl:comment : ", say("ein Kommentar, den es schreibt, enthält zwei Bindestriche nacheinander")),
    ("The 'select' expression ", _NO_NODES),
)
"""Beginnings of libxslt's own messages; what follows them may be a value."""


@dataclass(frozen=True, slots=True)
class Sources:
    """A stylesheet and all that it imports: their texts by name, itself first, and where people edit them.

    A name is ``mapping:v1/mail.xsl`` and the like (`hub.pipeline.xslt`); `shown` has the path that a reason
    tells for it, ``mappings/hundesteuer/v1/mail.xsl``.
    """

    texts: Mapping[str, str]
    shown: Mapping[str, str]

    @property
    def first(self) -> str:
        """The name of the stylesheet itself."""
        return next(iter(self.texts))

    def has_line(self, name: str, line: int) -> bool:
        """Whether there is such a stylesheet, with so many lines."""
        return name in self.texts and 0 < line <= self.texts[name].count("\n") + 1

    def at(self, name: str, line: int = 0) -> Sentence:
        """The place for a reason; without its line where that is 0."""
        path = self.shown.get(name, name)
        return say("{path}, Zeile {line}", path=Name(path), line=line) if line else say("{path}",
                                                                                       path=Name(path))


@dataclass(frozen=True, slots=True)
class _Message:
    """An ``xsl:message`` of a stylesheet: its words between the values, and where it stands."""

    module: str
    line: int
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """The words, with `HOLE` for each value."""
        return " ".join(f" {HOLE} ".join(self.words).split())

    def fits(self, said: str) -> bool:
        """Whether its words occur in what was said, in their order."""
        at = 0
        for word in self.words:
            at = said.find(word, at)
            if at < 0:
                return False
            at += len(word)
        return True


# --- XSLT 1.0 -----------------------------------------------------------------------------------------------


def broken_1(error: etree.XSLTParseError, sources: Sources) -> str:
    """libxslt could not compile it: a problem of a `ConfigError`."""
    return _problem(sources, *_of_log([*error.error_log], sources))


def failed_1(error: etree.XSLTApplyError, sources: Sources) -> Rejected:
    """libxslt could not run it. A terminating xsl:message leaves nothing in the log but messages, or nothing
    at all; everything else names its element. Raises MemoryError where that was the cause."""
    entries: list[Any] = [*error.error_log]
    messages = [str(entry.message) for entry in entries]
    if any("emory allocation" in message for message in messages) or set(messages) == {"unknown error"}:
        raise MemoryError("XSLT") from error
    if all(entry.domain_name == "XSLT" and not str(entry.message).startswith("runtime error")
           for entry in entries):
        return _ended(messages[-1] if messages else "", sources)
    return _failure(sources, *_of_log(entries, sources))


def _of_log(entries: Sequence[Any], sources: Sources) -> tuple[str, int, Sentence]:
    """Stylesheet, line and kind from a log of libxslt, where they stand in different entries."""
    name, line = next(((str(entry.filename), int(entry.line)) for entry in entries
                       if sources.has_line(str(entry.filename), int(entry.line))), (sources.first, 0))
    kinds = [_OF_XPATH[entry.type_name] for entry in entries if entry.type_name in _OF_XPATH]
    for entry in entries:
        kinds += [kind for beginning, kind in _OF_LIBXSLT if str(entry.message).startswith(beginning)]
    kind = kinds[0] if kinds else _FAILED
    elements = [found[1] for entry in entries if (found := _ELEMENT.match(str(entry.message)))]
    if elements and elements[0] in ELEMENTS:
        kind = say("{kind} (xsl:{element})", kind=kind, element=Name(elements[0]))
    return name, line, kind


# --- XSLT 2.0 and 3.0 ---------------------------------------------------------------------------------------


@contextmanager
def standard_error() -> Iterator[list[str]]:
    """What is written to the standard error meanwhile; it is in the list afterwards, and goes nowhere else.

    The whole process is affected, also what an engine writes that is no Python.
    """
    said: list[str] = []
    kept = os.dup(2)
    caught = os.memfd_create("stderr", os.MFD_CLOEXEC)
    os.dup2(caught, 2)
    try:
        yield said
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        said.append(os.pread(caught, 100_000, 0).decode("utf-8", "replace"))
        os.close(caught)


def broken_2(words: str, sources: Sources, names: Sequence[str]) -> str:
    """Saxon could not compile it: a problem of a `ConfigError`. `names` are the stylesheets by the numbers in
    their ``data:`` URLs."""
    return _problem(sources, *_of_words(words, sources, names))


def failed_2(words: str, message: str, sources: Sources, names: Sequence[str]) -> Rejected:
    """Saxon could not run it and wrote `words`; `message` is the last xsl:message. Raises MemoryError where
    that was the cause."""
    code = _CODE.search(words)
    if code is None and ("OutOfMemory" in words or "heap" in words.lower()):
        raise MemoryError("XSLT")
    if code is not None and code[1] in ("XTMM9000", "XTMM9001"):
        return _ended(message, sources)
    return _failure(sources, *_of_words(words, sources, names))


def _of_words(words: str, sources: Sources, names: Sequence[str]) -> tuple[str, int, Sentence]:
    """Stylesheet, line and kind. The first place and the first code are Saxon's own; a value comes after."""
    name, line = sources.first, 0
    place = _PLACE.search(words)
    if place is not None:
        url = _URL.search(place[2])
        number = int(url[1]) if url else len(names)
        if number < len(names) and sources.has_line(names[number], int(place[1])):
            name, line = names[number], int(place[1])
    code = _CODE.search(words)
    kind = _OF_SAXON.get(code[1]) if code else None
    if code is None or kind is None:
        return name, line, _FAILED
    return name, line, say("{kind} ({code})", kind=kind, code=Name(code[1]))


# --- both ---------------------------------------------------------------------------------------------------


def no_document(sources: Sources) -> Rejected:
    """It asked for a document that is not part of the package."""
    return _failure(sources, sources.first, 0, _READS)


def failed_otherwise(sources: Sources) -> Rejected:
    """The engine, or a library behind it, failed in a way that tells neither line nor kind."""
    return _failure(sources, sources.first, 0, _FAILED)


def no_encoding(sources: Sources) -> Rejected:
    """Its xsl:output names an encoding that does not exist."""
    return _failure(sources, sources.first, 0, say("die Kodierung in xsl:output gibt es nicht"))


def _problem(sources: Sources, name: str, line: int, kind: Sentence) -> str:
    return f"{sources.at(name, line)}: {kind}: das Stylesheet berichtigen"


def _failure(sources: Sources, name: str, line: int, kind: Sentence) -> Rejected:
    return Rejected(Reason.MAPPING, say(
        "Das Stylesheet ist gescheitert: {place}: {kind}: das Stylesheet berichtigen, dann erneut "
        "verarbeiten.", place=sources.at(name, line), kind=kind))


def _ended(said: str, sources: Sources) -> Rejected:
    """The stylesheet ended itself with an xsl:message: its own words, without the values between them.

    Messages of the same words cannot be told apart: all their places are named.
    """
    said = " ".join(said.split())
    messages = [message for name, text in sources.texts.items() for message in _messages(name, text)]
    fitting = [message for message in messages if message.fits(said)]
    found = max(fitting, key=lambda message: len(message.text), default=None)
    if found is None:
        return _failure(sources, sources.first, 0, say("es hat sich selbst beendet (xsl:message)"))
    places = lines([sources.at(message.module, message.line) for message in fitting
                    if message.text == found.text][:_MOST_PLACES], " oder ")
    words = say("„{words}“", words=Words(found.text)) if found.text.strip(f"{HOLE} ") else say(
        "ohne Worte von ihm selbst")
    return Rejected(Reason.MAPPING, say(
        "Das Stylesheet hat sich selbst beendet: {words} (xsl:message in {places}): ist das gewollt, "
        "gehört die Prüfung in rules.sch, sonst das Stylesheet berichtigen; dann erneut verarbeiten.",
        words=words, places=places), (say("xsl:message in {places}", places=places),))


def _messages(name: str, text: str) -> Iterator[_Message]:
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False, remove_comments=True,
                             remove_pis=True)
    for element in etree.fromstring(text.encode(), parser).iter(f"{XSL}message"):
        if element.get("terminate", "no") != "no":
            yield _Message(name, line_of(element), tuple(
                " ".join(words.split()) for words in _static(element)))


def _static(element: etree._Element) -> list[str]:
    """The texts of an element between its values; a value or an instruction begins the next one."""
    literal = re.fullmatch(r"\s*(?:'([^']*)'|\"([^\"]*)\")\s*", element.get("select", ""))
    texts = [(literal[1] or literal[2] or "") if literal else ""]
    if element.get("select") and not literal:
        texts.append("")
    texts[-1] += element.text or ""
    for child in element:
        if child.tag == f"{XSL}text":
            texts[-1] += child.text or ""
        else:
            texts.append("")
        texts[-1] += child.tail or ""
    return texts
