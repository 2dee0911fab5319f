"""What single services promise beyond what every mapping must keep; a new service from nothing; the pages
from mappings."""

from __future__ import annotations

import io
import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from lxml import etree

from hub.authoring.examples import preview, run_examples
from hub.authoring.pages import pages, rule_texts
from hub.authoring.scaffold import MOST_GROUPS, new_service
from hub.authoring.schema_writer import schema_of
from hub.cli import app
from hub.errors import ConfigError
from hub.job import Parked, Recipient, Translated
from hub.mapping.loader import load_fields, load_mapping
from hub.pipeline.process import process
from tests import mapping_kit, test_mapping_rules, test_mapping_tables, test_mappings
from tests.mapping_kit import MAPPINGS, ROOT, E, example, normalized

WG = "{urn:datendrehscheibe:wohngeld:1}"
GU = "{urn:datendrehscheibe:geburtsurkunde:1}"


def delivered(folder: Path, *send: str, version: str | None = None,
              **municipality: str) -> dict[str, bytes] | Parked:
    """What one recipient gets of an example, by file name; with `version` the route insists on that one."""
    job, _ready = normalized(folder)
    rules = tuple(rule.model_copy(update={
        "common": str(folder.parents[2] / "_common"),
        "municipality": {"name": "Stadt Musterstadt", **municipality},
        "mapping_versions": "*" if version else rule.mapping_versions,
        "recipients": (Recipient(name="r", destination="r", connector="directory", send=send),)})
        for rule in job.rules if version in (None, rule.mapping_version))
    content, out = min(folder.glob("message.*")).read_bytes(), io.BytesIO()
    outcome = process(job.model_copy(update={"rules": rules}),
                      cast(Any, lambda body: content[body.offset:body.offset + body.length]), cast(Any, out))
    if isinstance(outcome, Parked):
        return outcome
    assert isinstance(outcome, Translated)
    return {part.name: out.getvalue()[part.body.offset:part.body.offset + part.body.length]
            for part in outcome.deliveries[0].parts if part.body}


# --- Geburtsurkunde: payment, kinds of delivery, the applicant's account ------------------------------------


@pytest.mark.parametrize("name", ["smallest", "full"])
def test_what_the_payment_service_said_arrives_as_it_was_sent(name: str) -> None:
    folder = example(f"geburtsurkunde/{name}")
    sent = str(etree.parse(folder / "message.xml").findtext(".//paymentInformation"))
    files = delivered(folder, "xml")
    assert isinstance(files, dict)
    arrived = etree.fromstring(files["geburtsurkunde.xml"]).findtext(f".//{GU}PaymentInformation")
    assert arrived == sent
    assert json.loads(arrived)["transactionReference"].startswith("KZ-BSP")


def test_the_notice_goes_to_the_account_and_repeats_nothing_of_the_application() -> None:
    folder = example("geburtsurkunde/full")
    files = delivered(folder, "mitteilung-json",
                      **{"behoerde": "Standesamt Musterstadt", "postfach-typ": "BUND"})
    assert isinstance(files, dict)
    notice = json.loads(files["mitteilung.json"])
    assert (notice["art"], notice["senden"], notice.get("grund")) == ("mitteilung", True, None)
    assert notice["postfach"] == {"handle": "bsp-postfach-0001", "type": "BUND"}
    assert notice["zustimmung"] == {"elektronischeMitteilung": True, "elektronischerBescheid": True}
    assert list(notice["nachricht"]) == ["empfaenger", "absender", "betreff", "text", "anhaenge"]
    assert notice["nachricht"]["empfaenger"] == "bsp-postfach-0001"
    assert "eingegangen und wird an Standesamt Musterstadt weitergeleitet" in notice["nachricht"]["text"]
    known = ("false", "00000")  # the post code of all examples stands in the message's number too
    answers = {text for text in test_mapping_rules.values_of(normalized(folder)[1].envelope) if len(text) > 4
               and text not in known}
    assert len(answers) > 30
    assert [answer for answer in answers if answer in files["mitteilung.json"].decode()] == []


@pytest.mark.parametrize(("change", "reason"), [
    (("<elektronischeMitteilung>true<", "<elektronischeMitteilung>false<"), "Es liegt keine Zustimmung vor."),
    (("<postfachHandleId>bsp-postfach-0001<", "<postfachHandleId><"), "Die Nachricht nennt kein Postfach."),
])
def test_without_consent_or_account_the_notice_says_that_it_must_not_be_sent(
        change: tuple[str, str], reason: str, tmp_path: Path) -> None:
    shutil.copytree(MAPPINGS / "_common", tmp_path / "_common")
    shutil.copytree(MAPPINGS / "geburtsurkunde", tmp_path / "geburtsurkunde")
    folder = tmp_path / "geburtsurkunde/examples/smallest"
    message = folder / "message.xml"
    text = message.read_text(encoding="utf-8")
    assert change[0] in text
    message.write_text(text.replace(*change), encoding="utf-8")
    files = delivered(folder, "mitteilung-json")
    assert isinstance(files, dict)
    notice = json.loads(files["mitteilung.json"])
    assert (notice["senden"], notice["grund"]) == (False, reason)


# --- Wohngeld: a breaking change ----------------------------------------------------------------------------


def test_the_two_forms_of_wohngeld_share_no_group_but_are_valid_on_the_same_day() -> None:
    one, two = (load_fields(MAPPINGS / f"wohngeld/{version}/fields.toml") for version in ("v1", "v2"))
    assert {row.id for row in one.group} & {row.id for row in two.group} == set()
    old, new = load_mapping(MAPPINGS / "wohngeld").version
    assert new.valid_from and old.valid_until and new.valid_from <= mapping_kit.DAY < old.valid_until


def test_what_the_old_version_would_make_of_the_new_form_never_reaches_anybody() -> None:
    outcome = delivered(example("wohngeld/v2-full"), "xml", version="v1")
    assert isinstance(outcome, Parked) and outcome.reason == "invalid"
    assert "1. Gruppe (unbekannter Name mit 8 Zeichen): ist hier nicht vorgesehen" in outcome.text


def test_both_forms_of_wohngeld_give_the_procedure_the_same_income_and_rent() -> None:
    one, two = (etree.fromstring(preview(MAPPINGS, "wohngeld", name)["wohngeld.xml"])
                for name in ("v1-smallest", "v2-smallest"))
    for path in (f"{WG}Person/{WG}Jahreseinkommen", f"{WG}Kosten/{WG}Bruttokaltmiete",
                 f"{WG}Wohnraum/{WG}Wohnflaeche",
                 f"{WG}Bankverbindung/{WG}Iban"):
        assert one.findtext(path) is not None and one.findtext(path) == two.findtext(path), path
    assert one.get("art") == two.get("art") == "Mietzuschuss"


def test_incomes_go_back_to_their_persons_and_are_the_years() -> None:
    root = etree.fromstring(preview(MAPPINGS, "wohngeld", "v2-full")["wohngeld.xml"])
    found = [[item.text for item in person.findall(f"{WG}Jahreseinkommen")]
             for person in root.findall(f"{WG}Person")]
    # 12 × 1890.35, 12 × 538, 12 × 911.40
    assert found == [["22684.20", "84.10"], ["6456.00", "3120.99"], ["10936.80"], []]


# --- a new service ------------------------------------------------------------------------------------------


@pytest.fixture
def mappings(tmp_path: Path) -> Path:
    """A folder of mappings with nothing but the common stylesheets."""
    shutil.copytree(MAPPINGS / "_common", tmp_path / "mappings/_common")
    return tmp_path / "mappings"


def test_a_new_service_passes_every_check_on_mappings_at_once(mappings: Path) -> None:
    made = CliRunner().invoke(app.main, ["mapping", "new", "sperrmuell-abholung", "--title",
                                         'Sperrmüll "frei Haus" & mehr',
                                         "--group", "abholung=Abholung & Platz", "--group", "menge",
                                         "--mappings", str(mappings)])
    assert made.exit_code == 0, made.output
    tested = CliRunner().invoke(app.main,
                                ["mapping", "test", "sperrmuell-abholung", "--mappings", str(mappings)])
    assert (tested.exit_code, tested.output.count("✓")) == (0, 3), tested.output
    folder = mappings / "sperrmuell-abholung"
    version, = load_mapping(folder).version
    test_mappings.test_each_version_has_a_smallest_a_full_and_a_parked_example(folder)
    for check in (test_mapping_tables.test_schema_and_table_have_the_same_groups_fields_types_and_values,
                  test_mapping_tables.test_rules_and_stylesheets_name_only_fields_of_the_table,
                  test_mapping_rules.test_each_rule_is_seen_to_fire):
        check(folder, version)
    for own in sorted((folder / "examples").iterdir()):
        test_mappings.test_what_is_delivered_brings_the_applicants_pdf(own)
        test_mappings.test_the_people_of_an_example_are_invented(own)
        test_mapping_tables.test_examples_use_codes_of_the_value_lists(own)
        for day in (date(2025, 12, 1), date(2030, 12, 31)):
            test_mappings.test_the_example_ends_the_same_way_whatever_the_machines_calendar_says(own, day)
    test_mapping_rules.test_whatever_is_missing_no_text_tells_a_value(folder / "examples/full")


def test_a_new_service_reaches_a_recipient(mappings: Path) -> None:
    new_service(mappings, "bewohnerparken")
    files = delivered(mappings / "bewohnerparken/examples/full", "mail-text", "mail-html", "xml")
    assert isinstance(files, dict)
    assert sorted(files) == ["antrag.html", "antrag.txt", "bewohnerparken.xml"]
    assert etree.fromstring(
        files["bewohnerparken.xml"]).tag == "{urn:datendrehscheibe:bewohnerparken:1}Bewohnerparken"
    assert "Vorname: Änne Łucja" in files["antrag.txt"].decode()


def test_a_fault_in_a_new_service_is_seen_by_its_own_test(mappings: Path) -> None:
    new_service(mappings, "bewohnerparken")
    rules = mappings / "bewohnerparken/v1/rules.sch"
    text = rules.read_text(encoding="utf-8")
    rules.write_text(text.replace("erklaerung/instance/richtigkeit = 'true'", "true()"), encoding="utf-8")
    assert [result.ok for result in run_examples(mappings, "bewohnerparken")] == [True, False, True]


@pytest.mark.parametrize(("service", "groups", "said"), [
    ("Hundesteuer", {}, "is no name of a service"), ("../hund", {}, "is no name of a service"),
    ("7up", {}, "is no name of a service"), ("_common", {}, "is no name of a service"),
    ("da", {}, "is there already"),
    ("neu", {"erklaerung": "x"}, "is in every form already"),
    ("neu", {"xmlTeil": "x"}, "is no id of a group"),
    ("neu", {"a b": "x"}, "is no id of a group"),
    ("neu", {f"g{n}": "x" for n in range(MOST_GROUPS + 1)}, "begin with 7"),
])
def test_what_cannot_become_a_service_is_refused(mappings: Path, service: str, groups: dict[str, str],
                                                 said: str) -> None:
    (mappings / "da").mkdir()
    before = sorted(mappings.rglob("*"))
    with pytest.raises(ConfigError, match=said):
        new_service(mappings, service, groups=groups)
    assert sorted(mappings.rglob("*")) == before


@pytest.mark.parametrize("service",
                         ["brauchtumsfeuer", "geburtsurkunde", "wohngeld", "wohnungsgeberbestaetigung"])
def test_schemas_written_from_the_table_are_still_what_the_table_says(service: str) -> None:
    for version in load_mapping(MAPPINGS / service).version:
        home = MAPPINGS / service / version.name
        assert (home / "fields.xsd").read_text(encoding="utf-8") == schema_of(
            load_fields(home / "fields.toml"))


# --- the pages ----------------------------------------------------------------------------------------------


def test_the_committed_pages_are_what_the_mappings_say() -> None:
    committed = {file.name: file.read_text(encoding="utf-8")
                 for file in (ROOT / "docs/services").glob("*.md")}
    assert committed == pages(MAPPINGS), "run: make docs"


def test_a_page_names_every_field_value_rule_rendering_and_example() -> None:
    text = pages(MAPPINGS)["geburtsurkunde.md"]
    folder = MAPPINGS / "geburtsurkunde"
    version, = load_mapping(folder).version
    table = load_fields(folder / "v1/fields.toml")
    wanted = [*(f"| `{row.id}` | {row.label} |" for row in table.field),
              *(label for values in table.values.values() for label in values.values()),
              *rule_texts(folder / "v1/rules.sch"),
              *(f"| `{name}` |" for name in version.renderings),
              *(f"`{own.name}`" for own in (folder / "examples").iterdir()), "from 2025-01-01"]
    assert len(wanted) > 100
    assert [part for part in wanted if part not in text] == []
    assert "Urkunde *n*: Die Urkundenart fehlt." in text


def test_a_page_left_behind_is_removed_and_a_changed_mapping_noticed(mappings: Path, tmp_path: Path) -> None:
    new_service(mappings, "bewohnerparken", "Bewohnerparken")
    out = tmp_path / "pages"
    out.mkdir()
    (out / "gone.md").touch()
    for _round in range(2):
        result = CliRunner().invoke(app.main,
                                    ["mapping", "doc", "--mappings", str(mappings), "--out", str(out)])
        assert result.exit_code == 0, result.output
    assert sorted(file.name for file in out.iterdir()) == ["README.md", "bewohnerparken.md"]
    table = mappings / "bewohnerparken/v1/fields.toml"
    table.write_text(table.read_text(encoding="utf-8").replace('label = "E-Mail"', 'label = "Mail"'),
                     encoding="utf-8")
    assert pages(mappings)["bewohnerparken.md"] != (out / "bewohnerparken.md").read_text(encoding="utf-8")


def test_the_schema_can_be_printed_and_written(mappings: Path) -> None:
    new_service(mappings, "bewohnerparken")
    home = mappings / "bewohnerparken/v1"
    table = home / "fields.toml"
    table.write_text(table.read_text(encoding="utf-8").replace('id = "telefon"', 'id = "handy"'),
                     encoding="utf-8")
    arguments = ["mapping", "schema", "bewohnerparken", "v1", "--mappings", str(mappings)]
    printed = CliRunner().invoke(app.main, arguments)
    assert 'name="handy"' in printed.output and 'name="handy"' not in (home / "fields.xsd").read_text(
        encoding="utf-8")
    assert CliRunner().invoke(app.main, [*arguments, "--write"]).exit_code == 0
    assert (home / "fields.xsd").read_text(encoding="utf-8") == printed.output
    assert etree.parse(home / "fields.xsd").getroot().get("targetNamespace") == E[1:-1]
