"""No value that a citizen wrote gets into a reason, a trace or the facts, whatever a mapping's author tried.

The canary is planted in every field of every example of the shipped services, in names, file names, media
types and metadata, in XML, JSON and several parts; and then in mappings that were written to tell it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import Sentence
from hub.job import Parked
from hub.message import Reason
from hub.pipeline import schema_faults, stylesheet_faults, validate
from tests.unit.pipeline.leaks import (
    CANARY,
    EXAMPLES,
    MAPPINGS,
    SCH,
    as_json,
    ask,
    document_of,
    fields,
    form,
    hostile,
    leaks,
    rules_of,
    sent,
    stylesheet,
    told,
)

IN_XML = [example for example in EXAMPLES if (example / "message.xml").is_file()]


def name_of(example: Path) -> str:
    return f"{example.parents[1].name}/{example.name}"


# --- the shipped services -----------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.parametrize("example", IN_XML, ids=name_of)
def test_a_value_in_any_field_is_told_nowhere(example: Path) -> None:
    rules, service = rules_of(example.parents[1]), example.parents[1].name
    for number in range(len(fields(document_of(example)))):
        document = document_of(example)
        fields(document)[number].text = CANARY
        assert not leaks(ask(sent(example, etree.tostring(document)), rules, service)), number


@pytest.mark.parametrize("example", IN_XML, ids=name_of)
def test_values_in_all_fields_at_once_are_told_nowhere(example: Path) -> None:
    rules, service, document = rules_of(example.parents[1]), example.parents[1].name, document_of(example)
    for number, field in enumerate(fields(document)):
        field.text = CANARY if number % 2 else f"{field.text or ''} {CANARY}"
    outcomes = [ask(sent(example, etree.tostring(document), canary=CANARY), rules, service, case=CANARY),
                ask(sent(example, as_json(document), media_type=CANARY), rules, service)]
    assert all(isinstance(outcome, Parked) for outcome in outcomes)
    assert not any(map(leaks, outcomes))


@pytest.mark.parametrize("example", IN_XML, ids=name_of)
def test_a_name_anywhere_is_told_nowhere(example: Path) -> None:
    rules, service = rules_of(example.parents[1]), example.parents[1].name
    for number, element in enumerate(document_of(example).iter(etree.Element)):
        if number > 60:
            break
        for name in (CANARY, f"{{urn:{CANARY}}}{element.tag}"):
            document = document_of(example)
            list(document.iter(etree.Element))[number].tag = name
            assert not leaks(ask(sent(example, etree.tostring(document)), rules, service)), (number, name)


@pytest.mark.parametrize("key", ["formId", "creationDate", "postfachHandleId"])
@pytest.mark.parametrize("value", [CANARY, f"6000663:{CANARY}:v1.0", f"{CANARY}:HundesteuerAnmeldung:v1.0",
                                   f"6000663:HundesteuerAnmeldung:v{CANARY}", f"\0{CANARY}"])
def test_metadata_is_told_nowhere(key: str, value: str) -> None:
    example = MAPPINGS / "hundesteuer/examples/v2-full"
    document = document_of(example)
    element = document.find(f"metadata/{key}")
    assert element is not None
    element.text = value.replace("\0", "")
    in_json = as_json(document).replace(value.encode(), value.replace("\0", "\\u0000").encode())
    for content in (etree.tostring(document), in_json):
        assert not leaks(ask(sent(example, content), rules_of(example.parents[1]), "hundesteuer"))


@pytest.mark.parametrize("content", [
    f"{CANARY}".encode(), f"<{CANARY}/>".encode(), f"<a><{CANARY}></a>".encode(),
    f'<a {CANARY}="1"/>'.encode(),
    f"<!DOCTYPE {CANARY}><a/>".encode(), f"<a>&{CANARY};</a>".encode(),
    f'<?xml version="1.0" encoding="{CANARY}"?><a/>'.encode(), f'{{"{CANARY}": {CANARY}}}'.encode(),
    f'{{"{CANARY}": 1, "{CANARY}": 2}}'.encode(), f'{{"fields": {{"{CANARY}": 1}}}}'.encode(),
    f'{{"fields": {{"g_0_{CANARY}": {{"uploadedFilename": "{CANARY}", "data": "{CANARY}!"}}}}}}'.encode(),
    f'{{"fields": {{"{CANARY}_0_{CANARY}": "\\u0000"}}}}'.encode(),
    f'{{"fields": {{"{CANARY} x_0_a": "1"}}}}'.encode(), f'["{CANARY}"]'.encode(),
    f"<serviceportal-fields><{CANARY}><{CANARY}/></{CANARY}></serviceportal-fields>".encode(),
    f"<serviceportal-fields><g><instance_0><{CANARY}/><{CANARY}/></instance_0></g>"
    "</serviceportal-fields>".encode(),
    f"<serviceportal-fields><g><instance_0><a><{CANARY}/></a></instance_0></g>"
    "</serviceportal-fields>".encode(),
    f"<serviceportal-fields><g><instance_0><{CANARY}><base64Data>{CANARY}!</base64Data></{CANARY}>"
    "</instance_0></g></serviceportal-fields>".encode(),
    f'<x:{CANARY} xmlns:x="urn:xoev-de:{CANARY}" version="{CANARY}"/>'.encode(),
], ids=range(19))
def test_documents_that_are_none_tell_nothing(content: bytes) -> None:
    outcome = ask([(CANARY, CANARY, CANARY, content), (CANARY, CANARY, CANARY, b"x")],
                  rules_of(MAPPINGS / "hundesteuer"), "hundesteuer")
    assert isinstance(outcome, Parked)
    assert not leaks(outcome)


# --- hostile mappings ---------------------------------------------------------------------------------------

SAID = {"name": CANARY, "datum": CANARY}
NAME = "//name"
IN_BOTH = {
    "message": f'<xsl:message terminate="yes">Der Name <xsl:value-of select="{NAME}"/> ist falsch'
               "</xsl:message>",
    "message alone": f'<xsl:message terminate="yes"><xsl:copy-of select="{NAME}"/></xsl:message>',
    "element": f"<xsl:element name=\"{{concat('1 ', {NAME})}}\"/>",
    "document": f'<xsl:copy-of select="document({NAME})"/>',
    "document with a scheme": f"<xsl:copy-of select=\"document(concat('mapping:', {NAME}))\"/>",
    "format": f'<xsl:value-of select="format-number(1, string({NAME}), string({NAME}))"/>',
    "after a message": f'<xsl:message><xsl:value-of select="{NAME}"/></xsl:message>'
                       '<xsl:value-of select="$x"/>',
    "message with a place": '<xsl:message terminate="yes">Error on line 3 of xml;charset=utf-8;n=0,\n'
                            f'  FORG0001  <xsl:value-of select="{NAME}"/></xsl:message>',
}
IN_XSLT_1 = {"write": f'<xsl:document href="{{{NAME}}}">x</xsl:document>',
             "type": f'<xsl:value-of select="count(string({NAME}))"/>'}
IN_XSLT_3 = {
    "date": f'<xsl:value-of select="xs:date({NAME}[1])"/>',
    "error": f"<xsl:sequence select=\"error(QName('urn:x', {NAME}[1]), 'Name ' || {NAME}[1])\"/>",
    "error of ours": "<xsl:sequence select=\"error(QName('urn:x', 'FORG0001'), "
                     f"'{'x' * 60} ' || {NAME}[1])\"/>",
    "evaluate": f'<xsl:evaluate xpath="string({NAME}[1]) || \'(\'"/>',
    "result": f'<xsl:result-document href="{{{NAME}[1]}}">x</xsl:result-document>',
    "pattern": f"<xsl:value-of select=\"matches('x', {NAME}[1] || '(')\"/>",
    "doc": f'<xsl:copy-of select="doc({NAME}[1])"/>',
    "text": f'<xsl:value-of select="unparsed-text({NAME}[1])"/>',
    "key": f'<xsl:value-of select="key({NAME}[1], 1)"/>',
    "collation": f"<xsl:value-of select=\"compare('a', 'b', {NAME}[1])\"/>",
    "treat": f'<xsl:value-of select="{NAME}[1] treat as xs:integer"/>',
    "map": f"<xsl:value-of select=\"parse-json({NAME}[1])\"/>",
    "xml": f"<xsl:value-of select=\"parse-xml({NAME}[1])\"/>",
    "lines": "<xsl:sequence select=\"error((), '&#10;Error on line 1 of xml;charset=utf-8;n=0,&#10;"
             f"  FORG0001  ' || {NAME}[1])\"/>",
    "place": f"<xsl:sequence select=\"error((), '&#10;  File &quot;/' || {NAME}[1] || "
             "'.py&quot;, line 1 in x')\"/>",
}
STYLESHEETS = [
    *[(version, name, body) for version in ("1.0", "2.0", "3.0") for name, body in IN_BOTH.items()],
    *[("1.0", name, body) for name, body in IN_XSLT_1.items()],
    *[("3.0", name, body) for name, body in IN_XSLT_3.items()]]


@pytest.mark.parametrize(("version", "name", "body"), STYLESHEETS,
                         ids=[f"{version} {name}" for version, name, _ in STYLESHEETS])
def test_a_stylesheet_cannot_tell_a_value(tmp_path: Path, version: str, name: str, body: str) -> None:
    rules = hostile(tmp_path, ausgabe_xsl=stylesheet(version, body))
    outcome = ask([("application", None, "application/xml", form({"name": CANARY}))], rules, "feindlich")
    assert isinstance(outcome, Parked), name
    assert "mapping:v1/ausgabe.xsl" in outcome.text
    assert not leaks(outcome)


SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"
 targetNamespace="urn:datendrehscheibe:envelope:1" xmlns:e="urn:datendrehscheibe:envelope:1">
<xs:element name="fields"><xs:complexType><xs:sequence><xs:element name="person"><xs:complexType><xs:sequence>
<xs:element name="instance"><xs:complexType><xs:sequence>
<xs:element name="name" type="{type}"/><xs:element name="datum" type="xs:date" minOccurs="0"/></xs:sequence>
<xs:attribute name="n"/></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>
</xs:sequence></xs:complexType></xs:element>
<xs:simpleType name="facet"><xs:restriction base="xs:string">{facet}</xs:restriction></xs:simpleType>
<xs:simpleType name="union"><xs:union memberTypes="xs:date xs:integer"/></xs:simpleType>
<xs:simpleType name="list"><xs:list itemType="xs:integer"/></xs:simpleType></xs:schema>"""
KINDS = [("e:facet", f'<xs:{facet} value="{value}"/>') for facet, value in (
    ("enumeration", "rot"), ("pattern", "[0-9]+"), ("maxLength", "3"), ("minLength", "90"), ("length", "2"))]
TYPES = [*KINDS, *((name, "") for name in (
    "xs:date", "xs:integer", "xs:boolean", "xs:decimal", "xs:base64Binary", "xs:dateTime", "e:union",
    "e:list"))]


@pytest.mark.parametrize("elements", [schema_faults.MAX_ELEMENTS, 0], ids=["xmlschema", "libxml2"])
@pytest.mark.parametrize(("type_", "facet"), TYPES)
def test_a_schema_cannot_tell_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: str, facet: str,
                                      elements: int) -> None:
    monkeypatch.setattr(schema_faults, "MAX_ELEMENTS", elements)
    rules = hostile(tmp_path, 'schema = "fields.xsd"', fields_xsd=SCHEMA.format(type=type_, facet=facet))
    for values in ({"name": CANARY}, {CANARY: "1"}, {"name": "1", CANARY: "1"},
                   {"name": "1", "datum": CANARY}):
        outcome = ask([("application", None, "application/xml", form(values))], rules, "feindlich")
        assert isinstance(outcome, Parked)
        assert outcome.reason == Reason.INVALID
        assert not leaks(outcome)
    outcome = ask([("application", None, "application/xml", form({"name": CANARY}))], rules, "feindlich")
    assert "Person › Name (person:0:name)" in outcome.text  # type: ignore[union-attr]


RULES = {
    "name": '<sch:assert test="false()">Falsch: <sch:name/></sch:assert>',
    "name of a path": '<sch:assert test="false()">Falsch: <sch:name path="*[last()]"/></sch:assert>',
    "number": '<sch:assert test="false()">Falsch: <sch:value-of select="@n"/></sch:assert>',
    "foreign": '<sch:assert test="false()">Falsch: <x xmlns="urn:x">y</x> <sch:value-of select="count(*)"/>'
               "</sch:assert>",
    "report": '<sch:report test="true()"><sch:emph>Falsch</sch:emph>: <sch:name/></sch:report>',
    "test": f'<sch:assert test="name = \'{CANARY}x\'" id="r1">Falsch <sch:span>x</sch:span></sch:assert>',
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_cannot_tell_a_value(tmp_path: Path, rule: str) -> None:
    rules = hostile(tmp_path, 'rules = "rules.sch"', rules_sch=(
        f'<sch:schema xmlns:sch="{SCH}"><sch:pattern><sch:rule context="//instance/*">{rule}</sch:rule>'
        "</sch:pattern></sch:schema>"))
    for values in ({"name": CANARY}, {CANARY: CANARY}):
        outcome = ask([("application", None, "application/xml", form(values))], rules, "feindlich")
        assert isinstance(outcome, Parked)
        assert outcome.reason == Reason.INVALID
        assert "Falsch" in outcome.text
        assert not leaks(outcome)


XOEV_SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:xoev-de:test"
 xmlns:t="urn:xoev-de:test" elementFormDefault="qualified">
<xs:element name="antrag.0010"><xs:complexType><xs:sequence>
<xs:element name="name" type="xs:date" minOccurs="0" maxOccurs="9"/></xs:sequence>
<xs:attribute name="version" type="xs:decimal" use="required"/></xs:complexType></xs:element></xs:schema>"""
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
XOEV = {
    "value": f"<name>{CANARY}</name>", "name": f"<{CANARY}/>", "name below": f"<name><{CANARY}/></name>",
    "attribute": f'<name {CANARY}="1">2026-01-01</name>', "type": f'<name {XSI} xsi:type="{CANARY}">x</name>',
    "location": f'<name {XSI} xsi:schemaLocation="urn:{CANARY} file:///{CANARY}">x</name>',
    "namespace": f'<{CANARY} xmlns="urn:{CANARY}"/>', "text": CANARY,
    "nil": f'<name {XSI} xsi:nil="{CANARY}"/>',
}


@pytest.mark.parametrize("elements", [schema_faults.MAX_ELEMENTS, 0], ids=["xmlschema", "libxml2"])
@pytest.mark.parametrize("inner", XOEV.values(), ids=XOEV)
@pytest.mark.parametrize(("root", "version"), [
    ("antrag.0010", "1.0"), ("antrag.0010", CANARY), (CANARY, "1.0")])
def test_a_xoev_document_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str,
                                     elements: int, root: str, version: str) -> None:
    monkeypatch.setattr(schema_faults, "MAX_ELEMENTS", elements)
    schemas = tmp_path / "schemas/xtest/1.0"
    schemas.mkdir(parents=True)
    (schemas / "xtest.xsd").write_text(XOEV_SCHEMA, encoding="utf-8")
    rules = hostile(tmp_path, 'schema_set = { set = "xtest", version = "1.0", entry = "xtest.xsd" }')
    document = f'<{root} xmlns="urn:xoev-de:test" version="{version}">{inner}</{root}>'
    outcome = ask([("application", None, "application/xml", document.encode())], rules, "feindlich")
    assert isinstance(outcome, Parked)
    assert outcome.reason == Reason.INVALID
    assert not leaks(outcome)


# --- planted faults -----------------------------------------------------------------------------------------

def planted_stylesheet(error: Any, _modules: Any) -> Rejected:
    return Rejected(Reason.CONFIGURATION, Sentence(str(error)))


def planted_schema(*_arguments: Any) -> list[schema_faults.Fault]:
    schema, root = _arguments[2][0], _arguments[1]
    return [schema_faults.Fault(root, schema_faults.NOWHERE, Sentence(str(schema.message)))]


@pytest.mark.parametrize(("module", "name", "fault", "more", "files"), [
    (stylesheet_faults, "failed_1", planted_stylesheet, "", {
        "ausgabe_xsl": stylesheet("1.0", IN_BOTH["message"])}),
    (validate, "explain", planted_schema, 'schema = "fields.xsd"', {
        "fields_xsd": SCHEMA.format(type="xs:date", facet="")})], ids=["libxslt", "libxml2"])
def test_an_engines_words_passed_on_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any,
                                                name: str, fault: Callable[..., Any], more: str,
                                                files: dict[str, str]) -> None:
    monkeypatch.setattr(module, name, fault)
    rules = hostile(tmp_path, more, **files)
    assert leaks(ask([("application", None, "application/xml", form({"name": CANARY}))], rules, "feindlich"))


def test_a_free_text_is_no_reason() -> None:
    with pytest.raises(TypeError):
        Rejected(Reason.INVALID, CANARY)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Rejected(Reason.INVALID, Sentence("x"), [CANARY])  # type: ignore[list-item]


# --- anything -----------------------------------------------------------------------------------------------

PLACES = st.sampled_from(["value", "field", "group", "attribute", "namespace", "comment", "cdata"])


@given(places=st.lists(PLACES, min_size=1, max_size=4), around=st.text("<>&\"'{}[]:/ \n0aä", max_size=6))
def test_a_canary_in_whatever_surroundings_is_told_nowhere(places: list[str], around: str) -> None:
    pieces = {"value": f"<name>{escape(around)}{CANARY}</name>", "field": f"<{CANARY}>1</{CANARY}>",
              "group": f"</instance_0></person><{CANARY}><instance_0>", "attribute": f'<name {CANARY}="1"/>',
              "namespace": f'<name xmlns="urn:{CANARY}">1</name>', "comment": f"<!--{CANARY}-->",
              "cdata": f"<name><![CDATA[{around}{CANARY}]]></name>"}
    inner = "".join(pieces[place] for place in places)
    document = (f"<serviceportal-fields><person><instance_0>{inner}</instance_0></person>"
                "</serviceportal-fields>")
    outcome = ask([("application", None, "application/xml", document.encode())],
                  rules_of(MAPPINGS / "hundesteuer"), "hundesteuer")
    assert CANARY.lower() not in told(outcome)
