"""Mappings are data with tests: every example runs, and the parts of a mapping agree with each other.

A new example or a new service needs no line here: what is found below ``mappings/`` is tested.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import date, datetime
from pathlib import Path

import pytest
from lxml import etree

from hub.errors import Rejected
from hub.fields import type_values
from hub.job import Body, Job, JobPart
from hub.mapping import FieldTable, MappingVersion, load_fields, load_mapping, read_toml, version_in
from hub.message import BERLIN
from hub.normalize import normalize
from hub.validate import validate
from tests.services import standards

ROOT = Path(__file__).parents[1]
MAPPINGS = ROOT / "mappings"
SERVICES = sorted(file.parent for file in MAPPINGS.glob("*/mapping.toml"))
VERSIONS = [(folder, version) for folder in SERVICES for version in load_mapping(folder).version]
EXAMPLES = sorted(file.parent for file in MAPPINGS.glob("*/examples/*/example.toml"))
DAY = date(2026, 11, 22)

E = "{urn:datendrehscheibe:envelope:1}"
XS = "{http://www.w3.org/2001/XMLSchema}"
XSL = "{http://www.w3.org/1999/XSL/Transform}"
SCH = "{http://purl.oclc.org/dsdl/schematron}"


def _id(value: object) -> str:
    if isinstance(value, MappingVersion):
        return value.name
    return value.relative_to(MAPPINGS).as_posix().replace("/examples/", "/") if isinstance(value, Path) else str(value)


def example(name: str) -> Path:
    """The folder of ``service/example``."""
    service, _, own = name.partition("/")
    return MAPPINGS / service / "examples" / own


def canonical(folder: Path) -> etree._Element:
    """The envelope of an example, as normalize makes it."""
    beside = read_toml(folder / "example.toml").get("attachments", ())
    files = [min(folder.glob("message.*")), *(folder / name for name in beside)]
    stored, parts = io.BytesIO(), []
    for number, file in enumerate(files):
        content = file.read_bytes()
        parts.append(JobPart(name="attachment" if number else "application", filename=file.name,
                             media_type={".xml": "application/xml", ".json": "application/json"}.get(file.suffix, ""),
                             sha256=hashlib.sha256(content).hexdigest(),
                             body=Body(offset=stored.tell(), length=len(content))))
        stored.write(content)
    job = Job(message_id="019a0000-0000-7000-8000-000000000001", tenant="beispiel", ags="14999010",
              service=folder.parents[1].name, test=False, received_at=datetime(2026, 11, 22, 10, tzinfo=BERLIN),
              accepted_day=DAY, case=None, parts=tuple(parts), rules=())
    content = stored.getvalue()
    return normalize(job, lambda body: content[body.offset:body.offset + body.length], io.BytesIO()).envelope


def version_of(folder: Path, envelope: etree._Element) -> tuple[MappingVersion, FieldTable]:
    """The one version of an example's mapping that takes its form."""
    service = folder.parents[1]
    form = envelope.find(f"{E}metadata/{E}form")
    number = form.get("version") if form is not None else None
    version, = (version for version in load_mapping(service).version if version_in(number, version.versions))
    return version, load_fields(service / version.name / str(version.fields))


def verdict(folder: Path, envelope: etree._Element) -> str:
    """Why the hub would park the envelope; empty when it would not."""
    version, table = version_of(folder, envelope)
    try:
        validate(type_values(envelope, table), version, folder.parents[1], None, DAY)
    except Rejected as error:
        return error.text
    return ""


# --- every mapping is complete ----------------------------------------------------------------------------------------


def test_the_roll_out_list_is_there() -> None:
    categories = {folder.name: load_mapping(folder).category for folder in SERVICES}
    assert categories.items() >= {"hundesteuer": "einfach", "gewerbemeldung": "komplex",
                                  "feuerwehr-verdienstausfall": "mittel"}.items()


@pytest.mark.parametrize("folder", SERVICES, ids=_id)
def test_each_version_has_a_smallest_a_full_and_a_parked_example(folder: Path) -> None:
    kinds: dict[str, set[str]] = {version.name: set() for version in load_mapping(folder).version}
    for own in (folder / "examples").iterdir():
        version, _table = version_of(own, canonical(own))
        kind = "parked" if "parked" in read_toml(own / "example.toml") else own.name.rpartition("-")[2]
        kinds[version.name] |= {kind} & {"smallest", "full", "parked"}
    assert all(found == {"smallest", "full", "parked"} for found in kinds.values()), kinds


def test_the_examples_cover_every_generation_of_the_envelope() -> None:
    sources = {str(canonical(folder).findtext(f"{E}metadata/{E}source")) for folder in EXAMPLES}
    assert sources == {"serviceportal-fields", "serviceportal", "serviceportal-lists", "formcontent-json", "json"}
    assert any(read_toml(folder / "example.toml").get("attachments") for folder in EXAMPLES), "none with separate parts"


@pytest.mark.parametrize("folder", EXAMPLES, ids=_id)
def test_only_the_oldest_envelope_may_lack_the_applicants_pdf(folder: Path) -> None:
    envelope = canonical(folder)
    roles = [item.get("role") for item in envelope.iter(f"{E}attachment")]
    assert roles.count("applicant-pdf") == 1 or envelope.findtext(f"{E}metadata/{E}source") == "serviceportal-fields"


@pytest.mark.parametrize("folder", EXAMPLES, ids=_id)
def test_the_people_of_an_example_are_invented(folder: Path) -> None:
    fields = canonical(folder).find(f"{E}fields")
    assert fields is not None
    for field in fields.iterfind("*/instance/*"):
        text = field.text or ""
        if field.tag == "plz" and text:
            assert text == "00000", f"{field.tag}: a real post code in an example"
        if field.tag == "email" and text:
            assert text.endswith(("@example.org", ".example")), "a real domain in an example"


def test_dog_tax_forms_of_both_versions_are_valid_on_the_same_day() -> None:
    one, two = load_mapping(MAPPINGS / "hundesteuer").version
    assert two.valid_from and one.valid_until and two.valid_from <= DAY < one.valid_until
    assert {row.id for row in load_fields(MAPPINGS / "hundesteuer/v1/fields.toml").field} != {
        row.id for row in load_fields(MAPPINGS / "hundesteuer/v2/fields.toml").field}


# --- table, schema, rules and stylesheets speak of the same fields ----------------------------------------------------


@pytest.mark.parametrize(("folder", "version"), VERSIONS, ids=_id)
def test_schema_and_table_have_the_same_groups_fields_types_and_values(folder: Path, version: MappingVersion) -> None:
    table = load_fields(folder / version.name / str(version.fields))
    schema = etree.parse(folder / version.name / str(version.schema_)).getroot()
    groups = {group.get("name"): group for group in schema.iterfind(f"{XS}element/{XS}complexType/{XS}all/{XS}element")}
    assert list(groups) == [row.id for row in table.group]
    for row in table.group:
        instance = groups[row.id].find(f".//{XS}element")
        assert instance is not None
        assert (instance.get("maxOccurs") == "unbounded") is row.instances, row.id
        kind = str(instance.get("type")).removeprefix("e:")
        fields = {field.get("name"): field for field in schema.iterfind(f"{XS}complexType[@name='{kind}']/{XS}all/{XS}element")}
        expected = {field.id: _schema_types(field.type, field.values) for field in table.field if field.group == row.id}
        assert list(fields) == list(expected)
        for name, field in fields.items():
            assert field.get("minOccurs") == "0", f"{row.id}:{name} must be optional: what is needed stands in the rules"
            assert re.fullmatch(expected[str(name)], str(field.get("type"))), f"{row.id}:{name}: {field.get('type')}"
    for name, values in table.values.items():
        found = [item.get("value") for item in schema.iterfind(f"{XS}simpleType[@name='wert.{name}']//{XS}enumeration")]
        assert found == list(values), name


def _schema_types(type_: str, values: str | None) -> str:
    special = {"text": r"xs:string|e:(plz|email|iban|bic|chipnummer|registernummer|einsatznummer)", "textarea": "xs:string",
               "integer": "e:ganzzahl", "decimal": "e:dezimalzahl", "money": "e:geld", "boolean": "e:jaNein", "date": "e:datum",
               "time": "e:uhrzeit", "file": "e:datei", "files": "e:dateien", "choice": rf"e:wert\.{values}",
               "choices": rf"e:werte\.{values}"}
    return special[type_]


@pytest.mark.parametrize(("folder", "version"), VERSIONS, ids=_id)
def test_rules_and_stylesheets_name_only_fields_of_the_table(folder: Path, version: MappingVersion) -> None:
    known = _names(folder / version.name / str(version.fields))
    files = [folder / version.name / str(version.rules), *(folder / version.name).glob("*.xsl")]
    for file in files:
        assert used_names(file) - known == set(), f"{file.relative_to(ROOT)} names what is no field"


SHARED = sorted([*MAPPINGS.glob("[!_]*/*.xsl"), *ROOT.glob("etc/municipalities/*/*/*.xsl")])


@pytest.mark.parametrize("file", SHARED, ids=lambda file: file.name)
def test_shared_and_municipal_stylesheets_name_fields_of_some_version(file: Path) -> None:
    service = file.parent.name
    known = set().union(*(_names(table) for table in (MAPPINGS / service).glob("*/fields.toml")))
    assert used_names(file) - known == set()


def _names(file: Path) -> set[str]:
    table = load_fields(file)
    return {row.id for row in table.group} | {row.id for row in table.field} | {"instance", "value", "attachment"}


EXPRESSIONS = {XSL: ("select", "match", "test"), SCH: ("context", "test", "value", "select")}


def used_names(file: Path) -> set[str]:
    """Names of elements in no namespace in the XPath expressions of a stylesheet or of rules."""
    names: set[str] = set()
    for element in etree.parse(file).getroot().iter(etree.Element):
        expressions = EXPRESSIONS.get(str(element.tag).partition("}")[0] + "}", ())
        for key, value in element.items():
            for expression in [str(value)] if key in expressions else re.findall(r"\{([^{}]*)\}", str(value)):
                names |= _xpath_names(expression)
    return names


def _xpath_names(expression: str) -> set[str]:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|[\w-]+::", " ", expression)
    bare = re.sub(r"[@$][\w.:-]+|\b[\w-]+:[\w*.-]+|[\w-]+(?=\s*\()|\b\d[\w.]*", " ", bare)
    return set(re.findall(r"[A-Za-z_][\w.-]*", bare)) - {"and", "or", "mod", "div", "if", "then", "else", "except", "as", "map"}


def test_a_field_that_does_not_exist_is_noticed_in_a_stylesheet(tmp_path: Path) -> None:
    file = tmp_path / "planted.xsl"
    text = (MAPPINGS / "hundesteuer/v2/fachverfahren.xsl").read_text(encoding="utf-8")
    file.write_text(text.replace("hunde/instance/rasseCode", "hunde/instance/rasse"), encoding="utf-8")
    assert used_names(file) - _names(MAPPINGS / "hundesteuer/v2/fields.toml") == {"rasse"}


@pytest.mark.parametrize("folder", EXAMPLES, ids=_id)
def test_examples_use_codes_of_the_value_lists(folder: Path) -> None:
    envelope = canonical(folder)
    _version, table = version_of(folder, envelope)
    seen = 0
    for row in table.field:
        if row.values is None:
            continue
        for field in envelope.iterfind(f"{E}fields/{row.group}/instance/{row.id}"):
            for text in [value.text for value in field.findall("value")] or [field.text]:
                assert not text or text in table.values[row.values], f"{row.group}:{row.id}"
                seen += bool(text)
    assert seen


def test_codes_of_legal_forms_are_those_of_the_published_list() -> None:
    published = etree.parse(standards() / "codelists/Rechtsformen_2.4.xml")
    codes = set(published.xpath("//*[local-name()='Row']/*[1]/*[local-name()='SimpleValue']/text()"))
    own = load_fields(MAPPINGS / "gewerbemeldung/v1/fields.toml").values["rechtsform"]
    assert set(own) <= codes


# --- the rules --------------------------------------------------------------------------------------------------------


RULES = {
    "hundesteuer/v1-full": [
        ("halter/instance/name", None, "Halter: Der Name fehlt."),
        ("halter/instance/plz", "", "Halter: Die Anschrift ist unvollständig"),
        ("halter/instance/geburtsdatum", "2031-01-01", "Halter: Das Geburtsdatum liegt in der Zukunft."),
        ("halter/instance/anzahlHunde", "0", "Halter: Die Zahl der bereits gehaltenen Hunde fehlt."),
        ("hund", None, "Hund: Die Angaben zum Hund fehlen ganz."),
        ("hund/instance/rasseFreitext", "", "Hund: Bei Mischling oder anderer Rasse fehlt die genauere Angabe"),
        ("hund/instance/rasse", "wolpertinger", "Rasse (hund:0:rasse): ist keiner der erlaubten Werte"),
        ("hund/instance/chipnummer", "27600000000001", "Chipnummer (hund:0:chipnummer)"),
        ("hund/instance/haltungsbeginn", "2022-02-27", "Hund: Die Haltung beginnt vor der Geburt"),
        ("hund/instance/haltungsbeginn", "30.02.2026", "Gehalten seit (hund:0:haltungsbeginn)"),
        ("vorbesitz", None, "Vorherige Haltung: "),
        ("ermaessigung/instance/grund", None, "Ermäßigung: Der Grund fehlt."),
        ("zahlung/instance/iban", None, "Zahlung: Beim SEPA-Mandat fehlt die IBAN."),
        ("zahlung/instance/kontoinhaber", "", "Zahlung: Beim SEPA-Mandat fehlt die Kontoinhaberin"),
        ("erklaerung/instance/richtigkeit", "false", "Erklärung: Die Richtigkeit der Angaben ist nicht bestätigt."),
    ],
    "hundesteuer/v2-full": [
        ("vorgang/instance/art", "", "Art der Meldung: Es fehlt"),
        ("weitereHalter/instance[2]/vorname", None, "Weitere Person 2: Familienname oder Vorname fehlt."),
        ("hunde/instance[2]/chipnummer", None, "Hund 2: Die Chipnummer fehlt"),
        ("hunde/instance[3]/chipnummer", "276000000000005", "Hund 3: Dieselbe Chipnummer"),
        ("hunde/instance[1]/nachweise", None, "Hund 1: Für die Ermäßigung oder Befreiung fehlt der Nachweis."),
    ],
    "hundesteuer/v2-sign-off": [
        ("hunde/instance/endeGrund", None, "Hund 1: Der Grund der Abmeldung fehlt."),
        ("hunde/instance/endeAm", "2018-12-31", "Hund 1: Die Haltung endet vor ihrem Beginn."),
    ],
    "feuerwehr-verdienstausfall/full": [
        ("antragsteller/instance/firma", None, "Antragsteller: Die Firma des Arbeitgebers fehlt."),
        ("angehoerige/instance/name", None, "Feuerwehrangehörige: Bei Antrag des Arbeitgebers"),
        ("einsaetze", None, "Einsatz: Es ist kein Einsatz"),
        ("einsaetze/instance[2]/folgetag", "false", "Einsatz 2: Das Ende liegt nicht nach dem Beginn."),
        ("einsaetze/instance[1]/datum", "2026-11-23", "Einsatz 1: Das Datum liegt in der Zukunft."),
        ("einsaetze/instance[1]/einsatznummer", "", "Einsatz 1: Die Einsatznummer der Leitstelle"),
        ("einsaetze/instance[3]/stunden", "9.5", "Einsatz 3: Es sind mehr Arbeitsstunden"),
        ("einsaetze/instance[1]/nebenleistungen", "4.51", "Einsatz 1: Der Betrag ist nicht die Summe"),
        ("einsaetze/instance[1]/brutto", "80.601", "(einsaetze:0:brutto): hat mehr als 2 Nachkommastellen"),
        ("summe/instance/gesamt", "577.45", "Erstattungsbetrag: Der Gesamtbetrag ist nicht die Summe"),
        ("nachweise", None, "Nachweise: Die Verdienstbescheinigung"),
        ("bank", None, "Bankverbindung: Die Angaben fehlen ganz."),
    ],
    "feuerwehr-verdienstausfall/self-employed": [
        ("einsaetze/instance/stundensatz", "24.01", "Einsatz 1: Der Stundensatz liegt über"),
    ],
    "gewerbemeldung/full": [
        ("meldung/instance/grundAnmeldung", None, "Meldung: Der Grund der Anmeldung fehlt."),
        ("betrieb/instance/rechtsform", "112100x", "Rechtsform (betrieb:0:rechtsform)"),
        ("betrieb/instance/registernummer", "", "Unternehmen: Die Registernummer fehlt."),
        ("betrieb/instance/registernummer", "4711", "Registernummer (betrieb:0:registernummer)"),
        ("vertreter/instance[2]", None, "Vertretung: Die angegebene Zahl der Vertreter"),
        ("vertreter", None, "Vertretung: Bei dieser Rechtsform fehlen"),
        ("vertreter/instance[2]/geburtsdatum", None, "Vertretung 2: Das Geburtsdatum fehlt."),
        ("betriebsstaetten/instance[2]/ort", "", "Betriebsstätte 2: Die Anschrift ist unvollständig"),
        ("taetigkeit/instance/teilzeit", None, "Tätigkeit: Die Zahl der Beschäftigten"),
        ("handwerk/instance/kartennummer", None, "Handwerk: Nummer, Datum oder Kammer"),
    ],
    "gewerbemeldung/smallest": [
        ("person/instance/geburtsdatum", "2010-01-01", "Betriebsinhaber: Die Person ist am Stichtag minderjährig"),
        ("person/instance/staatsangehoerigkeiten", None, "Betriebsinhaber: Die Staatsangehörigkeit fehlt."),
        ("unterlagen", None, "Unterlagen: Ausweis oder Pass fehlt."),
    ],
    "gewerbemeldung/sign-off": [
        ("meldung/instance/grundAbmeldung", "", "Meldung: Der Grund der Abmeldung fehlt."),
    ],
}
FAULTS = [(name, *fault) for name, faults in RULES.items() for fault in faults]


@pytest.mark.parametrize(("name", "path", "value", "expected"), FAULTS, ids=lambda value: str(value)[:60])
def test_each_fault_is_named_so_that_a_clerk_can_act(name: str, path: str, value: str | None, expected: str) -> None:
    envelope = canonical(example(name))
    assert verdict(example(name), envelope) == "", "the example itself must pass"
    fields = envelope.find(f"{E}fields")
    assert fields is not None
    element, = fields.findall(path)
    if value is None:
        parent = element.getparent()
        assert parent is not None
        parent.remove(element)
    else:
        element.text = value
    assert expected in verdict(example(name), envelope)


@pytest.mark.parametrize("folder", [folder for folder in EXAMPLES if folder.name.endswith("full")], ids=_id)
def test_whatever_is_missing_no_text_tells_a_value(folder: Path) -> None:
    envelope = canonical(folder)
    home = folder.parents[1] / version_of(folder, envelope)[0].name
    known = "true false" + "".join((home / name).read_text(encoding="utf-8") for name in ("fields.toml", "rules.sch"))
    values = {text for text in _values(envelope) if len(text) > 3 and text not in known}
    rejected = 0
    for place in range(len(list(_all_fields(envelope)))):
        damaged = deepcopy(envelope)
        field = list(_all_fields(damaged))[place]
        field[:] = []
        field.text = "\u2603 kaputt" if place % 2 else ""
        text = verdict(folder, damaged)
        rejected += bool(text)
        assert not [value for value in (*values, "\u2603") if value in text]
    assert rejected > 5


def _all_fields(envelope: etree._Element) -> Iterator[etree._Element]:
    return envelope.iterfind(f"{E}fields/*/instance/*")


def _values(envelope: etree._Element) -> set[str]:
    return {text.strip() for field in _all_fields(envelope) for text in field.itertext() if text.strip()}


def test_check_digits_of_ibans_are_counted_as_iso_13616_does() -> None:
    folder, chance = example("hundesteuer/v1-full"), random.Random(13616)
    envelope = canonical(folder)
    field = envelope.find(f"{E}fields/zahlung/instance/iban")
    assert field is not None
    for _round in range(40):
        account = "".join(chance.choices("0123456789", k=18))
        check = 98 - int(account + "131400") % 97
        field.text = f"DE{check:02d}{account}"
        assert verdict(folder, envelope) == ""
        place = chance.randrange(4, 22)
        other = str((int(field.text[place]) + chance.randrange(1, 10)) % 10)
        field.text = field.text[:place] + other + field.text[place + 1:]
        assert "IBAN hat einen Schreibfehler" in verdict(folder, envelope)


def test_headings_are_left_out_but_what_was_filled_in_parks() -> None:
    folder = example("hundesteuer/v1-smallest")
    envelope = canonical(folder)
    heading = envelope.find(f"{E}fields/halter/instance/ueberschrift")
    assert heading is not None, "before 1.6 headings are dumped as empty fields"
    assert verdict(folder, envelope) == ""
    heading.text = "neue Frage, neue Antwort"
    assert "ueberschrift" in verdict(folder, envelope)


def test_a_form_that_names_no_version_goes_only_where_the_mapping_says_so() -> None:
    assert version_in(None, ">=1.0,<2.0 or none")
    assert version_in("1.9", ">=1.0,<2.0 or none")
    assert not version_in("2.0", ">=1.0,<2.0 or none")
    assert not version_in(None, ">=2.0,<3.0")
