"""A PDF is accessible, the same every time, and fetches nothing."""

from __future__ import annotations

from typing import Any

import pytest

from hub.errors import Rejected
from hub.pipeline import pdf
from tests.services import need_pango
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
    assert b"pdfuaid" in inside
    assert b"CreationDate" not in inside


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://192.0.2.1/x.png", "ftp://192.0.2.1/x"])
def test_a_pdf_fetches_nothing(url: str) -> None:
    need_pango()
    with pytest.raises(Rejected) as caught:
        pdf.print_pdf(f'<html lang="de"><body><img alt="x" src="{url}"></body></html>', "t",
                      "mappings/x/pdf.xsl")
    assert caught.value.reason == "mapping"
    assert "mappings/x/pdf.xsl" in caught.value.text


def test_a_pdf_may_hold_data_and_gets_language_and_title() -> None:
    need_pango()
    gif = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    content = inflated(pdf.print_pdf(f'<html><body><img alt="x" src="{gif}">Text</body></html>',
                                     "Ersatztitel", "pdf.xsl"))
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
        pdf.print_pdf("<html/>", "t", "pdf.xsl")
    assert caught.value.reason == "configuration"
