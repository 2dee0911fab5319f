"""What a clerk holds in hands: nothing is cut in a PDF, nothing is wider than a telephone, for all services.

Chromium measures the mails, pdftotext reads the PDFs again, veraPDF judges them. The values are those that
cannot break by themselves: words without an end, account numbers, addresses, tables by tab, many lines.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from hub.authoring.examples import preview
from hub.pipeline import xslt
from hub.pipeline.fields import annotate, type_values
from hub.pipeline.pdf import Embedded, print_pdf
from tests.mapping_kit import EXAMPLES, MAPPINGS, SERVICES, E, canonical, id_of, version_of
from tests.services import need, need_pango
from tests.services.chromium import sizes
from tests.services.verapdf import failures

pytestmark = pytest.mark.service

PHONE, SCREEN = 320, 1280
STRESS = (
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenfabrikgebäudestraße" * 6,
    "x" * 400,
    "DE00" + "0123456789" * 30,
    "erika.mustermann+" + "verteiler-" * 22 + "@" + "unterabteilung." * 4 + "example.org",
    "https://example.org/" + "abc123" * 60 + "?a=1&b=%20#ende",
    "\n".join(f"Zeile {number} von 120" for number in range(1, 121)),
    "\n".join(f"{'  ' * level}- Punkt {level}" for level in range(12)),
    "\n".join("\t".join(f"Spalte{column}{row}" for column in range(10)) for row in range(6)),
    "erste\r\nzweite\rdritte\u2028vierte\u0085fünfte\n\n\nsechste\n\n",
    "Договор Łódź Ω ẞ 名前 <b>&amp;</b> „Süd“ — 1:500 " + "Sehr langer Text mit äöüß. " * 150,
)
FULL = [folder for folder in EXAMPLES if folder.name.rpartition("-")[2] == "full"]


def stressed(folder: Path) -> tuple[etree._Element, list[str]]:
    """The annotated envelope of an example whose first texts are the stress values, and those that are
    there."""
    envelope = deepcopy(canonical(folder))
    _version, table = version_of(folder, envelope)
    texts = [field for field in envelope.iterfind(f"{E}fields/*/instance/*")
             if not len(field) and (row := table.rows_of[field.getparent().getparent().tag].get(field.tag))
             and row.type in ("text", "textarea")]
    for field, value in zip(texts, STRESS, strict=False):
        field.text = value
    for item in envelope.iter(f"{E}attachment"):
        item.set("filename", "Lageplan „Süd“ — " + "y" * 200 + ".pdf")
    return annotate(type_values(envelope, table), table), list(STRESS[:len(texts)])


def page(envelope: etree._Element, sheet: str) -> str:
    layers = xslt.Layers(MAPPINGS / "hundesteuer", "v1", MAPPINGS / "_common")
    return xslt.compiled(layers, f"common:{sheet}", "utf-8").run(
        envelope, {"subject": "Anmeldung", "name": "Stadt Musterstadt", "case": "V" * 150}).decode()


def squeezed(text: str) -> str:
    """Without white space: a line may end anywhere in a word."""
    return re.sub(r"\s+", "", text)


def words_of(file: Path) -> str:
    """The text of a PDF without the lines at the foot of its pages."""
    read = subprocess.run([need("pdftotext", "poppler-utils"), "-x", "0", "-y", "0", "-W", "596", "-H", "780",
                           "-nopgbrk", str(file), "-"], check=True, capture_output=True, text=True)
    return squeezed(read.stdout)


@pytest.fixture(scope="module")
def mails() -> dict[str, str]:
    """The mail of every example, as it is expected, and of every full one with stress values."""
    found = {id_of(folder): (folder / "expected/antrag.html").read_text(encoding="utf-8")
             for folder in EXAMPLES if (folder / "expected/antrag.html").exists()}
    return found | {f"{id_of(folder)} stressed": page(stressed(folder)[0], "mail-html.xsl")
                    for folder in FULL}


def test_every_service_is_among_them(mails: dict[str, str]) -> None:
    assert {name.partition("/")[0] for name in mails} == {folder.name for folder in SERVICES}
    assert {name.partition("/")[0] for name in mails if "stressed" in name} == {s.name for s in SERVICES}


@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_no_mail_is_wider_than_its_window(mails: dict[str, str], width: int) -> None:
    assert {name: wide for name, (wide, _high) in sizes(mails, width).items() if wide > width} == {}


def test_a_mail_that_is_too_wide_is_found(mails: dict[str, str]) -> None:
    """The pages as they were: a table that is as wide as its longest word."""
    planted = {name: re.sub("overflow-wrap: anywhere;|word-wrap: break-word;|table-layout: fixed;", "", mail)
               for name, mail in mails.items() if "stressed" in name}
    assert all(wide > PHONE for wide, _high in sizes(planted, PHONE).values())


def test_a_table_of_ten_columns_in_a_municipalitys_own_page_fits_too() -> None:
    cells = "<th>Überschrift</th>" * 10 + "</tr><tr>" + f"<td>{'w' * 60}</td>" * 10
    table = f"<table><tr>{cells}</tr></table>"
    own = page(stressed(FULL[0])[0], "mail-html.xsl").replace("<footer>", f"{table}<footer>")
    assert table in own
    assert sizes({"own": own}, PHONE)["own"][0] == PHONE


@pytest.mark.parametrize("folder", FULL, ids=id_of)
def test_a_mail_has_no_white_space_trick_and_each_line_its_own_break(folder: Path) -> None:
    envelope, values = stressed(folder)
    shown = page(envelope, "mail-html.xsl")
    assert "white-space" not in shown
    cells = [squeezed("".join(cell.itertext())) for cell in etree.HTML(shown).iter("td")]
    assert [value[:40] for value in values if squeezed(value) not in cells] == []
    breaks = {squeezed("".join(cell.itertext())): [cell.text, *(br.tail for br in cell.findall("br"))]
              for cell in etree.HTML(shown).iter("td") if cell.find("br") is not None}
    assert len(breaks[squeezed(STRESS[5])]) == 120
    assert [(line or "").strip() for line in breaks[squeezed(STRESS[8])]] == [
        "erste", "zweite", "dritte", "vierte", "fünfte", "", "", "sechste"]
    assert [len(line or "") - len((line or "").lstrip()) for line in breaks[squeezed(STRESS[6])]][:6] == [
        0, 2, 4, 6, 8, 10]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Path, list[str]]]]:
    """The PDF of every full example with stress values, one with the XML inside, and what must be found
    there."""
    need_pango()
    room, found = tmp_path_factory.mktemp("pdf"), {}
    for folder in FULL:
        envelope, values = stressed(folder)
        file = room / f"{id_of(folder).replace('/', '-')}.pdf"
        file.write_bytes(print_pdf(page(envelope, "pdf.xsl"), "Antrag",
                                   [Embedded("antrag.xml", b"<a/>", datetime(2026, 11, 22, tzinfo=UTC))]
                                   if folder is FULL[0] else []))
        found[id_of(folder)] = file, values
    return found


@pytest.mark.parametrize("folder", FULL, ids=id_of)
def test_every_value_is_found_whole_in_the_pdf(folder: Path,
                                               printed: dict[str, tuple[Path, list[str]]]) -> None:
    file, values = printed[id_of(folder)]
    words = words_of(file)
    assert len(values) == len(STRESS)
    assert [value[:40] for value in values if squeezed(value) not in words] == []


def test_a_value_that_is_cut_is_found(tmp_path: Path) -> None:
    planted = page(stressed(FULL[0])[0], "pdf.xsl").replace("overflow-wrap: anywhere;",
                                                            "overflow-wrap: normal;"
                                                            ).replace("word-wrap: break-word;", "")
    (tmp_path / "cut.pdf").write_bytes(print_pdf(planted, "Antrag"))
    assert squeezed("x" * 400) not in words_of(tmp_path / "cut.pdf")


@pytest.mark.parametrize("flavour", ["3a", "ua1"])
def test_what_is_printed_is_for_the_archive_and_accessible(
        flavour: str, printed: dict[str, tuple[Path, list[str]]], tmp_path: Path) -> None:
    """The same run finds a page that neither is."""
    import weasyprint

    odd, planted = tmp_path / "odd.pdf", tmp_path / "planted.pdf"
    odd.write_bytes(print_pdf("<html><body><p>Grüße \U0001f600 \ue000 \x85 \ufdd0</p></body></html>", "Odd"))
    planted.write_bytes(weasyprint.HTML(string="<p>Text</p>").write_pdf())
    found = failures(flavour, [*(file for file, _values in printed.values()), odd, planted])
    assert found and [failure for failure in found if not failure.startswith("planted.pdf: ")] == []


def test_the_examples_that_are_printed_open_with_nothing_missing(tmp_path: Path) -> None:
    """The sizes of the PDFs' pages are those of A4; poppler finds their fonts embedded."""
    need_pango()
    made = preview(MAPPINGS, "hundesteuer", str(without_pdf(tmp_path)))
    file = tmp_path / "antrag.pdf"
    file.write_bytes(made["antrag.pdf"])
    fonts = subprocess.run([need("pdffonts", "poppler-utils"), str(file)], check=True, capture_output=True,
                           text=True)
    rows = [line.split() for line in fonts.stdout.splitlines()[2:]]
    assert rows and all(row[-5] == "yes" for row in rows), fonts.stdout


def without_pdf(room: Path) -> Path:
    """The smallest dog tax application without the applicant's own PDF."""
    text = (MAPPINGS / "hundesteuer/examples/v2-smallest/message.xml").read_text(encoding="utf-8")
    file = room / "message.xml"
    file.write_text(re.sub("<pdfApplicantFormBase64>.*?</pdfApplicantFormBase64>", "", text, flags=re.DOTALL),
                    encoding="utf-8")
    return file
