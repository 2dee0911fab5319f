"""Rendering: what recipients get."""

from __future__ import annotations

import csv
import io
import re

import pytest
from lxml import etree, html

from hub.errors import Rejected
from hub.job import PdfChoice, Recipient
from hub.mapping.by_rule import short_id
from tests.services import need_pango
from tests.unit.pipeline.workplace import ID, UPLOADS, XSL, Workplace, common, inflated


def test_the_html_of_a_mail_is_readable_and_accessible(workplace: Workplace) -> None:
    workplace.renderings = {"h": common("html", "mail-html.xsl", "antrag.html")}
    (delivery,), out = workplace.render()
    page = html.fromstring(workplace.body(delivery.parts[0], out).decode())
    assert page.get("lang") == "de"
    assert page.findtext(".//title") == f"Anmeldung zur Hundesteuer – {short_id(ID)}"
    assert [element.text_content() for element in page.iter("h1", "h2")] == [
        "Anmeldung zur Hundesteuer", "Halterin oder Halter", "Hund 1 von 2", "Hund 2 von 2"]
    rows = {row.findtext("th"): row.find("td").text_content() for row in page.iter("tr")}
    assert rows["Behörde"] == "Stadt Musterstadt (AGS 14999010)"
    assert rows["Eingegangen am"] == "22.11.2026, 10:11 Uhr"
    assert rows["Name"] == 'Erika "Rika" Mustermann & Łódź'
    assert rows["Geburtsdatum"] == "08.07.1980"
    assert "leer" not in rows
    assert all(th.get("scope") == "row" for th in page.iter("th"))
    assert [li.text_content() for li in page.iter("li")] == [
        "Impfpass.pdf – im Original „../Impfpaß.pdf“ (1,2 MB)", "groß", "braun"]
    assert rows["Anlagen"].split()[:3] == ["1", "Datei:", "Impfpass.pdf"]


def test_the_text_of_a_mail(workplace: Workplace) -> None:
    workplace.renderings = {"t": common("text", "mail-text.xsl", "antrag.txt")}
    (delivery,), out = workplace.render()
    text = workplace.body(delivery.parts[0], out).decode()
    assert "\r" not in text
    assert "Hund 2 von 2\n------------\nMerkmale: groß\n" in text
    assert "Bemerkung: =1+1\n    zweite Zeile\n" in text
    assert "Anlagen: 1 Datei\n- Impfpass.pdf – im Original „../Impfpaß.pdf“ (1,2 MB)\n" in text
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
    assert rows["halter:0:nachweis"] == ["Impfpass.pdf", "Nachweis"]
    assert rows["hund:0:merkmale"] == ["a, b", "Merkmale"]
    assert "halter:0:leer" not in rows, "an empty field unknown to the table is a heading"


def test_the_applicants_own_pdf_goes_first_and_a_printed_one_stands_in(workplace: Workplace) -> None:
    need_pango()
    workplace.renderings = {"p": {**common("pdf", "pdf.xsl", "antrag.pdf"), "applicant_pdf": True}}
    (delivery,), out = workplace.render()
    assert (delivery.parts[0].attachment, delivery.parts[0].body, out) == (0, None, b"")
    workplace.attachments = UPLOADS[1:]
    (delivery,), out = workplace.render()
    assert workplace.body(delivery.parts[0], out).startswith(b"%PDF")


OWN = (f'<xsl:stylesheet {XSL} version="1.0"><xsl:import href="common:pdf.xsl"/></xsl:stylesheet>')


@pytest.mark.parametrize(("choice", "own", "sent"), [
    (None, False, [("pdf", "antrag.pdf", 0)]),
    (None, True, [("pdf", "antrag.pdf", None)]),
    ("applicant", True, [("pdf", "antrag.pdf", 0)]),
    ("stylesheet", False, [("pdf", "antrag.pdf", None)]),
    ("both", False, [("pdf", "antrag.pdf", None), ("attachment", "antrag-ausdruck.pdf", 0)]),
    ("both", True, [("pdf", "antrag.pdf", None), ("attachment", "antrag-ausdruck.pdf", 0)]),
])
def test_a_municipalitys_own_pdf_wins_or_both_go(workplace: Workplace, choice: PdfChoice | None, own: bool,
                                                 sent: list[tuple[str, str, int | None]]) -> None:
    need_pango()
    workplace.renderings = {"p": {**common("pdf", "pdf.xsl", "antrag.pdf"), "applicant_pdf": True}}
    workplace.pdf = choice
    if own:
        (workplace.municipality / "pdf.xsl").write_text(OWN)
        workplace.stylesheets = {"p": "pdf.xsl"}
    (delivery,), out = workplace.render()
    assert [(part.role, part.name, part.attachment) for part in delivery.parts] == sent
    made = [workplace.body(part, out) for part in delivery.parts if part.body is not None]
    assert all(content.startswith(b"%PDF") for content in made)
    workplace.attachments = UPLOADS[1:]
    (delivery,), _ = workplace.render()
    assert [(part.name, part.attachment) for part in delivery.parts] == [("antrag.pdf", None)]


def test_without_any_stylesheet_the_printout_goes_whatever_the_route_says(workplace: Workplace) -> None:
    workplace.renderings = {"p": {"role": "pdf", "applicant_pdf": True, "file": "a.pdf",
                                  "media_type": "application/pdf"}}
    workplace.pdf = "stylesheet"
    (delivery,), _ = workplace.render()
    assert [part.attachment for part in delivery.parts] == [0]


def test_data_is_in_the_printed_pdf_where_the_route_says_so_and_nowhere_else(workplace: Workplace) -> None:
    need_pango()
    workplace.sheet('<xsl:template match="/"><Antrag>Größe</Antrag></xsl:template>')
    workplace.renderings = {"p": {**common("pdf", "pdf.xsl", "antrag.pdf"), "applicant_pdf": True},
                            "x": {"role": "xml", "stylesheet": "x.xsl", "file": "x.xml", "media_type": "a/b"}}
    workplace.recipients = [Recipient(name="a", destination="a", connector="smtp", send=("p",))]
    workplace.attachments = ()
    found = {}
    for embeds in ((), ("x",)):
        workplace.pdf_embeds = embeds
        (delivery,), out = workplace.render()
        assert [part.role for part in delivery.parts] == ["pdf"]
        found[embeds] = inflated(workplace.body(delivery.parts[0], out))
    data = "Größe</Antrag>".encode()
    assert data not in found[()] and data in found[("x",)] and b"x.xml" in found[("x",)]
    workplace.attachments = UPLOADS
    (delivery,), out = workplace.render()
    assert (delivery.parts[0].attachment, out) == (0, b""), "the applicant's own PDF stays as it is"
    workplace.attachments, workplace.pdf_embeds = (), ("p",)
    with pytest.raises(Rejected, match="pdf_embeds") as caught:
        workplace.render()
    assert caught.value.reason == "configuration"


def test_no_pdf_and_no_stylesheet_parks(workplace: Workplace) -> None:
    workplace.renderings = {"p": {"role": "pdf", "applicant_pdf": True, "file": "a.pdf",
                             "media_type": "application/pdf"}}
    workplace.attachments = ()
    with pytest.raises(Rejected) as caught:
        workplace.render()
    assert caught.value.reason == "mapping"


def test_recipients_share_renderings_and_get_safe_unique_names(workplace: Workplace) -> None:
    workplace.sheet('<xsl:template match="/"><x/></xsl:template>')
    workplace.renderings = {"x":
                       {"role": "xml", "stylesheet": "x.xsl", "file": "Impfpass.pdf", "media_type": "a/b"}}
    workplace.recipients = [
        Recipient(name="a", destination="post", connector="smtp", send=("x", "attachments"), subject="Neu"),
        Recipient(name="b", destination="drop", connector="directory", send=("original", "x"), path="p")]
    (first, second), out = workplace.render()
    assert [part.name for part in first.parts] == [
        "Impfpass.pdf", "Impfpass-2.pdf", "IMPFPASS-3.pdf", "antrag.pdf"]
    assert [part.attachment for part in first.parts] == [None, 1, 2, 0]
    assert [part.role for part in first.parts] == ["xml", "attachment", "attachment", "attachment"]
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
    assert caught.value.reason == "mapping"
    assert "Zeile 1 von x.text" in caught.value.text
    assert "Mustermann" not in caught.value.text


def test_json_must_be_json(workplace: Workplace) -> None:
    text = '<xsl:output method="text"/><xsl:template match="/">{}</xsl:template>'
    assert workplace.one(text.format('{"a": 1}'), role="json") == b'{"a": 1}'
    with pytest.raises(Rejected, match="kein JSON"):
        workplace.one(text.format("{"), role="json")


def test_an_empty_result_and_an_unknown_rendering_are_configuration(workplace: Workplace) -> None:
    with pytest.raises(Rejected, match="nichts ausgegeben"):
        workplace.one('<xsl:output method="text"/><xsl:template match="/"/>', role="text")
    workplace.recipients = [Recipient(name="a", destination="d", connector="smtp", send=("gibtsnicht",))]
    with pytest.raises(Rejected, match="gibtsnicht"):
        workplace.render()


def test_a_bom_is_written_once(workplace: Workplace) -> None:
    for bom in ("", "&#xFEFF;"):
        body = f'<xsl:output method="text"/><xsl:template match="/">{bom}a;b&#10;</xsl:template>'
        assert workplace.one(body, role="csv", encoding="utf-8-sig") == b"\xef\xbb\xbfa;b\r\n"


def test_xml_that_is_none_parks(workplace: Workplace) -> None:
    with pytest.raises(Rejected, match="kein wohlgeformtes XML"):
        workplace.one('<xsl:template match="/"><a/><b/></xsl:template>', "3.0")
