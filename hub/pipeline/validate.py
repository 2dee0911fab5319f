"""Does the application fit its schema and its rules? If not: why, in German, with places and without values.

Three things are looked at, in this order, and the first that fails ends it:

1. the XÖV document as it was received, against the installed schema set that the mapping's version names;
2. the typed ``e:fields`` against the mapping's own XSD (which imports nothing and is found in the package);
   3. the typed envelope against the mapping's Schematron rules, whose texts are the mapping's own German
   sentences.

An assertion or report with role ``warning`` or ``information`` never rejects. Rules are bound to XSLT 1.
Compiled schemas and rules are kept per process; a schema's error log belongs to it, so it is copied at once
(a worker has one thread).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import date
from functools import lru_cache
from pathlib import Path

from lxml import etree
from lxml.isoschematron import iso_abstract_expand, iso_svrl_for_xslt1

from hub.errors import ConfigError, Rejected
from hub.job import Rule
from hub.mapping.loader import load_fields
from hub.mapping.model import FieldTable, MappingVersion
from hub.message import Reason
from hub.pipeline import xslt
from hub.pipeline.fields import E, label_of
from hub.pipeline.schema_faults import MOST, Fault, entries, explain
from hub.pipeline.schema_sets import Catalogue, compile_schema

SCH = "{http://purl.oclc.org/dsdl/schematron}"
SVRL = "{http://purl.oclc.org/dsdl/svrl}"
_HARMLESS = frozenset({"warning", "warn", "information", "info"})
_LONGEST = 3_800
_IMPERSONAL = re.compile(r"(@n|position\(\)|last\(\)|count\([^()]*\)|[0-9+* -])+")


def validate(envelope: etree._Element, version: MappingVersion, rule: Rule, day: date,
             payload: etree._ElementTree | None = None) -> None:
    """Raise `Rejected` when the typed envelope, or the XÖV `payload` as received, does not fit.

    ``Reason.INVALID`` names up to ten places; ``Reason.CONFIGURATION`` says which file of the mapping or
    which schema set must be mended. `day` is the day of acceptance, because a schema set can be valid for a
    time.
    """
    folder = f"{rule.package}/{version.name}"
    words = f"{folder}/{version.fields}" if version.fields else None
    try:
        if version.schema_set is not None:
            _validate_payload(payload, version, Path(rule.schemas) if rule.schemas else None, day)
        if version.schema_ is not None:
            _validate_fields(envelope, f"{folder}/{version.schema_}", words)
        if version.rules is not None:
            _validate_rules(envelope, f"{folder}/{version.rules}", words)
    except ConfigError as error:
        raise Rejected(Reason.CONFIGURATION, f"Die Prüfung ist nicht eingerichtet: {error}",
                       error.problems) from error


def problems_of(version: MappingVersion, folder: str) -> list[str]:
    """What of a version's field table, schema and rules cannot be used: each is made ready as for a
    message."""
    problems: list[str] = []
    ready: tuple[tuple[str | None, Callable[[str, tuple[int, int]], object]], ...] = (
        (version.fields, _field_table), (version.schema_, _own_schema), (version.rules, _rules))
    for name, make in ready:
        try:
            if name is not None:
                make(f"{folder}/{name}", _state(f"{folder}/{name}"))
        except ConfigError as error:
            problems += error.problems
    return problems


def field_table(file: str | None) -> FieldTable:
    """The field table of a mapping's version, kept until its file changes. Raises `ConfigError`."""
    return _field_table(file, _state(file)) if file else FieldTable()


def _validate_payload(payload: etree._ElementTree | None, version: MappingVersion, schemas: Path | None,
                      day: date) -> None:
    wanted = version.schema_set
    if wanted is None:
        return
    if schemas is None:
        raise ConfigError.at("hub.toml", "schemas", "no folder of schema sets is configured", "name it")
    if payload is None:
        raise Rejected(Reason.INVALID, f"Die Nachricht enthält kein {wanted.set}-Dokument.")
    catalogue = Catalogue(schemas)
    file = catalogue.entry(wanted, day)
    schema, mapper = _xoev_schema(file, schemas.resolve(), _state(str(file)))
    if _fits(schema, payload, file):
        return
    faults = explain(file, payload.getroot(), entries(schema), mapper)
    _reject(f"Das Dokument entspricht nicht {wanted.set} {wanted.version}",
            [f"{fault.path}: {fault.reason}" for fault in faults])


def _validate_fields(envelope: etree._Element, name: str, words: str | None) -> None:
    schema, file = _own_schema(name, _state(name)), Path(name)
    fields = envelope.find(f"{E}fields")
    if fields is None:
        raise Rejected(Reason.INVALID, "Die Nachricht enthält keine Formularfelder.")
    if _fits(schema, fields, file):
        return
    alone = deepcopy(fields)  # a root of its own, so that paths begin at it
    alone.tail = None
    schema.validate(alone)
    faults = explain(file, alone, entries(schema), str)
    table = field_table(words)
    _reject("Die Angaben entsprechen nicht dem Schema", [_line(fault, table) for fault in faults])


def _fits(schema: etree.XMLSchema, document: etree._Element | etree._ElementTree, file: Path) -> bool:
    """libxml2 gives up on a value for which a pattern needs too many steps, or when memory ends."""
    try:
        return bool(schema.validate(document))
    except etree.XMLSchemaValidateError as error:
        raise Rejected(Reason.LIMIT,
                       f"Ein Wert ließ sich mit dem Schema {file.name} nicht prüfen: zu aufwendig für eines "
                       "seiner Muster. Das Muster im Schema vereinfachen, dann erneut verarbeiten.") from error


def _validate_rules(envelope: etree._Element, file: str, words: str | None) -> None:
    rules = _rules(file, _state(file))
    try:
        report = rules(envelope)
    except etree.XSLTApplyError as error:
        raise ConfigError.at(Path(file), "(rules)", f"cannot be applied ({error})",
                             "mend the rules") from error
    found = report.getroot().iter(f"{SVRL}failed-assert", f"{SVRL}successful-report")
    failed = [item for item in found if item.get("role", "").lower() not in _HARMLESS]
    if failed:
        texts = [" ".join(str(item.xpath("string(*[local-name()='text'])")).split()) for item in failed]
        table = field_table(words)
        places = [_rule_place(item, envelope, table) for item in failed]
        _reject("Die Angaben verletzen Regeln des Antrags", list(dict.fromkeys(texts)),
                [f"{text} [{place}]" for text, place in zip(texts, places, strict=True)])


def _reject(headline: str, lines: Sequence[str], trace: Sequence[str] = ()) -> None:
    shown = lines[:MOST]
    more = f" (die ersten {MOST})" if len(lines) > MOST else ""
    text = "\n".join([f"{headline}{more}:", *(f"- {line}" for line in shown)])
    raise Rejected(Reason.INVALID, text if len(text) <= _LONGEST else text[:_LONGEST] + " …",
                   (trace or lines)[:MOST])


def _line(fault: Fault, table: FieldTable) -> str:
    place = _place(fault.element, table)
    return f"{place}: {fault.reason}" if place else f"{fault.path}: {fault.reason}"


def _rule_place(item: etree._Element, envelope: etree._Element, table: FieldTable) -> str:
    found = envelope.xpath(item.get("location", "/*"))
    element = found[0] if isinstance(found, list) and found else None
    return (_place(element, table) if isinstance(element, etree._Element) else None) or "gesamte Nachricht"


def _place(element: etree._Element | None, table: FieldTable) -> str | None:
    """``Hund (2.) › Rasse (hund:1:rasse)``, or None outside of the groups."""
    if element is None:
        return None
    steps = [element, *element.iterancestors()]
    top = next((number for number, step in enumerate(steps) if step.tag == f"{E}fields"), 0)
    inside = steps[:top][::-1]
    if not inside:
        return None
    group = str(inside[0].tag)
    if len(inside) == 1:
        return f"{label_of(table, group)} ({group})"
    n = inside[1].get("n", "")
    number = int(n) if n.isascii() and n.isdigit() and len(n) < 7 else None
    field = str(inside[2].tag) if len(inside) > 2 else None
    return f"{label_of(table, group, field, number)} ({':'.join(filter(None, (group, n[:6], field)))})"


def _state(file: str) -> tuple[int, int]:
    """Changes when the file does, so that a kept compilation is never stale. Asked several times per message:
    no `Path`."""
    try:
        status = os.stat(file)  # noqa: PTH116
    except OSError as error:
        raise ConfigError.at(Path(file), "(file)", f"cannot be read ({error.strerror})",
                             "restore it") from error
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _field_table(file: str, _at: tuple[int, int]) -> FieldTable:
    return load_fields(Path(file))


@lru_cache(maxsize=256)
def _own_schema(name: str, _at: tuple[int, int]) -> etree.XMLSchema:
    file = Path(name)
    return compile_schema(file, Catalogue(file.parent.resolve()).parser(file))


@lru_cache(maxsize=16)
def _xoev_schema(file: Path, schemas: Path, _at: tuple[int, int]) -> tuple[etree.XMLSchema,
                                                                           Callable[[str], str]]:
    catalogue = Catalogue(schemas)
    urls: Mapping[str, Path] = catalogue.urls(file)

    def mapper(url: str) -> str:
        return str(urls[url]) if url in urls else url

    return compile_schema(file, catalogue.parser(file)), mapper


@lru_cache(maxsize=256)
def _rules(name: str, _at: tuple[int, int]) -> etree.XSLT:
    """Schematron as a transformation that may neither read nor write. Raises `ConfigError`.

    It visits elements only and says nothing about rules that hold: an envelope has neither comments nor
    processing instructions (`hub.parsing.xml`), and nobody reads the rest.
    """
    file = Path(name)
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False, remove_comments=True)
    try:
        tree = etree.parse(str(file), parser)
        _check_rules(file, tree.getroot())
        expanded = iso_abstract_expand(tree)
        transformation = iso_svrl_for_xslt1(expanded, **{"only-child-elements": "'true'",
                                                         "generate-fired-rule": "'false'"})
        return etree.XSLT(transformation, access_control=xslt.DENIED)
    except etree.XMLSyntaxError as error:
        raise ConfigError.at(file, f"line {error.lineno}", f"is no XML ({error.msg})",
                             "mend that line") from error
    except (etree.XSLTError, OSError) as error:
        raise ConfigError.at(file, "(rules)", f"cannot be compiled ({error})", "mend the rules") from error


def _check_rules(file: Path, root: etree._Element) -> None:
    """What the hub cannot run, and what would let a citizen's value into a log."""
    if root.tag != f"{SCH}schema":
        raise ConfigError.at(file, "(root)", "is no ISO Schematron", f"use a schema element in {SCH[1:-1]}")
    binding = root.get("queryBinding", "xslt").lower()
    if binding not in ("xslt", "xslt1"):
        raise ConfigError.at(file, "queryBinding", f"{binding} is not supported",
                             "write the rules for XSLT 1")
    for element in root.iter(f"{SCH}include", f"{SCH}extends"):
        if element.get("href"):
            raise ConfigError.at(file, f"line {element.sourceline}", "includes another file",
                                 "copy its rules in")
    for element in root.iter(f"{SCH}value-of"):
        if not _IMPERSONAL.fullmatch(element.get("select", "")):
            raise ConfigError.at(file, f"line {element.sourceline}",
                                 "sch:value-of may only count (@n + 1, count(…))",
                                 "name the field, not its value: rule texts are stored and logged")
