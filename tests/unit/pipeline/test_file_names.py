"""Who gets which name: what the hub made first, then the citizen's files, the same ones at every
recipient."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.pipeline.envelope_kit import part
from tests.unit.pipeline.naming_kit import FORM, holding, rule, send, upload

CASES = Path(__file__).parents[2] / "transfers"
ALL = ("mail-text", "xml", "attachments")


def test_a_citizens_file_has_one_name_whoever_gets_it() -> None:
    """It was called antrag.pdf in the mail's text and in XML, and antrag-2.pdf as a file."""
    sent = send(part((CASES / "upload-called-antrag-pdf.xml").read_bytes()),
                way=rule(ALL, ("attachments",), ("attachments", "pdf"), ("pdf", "attachments")))
    names = ["antrag-2.pdf", "Ausweis__Merkzeichen.png", "Wesenstest.pdf"]
    assert [sent.names(number, "attachment") for number in range(4)] == [names] * 4
    assert list(sent.in_xml()) == names
    text = sent.rendered("text").decode()
    assert all(re.search(rf"^- {re.escape(name)}[ (]", text, re.MULTILINE) for name in names)


def test_nobody_takes_the_name_of_what_the_hub_made() -> None:
    sent = send(holding("hundesteuer.xml", "Antrag.TXT", "antrag.pdf"),
                way=rule(("attachments", "xml", "mail-text"), ("attachments",)))
    names = ["hundesteuer-2.xml", "Antrag-2.TXT", "antrag.pdf"]
    assert sent.names(0) == [*names, "hundesteuer.xml", "antrag.txt"]
    assert sent.names(1) == names
    assert list(sent.in_xml()) == names


def test_what_no_recipient_gets_reserves_no_name() -> None:
    sent = send(holding("antrag.html"), way=rule(ALL))
    assert sent.names(0, "attachment") == ["antrag.html"]


def test_what_the_citizen_called_a_file_stands_beside_its_name() -> None:
    uploads = [upload("Договор.docx"), upload("Gebu\u0308hrenbescheid Mu\u0308ller.pdf"),
               upload("Łukasz.pdf"), upload("foto.png")]
    sent = send(part(FORM), *uploads, way=rule(ALL))
    assert sent.in_xml() == {"Dogovor.docx": "Договор.docx",
                             "Gebuehrenbescheid_Mueller.pdf": "Gebührenbescheid Müller.pdf",
                             "Lukasz.pdf": "Łukasz.pdf", "foto.png": "foto.png"}
    assert [(each.name, each.filename) for each in sent.outcome.deliveries[0].parts
            if each.role == "attachment"] == [
        ("Dogovor.docx", "Договор.docx"), ("Gebuehrenbescheid_Mueller.pdf", "Gebührenbescheid Müller.pdf"),
        ("Lukasz.pdf", "Łukasz.pdf"), ("foto.png", None)]
    assert [each.name for each in sent.outcome.attachments] == list(sent.in_xml())


def test_a_file_without_an_ending_has_the_same_one_everywhere() -> None:
    nameless = part(b"%PDF-", "nachweis", "application/pdf")
    sent = send(part(FORM), nameless, way=rule(ALL))
    assert sent.names(0, "attachment") == ["nachweis.pdf"] == list(sent.in_xml())


def test_the_application_as_received_is_named_among_what_the_hub_made() -> None:
    """No citizen named it, so the order of `send` decides, as it always did."""
    document = part(FORM, filename="hundesteuer.xml")
    sent = send(document, way=rule(("original", "xml"), ("xml", "original")))
    assert sent.names(0) == ["hundesteuer.xml", "hundesteuer-2.xml"]
    assert sent.names(1) == ["hundesteuer.xml", "hundesteuer-2.xml"]
    assert [each.role for each in sent.outcome.deliveries[0].parts] == ["original", "xml"]


def test_a_citizens_file_as_received_is_called_like_the_attachment() -> None:
    document = part(FORM, filename="antrag.xml")
    sent = send(document, upload("Müll.pdf"), way=rule(("original",), ("original", "attachments", "xml")))
    assert sent.names(0) == ["antrag.xml", "Muell.pdf"]
    assert sent.names(1) == ["antrag.xml", "Muell-2.pdf", "Muell.pdf", "hundesteuer.xml"]
    assert list(sent.in_xml(1)) == ["Muell.pdf"]


def test_the_printout_is_called_like_the_rendering_it_stands_for() -> None:
    printout = part(b"%PDF-1.4 x", "pdf", "application/pdf", "Ausdruck 4711.pdf")
    sent = send(holding("antrag.pdf"), printout, way=rule(("pdf", *ALL)))
    assert sent.names(0, "pdf") == ["antrag.pdf"]
    assert sent.names(0, "attachment") == ["antrag-2.pdf"]
    told = {each.name: each.role for each in sent.outcome.attachments}
    assert told == {"antrag.pdf": "applicant-pdf", "antrag-2.pdf": "upload"}
