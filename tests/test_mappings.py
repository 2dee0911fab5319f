"""Mappings are data with tests: every example runs, and every mapping is complete.

A new example or a new service needs no line here: what is found below ``mappings/`` is tested.
"""

from __future__ import annotations

import io
import shutil
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from lxml import etree

from hub.authoring.examples import preview, run_examples
from hub.files.toml import read_toml
from hub.job import Recipient, Translated
from hub.mapping.loader import load_fields, load_mapping
from hub.mapping.versions import version_in
from hub.pipeline.process import process
from tests.mapping_kit import (
    DAY,
    DOG,
    EXAMPLES,
    MAPPINGS,
    ROOT,
    SERVICES,
    E,
    canonical,
    example,
    id_of,
    normalized,
    verdict,
    version_of,
)


@pytest.mark.parametrize("folder", EXAMPLES, ids=id_of)
def test_the_example_gives_what_is_expected(folder: Path) -> None:
    result, = run_examples(MAPPINGS, folder.parents[1].name, folder.name)
    assert result.ok, f"{result.service}/{result.name}\n{result.difference}"


@pytest.mark.parametrize("day", [date(2025, 12, 1), date(2030, 12, 31)], ids=str)
@pytest.mark.parametrize("folder", EXAMPLES, ids=id_of)
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


def test_the_roll_out_list_is_there() -> None:
    categories = {folder.name: load_mapping(folder).category for folder in SERVICES}
    assert categories.items() >= {"hundesteuer": "einfach", "gewerbemeldung": "komplex",
                                  "feuerwehr-verdienstausfall": "mittel", "brauchtumsfeuer": "einfach",
                                  "wohnungsgeberbestaetigung": "mittel", "geburtsurkunde": "mittel",
                                  "wohngeld": "komplex"}.items()


@pytest.mark.parametrize("folder", SERVICES, ids=id_of)
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


@pytest.mark.parametrize("folder", EXAMPLES, ids=id_of)
def test_what_is_delivered_brings_the_applicants_pdf(folder: Path) -> None:
    """So that the examples arrive on a machine that cannot print; tests/acceptance/test_pdf.py prints one."""
    roles = [item.get("role") for item in canonical(folder).iter(f"{E}attachment")]
    assert roles.count("applicant-pdf") == 1 or "parked" in read_toml(folder / "example.toml")


@pytest.mark.parametrize("folder", EXAMPLES, ids=id_of)
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


def test_a_form_that_names_no_version_goes_only_where_the_mapping_says_so() -> None:
    assert version_in(None, ">=1.0,<2.0 or none")
    assert version_in("1.9", ">=1.0,<2.0 or none")
    assert not version_in("2.0", ">=1.0,<2.0 or none")
    assert not version_in(None, ">=2.0,<3.0")
