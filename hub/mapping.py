"""A mapping: everything the hub knows about one service (Antragsassistent), as data in one folder of `mappings/`.

``mapping.toml`` names the versions of the form and, for each, the field table, the schema, the rules and the renderings::

    service = "hundesteuer"
    title = "Anmeldung zur Hundesteuer"
    category = "einfach"

    [[version]]
    name = "v1"                         # its folder, and its name in logs and digests
    forms = ["HundesteuerAnmeldung"]    # names inside the form id; empty: any
    versions = ">=1.0,<2.0 or none"     # form versions, compared as numbers; none: the oldest forms name no version
    valid_from = 2024-01-01             # by the day of acceptance in Europe/Berlin, half open
    subject = "Anmeldung zur Hundesteuer"
    fields = "fields.toml"              # paths are relative to the version's folder
    schema = "fields.xsd"
    rules = "rules.sch"

    [version.renderings.xml]
    role = "xml"
    stylesheet = "fachverfahren.xsl"
    file = "hundesteuer.xml"
    media_type = "application/xml"

A daemon never reads the folder an operator edits: it takes a `Snapshot`, named by its digest, at start and at reload.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from xml.parsers import expat

import rtoml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from hub.errors import ConfigError
from hub.filemodel import FileModel

_COMPARISON = re.compile(r"^(>=|<|>|<=|==)\s*(\d+(?:\.\d+)*)$")


def version_key(text: str) -> tuple[int, ...]:
    """A form version as numbers, so that 1.10 > 1.9 and 1.0 == 1. Raises ValueError when it is none."""
    numbers = [int(number) for number in text.removeprefix("v").split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


@lru_cache(maxsize=4096)
def version_in(version: str | None, span: str) -> bool:
    """Whether a form version lies in a range such as ``>=1.0,<2.0``; ``*`` takes every version, also none.

    ``>=1.0,<2.0 or none`` takes a form that names no version as well: before blueprint 1.6 the envelope had no form id.
    """
    span, _, also = span.partition(" or ")
    if span.strip() == "*":
        return True
    if version is None:
        return also.strip() == "none"
    try:
        key = version_key(version)
    except ValueError:
        return False
    tests = {"=="  : lambda a, b: a == b, ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b,
             ">": lambda a, b: a > b, "<": lambda a, b: a < b}
    for term in span.split(","):
        match = _COMPARISON.match(term.strip())
        if match is None or not tests[match[1]](key, version_key(match[2])):
            return False
    return True


def _check_span(span: str) -> str:
    if span.strip() != "*":
        for term in span.split(","):
            if not _COMPARISON.match(term.strip()):
                raise ValueError(f"{term.strip()!r} is no comparison of versions such as '>=1.0' (joined by commas), or '*'")
    return span


def _check_form_span(span: str) -> str:
    _check_span(span.removesuffix(" or none"))
    return span


VersionSpan = Annotated[str, AfterValidator(_check_span)]
FormVersionSpan = Annotated[str, AfterValidator(_check_form_span)]


FieldType = Literal["text", "textarea", "integer", "decimal", "money", "boolean", "date", "time", "choice", "choices", "file",
                    "files", "json"]


class FieldRow(FileModel):
    """One field of the form: where it is, what type its text has, how a clerk reads it."""

    group: str = Field(description="id of its group")
    id: str = Field(description="the form's own id")
    type: FieldType = Field("text", description="what its text is, and so how it is checked and shown")
    label: str = Field(description="how a clerk reads it")
    values: str | None = Field(None, description="name of the value list, for choice and choices")


class GroupRow(FileModel):
    """A group of fields, in the order in which a clerk reads them; `instances` says whether it may occur several times."""

    id: str = Field(description="the form's own id")
    title: str = Field(description="its heading, as a clerk reads it")
    instances: bool = Field(False, description="whether it may occur several times")


class FieldTable(FileModel):
    """The form's fields, in reading order, and its value lists (technical value to label)."""

    group: tuple[GroupRow, ...] = Field((), description="the groups, in reading order")
    field: tuple[FieldRow, ...] = Field((), description="the fields, in reading order")
    values: Mapping[str, Mapping[str, str]] = Field({}, description="value lists: what the form sends, and how a clerk reads it")

    @model_validator(mode="after")
    def _consistent(self) -> FieldTable:
        groups = {group.id for group in self.group}
        seen: set[tuple[str, str]] = set()
        for row in self.field:
            if row.group not in groups:
                raise ValueError(f"field {row.group}:{row.id} is in no [[group]]")
            if (row.group, row.id) in seen:
                raise ValueError(f"field {row.group}:{row.id} stands twice")
            seen.add((row.group, row.id))
            if row.type in ("choice", "choices") and row.values not in self.values:
                raise ValueError(f"field {row.group}:{row.id} needs a value list; [values.{row.values}] is missing")
        return self

    @cached_property
    def rows(self) -> Mapping[tuple[str, str], FieldRow]:
        """By (group, field)."""
        return {(row.group, row.id): row for row in self.field}

    @cached_property
    def rows_of(self) -> Mapping[str, Mapping[str, FieldRow]]:
        """By group, then by field."""
        rows: dict[str, dict[str, FieldRow]] = {}
        for row in self.field:
            rows.setdefault(row.group, {})[row.id] = row
        return rows

    @cached_property
    def groups(self) -> Mapping[str, GroupRow]:
        """By id, in reading order."""
        return {row.id: row for row in self.group}

    @cached_property
    def ranks(self) -> Mapping[str, Mapping[str, int]]:
        """By group: the places of its fields in reading order; by ``""``: those of the groups."""
        ranks = {"": {name: place for place, name in enumerate(self.groups)}}
        for place, (group, name) in enumerate(self.rows):
            ranks.setdefault(group, {})[name] = place
        return ranks


class SchemaSet(FileModel):
    """A schema set installed by the operator (XÖV), found through the catalogue on disk."""

    set: str = Field(description="its name in the catalogue, like xmeld")
    version: str = Field(description="its version")
    entry: str = Field(description="the schema file to begin with")


class Rendering(FileModel):
    """One output of the mapping.

    ``stylesheet`` makes XML, HTML, text or CSV by XSLT (its own ``version`` chooses the engine). ``pdf`` with a stylesheet
    makes HTML that WeasyPrint prints; with ``applicant_pdf`` the PDF of the envelope is taken where there is one.
    """

    role: Literal["text", "html", "pdf", "xml", "csv", "json"] = Field(description="what it is for the receiver")
    stylesheet: str | None = Field(None, description="file beside the version, or `common:…`")
    file: str = Field(description="name of the file at the receiver")
    media_type: str = Field(description="its media type, like application/xml")
    encoding: str = Field("utf-8", description="encoding of its text")
    applicant_pdf: bool = Field(False, description="take the applicant's own PDF where the envelope has one; for role pdf")

    @model_validator(mode="after")
    def _has_a_source(self) -> Rendering:
        if self.stylesheet is None and not self.applicant_pdf:
            raise ValueError("a rendering needs a stylesheet, or applicant_pdf = true")
        if self.applicant_pdf and self.role != "pdf":
            raise ValueError("applicant_pdf goes with role = \"pdf\"")
        return self


class MappingVersion(FileModel):
    """One version of the form with its own schema, rules and stylesheets."""

    name: str = Field(description="its folder, and its name in logs and digests")
    forms: tuple[str, ...] = Field((), description="names inside the form id; none: any")
    versions: FormVersionSpan = Field("*", description="form versions it takes, like '>=1.0,<2.0 or none' (none: not named)")
    valid_from: date | None = Field(None, description="first day of acceptance it holds for (Europe/Berlin)")
    valid_until: date | None = Field(None, description="first day it does not hold any more")
    subject: str = Field(description="what a clerk reads as subject")
    fields: str | None = Field(None, description="the table of fields, a file in the version's folder")
    schema_: str | None = Field(None, alias="schema", description="the XSD of the fields, a file in the version's folder")
    schema_set: SchemaSet | None = Field(None, description="the installed schemas of a XÖV payload")
    rules: str | None = Field(None, description="the Schematron rules, a file in the version's folder")
    xoev: bool = Field(False, description="the payload is a XÖV document, validated as received")
    renderings: Mapping[str, Rendering] = Field({}, description="what is made of an application, by the names that routes send")


class MappingFile(FileModel):
    """``mapping.toml``."""

    service: str = Field(description="its key: the folder's name, and the last part of the path in")
    title: str = Field(description="what people call it")
    category: Literal["einfach", "mittel", "komplex"] = Field(description="how much work its assistant is, for bills")
    leistung: str | None = Field(None, description="Leistungsschlüssel (LeiKa), 14 digits")
    version: tuple[MappingVersion, ...] = Field(description="the versions of its form")


_PLAIN = {
    "extra_forbidden": ("unknown key", "remove it or correct its spelling"),
    "missing": ("is missing", "add it"),
    "string_type": ("is no text", 'write it in quotes, like "text"'),
    "tuple_type": ("is no list", 'write it in brackets, like ["a", "b"]'),
    "dict_type": ("is no table", "write it below a heading of its own, like [section]"),
    "mapping_type": ("is no table", "write it below a heading of its own, like [section]"),
    "model_type": ("is no table", 'write it in braces, like { name = "text" }, or below a heading of its own, like [section]'),
    "union_tag_not_found": ("names no connector", 'name one that is a drop, like connector = "directory"'),
    "union_tag_invalid": ("names a connector that cannot stand here", 'name one that is a drop, like connector = "directory"'),
    "int_type": ("is no whole number", "write a number without quotes, like 9464"),
    "int_parsing": ("is no whole number", "write a number without quotes, like 9464"),
    "int_from_float": ("is no whole number", "write it without a fraction"),
    "float_type": ("is no number", "write a number without quotes, like 2.5"),
    "float_parsing": ("is no number", "write a number without quotes, like 2.5"),
    "decimal_type": ("is no number", "write a number without quotes, like 2.5"),
    "decimal_parsing": ("is no number", "write a number without quotes, like 2.5"),
    "finite_number": ("is no number", "write a number without quotes, like 2.5"),
    "bool_type": ("is neither true nor false", "write true or false, without quotes"),
    "bool_parsing": ("is neither true nor false", "write true or false, without quotes"),
    "string_too_short": ("is empty", "write something between the quotes"),
    "path_type": ("is no path", 'write it in quotes, like "/srv/data"'),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"),
                    ("is no date", "write it without quotes, like 2026-01-31")),
    **dict.fromkeys(("time_type", "time_parsing"), ("is no time of day", "write it without quotes, like 02:30:00")),
}
"""pydantic's kinds of complaints in an operator's words, with what to do; others keep pydantic's sentence."""

_QUOTED = {"mode": "0640", "ags": "14999010", "formerly": "14999010", "municipalities": "14999010", "ars": "149990000010"}
"""What a text looks like that is easily taken for a number; by its key."""

_PLAIN_SHAPES = {
    r"^[a-z0-9][a-z0-9-]{0,62}$": ("is no key", 'write small letters, digits and hyphens, like "musterstadt"'),
    r"^(\d{8}|\d{5})$": ("is no AGS", 'write eight digits (for a district five), like "14999010"'),
    r"^([0-9]{5}|[0-9]{8})$": ("is no AGS", 'write eight digits (for a district five), like "14999010"'),
    r"^(\d{12}|\d{9}|\d{5})$": ("is no ARS", 'write twelve digits, like "149990000010"'),
    r"^postgresql://": ("is no address of a PostgreSQL", 'write it like "postgresql://user@host/database"'),
    r"^(\.[A-Za-z0-9_-]{1,16})?$": ("is no ending of a file's name", 'write it with its dot, like ".tmp"'),
    r"^0[0-7]{3}$": ("is no mode of a file", 'write four digits from 0 to 7, the first a 0, like "0640"'),
    r"^[A-Za-z0-9._\[\]-]{1,60}$": ("is no name of a form's field", 'write letters, digits and . _ [ ] -, like "antrag"'),
    r"^[a-z]+/[A-Za-z0-9.+_-]+(; ?charset=[A-Za-z0-9-]+)?$": ("is no media type", 'write it like "application/xml"'),
    r"^[A-Za-z0-9_-]{1,60}$": ("is no name at the broker", 'write letters, digits, _ and -, like "amt24"'),
}
"""The patterns that a text must have, in words."""


def problems_of(file: Path | str, error: ValidationError, below: str = "") -> list[str]:
    """pydantic's complaints as lines ``file: key: what is wrong: what to do``; `below`: the key of what was judged."""
    lines = []
    for item in errors_of(error):
        key = ".".join(str(step) for step in (below, *item["loc"]) if step not in ("", "[key]")) or "(file)"
        what, remedy = _said(item, key)
        lines.append(f"{file}: {key}: {what}: {remedy}")
    return lines


def _said(item: Mapping[str, Any], key: str) -> tuple[str, str]:
    """What is wrong, and what to do."""
    names = [step for step in key.split(".") if not step.isdigit()]
    if item["type"] == "string_type" and names[-1] in _QUOTED:
        return "is no text", f'write it in quotes, like "{_QUOTED[names[-1]]}"'
    if item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] in _PLAIN_SHAPES:
        return _PLAIN_SHAPES[item["ctx"]["pattern"]]
    if item["type"] == "tuple_type" and isinstance(item["input"], dict):
        return "is a table, not a list of tables", f"write [[{'.'.join(names)}]] instead of [{'.'.join(names)}]"
    return _PLAIN.get(item["type"], (item["msg"].removeprefix("Value error, "), "correct the value"))


def errors_of(error: ValidationError) -> Sequence[Mapping[str, Any]]:
    """pydantic's complaints, without the one that a list is too short because what stands in it is faulty."""
    items = error.errors(include_url=False)
    places = [item["loc"] for item in items]
    return [item for item in items if item["type"] != "too_short"
            or not any(len(place) > len(item["loc"]) and place[:len(item["loc"])] == item["loc"] for place in places)]


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file. Raises `ConfigError` with file and line."""
    return parse_toml(file, read_file(file))


def read_file(file: Path) -> bytes:
    """The bytes of a file. Raises `ConfigError`."""
    try:
        with file.open("rb", buffering=0) as opened:
            return opened.read()
    except OSError as error:
        raise ConfigError.at(file, "(file)", f"cannot be read ({error.strerror})", "create it or mend its rights") from error


def parse_toml(file: Path, content: bytes) -> dict[str, Any]:
    """The TOML in `content`, which was read from `file`. Raises `ConfigError` with file and line."""
    try:
        return rtoml.loads(content.decode("utf-8"))
    except (rtoml.TomlParsingError, UnicodeDecodeError) as error:
        raise ConfigError.at(file, "(file)", f"is no TOML ({error})", "mend that line") from error


def load_mapping(folder: Path) -> MappingFile:
    """``mapping.toml`` of a service's folder, with every file it names present. Raises `ConfigError`."""
    file = folder / "mapping.toml"
    try:
        mapping = MappingFile(**read_toml(file))
    except ValidationError as error:
        raise ConfigError(problems_of(file, error)) from error
    problems = []
    if mapping.service != folder.name and len(folder.name) != 64:
        problems.append(f"{file}: service: {mapping.service!r} in folder {folder.name!r}: give both the same name")
    for version in mapping.version:
        named = [version.fields, version.schema_, version.rules, *(r.stylesheet for r in version.renderings.values())]
        for name in named:
            if name and not name.startswith("common:") and not (folder / version.name / name).is_file():
                problems.append(f"{file}: version {version.name}: {name} is missing: add the file")
    problems += stylesheet_problems(folder)
    if problems:
        raise ConfigError(problems)
    return mapping


def stylesheet_problems(folder: Path) -> list[str]:
    """Stylesheets below a folder that are no whole XML, as after a copy that broke off: no message must meet them.

    Whether they can be compiled, the workers find out: nothing is compiled in the main process.
    """
    problems = []
    for file in sorted(folder.rglob("*.xsl")):
        try:
            expat.ParserCreate().Parse(file.read_bytes(), True)
        except expat.ExpatError as error:
            why = expat.ErrorString(error.code)
            problems.append(f"{file}: line {error.lineno}: is no whole XML ({why}): mend the stylesheet")
        except OSError as error:
            problems.append(f"{file}: cannot be read ({error.strerror}): mend its rights")
    return problems


def load_fields(file: Path) -> FieldTable:
    """The field table. Raises `ConfigError`."""
    try:
        return FieldTable(**read_toml(file))
    except ValidationError as error:
        raise ConfigError(problems_of(file, error)) from error


def tree_digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files below a folder (examples apart), as hex."""
    digest = hashlib.sha256()
    for file in _files(folder):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(folder: Path) -> Iterable[Path]:
    return sorted(file for file in folder.rglob("*")
                  if file.is_file() and not file.is_symlink() and "examples" not in file.relative_to(folder).parts)


def snapshot(folder: Path, into: Path) -> Path:
    """An unchanging copy of a folder, ``into/<digest>``; made once, so that edits take effect at a reload only.

    It is not synced: a power cut may leave it empty under its name. So one that does not have its digest is made anew.
    """
    digest = tree_digest(folder)
    target = into / digest
    if target.is_dir() and tree_digest(target) != digest:
        shutil.rmtree(target)
    if not target.is_dir():
        into.mkdir(parents=True, exist_ok=True)
        temporary = into / f".{digest}.{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        for file in _files(folder):
            copy = temporary / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        temporary.mkdir(exist_ok=True)
        try:
            temporary.rename(target)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            if not target.is_dir():
                raise
    return target
