"""What a part beside the document is: never by a word that a citizen wrote into a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.job import Rule
from tests.unit.pipeline.envelope_kit import PDF, Result, form, old_form, part, upload

MAPPINGS = Path(__file__).parents[3] / "mappings"
Part = tuple[bytes, str, str, str | None]
DOCUMENT = form("<g><instance_0><a>x</a></instance_0></g>")
EMBEDDED = form("<g><instance_0><a>x</a></instance_0></g>",
                "<metadata><pdfApplicantFormBase64>JVBERi0xLjQgZXJmdW5kZW4=</pdfApplicantFormBase64></metadata>")


def roles(*parts: Part, document: Part = DOCUMENT, **changes: Any) -> list[str]:
    return [each.role for each in Result(document, *parts, **changes).normal.attachments]


def in_folder(name: str, body: bytes = PDF, media_type: str = "application/pdf") -> Part:
    """As the watched folder hands it over: the part is called like its file."""
    return part(body, name, media_type, name)


@pytest.mark.parametrize("name", [
    "antrag.pdf", "Antrag auf Hundesteuer.pdf", "Mietvertrag-Antrag.PDF", "pdf.pdf", "Kaufvertrag.pdf",
    "application.pdf", "applicant-pdf.pdf", "x_antrag.pdf"])
@pytest.mark.parametrize("field", ["nachweise", "file", "antragsunterlagen", "pdf-upload", "PDF", "antrag",
                                   "meinpdf", "part-2"])
def test_no_name_of_a_citizen_makes_a_pdf_the_applications(name: str, field: str) -> None:
    assert roles(part(PDF, field, "application/pdf", name)) == ["upload"]


@pytest.mark.parametrize("name", ["applicant-pdf", "pdfApplicantForm", "pdf"])
@pytest.mark.parametrize(("media_type", "body"), [
    ("application/pdf", b"x"), ("application/octet-stream", PDF), ("application/pdf; x=y", PDF)])
def test_the_printout_is_known_by_its_exact_part_name(name: str, media_type: str, body: bytes) -> None:
    assert roles(part(body, name, media_type, "beliebig")) == ["applicant-pdf"]
    assert roles(part(body, name, media_type, None)) == ["applicant-pdf"]


def test_what_is_no_pdf_is_no_printout() -> None:
    assert roles(part(b"PNG", "applicant-pdf", "image/png", "a.png")) == ["upload"]


def test_in_a_folder_the_printout_is_called_like_the_document() -> None:
    document = in_folder("antrag.xml", DOCUMENT[0], "application/xml")
    files = [in_folder(name) for name in ("Impfpass.pdf", "antrag.PDF", "antrag-2.pdf", "antrag.xml.pdf")]
    result = Result(document, *files)
    assert [(each.role, each.filename) for each in result.normal.attachments] == [
        ("upload", "Impfpass.pdf"), ("applicant-pdf", "antrag.PDF"), ("upload", "antrag-2.pdf"),
        ("upload", "antrag.xml.pdf")]


def test_in_a_multipart_the_files_name_says_nothing_unless_the_sender_is_known_for_it() -> None:
    document = part(DOCUMENT[0], "daten", filename="p-1.xml")
    printout = part(PDF, "dateien", "application/pdf", "p-1.pdf")
    assert roles(printout, document=document) == ["upload"]
    assert roles(printout, document=document, printout=("file:{stem}.pdf",)) == ["applicant-pdf"]
    assert roles(part(PDF, "ausdruck", "application/pdf"), printout=("ausdruck",)) == ["applicant-pdf"]
    assert roles(part(PDF, "pdf", "application/pdf"), printout=("ausdruck",)) == ["upload"]
    assert roles(part(PDF, "pdf", "application/pdf"), printout=()) == ["upload"]


def test_there_is_one_printout_and_nothing_is_left_out() -> None:
    other = b"%PDF-1.4 anders"
    assert roles(part(PDF, "pdf", "application/pdf"), part(other, "pdf", "application/pdf")) == [
        "applicant-pdf", "upload"]
    assert roles(part(PDF, "pdf", "application/pdf", "kopie.pdf"), document=EMBEDDED) == ["applicant-pdf"]
    assert roles(part(other, "pdf", "application/pdf"), document=EMBEDDED) == ["applicant-pdf", "upload"]
    assert roles(part(PDF, "file", "application/pdf", "kopie.pdf"), document=EMBEDDED) == [
        "applicant-pdf", "upload"]


def test_what_the_document_brings_under_the_same_name_is_there_once() -> None:
    document = form(f"<g><instance_0><f>{upload(PDF, 'a.pdf')}</f></instance_0></g>")
    same, other = part(PDF, "x", "application/pdf", "a.pdf"), part(PDF, "x", "application/pdf", "b.pdf")
    assert roles(same, document=document) == ["upload"]
    assert roles(part(PDF, "ohne-namen", "application/pdf"), document=document) == ["upload"]
    assert roles(other, document=document) == ["upload", "upload"]
    assert roles(same, same, document=document) == ["upload", "upload"], "two files, one of them embedded"


def test_a_file_never_takes_the_place_of_what_a_citizen_typed() -> None:
    document = old_form("<g><instance_0><name>Mustermann</name><orte><selectedValue>A</selectedValue></orte>"
                        "<foto/><alt>de.x.BinaryContent@1f2e</alt></instance_0></g>")
    names = ("u_anhang_name.pdf", "u_anhang_g_0_orte.pdf", "u_anhang_foto.pdf", "u_anhang_alt.pdf")
    result = Result(document, *(part(PDF, "f", "application/pdf", name) for name in names))
    assert (result.text("g:0:name"), result.values("g:0:orte")) == ("Mustermann", ["A"])
    assert [each.field for each in result.normal.attachments] == [None, None, "g:0:foto", "g:0:alt"]


def test_a_field_of_files_gives_way_to_its_file() -> None:
    """Old dumps may hold the file's name there; the field table says that it is one of files."""
    rule = Rule(id="t/hundesteuer/v2", tenant="t", service="hundesteuer", mapping_version="v2",
                mapping_digest="0", package=str(MAPPINGS / "hundesteuer"), recipients=())
    document = old_form("<hunde><instance_0><nachweise>Pass.pdf</nachweise><rufname>Bello</rufname>"
                        "</instance_0></hunde>")
    names = ("p_anhang_nachweise.pdf", "p_anhang_rufname.pdf")
    result = Result(document, *(part(PDF, "f", "application/pdf", name) for name in names), rules=(rule,))
    assert result.bodies("hunde:0:nachweise") == [PDF]
    assert result.text("hunde:0:rufname") == "Bello"


@pytest.mark.parametrize(("sent", "kept"), [
    ("text/plain; charset=iso-8859-1", "text/plain; charset=iso-8859-1"),
    ("text/plain; charset=utf-8", "text/plain; charset=utf-8"), ("text/plain; x=y", "text/plain"),
    ("text/xml; charset=utf-8", "text/xml"), ("application/json; charset=UTF-8", "application/json"),
    ("image/svg+xml; charset=windows-1252", "image/svg+xml; charset=windows-1252"), ("", "text/plain")])
def test_the_charset_of_an_attachment_travels_with_it(sent: str, kept: str) -> None:
    result = Result(DOCUMENT, part(b"x", "f", sent, "a.txt"))
    assert [each.media_type for each in result.normal.attachments] == [kept]
    assert [each.get("mediaType")
            for each in result.envelope.iter("{*}attachment")] == [kept.partition(";")[0]]
