"""``check`` says which PDF a municipality gets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hub.config import loader
from hub.operations.checks import check_all
from hub.operations.which_pdf import which_pdf

ROOT = Path(__file__).parents[3]
ROUTE = """
[[route]]
service = "brauchtumsfeuer"
recipients = [{{ destination = "postfach", send = ["pdf"] }}]
{more}
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path / "etc"


def findings(etc: Path, more: str, tenant: str | None = None) -> list[str]:
    file = etc / "municipalities/14999030.toml"
    file.write_text(file.read_text(encoding="utf-8") + ROUTE.format(more=more), encoding="utf-8")
    (etc / "municipalities/14999030").mkdir(exist_ok=True)
    (etc / "municipalities/14999030/pdf.xsl").write_text("<x/>")
    return [f"{where}: {finding.text}" for where, finding in which_pdf(loader.load(etc / "hub.toml"), tenant)
            if where.endswith("/brauchtumsfeuer")]


@pytest.mark.parametrize(("more", "said"), [
    ("", []),
    ('stylesheets = { pdf = "pdf.xsl" }',
     ["probedorf/brauchtumsfeuer: Ausgabe 'pdf': das PDF aus dem Stylesheet geht (das eigene "
      "municipalities/14999030/pdf.xsl), nicht der Ausdruck des Antragstellers; der geht als Anlage an "
      "die, die 'attachments' bekommen"]),
    ('stylesheets = { pdf = "pdf.xsl" }\npdf = "both"',
     ["probedorf/brauchtumsfeuer: Ausgabe 'pdf': das PDF aus dem Stylesheet geht (das eigene "
      "municipalities/14999030/pdf.xsl), und der Ausdruck des Antragstellers als Anlage"]),
    ('stylesheets = { pdf = "pdf.xsl" }\npdf = "applicant"', []),
    ('pdf = "stylesheet"',
     ["probedorf/brauchtumsfeuer: Ausgabe 'pdf': das PDF aus dem Stylesheet geht (common:pdf.xsl), nicht der "
      "Ausdruck des Antragstellers; der geht als Anlage an die, die 'attachments' bekommen"]),
])
def test_what_is_decided_otherwise_than_usual_is_told(etc: Path, more: str, said: list[str]) -> None:
    assert findings(etc, more) == said


def test_of_one_municipality_every_pdf_is_told(etc: Path) -> None:
    assert findings(etc, "", "probedorf") == [
        "probedorf/brauchtumsfeuer: Ausgabe 'pdf': der Ausdruck des Antragstellers geht; fehlt er, das PDF "
        "aus dem "
        "Stylesheet (common:pdf.xsl)"]


def test_check_has_it(etc: Path) -> None:
    findings(etc, 'pdf = "both"')
    configuration = loader.load(etc / "hub.toml")
    assert any("als Anlage" in finding.text for _where, finding in check_all(configuration, connect=False))
    told = check_all(configuration, connect=False, municipality="14999030")
    assert "als Anlage" in next(finding.text for where, finding in told
                                if where == "probedorf/brauchtumsfeuer")
