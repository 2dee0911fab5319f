"""Bills: exact money, categories by what was reached, classes by the population of the day, evidence for
every line."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tomllib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hub.administration import billing, prices
from hub.cli import app
from hub.config import loader
from hub.config.configuration import Configuration
from hub.config.municipalities import Municipality
from hub.config.municipality_file import MunicipalityFile
from hub.config.sections import HubFile
from hub.errors import ConfigError
from hub.mapping.model import MappingFile
from hub.store.store import Store
from hub.store.transitions.deliveries import Settlement
from tests.unit.store_kit import RECEIPT, Clock, claim_one, prepare, routed

ROOT = Path(__file__).parents[3]
PRICES = prices.load(ROOT / "etc" / "billing.toml")
MUNICIPALITY = {"klein": ("14999030", 3000), "mittel": ("14999031", 8000), "gross": ("14999032", 15000),
        "ab": ("14999033", 15001),
        "stadt": ("14999000", 500_000), "kreis": ("14999", 200_000)}
NATURES = ("einfach", "mittel", "komplex")


def configuration(**files: Any) -> Configuration:
    """Invented municipalities without files, each with a mailbox and a Fachverfahren, and three kinds of
    services."""
    municipalities = {}
    for tenant, (ags, population) in MUNICIPALITY.items():
        row = MunicipalityFile(**{
            "name": f"Stadt {tenant.title()}", "ags": ags, "tenant": tenant, "population": population,
            "contract": {"provider": "beispiel-it"}, **files.get(tenant, {})})
        municipalities[tenant] = Municipality(Path(f"{ags}.toml"), row, {}, {}, None)
    mappings = {f"{nature}-{number}":
                MappingFile.model_construct(service=f"{nature}-{number}", title=f"Dienst {nature} {number}",
                                            category=nature) for nature in NATURES for number in range(60)}
    by_ags = {municipality.row.ags: tenant for tenant, municipality in municipalities.items()}
    return Configuration(Path("hub.toml"), "0", HubFile(), {}, (), municipalities, by_ags, mappings)


def used(tenant: str, service: str, *kinds: str, month: int = 3, count: int = 2) -> list[billing.Fact]:
    """The facts of an assistant that reached destinations of these kinds."""
    first = datetime(2026, month, 1, 9, 0, tzinfo=UTC)
    return [billing.Fact(tenant, service, f"2026-{month:02d}", destination, kind, count, first,
                         first + timedelta(days=5))
            for destination, kind in (("", ""), *((f"{tenant}/{kind}", kind) for kind in kinds))]


def mix(tenant: str, einfach: int, mittel: int, komplex: int) -> list[billing.Fact]:
    """So many assistants of each category, really used."""
    return [fact for nature, count in zip(NATURES, (einfach, mittel, komplex), strict=True)
            for number in range(count)
            for fact in used(tenant, f"{nature}-{number}", "mail",
                             *([] if nature == "einfach" else ["fachverfahren"]))]


@pytest.mark.parametrize(("tenant", "counts", "price_class", "printed"), [
    ("klein", (40, 45, 15), "bis 3.000 Einwohner", "9.500,00"),
    ("mittel", (40, 45, 15), "3.001 bis 8.000 Einwohner", "14.250,00"),
    ("gross", (40, 45, 15), "8.001 bis 15.000 Einwohner", "21.375,00"),
    ("ab", (40, 45, 15), "ab 15.001 Einwohner", "32.062,50"),
    ("stadt", (40, 45, 15), "kreisfreie Städte", "48.093,75"),
    ("kreis", (3, 6, 1), "nur für Landkreise und kreisfreie Städte", "7.600,00"),
    ("stadt", (30, 60, 10), "kreisfreie Städte", "48.093,75"),
])
def test_the_price_table_of_2020(tenant: str, counts: tuple[int, int, int], price_class: str,
                                 printed: str) -> None:
    bill = billing.compute(PRICES, configuration(), mix(tenant, *counts), 2026)
    [contract] = bill.contracts
    assert len(contract.lines) == sum(counts)
    assert {line.price_class for line in contract.lines} == {price_class}
    assert prices.money(contract.total) == printed
    assert bill.problems == ()


def test_prices_rounded_too_early_are_noticed() -> None:
    """Why prices are exact: with 253,13 the row of the cities would be 48.094,70."""
    text = (ROOT / "etc" / "billing.toml").read_text(encoding="utf-8").replace("253.125 ", "253.13 ")
    rounded = prices.BillingFile(**tomllib.loads(text, parse_float=Decimal))
    bill = billing.compute(rounded, configuration(), mix("stadt", 40, 45, 15), 2026)
    assert prices.money(bill.contracts[0].total) != "48.093,75"


@pytest.mark.parametrize(("amount", "text"), [
    ("253.125", "253,13"), ("0.005", "0,01"), ("0.004999", "0,00"), ("48093.75", "48.093,75"),
    ("-0.005", "-0,01"),
    ("1234567.895", "1.234.567,90"), ("50", "50,00"),
])
def test_money_is_rounded_when_it_is_printed(amount: str, text: str) -> None:
    assert prices.money(Decimal(amount)) == text


@pytest.mark.parametrize(("kinds", "nature", "category"), [
    (["mail"], "einfach", "einfach"), (["mail", "file", "dms"], "mittel", "einfach"),
    (["mail"], "komplex", "einfach"),
    (["account", "mail"], "mittel", "einfach"), (["mail", "fachverfahren"], "einfach", "mittel"),
    (["fachverfahren"], "mittel", "mittel"), (["dms", "fachverfahren"], "komplex", "komplex"),
    (["mail", "register"], "einfach", "komplex"), ([], None, "einfach"), (["fachverfahren"], None, "mittel"),
])
def test_the_category_is_what_was_reached(kinds: list[str], nature: str | None, category: str) -> None:
    assert billing.category_of(kinds, nature)[0] == category


@pytest.mark.parametrize(("population", "name"), [
    (0, "bis 3.000"), (3000, "bis 3.000"), (3001, "3.001"), (8000, "3.001"), (8001, "8.001"),
    (15000, "8.001"),
    (15001, "ab 15.001"),
])
def test_the_class_by_population(population: int, name: str) -> None:
    found = PRICES.prices[0].class_of("municipality", population)
    assert found is not None
    assert found.name.startswith(name)


def test_the_population_is_that_of_the_day() -> None:
    counted = {"klein":
               {"population": {date(2024, 12, 31): 2990, date(2025, 12, 31): 3010, date(2026, 6, 30): 9000}}}
    municipalities = configuration(**counted)
    facts = used("klein", "einfach-1", "mail")
    assert billing.compute(PRICES, municipalities, facts, 2025).contracts[0].population == 2990
    bill = billing.compute(PRICES, municipalities, facts, 2026)
    assert (bill.contracts[0].population, bill.contracts[0].total) == (3010, Decimal(75))
    unknown = billing.compute(PRICES, municipalities, facts, 2024)
    assert unknown.contracts == ()
    assert "keine Einwohnerzahl vom 01.01.2024" in unknown.problems[0]


def test_the_category_is_dated() -> None:
    """First only mail, a Fachverfahren later in the year: the line says since when."""
    facts = used("klein", "komplex-1", "mail", month=2) + used("klein", "komplex-1", "mail", "fachverfahren",
                                                               month=9)
    [line] = billing.compute(PRICES, configuration(), facts, 2026).contracts[0].lines
    assert (line.category, line.messages, line.first, line.last) == ("komplex", 4, date(2026, 2, 1),
                                                                     date(2026, 9, 6))
    assert line.rule.endswith("(seit 01.09.2026: klein/fachverfahren)")
    assert [(each.kind, each.deliveries) for each in line.destinations] == [("fachverfahren", 2), ("mail", 4)]
    agreed = PRICES.model_copy(update={"category": (
        prices.CategoryRow(municipality="14999030", service="komplex-1", category="mittel",
                           valid_from=date(2025, 1, 1),
                            valid_until=date(2027, 1, 1), reason="Vereinbarung"),
        prices.CategoryRow(service="komplex-1", category="einfach", valid_from=date(2020, 1, 1),
                           reason="alt"))})
    [line] = billing.compute(agreed, configuration(), facts, 2026).contracts[0].lines
    assert (line.category, line.amount, line.rule) == ("mittel", Decimal(100),
                                                       "vereinbart ab 01.01.2025: Vereinbarung")
    [line] = billing.compute(agreed, configuration(), facts, 2027).contracts[0].lines
    assert line.category == "einfach"


def test_what_cannot_be_charged_is_said() -> None:
    municipalities = configuration(klein={"contract": {}}, mittel={"contract": {"provider": "unbekannt"}})
    county = PRICES.model_copy(update={"county_services": ("einfach-7",)})
    facts = [*used("klein", "einfach-7", "mail"), *used("mittel", "einfach-1", "mail"),
             *used("weg", "einfach-1", "mail"),
             *used("stadt", "einfach-7", "mail")]
    bill = billing.compute(county, municipalities, facts, 2026)
    assert [text.partition(":")[0] for text in bill.problems] == ["weg", "Stadt Klein (14999030)",
                                                                  "Stadt Klein (14999030)",
                                                                  "Stadt Mittel (14999031)"]
    assert {contract.ags: contract.total for contract in bill.contracts} == {
        "14999030": Decimal(50), "14999031": Decimal(75), "14999000": Decimal(400)}
    with pytest.raises(ConfigError, match="no prices hold on 1 January 2019"):
        billing.compute(PRICES, municipalities, facts, 2019)
    row = prices.SetupRow(municipality="14999099", date=date(2026, 1, 1), amount=Decimal(1), text="x")
    wrong = PRICES.model_copy(update={"setup": (row,)})
    assert "AGS 14999099 ist nicht eingerichtet" in billing.compute(wrong, municipalities, [],
                                                                    2026).problems[0]


def test_only_deliveries_without_a_completed_application_are_no_use() -> None:
    facts = [fact for fact in used("klein", "einfach-1", "mail") if fact.destination]
    assert billing.compute(PRICES, configuration(), facts, 2026).contracts == ()


def test_setup_and_adjustments() -> None:
    file = PRICES.model_copy(update={
        "setup": (prices.SetupRow(municipality="14999030", date=date(2026, 3, 1), amount=Decimal(1250),
                                  text="Einrichtung"),
                  prices.SetupRow(municipality="14999030", date=date(2025, 3, 1), amount=Decimal(99),
                                  text="voriges Jahr")),
        "adjustment":
        (prices.AdjustmentRow(text="Förderung", percent=Decimal("-33.3"), valid_from=date(2022, 7, 1)),
         prices.AdjustmentRow(text="Nachlass", municipality="14999030", amount=Decimal("-10"), on="all",
                               valid_from=date(2026, 1, 1)),
         prices.AdjustmentRow(text="vorbei", percent=Decimal(-100), valid_from=date(2020, 1, 1),
                               valid_until=date(2026, 1, 1)))})
    bill = billing.compute(file, configuration(),
                           [*used("klein", "einfach-1", "mail"), *used("ab", "mittel-1", "dms")], 2026)
    lines = {contract.ags: [(line.item, line.text, line.amount) for line in contract.lines]
             for contract in bill.contracts}
    assert lines == {
        "14999030": [("yearly", "Dienst einfach 1", Decimal(50)), ("setup", "Einrichtung", Decimal(1250)),
                     ("adjustment", "Förderung", Decimal("-16.65")),
                     ("adjustment", "Nachlass", Decimal(-10))],
        "14999033":
        [("yearly", "Dienst mittel 1", Decimal("168.75")), ("adjustment", "Förderung", Decimal("-56.19375"))]}
    assert bill.contracts[1].lines[1].rule == "-33,3 % von 168,75"
    assert prices.money(billing.total(bill.contracts)) == "1.385,91"


@pytest.mark.parametrize(("text", "message"), [
    ("[[prices]]\nvalid_from = 2020-01-01\nclass = []\n", "the classes of municipalities must rise"),
    ("prices = []", "at least 1 item"), ("[[prices]", "TOML"), ("[[price]]\n", "unknown key"),
    ('[[adjustment]]\ntext = "x"\nvalid_from = 2020-01-01\n', "give either percent or amount"),
])
def test_a_faulty_price_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "billing.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        prices.load(tmp_path / "billing.toml")


def example(tmp_path: Path) -> list[str]:
    """A real store below the example configuration, with an application that went by mail and one by a
    folder's Fachverfahren."""
    clock = Clock()
    store = Store.open(prepare(tmp_path), now=clock)
    for destinations in (["musterstadt/postfach"], ["musterstadt/postfach", "musterstadt/gewerberegister"]):
        routed(store, destinations, "".join(destinations).encode())
        for destination in destinations:
            claimed = claim_one(store, destination)
            store.settle([Settlement.done(claimed.delivery.id, RECEIPT, "mail" if "postfach" in destination
                                          else "")])
        clock.now += timedelta(hours=20)
    store.close()
    return ["--config", str(ROOT / "etc" / "hub.toml"), "--set", f"hub.state={tmp_path}", "bill", "--year",
            "2026"]


def test_the_command_prints_table_csv_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREHSCHEIBE_LANG", "de")
    command = example(tmp_path)
    answer = CliRunner().invoke(app.main, [*command, "--json"])
    assert answer.exit_code == 0, answer.output
    bill = json.loads(answer.stdout)
    [provider] = bill["providers"]
    assert (provider["key"], bill["total"], bill["problems"]) == ("beispiel-it",
                                                                  {"exact": "337.5", "printed": "337,50"}, [])
    [line] = provider["contracts"][0]["lines"]
    assert (line["service"], line["category"], line["messages"], line["first"], line["last"]) == (
        "hundesteuer", "mittel", 2, "2026-11-22", "2026-11-23")
    assert line["destinations"] == [
        {"destination": "musterstadt/gewerberegister", "kind": "fachverfahren", "deliveries": 1,
         "first": "2026-11-23",
         "last": "2026-11-23"},
        {"destination": "musterstadt/postfach", "kind": "mail", "deliveries": 2, "first": "2026-11-22",
         "last": "2026-11-23"}]
    table = CliRunner().invoke(app.main, command)
    assert "Stadt Musterstadt (14999010)" in table.output
    assert "Summe: 337,50 €" in table.output
    [row] = csv.DictReader(io.StringIO(CliRunner().invoke(app.main, [*command, "--csv"]).stdout),
                           delimiter=";")
    assert (row["Betrag"], row["Betrag genau"], row["Vertrag"], row["Anträge"]) == ("337,50", "337,5",
                                                                                    "M-0010", "2")
    assert CliRunner().invoke(app.main, [*command, "--provider", "beispiel-itt"]).exit_code == 1
    assert "gemeint 'beispiel-it'?" in CliRunner().invoke(app.main,
                                                          [*command, "--provider", "beispiel-itt"]).output


def test_the_check_looks_at_the_prices_too(tmp_path: Path) -> None:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name)
    found = list(prices.check(loader.load(tmp_path / "etc/hub.toml")))
    assert [(where, finding.severity) for where, finding in found] == [("billing", "ok")]
    file = tmp_path / "etc/billing.toml"
    text = file.read_text(encoding="utf-8").replace("[provider.beispiel-it]", "[provider.beispiel-it2]")
    file.write_text(text, encoding="utf-8")
    _, *wrong = prices.check(loader.load(tmp_path / "etc/hub.toml"))
    assert [Path(where).name for where, _ in wrong] == ["14999010.toml", "14999020.toml", "14999030.toml"]
    assert {(finding.severity, finding.remedy)
            for _, finding in wrong} == {("error", "gemeint 'beispiel-it2'?")}
    file.write_text("prices = 3", encoding="utf-8")
    result = CliRunner().invoke(app.main, ["--config", str(tmp_path / "etc/hub.toml"), "check"])
    assert (result.exit_code, "billing.toml: prices: " in result.output) == (1, True)
    file.unlink()
    assert list(prices.check(loader.load(tmp_path / "etc/hub.toml"))) == []
