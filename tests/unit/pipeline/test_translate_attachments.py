"""Who asks for attachments gets every file that was received: the printout too, where it is not the PDF."""

from __future__ import annotations

import pytest

from hub.job import Body, JobPart, OutAttachment, Recipient
from tests.services import need_pango
from tests.unit.pipeline.workplace import OTHER, SHA, UPLOADS, Workplace, common


def sent(workplace: Workplace, *send: str) -> list[tuple[str, str, int | None]]:
    workplace.recipients = [Recipient(name="a", destination="a", connector="smtp", send=send)]
    (delivery,), _ = workplace.render()
    return [(part.role, part.name, part.attachment) for part in delivery.parts]


@pytest.fixture(autouse=True)
def renderings(workplace: Workplace) -> None:
    workplace.sheet('<xsl:template match="/"><x/></xsl:template>')
    workplace.renderings = {
        "x": {"role": "xml", "stylesheet": "x.xsl", "file": "antrag.pdf", "media_type": "a/b"},
        "pdf": {**common("pdf", "pdf.xsl", "hund.pdf"), "applicant_pdf": True}}


UPLOADED = [("attachment", "Impfpass.pdf", 1), ("attachment", "IMPFPASS-2.pdf", 2)]


def test_where_it_is_the_pdf_the_printout_is_sent_once(workplace: Workplace) -> None:
    assert sent(workplace, "pdf", "attachments") == [("pdf", "hund.pdf", 0), *UPLOADED]
    assert sent(workplace, "attachments", "pdf") == [*UPLOADED, ("pdf", "hund.pdf", 0)]


def test_where_no_pdf_is_sent_it_comes_last_and_changes_no_other_name(workplace: Workplace) -> None:
    assert sent(workplace, "attachments", "x") == [
        *UPLOADED, ("xml", "antrag.pdf", None), ("attachment", "antrag-2.pdf", 0)]
    assert sent(workplace, "attachments") == [*UPLOADED, ("attachment", "antrag.pdf", 0)]


def test_who_asks_for_no_attachments_gets_none(workplace: Workplace) -> None:
    assert sent(workplace, "x") == [("xml", "antrag.pdf", None)]
    assert sent(workplace, "pdf") == [("pdf", "hund.pdf", 0)]


def test_a_pdf_that_is_made_leaves_the_printout_an_attachment(workplace: Workplace) -> None:
    workplace.renderings = {"pdf": common("pdf", "pdf.xsl", "antrag.pdf")}
    assert sent(workplace, "pdf", "attachments") == [
        ("pdf", "antrag.pdf", None), *UPLOADED, ("attachment", "antrag-2.pdf", 0)]


def test_where_both_go_the_printout_goes_once(workplace: Workplace) -> None:
    need_pango()
    workplace.pdf = "both"
    assert sent(workplace, "pdf", "attachments") == [
        ("pdf", "hund.pdf", None), ("attachment", "hund-ausdruck.pdf", 0), *UPLOADED]


def test_the_files_in_a_xoev_document_are_attachments(workplace: Workplace) -> None:
    workplace.attachments = (*UPLOADS[:1], OutAttachment(
        name="bild.png", filename="bild.png", media_type="image/png", role="payload", size=3, sha256=SHA,
        body=Body(length=3)))
    assert sent(workplace, "attachments") == [("attachment", "antrag.pdf", 0), ("attachment", "bild.png", 1)]


@pytest.mark.parametrize(("received", "leaves"), [
    ("text/xml; charset=iso-8859-1", "text/xml; charset=iso-8859-1"),
    ("application/xml; charset=UTF-8", "application/xml"), ("text/plain; charset=utf-8",
                                                            "text/plain; charset=utf-8"),
    ("application/xml", "application/xml")])
def test_the_original_keeps_its_charset(workplace: Workplace, received: str, leaves: str) -> None:
    workplace.parts = (JobPart(name="application", filename=None, media_type=received, sha256=OTHER,
                               body=Body(length=5)),)
    workplace.recipients = [Recipient(name="a", destination="a", connector="smtp", send=("original",))]
    (delivery,), _ = workplace.render()
    (original,) = delivery.parts
    assert (original.media_type, original.name.rpartition(".")[2]) == (
        leaves, "txt" if leaves.startswith("text/plain") else "xml")
