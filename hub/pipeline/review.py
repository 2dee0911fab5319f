"""A mapping is judged as a whole, in a worker: everything is compiled, and read for what no engine finds.

`process` is the runner of the workers that judge (`hub.operations.mapping_review`). A job has no message in
it: each of its rules names one version of a mapping. The first recipient's `send` lists what is judged of it:
renderings, or nothing for field table, schema and rules. A stylesheet of a municipality's own stands in the
rule as for a message. The answer is `Parked`: its trace are the faults, its notes what should be looked at.

A stylesheet can be made to need any amount of memory or time while it is compiled. So this runs where a
message would be translated, under the same limits, and never in the hub itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from hub.errors import ConfigError, Rejected
from hub.i18n.sentence import Sentence, Words, say
from hub.job import Facts, Job, Output, Parked, ReadBody, Rule
from hub.mapping.loader import load_fields, load_mapping
from hub.mapping.model import FieldTable, MappingFile, MappingVersion
from hub.message import Reason
from hub.pipeline import xslt
from hub.pipeline.schema_fit import rule_faults, schema_faults
from hub.pipeline.stylesheet_review import Sheet, review
from hub.pipeline.validate import problems_of

MOST = 50
"""Faults told of one rule."""


_ENGINE = re.compile(r"([^,]+), Zeile (\d+):")
"""The place in the words of `hub.pipeline.stylesheet_faults`."""


def process(job: Job, _read_body: ReadBody, _out: Output) -> Parked:
    """What is wrong with the mappings that the job's rules name."""
    faults: list[str] = []
    notes: list[str] = []
    for rule in job.rules:
        try:
            faults += _judged(rule, notes)
        except ConfigError as error:
            faults += error.problems
    return Parked(message_id=job.message_id, facts=Facts(test=job.test), reason=Reason.CONFIGURATION,
                  text=say("{faults} Fehler", faults=len(faults)), trace=_said(faults), notes=_said(notes))


def _said(found: Sequence[str]) -> tuple[Sentence, ...]:
    return tuple(say("{line}", line=Words(line)) for line in list(dict.fromkeys(found))[:MOST])


def _judged(rule: Rule, notes: list[str]) -> Iterator[str]:
    mapping = _mapping(rule.package)
    version = next(each for each in mapping.version if each.name == rule.mapping_version)
    wanted = rule.recipients[0].send
    if not wanted:
        yield from _version_faults(version, Path(rule.package))
    for name in wanted:
        yield from _rendering_faults(rule, mapping, version, name, notes)


def _version_faults(version: MappingVersion, package: Path) -> Iterator[str]:
    folder = package / version.name
    broken = problems_of(version, str(folder))
    yield from broken
    if broken or version.fields is None:
        return
    table = _table(package, version)
    found: list[str] = []
    if version.schema_ is not None:
        found += schema_faults(table, folder / version.schema_)
    if version.rules is not None:
        found += rule_faults(table, folder / version.rules)
    yield from (f"{folder}/{fault}" for fault in found)


def _rendering_faults(rule: Rule, mapping: MappingFile, version: MappingVersion, name: str,
                      notes: list[str]) -> Iterator[str]:
    rendering = version.renderings[name]
    own = rule.stylesheets.get(name)
    href = f"town:{own}" if own else rendering.stylesheet
    if href is None:
        return
    layers = xslt.Layers(Path(rule.package), version.name, Path(rule.common) if rule.common else None,
                         Path(rule.municipality_folder) if rule.municipality_folder else None)
    if not own and href.startswith("common:") and not (
            layers.common and (layers.common / href.partition(":")[2]).is_file()):
        yield (f"{rule.package}/mapping.toml: version {version.name}: renderings.{name}: {href}: is missing: "
               "add the file")
        return
    sheet_name = layers.resolve(href)
    sheet = Sheet(sheet_name, xslt.modules_of(layers, sheet_name),
                  lambda key: xslt.output_of(layers, sheet_name, key), rendering,
                  parameters=rule.municipality.keys(),
                  tables=lambda module: _table_for(module, Path(rule.package), mapping, version))
    found = review(sheet)
    yield from found
    try:
        xslt.compiled(layers, href)
    except Rejected as error:
        yield from (line for line in error.trace or (error.text,) if not _told(line, found))
    if own and not found:
        notes += _left_empty(sheet, Path(rule.package), version)


def _told(line: str, found: Sequence[str]) -> bool:
    """Whether what an engine says is about a line of which more is told already."""
    place = _ENGINE.match(line)
    return place is not None and any(other.startswith(f"{place[1]}: line {place[2]}:") for other in found)


def _left_empty(sheet: Sheet, package: Path, version: MappingVersion) -> list[str]:
    """Fields that a municipality's own stylesheet names and this version of the form does not have, though
    another has."""
    table = _table(package, version)
    if version.fields is None or version.xoev:
        return []
    strict = Sheet(sheet.name, sheet.modules, sheet.output, sheet.rendering, sheet.parameters,
                   lambda module: table if module.startswith("town:") else None)
    return [f"{fault.partition(': correct ')[0]} in version {version.name}: nothing comes of it there"
            for fault in review(strict)]


def _table_for(module: str, package: Path, mapping: MappingFile,
               version: MappingVersion) -> FieldTable | None:
    """The fields that a module may name: of the version at work where it stands in a version's folder, of all
    versions where it serves them all. None: it serves every form, or the payload is no form."""
    layer, _, path = module.partition(":")
    if layer == "common" or version.xoev or version.fields is None:
        return None
    if layer == "mapping" and any(path.startswith(f"{each.name}/") for each in mapping.version):
        return _table(package, version)
    tables = [_table(package, each) for each in mapping.version if each.fields]
    return FieldTable.model_construct(group=tuple(row for table in tables for row in table.group),
                                      field=tuple(row for table in tables for row in table.field), values={})


def _table(package: Path, version: MappingVersion) -> FieldTable:
    return _loaded(str(package / version.name / version.fields)) if version.fields else FieldTable()


@lru_cache(maxsize=64)
def _mapping(package: str) -> MappingFile:
    return load_mapping(Path(package))


@lru_cache(maxsize=64)
def _loaded(file: str) -> FieldTable:
    return load_fields(Path(file))
