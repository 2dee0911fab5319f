"""Does a schema, however it is written, take what the field table has?"""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.authoring.schema_writer import schema_of
from hub.mapping.model import FieldTable
from hub.pipeline.schema_fit import rule_faults, schema_faults

TABLE = FieldTable.model_validate({
    "group": [{"id": "halter", "title": "Halter"}, {"id": "hund", "title": "Hund", "instances": True}],
    "field": [{"group": "halter", "id": "name", "label": "Name"},
              {"group": "halter", "id": "geboren", "type": "date", "label": "Geboren"},
              {"group": "hund", "id": "name", "label": "Name"},
              {"group": "hund", "id": "chip", "type": "integer", "label": "Chip"},
              {"group": "hund", "id": "farben", "type": "choices", "label": "Farben", "values": "farbe"},
              {"group": "hund", "id": "bild", "type": "file", "label": "Bild"}],
    "values": {"farbe": {"s": "schwarz", "w": "weiß"}}})


def faults(folder: Path, old: str = "", new: str = "") -> list[str]:
    file = folder / "fields.xsd"
    text = schema_of(TABLE)
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    return list(schema_faults(TABLE, file))


def test_what_was_written_from_the_table_fits(tmp_path: Path) -> None:
    assert faults(tmp_path) == []


@pytest.mark.parametrize(("old", "new"), [
    ('name="geboren" type="e:datum" minOccurs="0"', 'name="geboren" type="e:datum"'),
    ('type="e:gruppe.hund" minOccurs="0"', 'type="e:gruppe.hund"'),
    ('name="chip" type="e:ganzzahl"', 'name="chip" type="xs:string"'),
    ("xs:nonNegativeInteger\">\n        </", "xs:positiveInteger\">\n        </")])
def test_a_schema_that_asks_for_more_or_less_fits(tmp_path: Path, old: str, new: str) -> None:
    assert faults(tmp_path, old, new) == []


IN_ORDER = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:e="urn:datendrehscheibe:envelope:1"
 targetNamespace="urn:datendrehscheibe:envelope:1">
 <xs:element name="fields"><xs:complexType><xs:sequence>
  <xs:element name="hund" maxOccurs="1"><xs:complexType><xs:sequence>
   <xs:element name="instance" maxOccurs="unbounded"><xs:complexType><xs:sequence>
    <xs:element name="chip" type="xs:integer"/><xs:element name="name" type="xs:string"/>
    <xs:element name="farben" type="xs:anyType"/><xs:element name="bild" type="xs:anyType"/>
   </xs:sequence><xs:attribute name="n"/></xs:complexType></xs:element></xs:sequence>
   </xs:complexType></xs:element>
  <xs:element name="halter"><xs:complexType><xs:sequence>
   <xs:element name="instance"><xs:complexType><xs:sequence>
    <xs:element name="name"><xs:simpleType><xs:restriction base="xs:string"><xs:minLength value="1"/>
    </xs:restriction></xs:simpleType></xs:element><xs:element name="geboren" type="xs:date"/>
   </xs:sequence><xs:attribute name="n"/></xs:complexType></xs:element></xs:sequence>
   </xs:complexType></xs:element>
 </xs:sequence></xs:complexType></xs:element></xs:schema>"""
"""Written by hand: every group and field is required, in an order that is not the table's."""


@pytest.mark.parametrize(("old", "new", "told"), [
    ("", "", []),
    ('"geboren" type="xs:date"', '"geboren" type="xs:integer"', ["halter:geboren: the schema takes no"]),
    ('name="farben"', 'name="f"', ["hund:farben: the schema has no such field", "f is no field"]),
    ('name="farben" type="xs:anyType"/><xs:element name="bild"',
     'name="f" type="xs:anyType"/><xs:element name="b"',
     ["hund:farben: the schema has no such", "hund:bild: the schema has no such", "f is no", "b is no"])])
def test_a_schema_that_asks_for_an_order_is_asked_in_it(tmp_path: Path, old: str, new: str,
                                                        told: list[str]) -> None:
    file = tmp_path / "fields.xsd"
    assert old in IN_ORDER
    file.write_text(IN_ORDER.replace(old, new), encoding="utf-8")
    found = list(schema_faults(TABLE, file))
    assert len(found) == len(told), found
    assert all(words in line for words, line in zip(told, found, strict=True)), found


@pytest.mark.parametrize(("old", "new", "told"), [
    ('name="chip"', 'name="marke"', ["hund:chip: the schema has no such field", "marke is no field"]),
    ('name="geboren" type="e:datum"', 'name="geboren" type="e:ganzzahl"', ["halter:geboren: the schema takes "
                                                                          "no date"]),
    ('<xs:enumeration value="w"/>', "", ["hund:farben: the schema does not take the code 'w' of "
                                         "values.farbe"]),
    ('name="bild" type="e:datei"', 'name="bild" type="xs:string"', ["hund:bild: the schema takes no file"]),
    (' maxOccurs="unbounded"/>\n            </xs:seq', "/>\n            </xs:seq",
     ["hund: the schema takes one instance only"])])
def test_what_no_longer_fits_is_told(tmp_path: Path, old: str, new: str, told: list[str]) -> None:
    found = faults(tmp_path, old, new)
    assert len(found) == len(told)
    assert all(words in line for words, line in zip(told, found, strict=True)), found


@pytest.mark.parametrize(("context", "test", "told"), [
    ("hund/instance", "chip and ../../halter/instance/name", []),
    ("hund/instance", "marke", ["line 3: marke is no field of the form"]),
    ("hund/instance", "geboren", ["line 3: geboren is no field of hund"]),
    ("katze/instance", "name", ["line 2: katze is no field of the form"]),
    ("instance/*", "../name", [])])
def test_rules_name_fields_of_their_group(tmp_path: Path, context: str, test: str, told: list[str]) -> None:
    file = tmp_path / "rules.sch"
    file.write_text('<sch:schema xmlns:sch="http://purl.oclc.org/dsdl/schematron"><sch:pattern>\n'
                    f'<sch:rule context="{context}">\n<sch:assert test="{test}">x</sch:assert></sch:rule>'
                    "</sch:pattern></sch:schema>")
    found = list(rule_faults(TABLE, file))
    assert len(found) == len(told)
    assert all(words in line for words, line in zip(told, found, strict=True)), found
