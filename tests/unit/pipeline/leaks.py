"""What the tests of leaks share: a word that only a citizen can have written, and where it must not be found.

`CANARY` is a legal XML name, so that it can stand in a value, a name, a file name, a media type, anywhere.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from hub.files.toml import read_toml
from hub.job import Body, Job, JobPart, Outcome, Recipient, Rule, Translated
from hub.mapping.loader import load_mapping
from hub.pipeline.process import process

CANARY = "Kanarienvogel"
MAPPINGS = Path(__file__).parents[3] / "mappings"
DAY = date(2026, 11, 22)


def told(outcome: Outcome) -> str:
    """All that an outcome says outside of the payload, in small letters."""
    payload = {"attachments", "deliveries"} if isinstance(outcome, Translated) else set()
    return json.dumps(outcome.model_dump(mode="json", exclude=payload), ensure_ascii=False).lower()


def leaks(outcome: Outcome) -> bool:
    """Whether the canary is told outside of the payload."""
    return CANARY.lower() in told(outcome)


Part = tuple[str, str | None, str, bytes]
"""Name, file name, media type and content of a part as it was sent."""


def ask(parts: Sequence[Part], rules: tuple[Rule, ...], service: str, out: io.BytesIO | None = None,
        **more: Any) -> Outcome:
    """What the pipeline makes of a message. New bodies go to `out`."""
    contents = [content for *_, content in parts]
    job = Job(message_id="019a0000-0000-7000-8000-000000000001", tenant="beispiel", ags="14999010",
              service=service, test=False, received_at=datetime(2026, 11, 22, 9, tzinfo=UTC),
              accepted_day=DAY, rules=rules, **{"case": None, **more}, parts=tuple(
                  JobPart(name=name, filename=filename, media_type=media_type,
                          sha256=hashlib.sha256(content).hexdigest(),
                          body=Body(fd=number, length=len(content)))
                  for number, (name, filename, media_type, content) in enumerate(parts)))
    return process(job, lambda body: contents[body.fd], io.BytesIO() if out is None else out)


def rules_of(package: Path, common: Path | None = MAPPINGS / "_common", schemas: Path | None = None,
             sent: Iterable[str] | None = None) -> tuple[Rule, ...]:
    """A rule for each version of a mapping: one recipient gets everything but PDFs, which take a second."""
    return tuple(Rule(
        id=f"beispiel/{package.name}/{version.name}", tenant="beispiel", service=package.name,
        forms=version.forms, mapping_versions=version.versions, mapping_version=version.name,
        mapping_digest="0", package=str(package), common=str(common) if common else None,
        schemas=str(schemas) if schemas else None, municipality={"name": "Stadt Musterstadt"},
        recipients=(Recipient(name="alles", destination="alles", connector="directory", send=tuple(sent or (
            *(name for name, each in version.renderings.items() if each.role != "pdf"),
            "attachments", "original"))),)) for version in load_mapping(package).version)


# --- the shipped services -----------------------------------------------------------------------------------

EXAMPLES = sorted(file.parent for file in MAPPINGS.glob("*/examples/*/example.toml"))


def document_of(example: Path) -> etree._Element:
    """The document of an example in XML, or None where it is JSON."""
    return etree.parse(str(example / "message.xml")).getroot()


def sent(example: Path, document: bytes, *, media_type: str = "application/xml",
         canary: str = "") -> list[Part]:
    """The parts of an example with this document; `canary` goes into all names and types of the others."""
    beside = read_toml(example / "example.toml").get("attachments", ())
    parts: list[Part] = [("application", None, media_type, document)]
    for name in beside:
        content = (example / name).read_bytes()
        parts.append((f"attachment{canary}", f"{canary}{name}", f"image/{canary or 'png'}", content))
    if canary:
        parts.append((canary, f"x_anhang_{canary}.{canary}", f"{canary}/{canary}; name={canary}", b"%PDF-1"))
    return parts


def fields(document: etree._Element) -> list[etree._Element]:
    """The elements of a document that have a text of their own, and no children."""
    return [element for element in document.iter(etree.Element) if not len(element)]


def as_json(document: etree._Element) -> bytes:
    """A form dump in XML as one in JSON, uploads left out."""
    form: dict[str, Any] = {}
    for instance in document.iterfind(".//serviceportal-fields/*/*"):
        group, number = instance.getparent(), str(instance.tag).removeprefix("instance_")
        for field in instance:
            if not len(field) and group is not None:
                form[f"{group.tag}_{number}_{field.tag}"] = field.text or ""
    metadata = {"formId": document.findtext("metadata/formId") or "",
                "creationDate": document.findtext("metadata/creationDate") or "",
                "postfachHandleId": document.findtext("metadata/postfachHandleId") or ""}
    return json.dumps({"metadata": metadata, "fields": form}).encode()


# --- hostile mappings ---------------------------------------------------------------------------------------

XSL = "http://www.w3.org/1999/XSL/Transform"
SCH = "http://purl.oclc.org/dsdl/schematron"
FIELDS_TOML = """
group = [{ id = "person", title = "Person" }]
field = [{ group = "person", id = "name", type = "text", label = "Name" },
         { group = "person", id = "datum", type = "date", label = "Datum" }]
"""
MAPPING_TOML = """
service = "{service}"
title = "Feindlich"
category = "einfach"

[[version]]
name = "v1"
subject = "Feindlich"
fields = "fields.toml"
{more}

[version.renderings.ausgabe]
role = "xml"
stylesheet = "ausgabe.xsl"
file = "ausgabe.xml"
media_type = "application/xml"
"""


def hostile(folder: Path, more: str = "", **files: str) -> tuple[Rule, ...]:
    """The rules of a mapping with these files: ``ausgabe_xsl`` is ausgabe.xsl."""
    package = folder / "feindlich"
    (package / "v1").mkdir(parents=True, exist_ok=True)
    (package / "mapping.toml").write_text(MAPPING_TOML.format(service="feindlich", more=more),
                                          encoding="utf-8")
    known = {"fields_toml": FIELDS_TOML, "ausgabe_xsl": stylesheet("1.0", "<x/>"), **files}
    for name, text in known.items():
        (package / "v1" / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return rules_of(package, common=None, schemas=folder / "schemas", sent=["ausgabe"])


def stylesheet(version: str, body: str) -> str:
    """A stylesheet whose one template has this body, in line 4."""
    return (f'<xsl:stylesheet version="{version}" xmlns:xsl="{XSL}"\n'
            'xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:e="urn:datendrehscheibe:envelope:1">\n'
            f'<xsl:template match="/">\n{body}\n</xsl:template>\n</xsl:stylesheet>')


def form(values: Mapping[str, str], attributes: str = "") -> bytes:
    """A form dump in XML with one person."""
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
    return (f"<serviceportal-fields><person{attributes}><instance_0>{inner}</instance_0></person>"
            "</serviceportal-fields>").encode()
