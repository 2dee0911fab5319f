"""What is wrong with a mapping's files is told by file, line and the ids of its author."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.i18n.problems_german import german
from hub.mapping.loader import load_fields, load_mapping

MAPPING = """service = "hund"
title = "Hund"
category = "einfach"

[[version]]
name = "v1"
subject = "Hund"
{more}
"""
FIELDS = """group = [{{ id = "halter", title = "Halter" }}]
field = [
    {{ group = "halter", id = "name", label = "Name" }},   # a comment with [ and {{
    {row},
]
"""


def wrong_fields(folder: Path, row: str) -> list[str]:
    file = folder / "fields.toml"
    file.write_text(FIELDS.format(row=row), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_fields(file)
    return [line.removeprefix(f"{file}: ") for line in caught.value.problems]


def wrong_mapping(folder: Path, more: str) -> list[str]:
    home = folder / "hund"
    home.mkdir()
    (home / "mapping.toml").write_text(MAPPING.format(more=more), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_mapping(home)
    return [line.removeprefix(f"{home}/mapping.toml: ") for line in caught.value.problems]


@pytest.mark.parametrize(("row", "said"), [
    ('{ group = "halter", id = "tag", label = "Tag", type = "datum" }',
     "Zeile 4: Feld halter:tag, type: muss 'text', 'textarea', 'integer', 'decimal', 'money', 'boolean', "
     "'date', 'time', 'choice', 'choices', 'file', 'files' oder 'json' sein: den Wert berichtigen"),
    ('{ group = "halter", id = "tag" }', "Zeile 4: Feld halter:tag, label: fehlt: ergänzen"),
    ('{ group = "halter", id = "tag", labl = "Tag", label = "Tag" }',
     "Zeile 4: Feld halter:tag, labl: unbekannter Schlüssel: entfernen oder die Schreibweise berichtigen"),
    ('{ group = "halter", label = "Tag" }', "Zeile 4: Feld 2, id: fehlt: ergänzen"),
    ('{ group = "hlter", id = "tag", label = "Tag" }',
     "Zeile 4: das Feld hlter:tag ist in keiner [[group]]: den Wert berichtigen"),
    ('{ group = "halter", id = "name", label = "Tag" }',
     "Zeile 4: das Feld halter:name steht zweimal: den Wert berichtigen"),
    ('{ group = "halter", id = "art", label = "Art", type = "choice", values = "arten" }',
     "Zeile 4: das Feld halter:art braucht eine Werteliste; [values.arten] fehlt: den Wert berichtigen"),
])
def test_a_fault_of_the_field_table_names_line_and_field(tmp_path: Path, row: str, said: str) -> None:
    assert [german(line) for line in wrong_fields(tmp_path, row)] == [said]


def test_all_faults_of_the_field_table_are_told_at_once(tmp_path: Path) -> None:
    assert wrong_fields(tmp_path, '{ group = "x", id = "a", label = "A" },\n'
                                  '    { group = "halter", id = "b", label = "B", type = "choice" }') == [
        "line 4: field x:a is in no [[group]]: correct the value",
        "line 5: field halter:b needs a value list; [values.b] is missing: correct the value"]


@pytest.mark.parametrize(("more", "said"), [
    ('versions = ">1,x"',
     "Zeile 8: Fassung v1, versions: 'x' ist kein Versionsvergleich wie '>=1.0' (mit Kommas "
                          "verbunden) oder '*': den Wert berichtigen"),
    ('[version.renderings.xml]\nrole = "xml"\nstylesheet = "x.xsl"\nfile = "x.xml"',
     "Zeile 8: Fassung v1, renderings.xml.media_type: fehlt: ergänzen"),
    ('fields = "felder.toml"', "Zeile 8: Fassung v1, fields: v1/felder.toml fehlt: die Datei ergänzen"),
    ('[version.renderings.xml]\nrole = "xml"\nfile = "x.xml"\nmedia_type = "application/xml"\n'
     'stylesheet = "x.xsl"',
     "Zeile 12: Fassung v1, renderings.xml.stylesheet: v1/x.xsl fehlt: die Datei ergänzen"),
    ("[[version]]\nname = 5", "Zeile 9: Fassung 2, name: ist kein Text: in Anführungszeichen schreiben, wie "
                              '"text"'),
])
def test_a_fault_of_a_mapping_names_line_and_version(tmp_path: Path, more: str, said: str) -> None:
    assert said in [german(line) for line in wrong_mapping(tmp_path, more)]
