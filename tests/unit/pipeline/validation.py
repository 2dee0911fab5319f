"""What the tests of schemas and rules share: a package with a table, a schema and rules."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from lxml import etree

from hub.errors import Rejected
from hub.job import Rule
from hub.mapping.model import MappingVersion
from hub.pipeline.validate import validate

DAY = date(2026, 11, 22)
XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"
 targetNamespace="urn:datendrehscheibe:envelope:1">
<xs:element name="fields"><xs:complexType><xs:all>
 <xs:element name="halter" minOccurs="0"><xs:complexType><xs:sequence>
  <xs:element name="instance" maxOccurs="3"><xs:complexType><xs:all>
   <xs:element name="name" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string">
     <xs:maxLength value="12"/><xs:minLength value="2"/></xs:restriction></xs:simpleType></xs:element>
   <xs:element name="geburtsdatum" type="xs:date" minOccurs="0"/>
   <xs:element name="betrag" minOccurs="0"><xs:simpleType><xs:restriction base="xs:decimal">
     <xs:maxInclusive value="100"/><xs:fractionDigits value="2"/></xs:restriction></xs:simpleType>
   </xs:element>
   <xs:element name="wahl" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string">
     <xs:enumeration value="rot"/><xs:enumeration value="blau"/></xs:restriction></xs:simpleType></xs:element>
   <xs:element name="muster" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string">
     <xs:pattern value="(a+)+"/></xs:restriction></xs:simpleType></xs:element>
   <xs:element name="anzahl" type="xs:int" minOccurs="0"/>
   <xs:element name="pflicht"/>
  </xs:all><xs:attribute name="n" type="xs:int"/></xs:complexType></xs:element>
 </xs:sequence></xs:complexType></xs:element>
</xs:all></xs:complexType></xs:element></xs:schema>"""
TABLE = """
group = [{ id = "halter", title = "Halterin oder Halter", instances = true }]
field = [{ group = "halter", id = "name", label = "Name" },
         { group = "halter", id = "geburtsdatum", label = "Geburtsdatum", type = "date" }]
"""
SCH = """<sch:schema xmlns:sch="http://purl.oclc.org/dsdl/schematron"{attributes}>
<sch:ns prefix="e" uri="urn:datendrehscheibe:envelope:1"/><sch:pattern><sch:rule context="halter/instance"
>{rule}</sch:rule>
</sch:pattern></sch:schema>"""


def check(package: Path, instances: str, **files: str) -> None:
    names = {"fields": "fields.toml", "schema": "fields.xsd", **files}
    rule = Rule(id="r", tenant="t", service="s", mapping_version="v1", mapping_digest="0",
                package=str(package),
                recipients=())
    envelope = etree.fromstring(
        '<e:envelope xmlns:e="urn:datendrehscheibe:envelope:1"><e:metadata><e:message '
        'day="2026-11-22"/></e:metadata>'
        f"<e:fields><halter>{instances}</halter></e:fields></e:envelope>")
    validate(envelope, MappingVersion(name="v1", subject="s", **names), rule, DAY)


def wrong(package: Path, instances: str, **files: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(package, instances, **files)
    return caught.value


GOOD = '<instance n="0"><pflicht/></instance><instance n="1"><pflicht/><name>Maria</name></instance>'
