"""Rendering: what recipients get, and what a stylesheet can never do; each safety claim with a planted
fault."""

import csv
import hashlib
import io
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree, html

from hub.errors import Rejected
from hub.job import Body, Job, JobPart, OutAttachment, Recipient, Rule
from hub.mapping.model import FieldTable, MappingVersion
from hub.pipeline import pdf, xslt
from hub.pipeline.fields import annotate, type_values
from hub.pipeline.translate import render, short_id
from tests.services import need_pango

COMMON = Path(__file__).parents[3] / "mappings" / "_common"
ID = "01936f00-0000-7000-8000-00000000abcd"
XSL = 'xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1"'
WRITERS = 'xmlns:exsl="http://exslt.org/common" xmlns:sax="http://icl.com/saxon" extension-element-prefixes="exsl sax"'
SHA = hashlib.sha256(b"x").hexdigest()
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
<e:message id="{ID}" ags="14999010" service="hundesteuer" received="2026-11-22T10:11:12+01:00" day="2026-11-22" test="false"/>
<e:source>serviceportal</e:source><e:form id="1:HundesteuerAnmeldung:v1.1" name="HundesteuerAnmeldung" version="1.1"/>
</e:metadata><e:fields><halter><instance n="0"><name>Erika "Rika" Mustermann &amp; Łódź</name>
<geburtsdatum>1980-07-08T00:00:00.000+02:00</geburtsdatum><bemerkung>=1+1
zweite Zeile</bemerkung><nachweis><attachment ref="2"/></nachweis><leer/></instance></halter>
<hund><instance n="0"><merkmale><value>a</value><value>b</value></merkmale></instance><instance n="1"><merkmale>
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
        self.attachments = UPLOADS
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
                    mapping_digest="0",
                    package=str(self.package), common=str(COMMON), municipality_folder=str(self.municipality),
                    stylesheets=self.stylesheets,
                    recipients=recipients,
                    municipality={"name": "Stadt Musterstadt", "ags": "14999010", "böse": "x"})
        job = Job(message_id=ID, tenant="t", ags="14999010", service="hundesteuer", test=False,
                  received_at=datetime(2026, 11, 22, 9, 11, 12, tzinfo=UTC), accepted_day=date(2026, 11, 22),
                  case=None,
                  parts=(JobPart(name="application", filename=None, media_type="application/xml", sha256=SHA,
                                 body=Body(length=5)),), rules=(rule,))
        envelope = annotate(type_values(etree.fromstring(ENVELOPE), TABLE), TABLE)
        out = io.BytesIO()
        return render(job, rule, version, envelope, self.attachments, out), out.getvalue()

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


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "geheim.xml"
    file.write_text("<geheim>streng geheim</geheim>")
    return file


def inflated(content: bytes) -> bytes:
    """A PDF's bytes with its compressed streams opened, for looking whether something is in it."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    return content + b"".join(zlib.decompressobj().decompress(stream) for stream in streams
                              if stream[:1] == b"x")


def common(role: str, sheet: str, file: str) -> dict[str, Any]:
    return {"role": role, "stylesheet": f"common:{sheet}", "file": file, "media_type": "text/plain"}


# What recipients get


def test_the_html_of_a_mail_is_readable_and_accessible(workplace: Workplace) -> None:
    workplace.renderings = {"h": common("html", "mail-html.xsl", "antrag.html")}
    (delivery,), out = workplace.render()
    page = html.fromstring(workplace.body(delivery.parts[0], out).decode())
    assert page.get("lang") == "de"
    assert page.findtext(".//title") == f"Anmeldung zur Hundesteuer – {short_id(ID)}"
    assert [element.text_content() for element in page.iter("h1", "h2")] == [
        "Anmeldung zur Hundesteuer", "Halterin oder Halter", "Hund 1 von 2", "Hund 2 von 2", "Anlagen"]
    rows = {row.findtext("th"): row.find("td").text_content() for row in page.iter("tr")}
    assert rows["Behörde"] == "Stadt Musterstadt (AGS 14999010)"
    assert rows["Eingegangen am"] == "22.11.2026, 10:11 Uhr"
    assert rows["Name"] == 'Erika "Rika" Mustermann & Łódź'
    assert rows["Geburtsdatum"] == "08.07.1980"
    assert "leer" not in rows
    assert all(th.get("scope") == "row" for th in page.iter("th"))
    assert [li.text_content() for li in page.iter("li")] == ["groß", "braun", "Impfpaß.pdf (1,2 MB)"]


def test_the_text_of_a_mail(workplace: Workplace) -> None:
    workplace.renderings = {"t": common("text", "mail-text.xsl", "antrag.txt")}
    (delivery,), out = workplace.render()
    text = workplace.body(delivery.parts[0], out).decode()
    assert "\r" not in text
    assert "Hund 2 von 2\n------------\nMerkmale: groß\n" in text
    assert "Bemerkung: =1+1\n    zweite Zeile\n" in text
    assert "- Impfpaß.pdf (1,2 MB)\n" in text
    assert text.endswith(f"Nachrichtennummer: {ID}\n")


def test_csv_is_tall_with_crlf_and_no_formulas(workplace: Workplace) -> None:
    workplace.renderings = {"c": common("csv", "fields-csv.xsl", "felder.csv")}
    (delivery,), out = workplace.render()
    text = workplace.body(delivery.parts[0], out).decode()
    assert not re.search(r"(?<!\r)\n", text)
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(text, newline=""))}
    assert rows["halter:0:name"] == ['Erika "Rika" Mustermann & Łódź', "Name"]
    assert rows["halter:0:geburtsdatum"] == ["1980-07-08", "Geburtsdatum"]
    assert rows["halter:0:bemerkung"] == ["'=1+1\r\nzweite Zeile", "Bemerkung"]
    assert rows["halter:0:nachweis"] == ["Impfpaß.pdf", "Nachweis"]
    assert rows["hund:0:merkmale"] == ["a, b", "Merkmale"]
    assert "halter:0:leer" not in rows, "an empty field unknown to the table is a heading"


@pytest.mark.slow
def test_a_pdf_is_accessible_and_the_same_every_time(workplace: Workplace) -> None:
    need_pango()
    workplace.renderings = {"p": common("pdf", "pdf.xsl", "antrag.pdf")}
    first = workplace.render()
    second = workplace.render()
    assert first == second
    content = workplace.body(first[0][0].parts[0], first[1])
    assert content.startswith(b"%PDF-1.7")
    inside = inflated(content)
    assert b"/StructTreeRoot" in inside and b"/Lang" in inside and b"/MarkInfo" in inside
    assert b"pdfuaid" in inside
    assert b"CreationDate" not in inside


def test_the_applicants_own_pdf_goes_first_and_a_printed_one_stands_in(workplace: Workplace) -> None:
    need_pango()
    workplace.renderings = {"p": {**common("pdf", "pdf.xsl", "antrag.pdf"), "applicant_pdf": True}}
    (delivery,), out = workplace.render()
    assert (delivery.parts[0].attachment, delivery.parts[0].body, out) == (0, None, b"")
    workplace.attachments = UPLOADS[1:]
    (delivery,), out = workplace.render()
    assert workplace.body(delivery.parts[0], out).startswith(b"%PDF")


def test_no_pdf_and_no_stylesheet_parks(workplace: Workplace) -> None:
    workplace.renderings = {"p": {"role": "pdf", "applicant_pdf": True, "file": "a.pdf",
                             "media_type": "application/pdf"}}
    workplace.attachments = ()
    with pytest.raises(Rejected) as caught:
        workplace.render()
    assert caught.value.reason == "invalid"


def test_recipients_share_renderings_and_get_safe_unique_names(workplace: Workplace) -> None:
    workplace.sheet('<xsl:template match="/"><x/></xsl:template>')
    workplace.renderings = {"x":
                       {"role": "xml", "stylesheet": "x.xsl", "file": "Impfpass.pdf", "media_type": "a/b"}}
    workplace.recipients = [
        Recipient(name="a", destination="post", connector="smtp", send=("x", "attachments"), subject="Neu"),
        Recipient(name="b", destination="drop", connector="directory", send=("original", "x"), path="p")]
    (first, second), out = workplace.render()
    assert [part.name for part in first.parts] == ["Impfpass.pdf", "Impfpass-2.pdf", "IMPFPASS-3.pdf"]
    assert [part.attachment for part in first.parts] == [None, 1, 2]
    assert [part.role for part in first.parts] == ["xml", "attachment", "attachment"]
    assert first.subject == "Neu [01936f00-abcd]"
    assert second.subject == "Anmeldung zur Hundesteuer [01936f00-abcd]"
    assert [(part.role, part.name, part.received) for part in second.parts] == [
        ("original", "original.xml", 0), ("xml", "Impfpass.pdf", None)]
    assert first.parts[0].body == second.parts[1].body
    assert first.parts[0].size == len(out)
    assert first.name_parts == {"id": ID, "short": "01936f00-abcd", "service": "hundesteuer",
                                "ags": "14999010",
                                "day": "20261122", "version": "v1", "case": "01936f00-abcd"}


def test_xml_is_written_in_the_receivers_encoding(workplace: Workplace) -> None:
    body = '<xsl:template match="/"><n><xsl:value-of select="//name"/></n></xsl:template>'
    for version in ("1.0", "3.0"):
        content = workplace.one(body, version, encoding="iso-8859-15")
        assert b"&#321;\xf3d&#378;" in content
        assert re.match(rb'<\?xml version="1.0" encoding="iso-8859-15"\?>', content, re.IGNORECASE)
        assert etree.fromstring(content).text == 'Erika "Rika" Mustermann & Łódź'


def test_the_stylesheets_own_encoding_holds_where_the_mapping_names_none(workplace: Workplace) -> None:
    body = ('<xsl:output encoding="iso-8859-1"/>'
            '<xsl:template match="/"><n><xsl:value-of select="//name"/></n></xsl:template>')
    for version in ("1.0", "2.0"):
        assert etree.fromstring(workplace.one(body, version)).text == 'Erika "Rika" Mustermann & Łódź'


def test_text_that_does_not_fit_the_encoding_parks_without_showing_it(workplace: Workplace) -> None:
    with pytest.raises(Rejected) as caught:
        workplace.one('<xsl:output method="text"/><xsl:template match="/"><xsl:value-of '
                 'select="//name"/></xsl:template>',
                 role="text", encoding="iso-8859-15")
    assert caught.value.reason == "invalid"
    assert "U+0141" in caught.value.text and "Mustermann" not in caught.value.text


def test_json_must_be_json(workplace: Workplace) -> None:
    text = '<xsl:output method="text"/><xsl:template match="/">{}</xsl:template>'
    assert workplace.one(text.format('{"a": 1}'), role="json") == b'{"a": 1}'
    with pytest.raises(Rejected, match="kein JSON"):
        workplace.one(text.format("{"), role="json")


@pytest.mark.parametrize("version", ["1.0", "2.0", "3.0"])
def test_parameters_and_imports_of_all_layers(workplace: Workplace, version: str) -> None:
    workplace.write("v1/teile/b.xsl",
               f'<xsl:stylesheet {XSL} version="{version}"><xsl:include href="../../alle.xsl"/>'
               '<xsl:template name="wer"><wer>v1</wer></xsl:template></xsl:stylesheet>')
    workplace.write("alle.xsl",
               f'<xsl:stylesheet {XSL} version="{version}"><xsl:template name="alle"><alle/></xsl:template>'
               "</xsl:stylesheet>")
    workplace.sheet("""<xsl:import
        href = 'teile/b.xsl' />
      <xsl:import href="common:eingang.xsl"/><xsl:output indent="no"/>
      <xsl:template match="/"><o name="{$name}" short="{$short}"><xsl:call-template name="wer"/>
      <xsl:call-template name="alle"/></o></xsl:template>""", version)
    workplace.renderings = {"x": {"role": "xml", "stylesheet": "x.xsl", "file": "x.xml", "media_type": "a/b"}}
    (delivery,), out = workplace.render()
    own = etree.fromstring(workplace.body(delivery.parts[0], out))
    assert dict(own.attrib) == {"name": "Stadt Musterstadt", "short": "01936f00-abcd"}
    assert [child.tag for child in own] == ["wer", "alle"]

    (workplace.municipality / "sub").mkdir()
    (workplace.municipality / "sub" / "x.xsl").write_text(
        f'<xsl:stylesheet {XSL} version="{version}"><xsl:import href="mapping:x.xsl"/>'
        '<xsl:template name="wer"><wer>town</wer></xsl:template></xsl:stylesheet>')
    workplace.stylesheets = {"x": "sub/x.xsl"}
    (delivery,), out = workplace.render()
    assert etree.fromstring(workplace.body(delivery.parts[0], out)).findtext("wer") == "town"


# What a stylesheet can never do


@pytest.mark.parametrize("version", ["1.0", "3.0"])
@pytest.mark.parametrize("href", [
    "file:///etc/passwd", "/etc/passwd", "http://192.0.2.1/x.xsl", "../../geheim.xsl",
    "mapping:../../geheim.xsl",
    "common:../hundesteuer/v1/x.xsl", "town:x.xsl", "data:application/xml,&lt;x/>", "..\\x.xsl", "",
    "mapping:", "//x/y",
])
def test_imports_stay_in_the_package(workplace: Workplace, version: str, href: str) -> None:
    (workplace.package.parent / "geheim.xsl").write_text(f'<xsl:stylesheet {XSL} version="{version}"/>')
    with pytest.raises(Rejected) as caught:
        workplace.one(f'<xsl:import href="{href}"/><xsl:template match="/"><x/></xsl:template>', version)
    assert caught.value.reason == "configuration"
    assert "mapping:v1" in caught.value.text or "is missing" in caught.value.text


@pytest.mark.parametrize("version", ["1.0", "3.0"])
def test_a_symbolic_link_does_not_lead_out(workplace: Workplace, version: str) -> None:
    outside = workplace.package.parent / "aussen.xsl"
    outside.write_text(f'<xsl:stylesheet {XSL} version="{version}"/>')
    (workplace.package / "v1" / "link.xsl").symlink_to(outside)
    with pytest.raises(Rejected, match="is missing"):
        workplace.one('<xsl:import href="link.xsl"/><xsl:template match="/"><x/></xsl:template>', version)


def test_a_circle_of_imports_is_told(workplace: Workplace) -> None:
    workplace.sheet('<xsl:import href="x.xsl"/>', name="v1/y.xsl")
    for version in ("1.0", "3.0"):
        with pytest.raises(Rejected, match="circle"):
            workplace.one('<xsl:import href="y.xsl"/><xsl:template match="/"><x/></xsl:template>', version)


READS_1 = ["document('file://{file}')", "document('{file}')", "document('mapping:v1/x.xsl')", "document('')"]
READS_3 = ["doc('file://{file}')", "document('{file}')", "unparsed-text('file://{file}')",
           "json-doc('file://{file}')",
           "unparsed-text-lines('file://{file}')", "collection('file://{folder}')",
           "uri-collection('file://{folder}')",
           "transform(map{{'stylesheet-location': 'file://{file}', 'source-node': /}})?output"]


@pytest.mark.parametrize(("version", "expression"),
                         [*(("1.0", read) for read in READS_1), *(("3.0", read) for read in READS_3)])
def test_reading_files_is_refused(workplace: Workplace, secret: Path, version: str, expression: str) -> None:
    select = expression.format(file=secret, folder=secret.parent)
    with pytest.raises(Rejected) as caught:
        workplace.one(f'<xsl:template match="/"><x><xsl:copy-of select="{select}"/></x></xsl:template>',
                      version)
    assert caught.value.reason == "configuration"
    assert "streng geheim" not in caught.value.text


def test_reading_while_compiling_is_refused(workplace: Workplace, secret: Path) -> None:
    with pytest.raises(Rejected) as caught:
        workplace.one(f"""<xsl:param name="p" static="yes" select="doc('file://{secret}')"/>
                     <xsl:template match="/"><x><xsl:copy-of select="$p"/></x></xsl:template>""", "3.0")
    assert caught.value.reason == "configuration"


def test_the_environment_is_empty(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEHEIM", "streng geheim")
    content = workplace.one(
        """<xsl:template match="/"><x><xsl:value-of select="environment-variable('GEHEIM'),
                          environment-variable('PATH'), available-environment-variables()"/></x></xsl:template>""", "3.0")
    assert not (etree.fromstring(content).text or "").strip()


@pytest.mark.parametrize(("version", "body"), [
    ("1.0", '<exsl:document href="{file}"><y/></exsl:document>'),
    ("1.0", '<sax:output href="{file}"><y/></sax:output>'),
    ("3.0", '<xsl:result-document href="file://{file}"><y/></xsl:result-document>'),
])
def test_writing_files_is_refused(workplace: Workplace, tmp_path: Path, version: str, body: str) -> None:
    target = tmp_path / "geschrieben.xml"
    with pytest.raises(Rejected) as caught:
        workplace.one(f'<xsl:template match="/"><x>{body.format(file=target)}</x></xsl:template>', version)
    assert caught.value.reason == "configuration"
    assert not target.exists()


def test_the_tests_notice_when_access_is_not_denied(workplace: Workplace, secret: Path, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: without DENIED the very same stylesheets write, and read what the resolver finds."""
    monkeypatch.setattr(xslt, "DENIED", None)
    target = tmp_path / "geschrieben.xml"
    content = workplace.one(f"""<xsl:template match="/">
        <x><xsl:copy-of select="document('mapping:v1/x.xsl')"/>
        <exsl:document href="{target}"><y/></exsl:document></x></xsl:template>""")
    assert b"exsl:document" in content
    assert target.exists()


def test_the_resolver_stands_even_where_access_is_not_denied(workplace: Workplace, secret: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xslt, "DENIED", None)
    body = f"""<xsl:template match="/"><x><xsl:copy-of select="document('{secret}')"/></x></xsl:template>"""
    with pytest.raises(Rejected, match="not part of the package"):
        workplace.one(body)


def test_the_tests_notice_when_saxon_is_open(tmp_path: Path, secret: Path) -> None:
    """The planted fault: a process whose Saxon was not closed reads files. (In a process of its own: settings
    stick.)"""
    import subprocess
    import sys

    program = (
        "import sys; from pathlib import Path; from lxml import etree; from hub.pipeline import xslt\n"
        "xslt.SAXON_SETTINGS.clear()\n"
        "layers = xslt.Layers(Path(sys.argv[1]), 'v1')\n"
        "print(xslt.compiled(layers, 'x.xsl').run(etree.fromstring('<a/>'), {}).decode())\n")
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "x.xsl").write_text(
        f'<xsl:stylesheet {XSL} version="3.0"><xsl:template match="/"><xsl:copy-of '
        f'select="doc(\'file://{secret}\')"/>'
        "</xsl:template></xsl:stylesheet>")
    open_ = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True,
                           timeout=60, check=False)
    assert "streng geheim" in open_.stdout
    closed = subprocess.run([sys.executable, "-c", program.replace("xslt.SAXON_SETTINGS.clear()", ""),
                             tmp_path],
                            capture_output=True, text=True, timeout=60, check=False)
    assert closed.returncode != 0 and "streng geheim" not in closed.stdout
    assert "prohibited" in closed.stderr


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://192.0.2.1/x.png", "ftp://192.0.2.1/x"])
def test_a_pdf_fetches_nothing(url: str) -> None:
    need_pango()
    with pytest.raises(Rejected) as caught:
        pdf.print_pdf(f'<html lang="de"><body><img alt="x" src="{url}"></body></html>', "t")
    assert caught.value.reason == "configuration"


def test_a_pdf_may_hold_data_and_gets_language_and_title() -> None:
    need_pango()
    gif = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    content = inflated(pdf.print_pdf(f'<html><body><img alt="x" src="{gif}">Text</body></html>',
                                     "Ersatztitel"))
    assert b"/Image" in content and b"/Lang" in content
    assert "Ersatztitel".encode("utf-16-be") in content or b"Ersatztitel" in content


def test_a_missing_pango_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without_pango(name: str, *rest: Any) -> Any:
        if name == "weasyprint":
            raise OSError("cannot load library 'libpango-1.0-0'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pango)
    with pytest.raises(Rejected, match="apt install libpango") as caught:
        pdf.print_pdf("<html/>", "t")
    assert caught.value.reason == "configuration"


# What an operator is told


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_stylesheet_may_end_with_a_reason(workplace: Workplace, version: str) -> None:
    with pytest.raises(Rejected) as caught:
        workplace.one('<xsl:template match="/"><xsl:message terminate="yes">Die Chipnummer fehlt für Hund '
                 '2.</xsl:message>'
                 "</xsl:template>", version)
    assert (caught.value.reason, caught.value.text) == ("invalid", "Die Chipnummer fehlt für Hund 2.")


@pytest.mark.parametrize("version", ["1.0", "3.0"])
def test_a_mere_message_ends_nothing(workplace: Workplace, version: str) -> None:
    content = workplace.one('<xsl:template match="/"><xsl:message>nur so</xsl:message><x/></xsl:template>',
                       version)
    assert etree.fromstring(content).tag == "x"


@pytest.mark.parametrize(("version", "body"), [
    ("1.0", '<xsl:template match="/">\n<xsl:call-template name="nix"/></xsl:template>'),
    ("1.0", '<xsl:template match="/">\n<xsl:value-of select="gibtsnicht(1)"/></xsl:template>'),
    ("3.0", '<xsl:template match="/">\n<xsl:call-template name="nix"/></xsl:template>'),
    ("3.0", '<xsl:template match="/">\n<xsl:value-of select="1 div (0 cast as xs:integer)"/></xsl:template>'),
    ("1.0", '<xsl:template match="/">\n<x></xsl:template>'),
    ("1.0", '<xsl:template match="/">\n<xsl:if test="name[">nie</xsl:if></xsl:template>'),
])
def test_a_broken_stylesheet_is_named_with_its_line(workplace: Workplace, version: str, body: str) -> None:
    with pytest.raises(Rejected) as caught:
        workplace.one(body, version)
    assert caught.value.reason == "configuration"
    assert "mapping:v1/x.xsl" in caught.value.text
    assert re.search(r":4|line 4", caught.value.text), caught.value.text


def test_where_libxslt_names_no_line_the_file_is_named(workplace: Workplace) -> None:
    with pytest.raises(Rejected, match=r"mapping:v1/x\.xsl: Undefined namespace prefix") as caught:
        workplace.one('<xsl:template match="/"><xsl:if test="q:name">nie</xsl:if></xsl:template>')
    assert caught.value.reason == "configuration"


@pytest.mark.parametrize(("raw", "words"), [
    (f'<!DOCTYPE x [<!ENTITY a "b">]><xsl:stylesheet {XSL} version="1.0"/>', "DOCTYPE"),
    (f'<xsl:stylesheet {XSL} version="4.0"/>', "version"),
    (f"<xsl:stylesheet {XSL}/>", "version"),
])
def test_other_unusable_stylesheets(workplace: Workplace, raw: str, words: str) -> None:
    workplace.write("v1/x.xsl", raw)
    workplace.renderings = {"x": {"role": "xml", "stylesheet": "x.xsl", "file": "x.xml", "media_type": "a/b"}}
    with pytest.raises(Rejected, match=words) as caught:
        workplace.render()
    assert caught.value.reason == "configuration"


def test_an_empty_result_and_an_unknown_rendering_are_configuration(workplace: Workplace) -> None:
    with pytest.raises(Rejected, match="nichts ausgegeben"):
        workplace.one('<xsl:output method="text"/><xsl:template match="/"/>', role="text")
    workplace.recipients = [Recipient(name="a", destination="d", connector="smtp", send=("gibtsnicht",))]
    with pytest.raises(Rejected, match="gibtsnicht"):
        workplace.render()


def test_a_broken_stylesheet_does_not_stay_in_the_cache(workplace: Workplace) -> None:
    with pytest.raises(Rejected):
        workplace.one('<xsl:import href="fehlt.xsl"/>')
    workplace.sheet('<xsl:template match="/"><x/></xsl:template>', name="v1/fehlt.xsl")
    assert b"<x " in workplace.one('<xsl:import href="fehlt.xsl"/>')
