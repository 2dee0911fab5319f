"""Does the application fit its schema and its rules? If not: why, in German, with places and without values.

Three things are looked at, in this order, and the first that fails ends it:

1. the XÖV document as it was received, against the installed schema set that the mapping's version names;
2. the typed ``e:fields`` against the mapping's own XSD (which imports nothing and is found in the package);
3. the typed envelope against the mapping's Schematron rules, whose texts are the mapping's own German
   sentences (`hub.pipeline.schematron`).

Compiled schemas are kept per process. A schema's error log belongs to it, so it is copied at once (a worker
has one thread).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from datetime import date
from functools import lru_cache
from pathlib import Path

from lxml import etree

from hub.errors import ConfigError, Rejected
from hub.i18n.sentence import Name, Place, Sentence, lines, say
from hub.job import Rule
from hub.mapping.loader import load_fields
from hub.mapping.model import FieldTable, MappingVersion
from hub.message import Reason
from hub.pipeline.fields import E
from hub.pipeline.mapping_faults import unusable
from hub.pipeline.places import NOWHERE, field_place
from hub.pipeline.schema_faults import MOST, Fault, entries, explain
from hub.pipeline.schema_names import names_of
from hub.pipeline.schema_sets import Catalogue, compile_schema
from hub.pipeline.schematron import rule_set


def validate(envelope: etree._Element, version: MappingVersion, rule: Rule, day: date,
             payload: etree._ElementTree | None = None) -> None:
    """Raise `Rejected` when the typed envelope, or the XÖV `payload` as received, does not fit.

    ``Reason.INVALID`` names up to ten places; ``Reason.MAPPING`` says which file of the mapping must be
    mended, ``Reason.CONFIGURATION`` which schema set. `day` is the day of acceptance, because a schema set
    can be valid for a time.
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
        raise unusable(error, rule) from error


def problems_of(version: MappingVersion, folder: str) -> list[str]:
    """What of a version's field table, schema and rules cannot be used: each is made ready as for a
    message."""
    problems: list[str] = []
    ready: tuple[tuple[str | None, Callable[[str, tuple[int, int]], object]], ...] = (
        (version.fields, _field_table), (version.schema_, _own_schema), (version.rules, rule_set))
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
        raise Rejected(Reason.INVALID, say("Die Nachricht enthält kein {set}-Dokument.",
                                           set=Name(wanted.set)))
    catalogue = Catalogue(schemas)
    file = catalogue.entry(wanted, day)
    schema, mapper = _xoev_schema(file, schemas.resolve(), _state(str(file)))
    if _fits(schema, payload, file):
        return
    faults = explain(file, payload.getroot(), entries(schema), mapper)
    _reject(say("Das Dokument entspricht nicht {set} {version}", set=Name(wanted.set),
                version=Name(wanted.version)),
            [say("{path}: {reason}", path=fault.path, reason=fault.reason) for fault in faults])


def _validate_fields(envelope: etree._Element, name: str, words: str | None) -> None:
    schema, file = _own_schema(name, _state(name)), Path(name)
    fields = envelope.find(f"{E}fields")
    if fields is None:
        raise Rejected(Reason.INVALID, say("Die Nachricht enthält keine Formularfelder."))
    if _fits(schema, fields, file):
        return
    alone = deepcopy(fields)  # a root of its own, so that paths begin at it
    alone.tail = None
    schema.validate(alone)
    faults = explain(file, alone, entries(schema), str)
    table = field_table(words)
    _reject(say("Die Angaben entsprechen nicht dem Schema"), [_line(fault, table, names_of(file, str))
                                                            for fault in faults])


def _fits(schema: etree.XMLSchema, document: etree._Element | etree._ElementTree, file: Path) -> bool:
    """libxml2 gives up on a value for which a pattern needs too many steps, or when memory ends."""
    try:
        return bool(schema.validate(document))
    except etree.XMLSchemaValidateError as error:
        raise Rejected(Reason.MAPPING, say(
            "Ein Wert ließ sich mit dem Schema {file} nicht prüfen: zu aufwendig für eines seiner Muster. "
            "Das Muster im Schema vereinfachen, dann erneut verarbeiten.", file=Name(file.name))) from error


def _validate_rules(envelope: etree._Element, file: str, words: str | None) -> None:
    rules = rule_set(file, _state(file))
    failed = rules.failed(envelope)
    if failed:
        table = field_table(words)
        trace = [say("{text} [{place}] ({where})", text=each.text, where=each.where,
                     place=_place(each.element, table) or NOWHERE) for each in failed]
        _reject(say("Die Angaben verletzen Regeln des Antrags"), list(dict.fromkeys(
            each.text for each in failed)), trace)


def _reject(headline: Sentence, found: Sequence[Sentence], trace: Sequence[Sentence] = ()) -> None:
    more = say(" (die ersten {most})", most=MOST) if len(found) > MOST else say("")
    shown = [say("- {line}", line=line) for line in found[:MOST]]
    raise Rejected(Reason.INVALID, lines([say("{headline}{more}:", headline=headline, more=more), *shown]),
                   (trace or found)[:MOST])


def _line(fault: Fault, table: FieldTable, names: Collection[str]) -> Sentence:
    place = _place(fault.element, table, names) or fault.path
    return say("{place}: {reason}", place=place, reason=fault.reason)


def _place(element: etree._Element | None, table: FieldTable,
           names: Collection[str] = ()) -> Place | None:
    """``Hund (2.) › Rasse (hund:1:rasse)``, or None outside of the groups. `names` are the schema's."""
    if element is None:
        return None
    steps = [element, *element.iterancestors()]
    top = next((number for number, step in enumerate(steps) if step.tag == f"{E}fields"), 0)
    inside = [(str(step.tag), _position(step)) for step in steps[:top][::-1]]
    if not inside:
        return None
    n = steps[top - 2].get("n", "") if len(inside) > 1 else ""
    return field_place(table, inside[0], int(n) if n.isascii() and n.isdigit() and len(n) < 7 else None,
                       inside[2] if len(inside) > 2 else None, names)


def _position(element: etree._Element) -> int:
    parent = element.getparent()
    return 1 if parent is None else parent.index(element) + 1


def _state(file: str) -> tuple[int, int]:
    """Changes when the file does, so that a kept compilation is never stale. It is asked several times per
    message: no `Path`."""
    try:
        status = os.stat(file)  # noqa: PTH116
    except OSError as error:
        raise ConfigError.at(Path(file), "(file)", f"cannot be read ({error.strerror})",
                             "mend its rights") from error
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
