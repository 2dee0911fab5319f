"""A municipality's letterhead fills four places of the common pages; no page is copied for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree, html

from tests.services import need_pango
from tests.unit.pipeline.workplace import XSL, Workplace, common

OWN = Path(__file__).parents[1] / "etc/municipalities/14999020"
PAGES = {"mail-html": "html", "mail-text": "text", "pdf": "pdf", "mitteilung-html": "html",
         "mitteilung-text": "text"}
FILLED = """<xsl:template name="briefkopf"><p>Kopf </p></xsl:template>
<xsl:template name="vortext"><p>Vortext </p></xsl:template>
<xsl:template name="fusszeile"><p>Fuss </p></xsl:template>
<xsl:template name="farbe">#123456</xsl:template>"""


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def made(workplace: Workplace, page: str, stylesheet: str | None) -> bytes:
    """What a page becomes, by a stylesheet of the municipality's."""
    workplace.renderings = {page: common(PAGES[page], f"{page}.xsl", f"{page}.x")}
    workplace.stylesheets = {page: stylesheet} if stylesheet else {}
    (delivery,), out = workplace.render()
    return workplace.body(delivery.parts[0], out)


def filled(workplace: Workplace, page: str) -> str:
    version = "3.0" if page.startswith("mitteilung") else "1.0"
    (workplace.municipality / "own.xsl").write_text(
        f'<xsl:stylesheet {XSL} version="{version}" exclude-result-prefixes="e"><xsl:import '
        f'href="common:{page}.xsl"/>{FILLED}'
        "</xsl:stylesheet>", encoding="utf-8")
    return made(workplace, page, "own.xsl").decode()


@pytest.mark.parametrize("page", [page for page, role in PAGES.items() if role != "pdf"])
def test_every_common_page_has_the_places(workplace: Workplace, page: str) -> None:
    plain, text = made(workplace, page, None).decode(), filled(workplace, page)
    places = [text.index(word) for word in ("Kopf ", "Vortext ", "Fuss ")]
    assert places == sorted(places)
    assert "#123456" in text or page != "mail-html"
    bare = text.replace("#123456", "#003f75")
    for word in ("Kopf ", "Vortext ", "Fuss "):
        bare = bare.replace(f"<p>{word}</p>", "").replace(word, "")
    assert "".join(bare.split()) == "".join(plain.split()), "everything else stays as it is"


def test_the_examples_letterhead_stands_in_mail_and_text(workplace: Workplace) -> None:
    workplace.municipality = OWN
    page = html.fromstring(made(workplace, "mail-html", "briefkopf/mail-html.xsl").decode())
    body = page.find("body")
    assert body is not None
    assert [child.tag for child in body] == ["p", "main", "footer"]
    assert body[0].text_content() == "Stadt MusterstadtStandesamt"
    assert [child.tag for child in body[1]][:3] == ["h1", "p", "table"]
    assert "#1f5130" in (page.findtext(".//style") or "")
    text = made(workplace, "mail-text", "briefkopf/mail-text.xsl").decode()
    assert text.startswith("Stadt Musterstadt\nStandesamt\n\n")
    assert "Bitte innerhalb von drei Arbeitstagen bearbeiten.\n\n" in text


def test_the_examples_letterhead_is_printed(workplace: Workplace) -> None:
    need_pango()
    workplace.municipality = OWN
    content = made(workplace, "pdf", "briefkopf/pdf.xsl")
    assert content.startswith(b"%PDF") and content != made(workplace, "pdf", None)


def test_no_example_copies_a_page() -> None:
    for file in OWN.rglob("*.xsl"):
        assert not etree.parse(file).xpath("//*[@match='/']"), file.name
