"""What the tests of renderings share: a package of stylesheets, and a message to render with it."""

from __future__ import annotations

import hashlib
import io
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from lxml import etree

from hub.job import Body, Job, JobPart, OutAttachment, PdfChoice, Recipient, Rule
from hub.mapping.model import FieldTable, MappingVersion
from hub.pipeline import xslt
from hub.pipeline.fields import annotate, type_values
from hub.pipeline.file_names import name_files
from hub.pipeline.translate import render

COMMON = Path(__file__).parents[3] / "mappings" / "_common"
ID = "01936f00-0000-7000-8000-00000000abcd"
XSL = 'xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1"'
WRITERS = ('xmlns:exsl="http://exslt.org/common" xmlns:sax="http://icl.com/saxon" '
           'extension-element-prefixes="exsl sax"')
SHA = hashlib.sha256(b"x").hexdigest()
OTHER = hashlib.sha256(b"y").hexdigest()
"""Of the application: no attachment has its bytes."""
TABLE = FieldTable(
    group=[{"id": "halter", "title": "Halterin oder Halter"},
           {"id": "hund", "title": "Hund", "instances": True}],
    field=[{"group": "halter", "id": "name", "label": "Name"},
           {"group": "halter", "id": "geburtsdatum", "type": "date", "label": "Geburtsdatum"},
           {"group": "halter", "id": "bemerkung", "type": "textarea", "label": "Bemerkung"},
           {"group": "halter", "id": "nachweis", "type": "files", "label": "Nachweis"},
           {"group": "hund", "id": "merkmale", "type": "choices", "label": "Merkmale", "values": "m"}],
    values={"m": {"a": "groß", "b": "braun"}})
ENVELOPE = f"""<e:envelope xmlns:e="urn:datendrehscheibe:envelope:1" version="1"><e:metadata>
<e:message id="{ID}" ags="14999010" service="hundesteuer" received="2026-11-22T10:11:12+01:00"
 day="2026-11-22" test="false"/>
<e:source>serviceportal</e:source><e:form id="1:HundesteuerAnmeldung:v1.1" name="HundesteuerAnmeldung"
 version="1.1"/>
</e:metadata><e:fields><halter><instance n="0"><name>Erika "Rika" Mustermann &amp; Łódź</name>
<geburtsdatum>1980-07-08T00:00:00.000+02:00</geburtsdatum><bemerkung>=1+1
zweite Zeile</bemerkung><nachweis><attachment ref="2"/></nachweis><leer/></instance></halter>
<hund><instance n="0"><merkmale><value>a</value><value>b</value></merkmale></instance><instance n="1">
<merkmale>
<value>a</value></merkmale></instance></hund></e:fields>
<e:attachments><e:attachment id="1" name="antrag.pdf" size="3" role="applicant-pdf"/>
<e:attachment id="2" name="Impfpaß.pdf" size="1234567" role="upload"/></e:attachments></e:envelope>"""
UPLOADS = (
    OutAttachment(name="antrag", filename=None, media_type="application/pdf", role="applicant-pdf", size=3,
                  sha256=SHA,
                  body=Body(length=3)),
    OutAttachment(name="nachweis", filename="../Impfpaß.pdf", media_type="application/pdf", role="upload",
                  size=4,
                  sha256=SHA, body=Body(offset=3, length=4)),
    OutAttachment(name="nachweis", filename="IMPFPASS.pdf", media_type="application/pdf", role="upload",
                  size=4,
                  sha256=SHA, body=Body(offset=7, length=4)),
)


class Workplace:
    """A package in a folder, and a message to render with it."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "package"
        self.municipality = folder / "town"
        self.renderings: dict[str, Mapping[str, Any]] = {}
        self.recipients: list[Recipient] = []
        self.stylesheets: dict[str, str] = {}
        self.homes: dict[str, str] = {}
        self.pdf: PdfChoice | None = None
        self.pdf_embeds: tuple[str, ...] = ()
        self.attachments = UPLOADS
        self.parts = (JobPart(name="application", filename=None, media_type="application/xml", sha256=OTHER,
                              body=Body(length=5)),)
        (self.package / "v1").mkdir(parents=True)
        self.municipality.mkdir()

    def write(self, name: str, text: str) -> None:
        file = self.package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        xslt.compiled.cache_clear()  # a snapshot never changes; this package does

    def sheet(self, body: str, version: str = "1.0", name: str = "v1/x.xsl") -> None:
        self.write(name, f'<?xml version="1.0"?>\n<xsl:stylesheet {XSL} {WRITERS} version="{version}">\n'
                   f"{body}\n</xsl:stylesheet>")

    def render(self) -> tuple[tuple[Any, ...], bytes]:
        version = MappingVersion(name="v1", subject="Anmeldung zur Hundesteuer", renderings=self.renderings)
        recipients = tuple(self.recipients) or (
            Recipient(name="amt", destination="amt", connector="smtp", send=tuple(self.renderings)),)
        rule = Rule(id="t/hundesteuer/v1", tenant="t", service="hundesteuer", mapping_version="v1",
                    mapping_digest="0", subject=version.subject,
                    package=str(self.package), common=str(COMMON), municipality_folder=str(self.municipality),
                    stylesheets=self.stylesheets, homes=self.homes, pdf=self.pdf, pdf_embeds=self.pdf_embeds,
                    recipients=recipients,
                    municipality={"name": "Stadt Musterstadt", "ags": "14999010", "böse": "x"})
        job = Job(message_id=ID, tenant="t", ags="14999010", service="hundesteuer", test=False,
                  received_at=datetime(2026, 11, 22, 9, 11, 12, tzinfo=UTC), accepted_day=date(2026, 11, 22),
                  case=None,
                  parts=self.parts, rules=(rule,))
        envelope = type_values(etree.fromstring(ENVELOPE), TABLE)
        attachments = name_files(envelope, self.attachments, rule, version, job.parts)
        out = io.BytesIO()
        return render(job, rule, version, annotate(envelope, TABLE), attachments, out), out.getvalue()

    def one(self, body: str, version: str = "1.0", role: str = "xml", **more: Any) -> bytes:
        """What a stylesheet with this body makes."""
        self.sheet(body, version)
        self.renderings = {"x": {"role": role, "stylesheet": "x.xsl", "file": f"x.{role}",
                                 "media_type": "a/b", **more}}
        (delivery,), out = self.render()
        return self.body(delivery.parts[0], out)

    @staticmethod
    def body(part: Any, out: bytes) -> bytes:
        content = out[part.body.offset : part.body.offset + part.body.length]
        assert hashlib.sha256(content).hexdigest() == part.sha256 and len(content) == part.size
        return content


def inflated(content: bytes) -> bytes:
    """A PDF's bytes with its compressed streams opened, for looking whether something is in it."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    return content + b"".join(zlib.decompressobj().decompress(stream) for stream in streams
                              if stream[:1] == b"x")


def common(role: str, sheet: str, file: str) -> dict[str, Any]:
    return {"role": role, "stylesheet": f"common:{sheet}", "file": file, "media_type": "text/plain"}
