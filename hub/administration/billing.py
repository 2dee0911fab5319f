"""Bills from facts: which assistants a municipality really used in a year, at what price, with the evidence
of every line.

The prices stand in ``billing.toml`` beside ``hub.toml``, dated and exact (TOML's 253.125 stays 253.125);
nothing is rounded but what is printed. The facts are the store's usage (`hub.store.database.ledger.Use`),
which outlives the proofs.

  * *Used* is an assistant when at least one application for it, no test, was completed for the municipality
  in the year (day of completion, Europe/Berlin). Each is charged once a year.
  * The *category* follows from the kinds of destinations that deliveries really reached in the year
  (`category_of`); a ``[[category]]`` in ``billing.toml`` overrules it from a day on.
  * The *class* is the municipality's: by its AGS a county (five digits), a city that is a county of its own
  (ends in 000), or by its population as last counted before the year began. Assistants that only those two
  use have prices of their own.
* Prices are those that hold on the first of January of the year.

What cannot be charged is never left out silently: it is a line of `Bill.problems`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from hub.administration.prices import AdjustmentRow, BillingFile, Category, PriceTable, Who, money
from hub.config.configuration import Configuration
from hub.config.municipalities import Municipality
from hub.config.reader import suggest
from hub.endpoint import Kind
from hub.errors import ConfigError
from hub.message import BERLIN


@dataclass(frozen=True, slots=True)
class Fact:
    """What the store knows: `count` completed applications, or with a destination deliveries done there, of
    one month."""

    tenant: str
    service: str
    month: str
    destination: str
    kind: str
    count: int
    first_at: datetime
    last_at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Fact:
        """From the operator's verb ``usages``."""
        return cls(**{**row, **{name: datetime.fromisoformat(row[name]) for name in ("first_at", "last_at")}})


@dataclass(frozen=True, slots=True)
class Reached:
    """A destination that deliveries of an assistant reached in the year."""

    destination: str
    kind: str
    deliveries: int
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill, with its evidence. `amount` is exact."""

    item: Literal["yearly", "setup", "adjustment"]
    text: str
    amount: Decimal
    service: str | None = None
    price_class: str | None = None
    category: Category | None = None
    rule: str = ""
    messages: int = 0
    first: date | None = None
    last: date | None = None
    destinations: tuple[Reached, ...] = ()


@dataclass(frozen=True, slots=True)
class ContractBill:
    """What one municipality owes by its contract."""

    provider: str
    number: str | None
    ags: str
    name: str
    population: int | None
    lines: tuple[Line, ...]

    @property
    def total(self) -> Decimal:
        """Exact."""
        return sum((line.amount for line in self.lines), Decimal())


@dataclass(frozen=True, slots=True)
class Bill:
    """A year's bills, by provider, and what could not be charged."""

    year: int
    contracts: tuple[ContractBill, ...]
    problems: tuple[str, ...]

    def only(self, provider: str | None) -> Bill:
        """The contracts of one provider; problems of all, because they may be of its too."""
        return self if provider is None else replace(self, contracts=tuple(
            contract for contract in self.contracts if contract.provider == provider))

    def providers(self) -> dict[str, list[ContractBill]]:
        """The contracts of each provider, in order of the provider and the AGS."""
        found: dict[str, list[ContractBill]] = {}
        for contract in self.contracts:
            found.setdefault(contract.provider, []).append(contract)
        return found


def total(contracts: Iterable[ContractBill]) -> Decimal:
    """Exact."""
    return sum((contract.total for contract in contracts), Decimal())


def category_of(kinds: Iterable[str], nature: str | None) -> tuple[Category, str]:
    """The category by what was reached, and why (German). `nature` is the category that the mapping names.

    Mail, folder and DMS alone are einfach, whatever the mapping says: an assistant may begin with mail. A
    Fachverfahren makes it mittel; a register enquiry, or a Fachverfahren for an assistant that is komplex by
    its nature, komplex.
    """
    reached = set(kinds)
    if "register" in reached:
        return "komplex", "Registerabfrage genutzt"
    if "fachverfahren" not in reached:
        return "einfach", "nur Postfach, Ordner oder DMS genutzt"
    if nature == "komplex":
        return "komplex", "Fachverfahren genutzt, und der Assistent ist seiner Art nach komplex"
    return "mittel", "Fachverfahren genutzt"


def who_pays(ags: str, *, county_only: bool) -> Who:
    """By the official key: five digits are a county, eight that end in 000 a city that is a county of its
    own."""
    if len(ags) == 5:
        return "county-only"
    if ags.endswith("000"):
        return "county-only" if county_only else "city"
    return "municipality"


def compute(file: BillingFile, configuration: Configuration, facts: Sequence[Fact], year: int) -> Bill:
    """The bills of a year. Raises `ConfigError` when no prices hold then."""
    table = file.table(year)
    if table is None:
        raise ConfigError.at("billing.toml", "prices", f"no prices hold on 1 January {year}",
                             "add [[prices]] with valid_from")
    return _Year(file, table, configuration, year).bill(facts)


class _Year:
    def __init__(self, file: BillingFile, table: PriceTable, configuration: Configuration, year: int) -> None:
        self.file = file
        self.table = table
        self.configuration = configuration
        self.year = year
        self.problems: list[str] = []

    def bill(self, facts: Sequence[Fact]) -> Bill:
        used: dict[str, dict[str, list[Fact]]] = {}
        for fact in facts:
            used.setdefault(fact.tenant, {}).setdefault(fact.service, []).append(fact)
        for tenant in sorted(set(used) - set(self.configuration.municipalities)):
            self.problems.append(f"{tenant or '(ohne Kommune)'}: nicht mehr eingerichtet, aber {self.year} "
                                 "genutzt: "
                                 f"{', '.join(sorted(used[tenant]))}; nicht berechnet")
        self._check_ags()
        contracts = [contract for tenant, municipality in self.configuration.municipalities.items()
                     if (contract := self._contract(municipality, used.get(tenant, {}))).lines]
        contracts.sort(key=lambda contract: (contract.provider, contract.ags))
        return Bill(self.year, tuple(contracts), tuple(self.problems))

    def _check_ags(self) -> None:
        named = {row.municipality for rows in (self.file.category, self.file.setup, self.file.adjustment)
                 for row in rows}
        for ags in sorted(named - {"*"} - set(self.configuration.by_ags)):
            self.problems.append(f"billing.toml: AGS {ags} ist nicht eingerichtet: "
                                 f"{suggest(ags, self.configuration.by_ags)}")

    def _contract(self, municipality: Municipality, used: Mapping[str, Sequence[Fact]]) -> ContractBill:
        row = municipality.row
        population = row.counted(date(self.year, 1, 1))
        yearly = [line for service in sorted(used)
                  if (line := self._yearly(municipality, service, used[service], population))]
        once = [Line("setup", each.text, each.amount, first=each.day, last=each.day,
                     rule=f"einmalig am {each.day:%d.%m.%Y}")
                for each in self.file.setup if self._is(each.municipality, row.ags)
                and each.day.year == self.year]
        lines = [*yearly, *once]
        lines += [line for each in self.file.adjustment if self._is(each.municipality, row.ags)
                  and (line := self._adjusted(each, lines))]
        provider = row.contract.provider or ""
        if lines and provider not in self.file.provider:
            self.problems.append(f"{row.name} ({row.ags}): " + (
                f"Dienstleister {provider!r} steht nicht in billing.toml" if provider else
                "kein Dienstleister: [contract] provider in der Datei der Kommune ergänzen"))
        return ContractBill(provider, row.contract.number, row.ags, row.name, population, tuple(lines))

    def _is(self, wanted: str, ags: str) -> bool:
        return wanted == "*" or self.configuration.tenant_of(wanted) == self.configuration.tenant_of(ags)

    def _yearly(self, municipality: Municipality, service: str, facts: Sequence[Fact],
                population: int | None) -> Line | None:
        completed = [fact for fact in facts if not fact.destination]
        if not completed:
            return None
        row, mapping = municipality.row, self.configuration.mappings.get(service)
        who = who_pays(row.ags, county_only=service in self.file.county_services)
        if service in self.file.county_services and who == "municipality":
            self.problems.append(f"{row.name} ({row.ags}): {service} ist nur für Landkreise und kreisfreie "
                                 "Städte vorgesehen; "
                                 "nach Einwohnern berechnet")
        price_class = self.table.class_of(who, population)
        if price_class is None:
            self.problems.append(f"{row.name} ({row.ags}): keine Einwohnerzahl vom 01.01.{self.year} oder "
                                 f"davor: {service} nicht "
                                 "berechnet; population in der Datei der Kommune ergänzen")
            return None
        reached = self._reached(facts)
        category, rule = self._category(row.ags, service, reached, mapping.category if mapping else None)
        title = mapping.title if mapping else service
        return Line("yearly", title, price_class.price(category), service, price_class.name, category, rule,
                    sum(fact.count for fact in completed), _day(min(fact.first_at for fact in completed)),
                    _day(max(fact.last_at for fact in completed)), reached)

    def _reached(self, facts: Sequence[Fact]) -> tuple[Reached, ...]:
        """One entry per destination and kind; where the kind was not noted, it is today's."""
        groups: dict[tuple[str, str], list[Fact]] = {}
        for fact in facts:
            if fact.destination:
                today = self.configuration.destination(fact.destination)
                groups.setdefault((fact.destination, fact.kind or (today.kind if today else "")),
                                  []).append(fact)
        return tuple(Reached(destination, kind, sum(fact.count for fact in group),
                             _day(min(fact.first_at for fact in group)),
                             _day(max(fact.last_at for fact in group)))
                     for (destination, kind), group in sorted(groups.items()))

    def _category(self, ags: str, service: str, reached: Sequence[Reached],
                  nature: str | None) -> tuple[Category, str]:
        agreed = [row for row in self.file.category if row.service == service
                  and self._is(row.municipality, ags)
                  and self._holds(row.valid_from, row.valid_until)]
        if agreed:
            last = max(agreed, key=lambda row: (row.valid_from, row.municipality != "*"))
            return last.category, f"vereinbart ab {last.valid_from:%d.%m.%Y}: {last.reason}"
        category, rule = category_of((each.kind for each in reached), nature)
        decisive: set[Kind] = {"fachverfahren", "register"}
        since = [each for each in reached if each.kind in decisive]
        return category, rule + (f" (seit {min(each.first for each in since):%d.%m.%Y}: "
                                 f"{', '.join(each.destination for each in since)})" if since else "")

    def _holds(self, valid_from: date, valid_until: date | None) -> bool:
        return valid_from <= date(self.year, 12, 31) and (valid_until is None
                                                          or valid_until > date(self.year, 1, 1))

    def _adjusted(self, row: AdjustmentRow, lines: Sequence[Line]) -> Line | None:
        affected = [line for line in lines if line.item != "adjustment" and row.on in ("all", line.item)
                    and row.service in ("*", line.service)]
        if not affected or not self._holds(row.valid_from, row.valid_until):
            return None
        if row.amount is not None:
            return Line("adjustment", row.text, row.amount, rule="fester Betrag")
        base, percent = sum((line.amount for line in affected), Decimal()), row.percent or Decimal()
        return Line("adjustment", row.text, base * percent / 100,
                    rule=f"{percent.normalize():f} % von {money(base)}".replace(".", ",", 1))


def _day(moment: datetime) -> date:
    return moment.astimezone(BERLIN).date()
