"""A PDF is accessible and for the archive, the same every time, and fetches nothing."""

from __future__ import annotations

import subprocess
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hub.errors import Rejected
from hub.pipeline import pdf
from tests.services import need, need_pango
from tests.unit.pipeline.workplace import Workplace, common, inflated


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
    assert b'pdfaid:part="3"' in inside and b'pdfaid:conformance="A"' in inside
    assert b'pdfuaid:part="1"' in inside and b"PDF/UA Universal Accessibility Schema" in inside
    assert b"CreationDate" not in inside and b"/EmbeddedFile" not in inside


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://192.0.2.1/x.png", "ftp://192.0.2.1/x"])
def test_a_pdf_fetches_nothing(url: str) -> None:
    need_pango()
    with pytest.raises(Rejected) as caught:
        pdf.print_pdf(f'<html lang="de"><body><img alt="x" src="{url}"></body></html>', "t",
                      stylesheet="mappings/x/pdf.xsl")
    assert caught.value.reason == "mapping"
    assert "mappings/x/pdf.xsl" in caught.value.text


def test_a_pdf_may_hold_data_and_gets_language_and_title() -> None:
    need_pango()
    gif = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    content = inflated(pdf.print_pdf(f'<html><body><img alt="x" src="{gif}">Text</body></html>',
                                     "Ersatztitel"))
    assert b"/Image" in content and b"/Lang" in content
    assert "Ersatztitel".encode("utf-16-be") in content or b"Ersatztitel" in content


def test_data_goes_into_a_pdf_only_where_it_is_asked_for() -> None:
    need_pango()
    when = datetime(2026, 11, 22, 10, 11, 12, tzinfo=UTC)
    xml = pdf.Embedded("antrag.xml", "<Antrag>Größe</Antrag>".encode(), when)
    first, second = (pdf.print_pdf("<html><body>Text</body></html>", "t", [xml]) for _ in range(2))
    assert first == second
    inside = inflated(first)
    assert b"/EmbeddedFile" in inside and b"/AFRelationship /Data" in inside and xml.content in inside
    assert b"antrag.xml" in inside and b"D:20261122101112Z" in inside


@pytest.mark.parametrize(("text", "printed"), [
    ("a \ue000 b", "[U+E000]"), ("a \U000f1234 b", "[U+F1234]"), ("a \x85 b", "[U+0085]")])
def test_what_no_font_has_is_printed_by_its_number(text: str, printed: str, tmp_path: Path) -> None:
    need_pango()
    (tmp_path / "a.pdf").write_bytes(pdf.print_pdf(f"<html><body><p>{text}</p></body></html>", "t"))
    assert printed in words(tmp_path / "a.pdf")


@pytest.mark.parametrize("text", [
    "a-b", "-", "--", "x- -y", "Feuerwehr-Verdienstausfall-Erstattung " * 9,
    "verteiler-" * 40 + "@example.org",
    "https://example.org/" + "a-b/" * 100, "o\u0302-" * 50])
def test_no_hyphen_is_lost_at_the_end_of_a_line(text: str, tmp_path: Path) -> None:
    need_pango()
    cell = f'<td style="width: 60px; overflow-wrap: anywhere">{text}</td>'
    page = f'<html><body><table style="table-layout: fixed; width: 200px"><tr>{cell}</tr></table></body>'
    (tmp_path / "a.pdf").write_bytes(pdf.print_pdf(page, "t"))
    wanted = unicodedata.normalize("NFC", "".join(text.split()))
    assert unicodedata.normalize("NFC", words(tmp_path / "a.pdf")) == wanted


def words(file: Path) -> str:
    """The text of a PDF without white space."""
    read = subprocess.run([need("pdftotext", "poppler-utils"), "-nopgbrk", str(file), "-"], check=True,
                          capture_output=True, text=True)
    return "".join(read.stdout.split())


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
