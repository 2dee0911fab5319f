"""Table, schema, rules and stylesheets of a mapping speak of the same fields."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from lxml import etree

from hub.authoring.examples import run_examples
from hub.mapping.loader import load_fields, load_mapping
from hub.mapping.model import MappingVersion
from tests.mapping_kit import (
    EXAMPLES,
    MAPPINGS,
    ROOT,
    SCH,
    VERSIONS,
    XS,
    XSL,
    E,
    canonical,
    id_of,
    verdict,
    version_of,
)
from tests.services import need_pango, standards


@pytest.mark.parametrize(("folder", "version"), VERSIONS, ids=id_of)
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
        expected = {field.id: schema_types(field.type, field.values) for field in table.field
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


def schema_types(type_: str, values: str | None) -> str:
    special = {"text": r"xs:string|e:(plz|email|iban|bic|chipnummer|registernummer|einsatznummer)",
               "textarea": "xs:string",
               "integer": "e:ganzzahl", "decimal": "e:dezimalzahl", "money": "e:geld", "boolean": "e:jaNein",
               "date": "e:datum",
               "time": "e:uhrzeit", "json": "xs:string", "file": "e:datei", "files": "e:dateien",
               "choice": rf"e:wert\.{values}",
               "choices": rf"e:werte\.{values}"}
    return special[type_]


@pytest.mark.parametrize(("folder", "version"), VERSIONS, ids=id_of)
def test_rules_and_stylesheets_name_only_fields_of_the_table(folder: Path, version: MappingVersion) -> None:
    known = names_of(folder / version.name / str(version.fields))
    files = [folder / version.name / str(version.rules), *(folder / version.name).glob("*.xsl")]
    for file in files:
        assert used_names(file) - known == set(), f"{file.relative_to(ROOT)} names what is no field"


SHARED = sorted([*MAPPINGS.glob("[!_]*/*.xsl"), *ROOT.glob("etc/municipalities/*/*/*.xsl")])


@pytest.mark.parametrize("file", SHARED, ids=lambda file: file.name)
def test_shared_and_municipal_stylesheets_name_fields_of_some_version(file: Path) -> None:
    service = file.parent.name
    known = set().union(*(names_of(table) for table in (MAPPINGS / service).glob("*/fields.toml")))
    assert used_names(file) - known == set()


def names_of(file: Path) -> set[str]:
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
                names |= xpath_names(expression)
    return names


def xpath_names(expression: str) -> set[str]:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|[\w-]+::", " ", expression)
    bare = re.sub(r"[@$][\w.:-]+|\b[\w-]+:[\w*.-]+|[\w-]+(?=\s*\()|\b\d[\w.]*", " ", bare)
    return set(re.findall(r"[A-Za-z_][\w.-]*", bare)) - {"and", "or", "mod", "div", "if", "then", "else",
                                                         "except", "as", "map"}


def test_a_field_that_does_not_exist_is_noticed_in_a_stylesheet(tmp_path: Path) -> None:
    file = tmp_path / "planted.xsl"
    text = (MAPPINGS / "hundesteuer/v2/fachverfahren.xsl").read_text(encoding="utf-8")
    file.write_text(text.replace("hunde/instance/rasseCode", "hunde/instance/rasse"), encoding="utf-8")
    assert used_names(file) - names_of(MAPPINGS / "hundesteuer/v2/fields.toml") == {"rasse"}


@pytest.mark.parametrize("folder", EXAMPLES, ids=id_of)
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
