"""Why a stylesheet failed, in words of ours: file, line and kind of the error, never what the engine says.

libxslt and Saxon write values into their errors: ``Invalid date "Erika Mustermann"``. So only what is known
beforehand is taken from an error: a code out of a table, a line that the named stylesheet has, the beginning
of a message that is one of libxslt's own. Everything else of it is dropped.

A stylesheet may end itself with ``xsl:message terminate="yes"``. The reason then has the words that stand in
the stylesheet at that place, with ``…`` for each value between them. Which place it was is found out by
comparing those words with what was said.

The name of a stylesheet is ``mapping:v1/mail.xsl`` and the like (`hub.pipeline.xslt`). `modules` are the
texts of a stylesheet and of all that it imports, by name, the stylesheet itself first.
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
from hub.i18n.sentence import Name, Sentence, Words, say
from hub.message import Reason
from hub.pipeline.places import line_of

XSL = "{http://www.w3.org/1999/XSL/Transform}"
HOLE = "…"

_URL = re.compile(r"xml;charset=utf-8;n=(\d{1,6}),")
_PLACE = re.compile(r"^\s*Error\b[^\n]{0,300}? on line (\d{1,7})(?: column \d{1,7})? of (\S*)", re.MULTILINE)
_CODE = re.compile(r"^  ([A-Z]{4}\d{4})  ", re.MULTILINE)

_READS = say("es will ein Dokument lesen oder schreiben; das ist Stylesheets nicht erlaubt")
_NO_NAME = say("es bildet einen Namen, der in XML nicht erlaubt ist")
_NO_FUNCTION = say("es ruft eine Funktion auf, die es nicht gibt")
_NO_VARIABLE = say("es verwendet eine Variable, die nicht deklariert ist")
_NO_TEMPLATE = say("es ruft ein Template auf, das es nicht gibt")
_NO_PREFIX = say("es verwendet ein Präfix ohne Namensraum")
_MISSPELT = say("ein Ausdruck (XPath) ist falsch geschrieben")
_WRONG_TYPE = say("ein Wert hat einen anderen Typ, oder es sind mehr Werte, als der Ausdruck erlaubt")
_ENDLESS = say("es ruft sich selbst ohne Ende auf")
_FORMAT = say("ein Zahlenformat gibt es nicht")
_FAILED = say("es ist gescheitert")

_OF_SAXON: Mapping[str, Sentence] = {
    "FORG0001": say("ein Wert hat nicht die Form des verlangten Typs (Datum, Zahl …)"),
    "FODT0001": say("ein Datum liegt außerhalb dessen, womit gerechnet werden kann"),
    "FOAR0001": say("es teilt durch null"),
    "FOAR0002": say("eine Zahl ist zu groß"),
    "FOCA0002": say("ein Wert hat nicht die Form des verlangten Typs (Datum, Zahl …)"),
    "FORX0002": say("ein Suchmuster (regulärer Ausdruck) ist falsch"),
    "FOER0000": say("es hat selbst einen Fehler gemeldet (error)"),
    "FODF1280": _FORMAT, "FODF1310": _FORMAT,
    "FODC0002": _READS, "FODC0004": _READS, "FODC0005": _READS, "FOUT1170": _READS, "XTDE1480": _READS,
    "XTDE1490": _READS, "SXRD0002": _READS,
    "XPST0003": _MISSPELT, "XPST0008": _NO_VARIABLE, "XPST0017": _NO_FUNCTION, "XPST0081": _NO_PREFIX,
    "XPTY0004": _WRONG_TYPE, "XPDY0050": _WRONG_TYPE, "XPTY0019": _WRONG_TYPE, "XPTY0020": _WRONG_TYPE,
    "XTTE0505": _WRONG_TYPE, "XTTE0570": _WRONG_TYPE, "XTTE0590": _WRONG_TYPE, "FORG0006": _WRONG_TYPE,
    "XPDY0002": say("es gibt keinen Knoten, auf den sich der Ausdruck bezieht"),
    "XTDE0410": say("ein Attribut kommt nach dem Inhalt seines Elements"),
    "XTDE0820": _NO_NAME, "XTDE0830": _NO_NAME, "XTDE0850": _NO_NAME, "XTDE0860": _NO_NAME,
    "XTDE0890": _NO_NAME,
    "XTDE3160": _MISSPELT, "XTSE0650": _NO_TEMPLATE, "XTDE0040": _NO_TEMPLATE, "XTDE0640": _ENDLESS,
    "XTSE0010": say("ein Element von XSLT steht, wo es nicht stehen darf, oder fehlt"),
    "XTSE0090": say("ein Attribut gibt es in XSLT nicht"),
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
    ("Variable ", _NO_VARIABLE), ("xsltApplySequenceConstructor: A potential infinite", _ENDLESS),
    ("xsltApplyXSLTTemplate: A potential infinite", _ENDLESS),
)
"""Beginnings of libxslt's own messages; what follows them may be a value."""


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


def broken_1(error: etree.XSLTParseError, modules: Mapping[str, str]) -> str:
    """libxslt could not compile it: a problem of a `ConfigError`."""
    return _problem(*_of_log([*error.error_log], modules))


def failed_1(error: etree.XSLTApplyError, modules: Mapping[str, str]) -> Rejected:
    """libxslt could not run it. A terminating xsl:message leaves nothing in the log but messages; everything
    else names its element. Raises MemoryError where that was the cause."""
    entries: list[Any] = [*error.error_log]
    messages = [str(entry.message) for entry in entries]
    if any("emory allocation" in message for message in messages) or set(messages) == {"unknown error"}:
        raise MemoryError("XSLT") from error
    if entries and all(entry.domain_name == "XSLT" and not str(entry.message).startswith("runtime error")
                       for entry in entries):
        return _ended(messages[-1], modules)
    return _failure(*_of_log(entries, modules))


def no_document(modules: Mapping[str, str]) -> Rejected:
    """It asked for a document that is not part of the package."""
    return _failure(next(iter(modules)), 0, _READS)


def _of_log(entries: Sequence[Any], modules: Mapping[str, str]) -> tuple[str, int, Sentence]:
    """Stylesheet, line and kind from a log of libxslt, where they stand in different entries."""
    name, line = next(((str(entry.filename), int(entry.line)) for entry in entries
                       if _has_line(modules, str(entry.filename), int(entry.line))), (next(iter(modules)), 0))
    kinds = [_OF_XPATH[entry.type_name] for entry in entries if entry.type_name in _OF_XPATH]
    for entry in entries:
        kinds += [kind for beginning, kind in _OF_LIBXSLT if str(entry.message).startswith(beginning)]
    return name, line, kinds[0] if kinds else _FAILED


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


def broken_2(words: str, modules: Mapping[str, str], names: Sequence[str]) -> str:
    """Saxon could not compile it: a problem of a `ConfigError`. `names` are the stylesheets by the numbers in
    their ``data:`` URLs."""
    return _problem(*_of_words(words, modules, names))


def failed_2(words: str, message: str, modules: Mapping[str, str], names: Sequence[str]) -> Rejected:
    """Saxon could not run it and wrote `words`; `message` is the last xsl:message. Raises MemoryError where
    that was the cause."""
    code = _CODE.search(words)
    if code is None and ("OutOfMemory" in words or "heap" in words.lower()):
        raise MemoryError("XSLT")
    if code is not None and code[1] in ("XTMM9000", "XTMM9001"):
        return _ended(message, modules)
    return _failure(*_of_words(words, modules, names))


def _of_words(words: str, modules: Mapping[str, str], names: Sequence[str]) -> tuple[str, int, Sentence]:
    """Stylesheet, line and kind. The first place and the first code are Saxon's own; a value comes after."""
    name, line = next(iter(modules)), 0
    place = _PLACE.search(words)
    if place is not None:
        url = _URL.search(place[2])
        number = int(url[1]) if url else len(names)
        if number < len(names) and _has_line(modules, names[number], int(place[1])):
            name, line = names[number], int(place[1])
    code = _CODE.search(words)
    kind = _OF_SAXON.get(code[1]) if code else None
    if code is None or kind is None:
        return name, line, _FAILED
    return name, line, say("{kind} ({code})", kind=kind, code=Name(code[1]))


# --- both ---------------------------------------------------------------------------------------------------


def _has_line(modules: Mapping[str, str], name: str, line: int) -> bool:
    return name in modules and 0 < line <= modules[name].count("\n") + 1


def _at(name: str, line: int) -> Sentence:
    return say("{name}, Zeile {line}", name=Name(name), line=line) if line else say("{name}", name=Name(name))


def _problem(name: str, line: int, kind: Sentence) -> str:
    return f"{_at(name, line)}: {kind}: das Stylesheet berichtigen"


def _failure(name: str, line: int, kind: Sentence) -> Rejected:
    return Rejected(Reason.CONFIGURATION, say(
        "Das Stylesheet ist gescheitert: {place}: {kind}: das Stylesheet berichtigen, dann erneut "
        "verarbeiten.", place=_at(name, line), kind=kind))


def _ended(said: str, modules: Mapping[str, str]) -> Rejected:
    """The stylesheet ended itself with an xsl:message: its own words, without the values between them."""
    said = " ".join(said.split())
    messages = [message for name, text in modules.items() for message in _messages(name, text)]
    fitting = [message for message in messages if message.fits(said)]
    if not fitting:
        return Rejected(Reason.INVALID, say("Das Stylesheet {name} hat sich selbst beendet.",
                                            name=Name(next(iter(modules)))))
    found = max(fitting, key=lambda message: len(message.text))
    place = _at(found.module, found.line)
    return Rejected(Reason.INVALID, say("{words} ({place})", words=Words(found.text), place=place),
                    (say("xsl:message in {place}", place=place),))


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
