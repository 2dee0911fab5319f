"""``drehscheibe check`` looks into the mappings too: a message would be the first to notice otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hub.config import loader
from hub.operations import checks

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def faults(place: Path) -> list[str]:
    """What is wrong with the mappings."""
    found = checks.check_all(loader.load(place / "etc/hub.toml"), connect=False)
    return [f"{where}: {finding.text}" for where, finding in found if where.startswith("mapping")
            and finding.severity == "error"]


def test_the_examples_have_no_fault(place: Path) -> None:
    assert faults(place) == []


@pytest.mark.parametrize(("file", "old", "new", "words"), [
    ("gewerbemeldung/v1/fields.toml", 'type = "date"', 'type = "dat"', "type: "),
    ("gewerbemeldung/v1/fields.xsd", "xs:element", "xs:elemnt", "the schema cannot be used"),
    ("gewerbemeldung/v1/rules.sch", 'test="', 'test="((', "an expression (XPath) is misspelt"),
    ("gewerbemeldung/mapping.toml", '"common:mail-html.xsl"', '"common:mail-htm.xsl"',
     "common:mail-htm.xsl: is missing"),
])
def test_a_fault_within_a_mapping_is_a_finding(place: Path, file: str, old: str, new: str,
                                               words: str) -> None:
    broken = place / "mappings" / file
    text = broken.read_text(encoding="utf-8")
    assert old in text
    broken.write_text(text.replace(old, new), encoding="utf-8")
    found = faults(place)
    assert found
    assert all(line.startswith("mapping gewerbemeldung: ") and words in line for line in found), found


def test_a_stylesheet_that_does_not_compile_is_a_finding(place: Path) -> None:
    sheet = next((place / "mappings/brauchtumsfeuer/v1").glob("leitstelle.xsl"))
    sheet.write_text(sheet.read_text(encoding="utf-8").replace('select="', 'select="(('), encoding="utf-8")
    [found] = faults(place)
    assert "mapping brauchtumsfeuer: " in found
    assert "leitstelle.xsl" in found
