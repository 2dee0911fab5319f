"""Of a wrong value one sentence is told for its type, whichever engine found it and however the schema is
built."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.authoring.schema_writer import FORMATS, schema_of
from hub.mapping.loader import load_fields
from hub.pipeline import schema_faults, value_faults
from tests.unit.pipeline.validation import check, wrong

ROWS = {"zahl": "decimal", "geld": "money", "anzahl": "integer", "tag": "date", "zeit": "time",
        "ja": "boolean",
        "art": "choice", "arten": "choices", "datei": "file", **dict.fromkeys(FORMATS, "text")}
WRONG = [
    ("zahl", "zwölf", "ist keine Zahl (Beispiel 12,5)"),
    ("zahl", "12,5", "ist mit Komma geschrieben; gebraucht wird ein Punkt (Beispiel 12.5)"),
    ("zahl", "1.234,5", "ist mit Komma geschrieben; gebraucht wird ein Punkt (Beispiel 12.5)"),
    ("zahl", "-7", "ist kleiner als 0"),
    ("zahl", "7.123456", "hat mehr als 4 Nachkommastellen"),
    ("geld", "drei Euro", "ist keine Zahl (Beispiel 12,5)"),
    ("geld", "7.123", "hat mehr als 2 Nachkommastellen"),
    ("geld", "77777777", "ist größer als 9999999.99"),
    ("anzahl", "viele", "ist keine ganze Zahl (Beispiel 12)"),
    ("anzahl", "7.7", "ist keine ganze Zahl (Beispiel 12)"),
    ("anzahl", "-7", "ist kleiner als 0"),
    ("tag", "gestern", "ist kein Datum (Beispiel 2026-06-20)"),
    ("tag", "2077-02-30", "ist kein Datum (Beispiel 2026-06-20)"),
    ("tag", "77.7.2077", "ist kein Datum (Beispiel 2026-06-20)"),
    ("tag", "1777-07-07", "liegt vor 1900-01-01"),
    ("zeit", "mittags", "ist keine Uhrzeit (Beispiel 14:30:00)"),
    ("zeit", "77:77:77", "ist keine Uhrzeit (Beispiel 14:30:00)"),
    ("ja", "jein", "ist keine Ja/Nein-Angabe (Beispiel true)"),
    ("art", "lila", "ist keiner der erlaubten Werte (rot, blau)"),
    ("arten", "<value>lila</value>", "ist keiner der erlaubten Werte (rot, blau)"),
    ("datei", '<attachment ref="lila"/>', "Attribut „ref“ ist keine ganze Zahl (Beispiel 12)"),
    ("iban", "lila", "ist keine IBAN (Beispiel DE12 3456 7890 1234 5678 90)"),
    ("bic", "lila", "ist kein BIC (Beispiel ABCDDE22XXX)"),
    ("plz", "lila", "ist keine Postleitzahl (Beispiel 01234)"),
    ("email", "lila", "ist keine Mailadresse (Beispiel name@example.org)"),
    ("iban", "<lila/>", "enthält weitere Elemente statt eines Werts"),
]
TABLE = """group = [{{ id = "halter", title = "Halter", instances = true }}]
field = [{rows}]
[values.farbe]
rot = "Rot"
blau = "Blau"
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A package whose schema was written from its table."""
    rows = ", ".join(f'{{ group = "halter", id = "{name}", label = "{name.upper()}", type = "{type_}"'
                     f'{", values = " + chr(34) + "farbe" + chr(34) if type_.startswith("choice") else ""} }}'
                     for name, type_ in ROWS.items())
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1/fields.toml").write_text(TABLE.format(rows=rows), encoding="utf-8")
    (tmp_path / "v1/fields.xsd").write_text(schema_of(load_fields(tmp_path / "v1/fields.toml")),
                                            encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("elements", [schema_faults.MAX_ELEMENTS, 0], ids=["xmlschema", "lxml"])
@pytest.mark.parametrize(("field", "value", "said"), WRONG)
def test_each_type_has_one_sentence(written: Path, monkeypatch: pytest.MonkeyPatch, elements: int, field: str,
                                    value: str, said: str) -> None:
    monkeypatch.setattr(schema_faults, "MAX_ELEMENTS", elements)
    error = wrong(written, f'<instance n="0"><{field}>{value}</{field}></instance>')
    (line,) = error.text.splitlines()[1:]
    _place, _, reason = line.partition("): ")
    assert reason.partition(" (gesendet: ")[0] == said
    assert "lila" not in error.text and "7.7" not in error.text and "77" not in error.text


def test_what_is_right_or_empty_passes(written: Path) -> None:
    for field, value in {"zahl": "12.5", "geld": "12.50", "anzahl": "12", "tag": "2026-06-20",
                         "zeit": "14:30:00", "ja": "true", "iban": "DE12 3456 7890 1234 5678 90",
                         "bic": "ABCDDE22XXX", "plz": "01234", "email": "name@example.org"}.items():
        check(written, f'<instance n="0"><{field}>{value}</{field}></instance>')
        check(written, f'<instance n="0"><{field}/></instance>')


@pytest.mark.parametrize(("patterns", "names", "said"), [
    ([r"\d{15}"], ["chipnummer"], "besteht nicht aus genau 15 Ziffern"),
    (["[0-9]{2,4}"], ["nummer"], "besteht nicht aus 2 bis 4 Ziffern"),
    ([".*"], ["", "kontoIban"], "ist keine IBAN (Beispiel DE12 3456 7890 1234 5678 90)"),
    (["[A-Z]+", "x"], ["kennung"], "entspricht nicht dem verlangten Muster ([A-Z]+, x)"),
])
def test_a_pattern_is_told_in_words_where_there_are_some(patterns: list[str], names: list[str],
                                                         said: str) -> None:
    assert value_faults.unmatched(patterns, *names) == said


def test_a_type_without_a_sentence_of_its_own_gets_none() -> None:
    assert value_faults.no("hexBinary", "x") is None
    assert value_faults.no("date", "") == "ist leer und damit kein Datum (Beispiel 2026-06-20)"
