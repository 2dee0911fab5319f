"""Mappings are data with tests: every example runs, and the parts of a mapping agree with each other.

A new example or a new service needs no line here: what is found below ``mappings/`` is tested.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
import shutil
from collections.abc import Iterator
from copy import deepcopy
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest
from lxml import etree

from hub.authoring.examples import preview, run_examples
from hub.files.toml import read_toml
from hub.job import Body, Job, JobPart, Parked, Recipient, Rule, Translated
from hub.mapping.loader import load_fields, load_mapping
from hub.mapping.model import FieldTable, MappingVersion
from hub.mapping.versions import version_in
from hub.message import BERLIN
from hub.pipeline.envelope import Normalized
from hub.pipeline.normalize import normalize
from hub.pipeline.process import process
from tests.services import need_pango, standards

ROOT = Path(__file__).parents[1]
MAPPINGS = ROOT / "mappings"
SERVICES = sorted(file.parent for file in MAPPINGS.glob("*/mapping.toml"))
VERSIONS = [(folder, version) for folder in SERVICES for version in load_mapping(folder).version]
EXAMPLES = sorted(file.parent for file in MAPPINGS.glob("*/examples/*/example.toml"))
DAY = date(2026, 11, 22)

E = "{urn:datendrehscheibe:envelope:1}"
XS = "{http://www.w3.org/2001/XMLSchema}"
XSL = "{http://www.w3.org/1999/XSL/Transform}"
DOG = "{urn:datendrehscheibe:hundesteuer:1}"
SCH = "{http://purl.oclc.org/dsdl/schematron}"


def _id(value: object) -> str:
    if isinstance(value, MappingVersion):
        return value.name
    return value.relative_to(MAPPINGS).as_posix().replace("/examples/",
                                                          "/") if isinstance(value, Path) else str(value)


def example(name: str) -> Path:
    """The folder of ``service/example``."""
    service, _, own = name.partition("/")
    return MAPPINGS / service / "examples" / own


def normalized(folder: Path, day: date = DAY) -> tuple[Job, Normalized]:
    """An example as a job with every version's rule, which lead to nobody, and what normalize makes of it."""
    service = folder.parents[1]
    beside = read_toml(folder / "example.toml").get("attachments", ())
    files = [min(folder.glob("message.*")), *(folder / name for name in beside)]
    stored, parts = io.BytesIO(), []
    for number, file in enumerate(files):
        content = file.read_bytes()
        parts.append(JobPart(name="attachment" if number else "application", filename=file.name,
                             media_type={".xml": "application/xml",
                                         ".json": "application/json"}.get(file.suffix, ""),
                             sha256=hashlib.sha256(content).hexdigest(),
                             body=Body(offset=stored.tell(), length=len(content))))
        stored.write(content)
    rules = tuple(Rule(id=version.name, tenant="beispiel", service=service.name, forms=version.forms,
                       mapping_versions=version.versions, valid_from=version.valid_from,
                       valid_until=version.valid_until,
                       mapping_version=version.name, mapping_digest="0", package=str(service), recipients=())
                  for version in load_mapping(service).version)
    job = Job(message_id="019a0000-0000-7000-8000-000000000001", tenant="beispiel", ags="14999010",
              service=service.name,
              test=False, received_at=datetime.combine(day, time(10), BERLIN), accepted_day=day, case=None,
              parts=tuple(parts), rules=rules)
    content = stored.getvalue()
    return job, normalize(job, lambda body: content[body.offset:body.offset + body.length], io.BytesIO())


def canonical(folder: Path) -> etree._Element:
    """The envelope of an example."""
    return normalized(folder)[1].envelope


def version_of(folder: Path, envelope: etree._Element) -> tuple[MappingVersion, FieldTable]:
    """The one version of an example's mapping that takes its form."""
    service = folder.parents[1]
    form = envelope.find(f"{E}metadata/{E}form")
    number = form.get("version") if form is not None else None
    version, = (version for version in load_mapping(service).version if version_in(number, version.versions))
    return version, load_fields(service / version.name / str(version.fields))


def verdict(folder: Path, envelope: etree._Element | None = None, day: date = DAY) -> str:
    """Why the hub would park the example, if its envelope were this one; empty when it would not."""
    job, ready = normalized(folder, day)
    ready = ready if envelope is None else ready._replace(envelope=envelope)
    with mock.patch("hub.pipeline.process.normalize", lambda *_: ready):
        outcome = process(job, mock.Mock(), mock.Mock())
    return outcome.text if isinstance(outcome, Parked) else ""


# --- every example gives what is expected -------------------------------------------------------------------


@pytest.mark.parametrize("folder", EXAMPLES, ids=_id)
def test_the_example_gives_what_is_expected(folder: Path) -> None:
    result, = run_examples(MAPPINGS, folder.parents[1].name, folder.name)
    assert result.ok, f"{result.service}/{result.name}\n{result.difference}"


@pytest.mark.parametrize("day", [date(2025, 12, 1), date(2030, 12, 31)], ids=str)
@pytest.mark.parametrize("folder", EXAMPLES, ids=_id)
def test_the_example_ends_the_same_way_whatever_the_machines_calendar_says(folder: Path, day: date) -> None:
    """`drehscheibe demo` hands the examples in today."""
    assert verdict(folder, day=day) == verdict(folder)


def copied(into: Path, service: str) -> Path:
    """A copy of a service with the common stylesheets, to be spoilt."""
    for name in (service, "_common"):
        shutil.copytree(MAPPINGS / name, into / name)
    return into


def test_one_changed_byte_is_caught_and_shown(tmp_path: Path) -> None:
    mappings = copied(tmp_path, "hundesteuer")
    file = mappings / "hundesteuer/examples/v2-full/expected/hundesteuer.xml"
    file.write_bytes(file.read_bytes().replace(b"Kn\xc3\xb6pfchen", b"Kn\xc3\xb6pfchem"))
    result, = run_examples(mappings, "hundesteuer", "v2-full")
    lines = result.difference.splitlines()
    assert [line for line in lines if line[0] in "+-" and line[1] == " "] == [
        "-    <Rufname>Knöpfchem</Rufname>", "+    <Rufname>Knöpfchen</Rufname>"]
    assert lines[:2] == ["--- erwartet/hundesteuer.xml", "+++ gekommen/hundesteuer.xml"]
    assert not run_examples(MAPPINGS, "hundesteuer", "v2-full")[0].difference


def test_a_changed_stylesheet_and_a_missing_output_are_caught(tmp_path: Path) -> None:
    mappings = copied(tmp_path, "gewerbemeldung")
    sheet = mappings / "gewerbemeldung/v1/fachverfahren.xsl"
    sheet.write_text(sheet.read_text(encoding="utf-8").replace("<Vorgang id=", "<Vorgang nr="),
                     encoding="utf-8")
    (mappings / "gewerbemeldung/examples/sign-off/expected/antrag.txt").unlink()
    result, = run_examples(mappings, "gewerbemeldung", "sign-off")
    assert "gewerbemeldung.xml" in result.difference and '+   <Vorgang nr="019a0000' in result.difference
    assert "antrag.txt: entstanden, aber nicht erwartet" in result.difference


def test_what_should_be_parked_but_is_delivered_is_caught(tmp_path: Path) -> None:
    mappings = copied(tmp_path, "hundesteuer")
    (mappings / "hundesteuer/v2/rules.sch").write_text(
        '<schema xmlns="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt"/>', encoding="utf-8")
    result, = run_examples(mappings, "hundesteuer", "v2-parked")
    assert result.difference.startswith("Erwartet: geparkt (invalid). Gekommen: zugestellt.")


def test_both_versions_of_the_dog_tax_form_give_the_procedure_the_same_shape() -> None:
    one, two = (preview(MAPPINGS, "hundesteuer", name)["hundesteuer.xml"] for name in ("v1-full", "v2-full"))
    paths = [{tuple(etree.QName(step).localname for step in (*element.iterancestors(), element))
              for element in etree.fromstring(content).iter(f"{DOG}Hund", f"{DOG}Rasse",
                                                            f"{DOG}Haltungsbeginn", f"{DOG}Name")}
             for content in (one, two)]
    assert paths[0] <= paths[1]
    assert len(etree.fromstring(two).findall(f"{DOG}Hund")) == 3


def test_the_municipalitys_own_stylesheet_changes_only_what_it_overrides(tmp_path: Path) -> None:
    folder = example("hundesteuer/v2-full")
    job, _ready = normalized(folder)
    documents = []
    for sheets in ({}, {"xml": "hundesteuer/xml.xsl"}):
        rules = tuple(rule.model_copy(update={
            "municipality_folder": str(ROOT / "etc/municipalities/14999020"), "stylesheets": sheets,
            "common": str(MAPPINGS / "_common"),
            "recipients": (Recipient(name="fv", destination="fv", connector="directory", send=("xml",)),)})
                      for rule in job.rules)
        content, out = min(folder.glob("message.*")).read_bytes(), io.BytesIO()
        outcome = process(job.model_copy(update={"rules": rules}), cast(Any, lambda body, content=content:
                          content[body.offset:body.offset + body.length]), cast(Any, out))
        assert isinstance(outcome, Translated)
        body = outcome.deliveries[0].parts[0].body
        assert body is not None
        documents.append(out.getvalue()[body.offset:body.offset + body.length].decode().splitlines())
    default, own = documents
    assert [line for line in own
            if line not in default] == ["    <Buchungszeichen>BBG-HST-2026-00000001</Buchungszeichen>"]
    assert [line for line in default if line not in own] == []


# --- every mapping is complete ------------------------------------------------------------------------------


def test_the_roll_out_list_is_there() -> None:
    categories = {folder.name: load_mapping(folder).category for folder in SERVICES}
    assert categories.items() >= {"hundesteuer": "einfach", "gewerbemeldung": "komplex",
                                  "feuerwehr-verdienstausfall": "mittel", "brauchtumsfeuer": "einfach",
                                  "wohnungsgeberbestaetigung": "mittel", "geburtsurkunde": "mittel",
                                  "wohngeld": "komplex"}.items()


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
    assert sources == {"serviceportal-fields", "serviceportal", "serviceportal-lists", "formcontent-json",
                       "json"}
    assert any(read_toml(folder / "example.toml").get("attachments")
               for folder in EXAMPLES), "none with separate parts"


@pytest.mark.parametrize("folder", EXAMPLES, ids=_id)
def test_what_is_delivered_brings_the_applicants_pdf(folder: Path) -> None:
    """So that the examples arrive on a machine that cannot print; tests/acceptance/test_pdf.py prints one."""
    roles = [item.get("role") for item in canonical(folder).iter(f"{E}attachment")]
    assert roles.count("applicant-pdf") == 1 or "parked" in read_toml(folder / "example.toml")


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


# --- table, schema, rules and stylesheets speak of the same fields ------------------------------------------


@pytest.mark.parametrize(("folder", "version"), VERSIONS, ids=_id)
def test_schema_and_table_have_the_same_groups_fields_types_and_values(folder: Path,
                                                                       version: MappingVersion) -> None:
    table = load_fields(folder / version.name / str(version.fields))
    schema = etree.parse(folder / version.name / str(version.schema_)).getroot()
    groups = {group.get("name"): group
              for group in schema.iterfind(f"{XS}element/{XS}complexType/{XS}all/{XS}element")}
    assert list(groups) == [row.id for row in table.group]
    for row in table.group:
        instance = groups[row.id].find(f".//{XS}element")
        assert instance is not None
        assert (instance.get("maxOccurs") == "unbounded") is row.instances, row.id
        kind = str(instance.get("type")).removeprefix("e:")
        fields = {field.get("name"): field
                  for field in schema.iterfind(f"{XS}complexType[@name='{kind}']/{XS}all/{XS}element")}
        expected = {field.id: _schema_types(field.type, field.values) for field in table.field
                    if field.group == row.id}
        assert list(fields) == list(expected)
        for name, field in fields.items():
            assert field.get(
                "minOccurs") == "0", f"{row.id}:{name} must be optional: what is needed stands in the rules"
            assert re.fullmatch(expected[str(name)],
                                str(field.get("type"))), f"{row.id}:{name}: {field.get('type')}"
    for name, values in table.values.items():
        found = [item.get("value")
                 for item in schema.iterfind(f"{XS}simpleType[@name='wert.{name}']//{XS}enumeration")]
        assert found == list(values), name


def _schema_types(type_: str, values: str | None) -> str:
    special = {"text": r"xs:string|e:(plz|email|iban|bic|chipnummer|registernummer|einsatznummer)",
               "textarea": "xs:string",
               "integer": "e:ganzzahl", "decimal": "e:dezimalzahl", "money": "e:geld", "boolean": "e:jaNein",
               "date": "e:datum",
               "time": "e:uhrzeit", "json": "xs:string", "file": "e:datei", "files": "e:dateien",
               "choice": rf"e:wert\.{values}",
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
    return {row.id for row in table.group} | {row.id for row in table.field} | {"instance", "value",
                                                                                "attachment"}


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
    return set(re.findall(r"[A-Za-z_][\w.-]*", bare)) - {"and", "or", "mod", "div", "if", "then", "else",
                                                         "except", "as", "map"}


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


# --- the rules ----------------------------------------------------------------------------------------------


# example: what is changed in it, and what a clerk is told
RULES: dict[str, list[tuple[dict[str, str | None], str]]] = {
    "hundesteuer/v1-full": [
        ({"halter/instance/name": None}, "Halter: Der Name fehlt."),
        ({"halter/instance/plz": ""}, "Halter: Die Anschrift ist unvollständig"),
        ({"halter/instance/geburtsdatum": "2031-01-01"}, "Halter: Das Geburtsdatum liegt in der Zukunft."),
        ({"halter/instance/anzahlHunde": "0"}, "Halter: Die Zahl der bereits gehaltenen Hunde fehlt."),
        ({"hund": None}, "Hund: Die Angaben zum Hund fehlen ganz."),
        ({"hund/instance/rasseFreitext": ""},
         "Hund: Bei Mischling oder anderer Rasse fehlt die genauere Angabe"),
        ({"hund/instance/rasse": "wolpertinger"}, "Rasse (hund:0:rasse): ist keiner der erlaubten Werte"),
        ({"hund/instance/chipnummer": "27600000000001"}, "Chipnummer (hund:0:chipnummer)"),
        ({"hund/instance/haltungsbeginn": "2022-02-27"}, "Hund: Die Haltung beginnt vor der Geburt"),
        ({"hund/instance/haltungsbeginn": "30.02.2026"}, "Gehalten seit (hund:0:haltungsbeginn)"),
        ({"vorbesitz": None}, "Vorherige Haltung: "),
        ({"ermaessigung/instance/grund": None}, "Ermäßigung: Der Grund fehlt."),
        ({"zahlung/instance/iban": None}, "Zahlung: Beim SEPA-Mandat fehlt die IBAN."),
        ({"zahlung/instance/kontoinhaber": ""}, "Zahlung: Beim SEPA-Mandat fehlt die Kontoinhaberin"),
        ({"erklaerung/instance/richtigkeit": "false"},
         "Erklärung: Die Richtigkeit der Angaben ist nicht bestätigt."),
        ({"halter": None}, "Halter: Die Angaben zur Hundehalterin"),
        ({"halter/instance/vorname": ""}, "Halter: Der Vorname fehlt."),
        ({"halter/instance/geburtsdatum": None}, "Halter: Das Geburtsdatum fehlt."),
        ({"hund/instance/geschlecht": None}, "Hund: Das Geschlecht fehlt."),
        ({"hund/instance/geburtsdatum": None}, "Hund: Das Geburtsdatum des Hundes fehlt"),
        ({"hund/instance/haltungsbeginn": None}, "Hund: Der Beginn der Haltung fehlt."),
        ({"ermaessigung/instance/nachweis": None}, "Ermäßigung: Der Nachweis fehlt."),
    ],
    "hundesteuer/v2-full": [
        ({"vorgang/instance/art": ""}, "Art der Meldung: Es fehlt"),
        ({"weitereHalter/instance[2]/vorname": None}, "Weitere Person 2: Familienname oder Vorname fehlt."),
        ({"hunde/instance[2]/chipnummer": None}, "Hund 2: Die Chipnummer fehlt"),
        ({"hunde/instance[3]/chipnummer": "276000000000005"}, "Hund 3: Dieselbe Chipnummer"),
        ({"hunde/instance[1]/nachweise": None},
         "Hund 1: Für die Ermäßigung oder Befreiung fehlt der Nachweis."),
        ({"vorgang/instance/art": "aenderung", "vorgang/instance/kassenzeichen": "",
          "erklaerung/instance/bemerkung": ""},
         "Art der Meldung: Bei einer Änderung fehlen"),
        ({"halter": None}, "Halter: Die Angaben zur Hundehalterin"),
        ({"halter/instance/familienname": None}, "Halter: Der Familienname oder die Firma fehlt."),
        ({"halter/instance/vorname": ""}, "Halter: Der Vorname fehlt."),
        ({"halter/instance/geburtsdatum": None}, "Halter: Das Geburtsdatum fehlt."),
        ({"hunde/instance[2]/rasseCode": None}, "Hund 2: Die Rasse fehlt."),
        ({"hunde/instance[1]/rasseZusatz": None}, "Hund 1: Bei Mischling oder anderer Rasse"),
        ({"hunde/instance[2]/geschlecht": None}, "Hund 2: Das Geschlecht fehlt."),
        ({"hunde/instance[2]/geburtsdatum": None}, "Hund 2: Das Geburtsdatum des Hundes fehlt"),
        ({"hunde/instance[2]/gehaltenSeit": None}, "Hund 2: Der Beginn der Haltung fehlt."),
        ({"hunde/instance[1]/vorbesitzer": ""}, "Hund 1: Bei Übernahme von einer Privatperson"),
    ],
    "hundesteuer/v2-sign-off": [
        ({"hunde/instance/endeGrund": None}, "Hund 1: Der Grund der Abmeldung fehlt."),
        ({"hunde/instance/endeAm": "2018-12-31"}, "Hund 1: Die Haltung endet vor ihrem Beginn."),
        ({"hunde/instance/steuermarke": None, "vorgang/instance/kassenzeichen": None},
         "Hund 1: Zur Abmeldung fehlen Steuermarke und Kassenzeichen"),
        ({"hunde/instance/endeAm": None}, "Hund 1: Das Ende der Haltung fehlt."),
    ],
    "feuerwehr-verdienstausfall/full": [
        ({"antragsteller/instance/firma": None}, "Antragsteller: Die Firma des Arbeitgebers fehlt."),
        ({"angehoerige/instance/name": None}, "Feuerwehrangehörige: Bei Antrag des Arbeitgebers"),
        ({"einsaetze": None}, "Einsatz: Es ist kein Einsatz"),
        ({"einsaetze/instance[2]/folgetag": "false"}, "Einsatz 2: Das Ende liegt nicht nach dem Beginn."),
        ({"einsaetze/instance[1]/datum": "2026-11-23"}, "Einsatz 1: Das Datum liegt in der Zukunft."),
        ({"einsaetze/instance[1]/einsatznummer": ""}, "Einsatz 1: Die Einsatznummer der Leitstelle"),
        ({"einsaetze/instance[3]/stunden": "9.5"}, "Einsatz 3: Es sind mehr Arbeitsstunden"),
        ({"einsaetze/instance[1]/nebenleistungen": "4.51"}, "Einsatz 1: Der Betrag ist nicht die Summe"),
        ({"einsaetze/instance[1]/brutto": "80.601"}, "(einsaetze:0:brutto): hat mehr als 2 Nachkommastellen"),
        ({"summe/instance/gesamt": "577.45"}, "Erstattungsbetrag: Der Gesamtbetrag ist nicht die Summe"),
        ({"nachweise": None}, "Nachweise: Die Verdienstbescheinigung"),
        ({"bank": None}, "Bankverbindung: Die Angaben fehlen ganz."),
        ({"antrag/instance/art": None}, "Antrag: Es fehlt"),
        ({"antragsteller": None}, "Antragsteller: Die Angaben fehlen ganz."),
        ({"angehoerige/instance/ortsfeuerwehr": ""}, "Feuerwehrangehörige: Die Ortsfeuerwehr fehlt."),
        ({"summe/instance/gesamt": None}, "Erstattungsbetrag: Der beantragte Gesamtbetrag fehlt."),
        ({"erklaerung/instance/keineAnderweitigeErstattung": "false"}, "Erklärung: Es fehlt die Erklärung"),
        ({"erklaerung/instance/richtigkeit": "false"}, "Erklärung: Die Richtigkeit"),
        ({"antragsteller/instance/name": None}, "Antragsteller: Der Name fehlt."),
        ({"antragsteller/instance/ort": None}, "Antragsteller: Die Anschrift ist unvollständig"),
        ({"einsaetze/instance[2]/anlass": ""}, "Einsatz 2: Der Anlass fehlt."),
        ({"einsaetze/instance[2]/datum": ""}, "Einsatz 2: Das Datum fehlt."),
        ({"einsaetze/instance[2]/bis": ""}, "Einsatz 2: Beginn oder Ende fehlt."),
        ({"einsaetze/instance[2]/stunden": ""}, "Einsatz 2: Die ausgefallenen Arbeitsstunden fehlen."),
        ({"einsaetze/instance[2]/betrag": ""}, "Einsatz 2: Der Betrag fehlt."),
        ({"bank/instance/iban": None}, "Bankverbindung: Die IBAN fehlt."),
        ({"bank/instance/kontoinhaber": None}, "Bankverbindung: Die Kontoinhaberin"),
    ],
    "feuerwehr-verdienstausfall/self-employed": [
        ({"einsaetze/instance/stundensatz": "24.01"}, "Einsatz 1: Der Stundensatz liegt über"),
        ({"einsaetze/instance/stunden": "10.5", "einsaetze/instance/bis": "21:00"},
         "Einsatz 1: Es sind mehr als zehn Stunden"),
    ],
    "gewerbemeldung/full": [
        ({"meldung/instance/grundAnmeldung": None}, "Meldung: Der Grund der Anmeldung fehlt."),
        ({"betrieb/instance/rechtsform": "112100x"}, "Rechtsform (betrieb:0:rechtsform)"),
        ({"betrieb/instance/registernummer": ""}, "Unternehmen: Die Registernummer fehlt."),
        ({"betrieb/instance/registernummer": "4711"}, "Registernummer (betrieb:0:registernummer)"),
        ({"vertreter/instance[2]": None}, "Vertretung: Die angegebene Zahl der Vertreter"),
        ({"vertreter": None}, "Vertretung: Bei dieser Rechtsform fehlen"),
        ({"vertreter/instance[2]/geburtsdatum": None}, "Vertretung 2: Das Geburtsdatum fehlt."),
        ({"betriebsstaetten/instance[2]/ort": ""}, "Betriebsstätte 2: Die Anschrift ist unvollständig"),
        ({"taetigkeit/instance/teilzeit": None}, "Tätigkeit: Die Zahl der Beschäftigten"),
        ({"handwerk/instance/kartennummer": None}, "Handwerk: Nummer, Datum oder Kammer"),
        ({"meldung/instance/art": None}, "Meldung: Es fehlt"),
        ({"meldung/instance/stichtag": None}, "Meldung: Das Datum des Beginns"),
        ({"betrieb/instance/rechtsform": ""}, "Unternehmen: Die Rechtsform fehlt."),
        ({"betrieb/instance/rechtsform": "412100"}, "Betriebsinhaber: Beim Einzelunternehmen fehlen"),
        ({"betriebsstaetten": None}, "Betriebsstätte: Es ist keine"),
        ({"taetigkeit/instance/beschreibung": ""}, "Tätigkeit: Die Beschreibung der Tätigkeit fehlt."),
        ({"taetigkeit/instance/erwerb": ""}, "Tätigkeit: Es fehlt, ob Haupt- oder Nebenerwerb."),
        ({"erklaerung/instance/richtigkeit": "false"}, "Erklärung: Die Richtigkeit"),
        ({"betrieb/instance/firma": None}, "Unternehmen: Der im Register eingetragene Name fehlt."),
        ({"betrieb/instance/registergericht": None}, "Unternehmen: Das Registergericht fehlt."),
        ({"vertreter/instance[1]/vornamen": ""}, "Vertretung 1: Name oder Vornamen fehlen."),
    ],
    "gewerbemeldung/smallest": [
        ({"person/instance/geburtsdatum": "2010-01-01"},
         "Betriebsinhaber: Die Person ist am Stichtag minderjährig"),
        ({"person/instance/staatsangehoerigkeiten": None}, "Betriebsinhaber: Die Staatsangehörigkeit fehlt."),
        ({"unterlagen": None}, "Unterlagen: Ausweis oder Pass fehlt."),
        ({"person/instance/vornamen": None}, "Betriebsinhaber: Name oder Vornamen fehlen."),
        ({"person/instance/geburtsort": None}, "Betriebsinhaber: Geburtsdatum oder Geburtsort fehlt."),
        ({"person/instance/plz": ""}, "Betriebsinhaber: Die Anschrift ist unvollständig"),
        ({"meldung/instance/art": "ummeldung"}, "Meldung: Der Grund der Ummeldung fehlt."),
        ({"meldung/instance/art": "ummeldung", "meldung/instance/grundUmmeldung": "verlegung"},
         "Betriebsstätte: Bei einer Verlegung fehlt"),
        ({"betrieb/instance/registernummer": "HRB 1"}, "Unterlagen: Der Registerauszug fehlt."),
        ({"erlaubnis/instance/erforderlich": "true", "erlaubnis/instance/erteiltAm": "2026-11-01"},
         "Unterlagen: Die erteilte Erlaubnis fehlt."),
        ({"aufenthalt/instance/erforderlich": "true"}, "Unterlagen: Der Aufenthaltstitel fehlt."),
    ],
    "gewerbemeldung/sign-off": [
        ({"meldung/instance/grundAbmeldung": ""}, "Meldung: Der Grund der Abmeldung fehlt."),
    ],
    "brauchtumsfeuer/full": [
        ({"veranstalter": None}, "Veranstalter: Die Angaben fehlen ganz."),
        ({"veranstalter/instance/vorname": ""}, "Veranstalter: Name oder Vorname"),
        ({"veranstalter/instance/organisation": None}, "Veranstalter: Der Name von Verein"),
        ({"veranstalter/instance/plz": ""}, "Veranstalter: Die Anschrift ist unvollständig"),
        ({"veranstalter/instance/telefon": ""}, "Veranstalter: Die Telefonnummer"),
        ({"ort/instance/bezeichnung": "", "ort/instance/flurstueck": None}, "Ort: Es fehlt, wo das Feuer"),
        ({"feuer": None}, "Feuer: Es ist kein Feuer angegeben."),
        ({"feuer/instance[2]/anlass": None}, "Feuer 2: Der Anlass fehlt."),
        ({"feuer/instance[2]/datum": ""}, "Feuer 2: Das Datum fehlt."),
        ({"feuer/instance[2]/datum": "2025-04-30"}, "Feuer 2: Das Datum ist vorbei."),
        ({"feuer/instance[2]/von": ""}, "Feuer 2: Beginn oder Ende fehlt."),
        ({"feuer/instance[1]/folgetag": "false"}, "Feuer 1: Das Ende liegt nicht nach dem Beginn."),
        ({"feuer/instance[1]/material": None}, "Feuer 1: Das Brennmaterial fehlt."),
        ({"feuer/instance[1]/hoehe": ""}, "Feuer 1: Die Größe fehlt"),
        ({"feuer/instance[1]/hoehe": "drei"}, "(feuer:0:hoehe)"),
        ({"sicherheit": None}, "Sicherheit: Die Angaben fehlen ganz."),
        ({"sicherheit/instance/abstandGebaeude": ""}, "Sicherheit: Der Abstand zu Gebäuden fehlt."),
        ({"sicherheit/instance/forstgenehmigung": None}, "Sicherheit: Weniger als 100 m vom Wald"),
        ({"sicherheit/instance/loeschmittel": None}, "Sicherheit: Es sind keine Löschmittel"),
        ({"brandwache": None}, "Brandwache: Es ist niemand"),
        ({"zustimmung/instance/nachweis": None}, "Zustimmung: Die Zustimmung der Eigentümerin"),
    ],
    "wohnungsgeberbestaetigung/full": [
        ({"vorgang/instance/datum": "15. Oktober"}, "(vorgang:0:datum)"),
        ({"wohnungsgeber": None}, "Wohnungsgeber: Die Angaben fehlen ganz."),
        ({"wohnungsgeber/instance/rolle": ""}, "Wohnungsgeber: Es fehlt, in welcher Rolle"),
        ({"wohnungsgeber/instance/firma": "", "wohnungsgeber/instance/vorname": None},
         "Wohnungsgeber: Name und Vorname"),
        ({"eigentuemer": None}, "Eigentümer: Wer nicht selbst"),
        ({"beauftragte/instance/vollmacht": None}, "Beauftragte Person: Die Vollmacht fehlt."),
        ({"wohnung": None}, "Wohnung: Die Angaben fehlen ganz."),
        ({"wohnung/instance/hausnummer": None}, "Wohnung: Die Anschrift ist unvollständig"),
        ({"personen": None}, "Meldepflichtige Person: Es ist niemand angegeben."),
        ({"personen/instance[2]/vornamen": ""}, "Person 2: Familienname oder Vornamen fehlen."),
        ({"personen/instance[3]/geburtsdatum": "2150-01-01"},
         "Person 3: Das Geburtsdatum liegt in der Zukunft."),
        ({"personen/instance[2]/vornamen": "Tomáš Jiří", "personen/instance[2]/geburtsdatum": "1988-02-29"},
         "Person 2: Dieselbe Person steht schon weiter oben."),
    ],
    "geburtsurkunde/full": [
        ({"antragsteller": None}, "Antragsteller: Die Angaben fehlen ganz."),
        ({"antragsteller/instance/plz": ""}, "Antragsteller: Die Anschrift ist unvollständig"),
        ({"berechtigung": None}, "Berechtigung: Es fehlt, als wer"),
        ({"kind": None}, "Beurkundete Person: Die Angaben fehlen ganz."),
        ({"kind/instance/vornamen": None}, "Beurkundete Person: Geburtsname oder Vornamen fehlen."),
        ({"kind/instance/geburtsdatum": "2150-01-01"},
         "Beurkundete Person: Das Geburtsdatum liegt in der Zukunft."),
        ({"kind/instance/geburtsdatum": "1900-11-22"},
         "Beurkundete Person: Die Geburt liegt mehr als 110 Jahre zurück"),
        ({"urkunden": None}, "Urkunde: Es ist keine Urkunde bestellt."),
        ({"urkunden/instance[2]/art": None}, "Urkunde 2: Die Urkundenart fehlt."),
        ({"urkunden/instance[3]/anzahl": "0"}, "Urkunde 3: Die Anzahl fehlt"),
        ({"urkunden/instance[1]/gebuehr": ""}, "Urkunde 1: Die Gebühr fehlt."),
        ({"urkunden/instance[1]/gebuehr": "14,00"}, "(urkunden:0:gebuehr)"),
        ({"zustellung": None}, "Zustellung: Die Zustellungsart fehlt."),
        ({"zustellung/instance/empfaenger": None}, "Zustellung: Die abweichende Anschrift"),
        ({"zustellung/instance/staat": ""}, "Zustellung: Der Staat fehlt."),
        ({"zahlung": None}, "Zahlung: Die Zahlungsart fehlt."),
        ({"zahlung/instance/gesamt": ""}, "Zahlung: Der Gesamtbetrag fehlt."),
        ({"zahlung/instance/gesamt": "53.36"}, "Zahlung: Der Gesamtbetrag ist nicht die Summe"),
        ({"zahlung/instance/status": None}, "Zahlung: Der Stand der Online-Zahlung fehlt."),
        ({"zahlung/instance/status": "FAILED"}, "Zahlung: Die Online-Zahlung ist gescheitert"),
        ({"zahlung/instance/status": "PAID"}, "(zahlung:0:status): ist keiner der erlaubten Werte"),
        ({"zahlung/instance/status": "BOOKED"}, "Zahlung: Zur gebuchten Zahlung fehlt das Kassenzeichen."),
        ({"erklaerung": None}, "Erklärung: Die Richtigkeit der Angaben"),
    ],
    "geburtsurkunde/smallest": [
        ({"zahlung/instance/betragCent": "1519"}, "Zahlung: Gezahlt wurde ein anderer Betrag"),
        ({"berechtigung/instance/art": "vollmacht"}, "Berechtigung: Der Nachweis fehlt"),
    ],
    "wohngeld/v1-full": [
        ({"antrag": None}, "Antrag: Es fehlt, ob Mietzuschuss oder Lastenzuschuss"),
        ({"antragsteller": None}, "Antragsteller: Die Angaben fehlen ganz."),
        ({"mitglieder/instance[3]/monatsbrutto": ""}, "Haushaltsmitglied 3: Das Einkommen fehlt."),
        ({"mitglieder/instance[2]/geburtsdatum": None},
         "Haushaltsmitglied 2: Name, Vorname oder Geburtsdatum fehlt."),
        ({"wohnung": None}, "Wohnung: Die Angaben fehlen ganz."),
        ({"wohnung/instance/belastung": ""}, "Wohnung: Zum Lastenzuschuss fehlt die Belastung."),
        ({"wohnung/instance/wohnflaeche": "112,25"}, "(wohnung:0:wohnflaeche)"),
        ({"bank": None}, "Bankverbindung: Die Angaben fehlen ganz."),
        ({"bank/instance/iban": ""}, "Bankverbindung: Die IBAN fehlt."),
        ({"bank/instance/kontoinhaber": None}, "Bankverbindung: Die Kontoinhaberin"),
        ({"nachweise": None}, "Nachweise: Der Mietvertrag"),
        ({"erklaerung/instance/keineTransferleistung": "false"}, "Erklärung: Es fehlt, dass keine Leistung"),
        ({"erklaerung/instance/richtigkeit": "false"}, "Erklärung: Die Richtigkeit"),
    ],
    "wohngeld/v2-full": [
        ({"vorhaben": None}, "Antrag: Es fehlt, ob Mietzuschuss oder Lastenzuschuss"),
        ({"haushalt/instance[2]/rolle": "antragstellend"}, "Haushalt: Genau eine Person"),
        ({"haushalt/instance[3]/geborenAm": ""}, "Person 3: Name, Vornamen oder Geburtsdatum fehlt."),
        ({"haushalt/instance[4]/rolle": None}, "Person 4: Die Rolle im Haushalt fehlt."),
        ({"einkuenfte/instance[2]/person": "5"}, "Einkommen 2: Es gehört zu keiner Person"),
        ({"einkuenfte/instance[2]/einkunftsart": ""}, "Einkommen 2: Die Art fehlt."),
        ({"einkuenfte/instance[4]/zeitraum": None}, "Einkommen 4: Betrag oder Zeitraum fehlt."),
        ({"einkuenfte/instance[4]/nachweis": None, "belege": None}, "Einkommen 4: Der Nachweis fehlt."),
        ({"wohnraum": None}, "Wohnraum: Die Angaben fehlen ganz."),
        ({"wohnraum/instance/ort": ""}, "Wohnraum: Die Anschrift ist unvollständig"),
        ({"wohnraum/instance/flaeche": "0"}, "Wohnraum: Die Wohnfläche fehlt."),
        ({"wohnraum/instance/gewerblich": "96.76"}, "Wohnraum: Gewerblich genutzt ist mehr"),
        ({"mietkosten/instance/grundmiete": ""}, "Miete: Zum Mietzuschuss fehlt die Grundmiete."),
        ({"mietkosten/instance/mietvertrag": None, "belege": None}, "Miete: Der Mietvertrag fehlt."),
        ({"konto": None}, "Bankverbindung: Die Angaben fehlen ganz."),
        ({"konto/instance/iban": None}, "Bankverbindung: Die IBAN fehlt."),
        ({"konto/instance/iban": "DE03120300000000202051"},
         "Bankverbindung: Die IBAN hat einen Schreibfehler"),
        ({"erklaerungen/instance/vollstaendig": None}, "Erklärung: Die Richtigkeit"),
        ({"erklaerungen/instance/mitteilungspflicht": "false"}, "Erklärung: Die Mitteilungspflicht"),
    ],
}
FAULTS = [(name, *fault) for name, faults in RULES.items() for fault in faults]


@pytest.mark.parametrize(("name", "changes", "expected"), FAULTS, ids=lambda value: value[:60]
                         if isinstance(value, str) else "")
def test_each_fault_is_named_so_that_a_clerk_can_act(name: str, changes: dict[str, str | None],
                                                     expected: str) -> None:
    envelope = canonical(example(name))
    assert verdict(example(name), envelope) == "", "the example itself must pass"
    fields = envelope.find(f"{E}fields")
    assert fields is not None
    for path, value in changes.items():
        _change(fields, path, value)
    assert expected in verdict(example(name), envelope)


def _change(fields: etree._Element, path: str, value: str | None) -> None:
    """Set a field, which need not be there yet; None removes the group, instance or field."""
    element = fields.find(path)
    if value is None:
        parent = element.getparent() if element is not None else None
        assert element is not None and parent is not None, path
        parent.remove(element)
        return
    if element is None:
        group, _instance, field = path.split("/")
        instance = fields.find(f"{group}/instance")
        if instance is None:
            instance = etree.SubElement(etree.SubElement(fields, group), "instance", n="0")
        element = etree.SubElement(instance, field)
    element.text = value


@pytest.mark.parametrize(("folder", "version"), VERSIONS, ids=_id)
def test_each_rule_is_seen_to_fire(folder: Path, version: MappingVersion) -> None:
    """By a fault above, or by an example that is parked."""
    shown = [expected for name, _changes, expected in FAULTS if name.startswith(f"{folder.name}/")]
    for file in folder.glob("examples/*/expected/reason.txt"):
        shown += [line.removeprefix("- ") for line in file.read_text(encoding="utf-8").splitlines()]
    seen = {re.sub(r"^(\D+) \d+: ", r"\1 #: ", text) for text in shown if text}
    silent = []
    for rule in etree.parse(folder / version.name / str(version.rules)).iter(f"{SCH}assert"):
        text = "#".join("".join(part.split("\n")) for part in rule.itertext())
        if not any(text.startswith(part) for part in seen):
            silent.append(text)
    assert silent == []


@pytest.mark.parametrize("folder", [folder for folder in EXAMPLES if folder.name.endswith("full")], ids=_id)
def test_whatever_is_missing_no_text_tells_a_value(folder: Path) -> None:
    envelope = canonical(folder)
    home = folder.parents[1] / version_of(folder, envelope)[0].name
    known = "true false" + "".join((home / name).read_text(encoding="utf-8")
                                   for name in ("fields.toml", "rules.sch"))
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


# --- the documentation --------------------------------------------------------------------------------------


def documented(into: Path) -> Path:
    """The files that docs/mappings.md shows, written as it says; the new service's folder."""
    text = (ROOT / "docs/mappings.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^`(mappings/[^`]+)`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for name, content in blocks:
        file = into / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return into / "mappings/lagerfeuer"


def test_the_documented_service_runs_as_it_stands(tmp_path: Path) -> None:
    need_pango()
    folder = documented(tmp_path)
    version, = load_mapping(folder).version
    test_schema_and_table_have_the_same_groups_fields_types_and_values(folder, version)
    smallest = folder / "examples/smallest"
    envelope = canonical(smallest)
    assert verdict(smallest, envelope) == ""
    day = envelope.find(f"{E}fields/feuer/instance/tag")
    assert day is not None
    day.text = "2025-04-30"
    assert verdict(smallest, envelope).endswith("- Feuer 1: Der Tag fehlt oder ist vorbei.")
    shutil.copytree(MAPPINGS / "_common", folder.parent / "_common")
    assert [result.ok for result in run_examples(folder.parent, update=True)] == [True]
    assert (smallest / "expected/lagerfeuer.xml").read_text(encoding="utf-8").count(
        "Festwiese Große Höhe") == 1
