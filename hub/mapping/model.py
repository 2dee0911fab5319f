"""A mapping: everything the hub knows about one service (Antragsassistent), as data in one folder of
`mappings/`.

``mapping.toml`` names the versions of the form. For each it names the field table, the schema, the rules and
the renderings::

    service = "hundesteuer"
    title = "Anmeldung zur Hundesteuer"
    category = "einfach"

    [[version]]
    name = "v1"                         # its folder, and its name in logs and digests
    forms = ["HundesteuerAnmeldung"]    # names inside the form id; empty: any
    versions = ">=1.0,<2.0 or none"     # form versions, as numbers; none: the oldest forms name no version
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

A daemon never reads the folder that an operator edits. It takes a snapshot (`hub.files.snapshot`), named by
its digest, at start and at reload.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from hub.files.model import FaultsError, FileModel
from hub.mapping.versions import FormVersionSpan

FieldType = Literal["text", "textarea", "integer", "decimal", "money", "boolean", "date", "time", "choice",
                    "choices", "file", "files", "json"]
PRINTED = "antrag.pdf"
"""The file of an example that is handed in as the applicant's own printout."""


class FieldRow(FileModel):
    """One field of the form: where it is, what type its text has, how a clerk reads it."""

    group: str = Field(description="id of its group")
    id: str = Field(description="the form's own id")
    type: FieldType = Field("text", description="what its text is, and so how it is checked and shown")
    label: str = Field(description="how a clerk reads it")
    values: str | None = Field(None, description="name of the value list, for choice and choices")


class GroupRow(FileModel):
    """A group of fields, in the order in which a clerk reads them. `instances` says whether it may occur
    several times."""

    id: str = Field(description="the form's own id")
    title: str = Field(description="its heading, as a clerk reads it")
    instances: bool = Field(False, description="whether it may occur several times")
    applicant: bool = Field(False, description="whether it says who the applicant is, for the head of mails "
                                               "and PDFs; of several groups the first with a name, and what "
                                               "that one lacks (address, telephone, e-mail) from the next")


class FieldTable(FileModel):
    """The form's fields, in reading order, and its value lists (technical value to label)."""

    group: tuple[GroupRow, ...] = Field((), description="the groups, in reading order")
    field: tuple[FieldRow, ...] = Field((), description="the fields, in reading order")
    values: Mapping[str, Mapping[str, str]] = Field({}, description="value lists: what the form sends, and "
                                                                    "how a clerk reads it")

    @model_validator(mode="after")
    def _consistent(self) -> FieldTable:
        groups = {group.id for group in self.group}
        seen: set[tuple[str, str]] = set()
        faults: list[tuple[tuple[str | int, ...], str]] = []
        for number, row in enumerate(self.field):
            if row.group not in groups:
                faults.append((("field", number), f"field {row.group}:{row.id} is in no [[group]]"))
            if (row.group, row.id) in seen:
                faults.append((("field", number), f"field {row.group}:{row.id} stands twice"))
            seen.add((row.group, row.id))
            if row.type in ("choice", "choices") and row.values not in self.values:
                faults.append((("field", number), f"field {row.group}:{row.id} needs a value list; "
                                                  f"[values.{row.values or row.id}] is missing"))
        if faults:
            raise FaultsError(faults)
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

    ``stylesheet`` makes XML, HTML, text or CSV by XSLT; its own ``version`` chooses the engine. With the role
    ``pdf`` it makes HTML, which WeasyPrint prints. With ``applicant_pdf`` the PDF of the envelope is taken
    where there is one.
    """

    role: Literal["text", "html", "pdf", "xml", "csv",
                  "json"] = Field(description="what it is for the receiver")
    stylesheet: str | None = Field(None, description="file beside the version, or `common:…`")
    file: str = Field(description="name of the file at the receiver")
    media_type: str = Field(description="its media type, like application/xml")
    encoding: str = Field("utf-8",
                          description="encoding of its text, for csv and xml; utf-8-sig: with a BOM, "
                                               "as spreadsheets want it")
    applicant_pdf: bool = Field(False, description="take the applicant's own PDF where the envelope has one; "
                                                   "for role pdf")

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
    versions: FormVersionSpan = Field("*", description="form versions it takes, like '>=1.0,<2.0 or none' "
                                                       "(none: not named)")
    valid_from: date | None = Field(None, description="first day of acceptance it holds for (Europe/Berlin)")
    valid_until: date | None = Field(None, description="first day it does not hold any more")
    subject: str = Field(description="what a clerk reads as subject")
    fields: str | None = Field(None, description="the table of fields, a file in the version's folder")
    schema_: str | None = Field(None, alias="schema",
                                description="the XSD of the fields, a file in the version's folder")
    schema_set: SchemaSet | None = Field(None, description="the installed schemas of a XÖV payload")
    rules: str | None = Field(None, description="the Schematron rules, a file in the version's folder")
    xoev: bool = Field(False, description="the payload is a XÖV document, validated as received")
    renderings: Mapping[str, Rendering] = Field({}, description="what is made of an application, by the "
                                                                "names that routes send; those of the "
                                                                "version "
                                                                "before hold where it names none of its own")


class MappingFile(FileModel):
    """``mapping.toml``."""

    service: str = Field(description="its key: the folder's name, and the last part of the path in")
    title: str = Field(description="what people call it")
    category: Literal["einfach", "mittel",
                      "komplex"] = Field(description="how much work its assistant is, for bills")
    leistung: str | None = Field(None, description="Leistungsschlüssel (LeiKa), 14 digits")
    version: tuple[MappingVersion, ...] = Field(description="the versions of its form")
