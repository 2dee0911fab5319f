"""Schema and rules: what is wrong is named in German, by place and reason, and never with a citizen's
value."""

import re
import threading
from datetime import date
from pathlib import Path

import pytest
from lxml import etree

from hub.errors import Rejected
from hub.job import Rule
from hub.mapping.model import MappingVersion
from hub.pipeline import schema_faults, xslt
from hub.pipeline.validate import validate

DAY = date(2026, 11, 22)
XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:datendrehscheibe:envelope:1">
<xs:element name="fields"><xs:complexType><xs:all>
 <xs:element name="halter" minOccurs="0"><xs:complexType><xs:sequence>
  <xs:element name="instance" maxOccurs="3"><xs:complexType><xs:all>
   <xs:element name="name" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string"><xs:maxLength value="12"/>
     <xs:minLength value="2"/></xs:restriction></xs:simpleType></xs:element>
   <xs:element name="geburtsdatum" type="xs:date" minOccurs="0"/>
   <xs:element name="betrag" minOccurs="0"><xs:simpleType><xs:restriction base="xs:decimal"><xs:maxInclusive value="100"/>
     <xs:fractionDigits value="2"/></xs:restriction></xs:simpleType></xs:element>
   <xs:element name="wahl" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string"><xs:enumeration value="rot"/>
     <xs:enumeration value="blau"/></xs:restriction></xs:simpleType></xs:element>
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
<sch:ns prefix="e" uri="urn:datendrehscheibe:envelope:1"/><sch:pattern><sch:rule context="halter/instance">{rule}</sch:rule>
</sch:pattern></sch:schema>"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "v1"
    folder.mkdir()
    (folder / "fields.toml").write_text(TABLE)
    (folder / "fields.xsd").write_text(XSD)
    return tmp_path


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


def test_what_fits_passes(package: Path) -> None:
    check(package,
          '<instance n="0"><pflicht/><geburtsdatum>1980-01-01</geburtsdatum><wahl>rot</wahl></instance>')


FAULTS = [
    ("<name>Geheimniskrämerin</name>",
     "Halterin oder Halter (1.) › Name (halter:0:name): ist länger als 12 Zeichen"),
    ("<name>G</name>", "(halter:0:name): ist kürzer als 2 Zeichen"),
    ("<geburtsdatum>geheim</geburtsdatum>",
     "› Geburtsdatum (halter:0:geburtsdatum): ist kein Datum (JJJJ-MM-TT)"),
    ("<geburtsdatum/>", "(halter:0:geburtsdatum): ist leer und damit kein Datum"),
    ("<betrag>geheim</betrag>", "(halter:0:betrag): ist keine Zahl"),
    ("<betrag>4711</betrag>", "(halter:0:betrag): ist größer als 100"),
    ("<betrag>47.113</betrag>", "(halter:0:betrag): hat mehr als 2 Nachkommastellen"),
    ("<wahl>geheim</wahl>", "(halter:0:wahl): ist keiner der erlaubten Werte (rot, blau)"),
    ("<muster>geheim</muster>", "(halter:0:muster): entspricht nicht dem verlangten Muster"),
    ("<anzahl>4.711</anzahl>", "(halter:0:anzahl): ist keine ganze Zahl"),
    ("<fremd/>", "(halter:0:fremd): ist hier nicht vorgesehen"),
]


@pytest.mark.parametrize(("field", "expected"), FAULTS)
def test_each_fault_is_named_by_place_and_reason(package: Path, field: str, expected: str) -> None:
    error = wrong(package, f'<instance n="0"><pflicht/>{field}</instance>')
    assert error.reason == "invalid"
    assert expected in error.text
    assert "Geheimniskrämerin" not in error.text and "4711" not in error.text
    assert not re.search("geheim", error.text)


@pytest.mark.parametrize(("field", "expected"), FAULTS)
def test_without_xmlschema_lxml_is_put_into_words(package: Path, field: str, expected: str,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_faults, "MAX_ELEMENTS", 0)
    error = wrong(package, f'<instance n="0"><pflicht/>{field}</instance>')
    place = re.search(r"\(halter:0:\w+\): ", expected)
    assert place is not None and place[0] in error.text
    assert "passt nicht zum Schema" not in error.text
    assert not re.search(r"geheim|Geheimniskrämerin|4711|4\.711|47\.113", error.text)


def test_the_tests_notice_when_a_value_gets_into_the_text(package: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: xmlschema's and lxml's own words hold values."""
    monkeypatch.setattr(schema_faults, "_because", lambda error: str(error.reason))
    assert "geheim" in wrong(package,
                             '<instance n="0"><pflicht/><geburtsdatum>geheim</geburtsdatum></instance>').text


def test_what_is_missing_is_named(package: Path) -> None:
    text = wrong(package, '<instance n="0"><pflicht/></instance><instance n="1"/>').text
    assert "Halterin oder Halter (2.) (halter:1): es fehlt „pflicht“" in text


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


EVIL = "a" * 60 + "!"


def test_a_pattern_that_never_ends_is_ended(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's `re` would need years; the interval timer ends it, and lxml's words take over."""
    monkeypatch.setattr(schema_faults, "SECONDS", 0.2)
    text = wrong(package, f'<instance n="0"><pflicht/><muster>{EVIL}</muster></instance>').text
    assert "(halter:0:muster): entspricht nicht dem verlangten Muster" in text


def test_the_planted_pattern_really_overruns(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above means something: it is the timer that raises, inside of `re`."""
    with pytest.raises(schema_faults._TooLongError), schema_faults._cpu_limit(0.2):
        re.fullmatch("(a+)+", EVIL)


@pytest.mark.slow
def test_a_pattern_that_is_too_much_for_libxml2_parks(package: Path) -> None:
    (package / "v1/fields.xsd").write_text(XSD.replace("(a+)+", "(a|aa)+"))
    error = wrong(package, f'<instance n="0"><pflicht/><muster>{EVIL}</muster></instance>')
    assert error.reason == "limit"
    assert "fields.xsd" in error.text and "aaa" not in error.text


def test_a_thread_without_signals_is_content_with_lxml(package: Path) -> None:
    texts: list[str] = []
    thread = threading.Thread(target=lambda: texts.append(wrong(package, '<instance n="0"/>').text))
    thread.start()
    thread.join()
    assert "(halter:0): es fehlt" in texts[0]


def test_a_broken_schema_is_configuration(package: Path) -> None:
    (package / "v1/fields.xsd").write_text("<nichts/>")
    error = wrong(package, '<instance n="0"/>')
    assert error.reason == "configuration"
    assert "fields.xsd" in error.text


def test_a_schema_of_the_package_imports_nothing_from_elsewhere(package: Path, tmp_path: Path) -> None:
    (tmp_path / "aussen.xsd").write_text('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>')
    (package / "v1/fields.xsd").write_text(XSD.replace(
        '<xs:element name="fields">',
        '<xs:include schemaLocation="../aussen.xsd"/><xs:element name="fields">', 1))
    assert wrong(package, '<instance n="0"/>').reason == "configuration"


# Rules


def rules(package: Path, rule: str, attributes: str = "") -> str:
    (package / "v1/rules.sch").write_text(SCH.format(rule=rule, attributes=attributes))
    return "rules.sch"


GOOD = '<instance n="0"><pflicht/></instance><instance n="1"><pflicht/><name>Maria</name></instance>'


def test_a_rules_own_text_is_what_the_operator_reads(package: Path) -> None:
    name = rules(package, '<sch:assert test="name">Halter <sch:value-of select="@n + 1"/>: Der Name\n  '
                          'fehlt.</sch:assert>')
    error = wrong(package, GOOD, rules=name)
    assert error.text.splitlines() == ["Die Angaben verletzen Regeln des Antrags:",
                                       "- Halter 1: Der Name fehlt."]
    assert error.trace == ("Halter 1: Der Name fehlt. [Halterin oder Halter (1.) (halter:0)]",)


def test_reports_and_the_day_of_acceptance_work(package: Path) -> None:
    name = rules(package,
                 '<sch:report test="name and /e:envelope/e:metadata/e:message/@day = \'2026-11-22\'">'
                          "Heute nicht.</sch:report>")
    assert "- Heute nicht." in wrong(package, GOOD, rules=name).text


def test_a_warning_rejects_nothing(package: Path) -> None:
    check(package, GOOD,
          rules=rules(package, '<sch:assert test="name" role="warning">Der Name fehlt.</sch:assert>'))


def test_rules_cannot_read_files(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "geheim.xml"
    secret.write_text("<geheim/>")
    name = rules(package, f"<sch:assert test=\"not(document('{secret}')/geheim)\">gelesen</sch:assert>")
    assert wrong(package, GOOD, rules=name).reason == "configuration"
    monkeypatch.setattr(xslt, "DENIED", None)  # the planted fault
    rules(package,
          f"<sch:assert test=\"not(document('file://{secret}')/geheim)\">wirklich gelesen</sch:assert>")
    assert "wirklich gelesen" in wrong(package, GOOD, rules=name).text


@pytest.mark.parametrize(("rule", "attributes", "words"), [
    ('<sch:assert test="name"><sch:value-of select="name"/> fehlt</sch:assert>', "",
     "value-of may only count"),
    ('<sch:assert test="name">x</sch:assert>', ' queryBinding="xslt2"', "xslt2 is not supported"),
    ('<sch:extends href="aussen.sch"/>', "", "includes another file"),
    ('<sch:assert test="name[">x</sch:assert>', "", "name["),
    ('<sch:assert test="x:name">x</sch:assert>', "", "namespace prefix"),
])
def test_rules_that_cannot_be_used_are_configuration(package: Path, rule: str, attributes: str,
                                                     words: str) -> None:
    error = wrong(package, GOOD, rules=rules(package, rule, attributes))
    assert error.reason == "configuration"
    assert words in error.text
