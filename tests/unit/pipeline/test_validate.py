"""What does not fit its schema is parked with up to ten places."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.pipeline import schema_faults
from tests.unit.pipeline.validation import XSD, check, wrong


def test_what_fits_passes(package: Path) -> None:
    check(package,
          '<instance n="0"><pflicht/><geburtsdatum>1980-01-01</geburtsdatum><wahl>rot</wahl></instance>')


def test_a_broken_schema_is_the_mappings_fault(package: Path) -> None:
    (package / "v1/fields.xsd").write_text("<nichts/>")
    error = wrong(package, '<instance n="0"/>')
    assert error.reason == "mapping"
    assert "fields.xsd" in error.text


def test_a_schema_of_the_package_imports_nothing_from_elsewhere(package: Path, tmp_path: Path) -> None:
    (tmp_path / "aussen.xsd").write_text('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>')
    (package / "v1/fields.xsd").write_text(XSD.replace(
        '<xs:element name="fields">',
        '<xs:include schemaLocation="../aussen.xsd"/><xs:element name="fields">', 1))
    assert wrong(package, '<instance n="0"/>').reason == "mapping"


def test_at_most_ten_faults_are_listed(package: Path) -> None:
    (package / "v1/fields.xsd").write_text(XSD.replace('maxOccurs="3"', 'maxOccurs="99"'))
    error = wrong(package, "".join(f'<instance n="{n}"/>' for n in range(30)))
    assert error.text.count("\n- ") == 10
    assert "die ersten 10" in error.text
    assert len(error.trace) == 10


@pytest.mark.parametrize("elements", [schema_faults.MAX_ELEMENTS, 0], ids=["xmlschema", "lxml"])
@pytest.mark.parametrize(("count", "cut"), [(9, False), (10, False), (11, True)])
def test_the_first_ten_are_called_so_only_when_there_are_more(package: Path, monkeypatch: pytest.MonkeyPatch,
                                                              elements: int,
                                                              count: int, cut: bool) -> None:
    monkeypatch.setattr(schema_faults, "MAX_ELEMENTS", elements)
    (package / "v1/fields.xsd").write_text(XSD.replace('maxOccurs="3"', 'maxOccurs="99"'))
    error = wrong(package, "".join(f'<instance n="{n}"/>' for n in range(count)))
    assert error.text.splitlines()[
        0] == f"Die Angaben entsprechen nicht dem Schema{' (die ersten 10)' if cut else ''}:"
    assert error.text.count("\n- ") == min(count, 10)
