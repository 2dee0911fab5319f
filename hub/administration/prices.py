"""What may stand in ``billing.toml``: providers, their prices by class of population, and adjustments."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from hub.config.configuration import Configuration
from hub.config.reader import suggest
from hub.config.types import Ags, Key
from hub.endpoint import Finding
from hub.errors import ConfigError
from hub.files.model import FileModel
from hub.files.problems import problems_of

CENT = Decimal("0.01")
Category = Literal["einfach", "mittel", "komplex"]
Who = Literal["municipality", "city", "county-only"]
Amount = Annotated[Decimal, Field(allow_inf_nan=False)]
Everyone = Literal["*"]


class PriceClass(FileModel):
    """One row of the price table: net, per assistant and year."""

    name: str = Field(description="as bills name the class")
    who: Who = Field("municipality", description="whose class it is: municipalities by population, cities "
                                                 "that are a county of "
                     "their own, or what only those and counties use")
    up_to: int | None = Field(None, gt=0, description="largest population of the class; none: all above")
    einfach: Amount = Field(description="price of an assistant of category einfach, Euro")
    mittel: Amount = Field(description="of category mittel")
    komplex: Amount = Field(description="of category komplex")

    def price(self, category: Category) -> Decimal:
        """Exact."""
        return {"einfach": self.einfach, "mittel": self.mittel, "komplex": self.komplex}[category]


class PriceTable(FileModel):
    """The prices from a day on."""

    valid_from: date = Field(description="a year takes the prices that hold on its first of January")
    classes: tuple[PriceClass, ...] = Field(alias="class",
                                            description="the rows, those of municipalities rising by `up_to`")

    @model_validator(mode="after")
    def _complete(self) -> PriceTable:
        limits = [row.up_to for row in self.classes if row.who == "municipality"]
        bounded = [limit for limit in limits if limit is not None]
        if limits[-1:] != [None] or len(bounded) != len(limits) - 1 or bounded != sorted(set(bounded)):
            raise ValueError("the classes of municipalities must rise by up_to, and only the last has none")
        for who in ("city", "county-only"):
            if sum(row.who == who for row in self.classes) != 1:
                raise ValueError(f"there must be one class with who = {who!r}")
        return self

    def class_of(self, who: Who, population: int | None) -> PriceClass | None:
        """None: it depends on the population, and that is not known."""
        rows = [row for row in self.classes if row.who == who]
        if who != "municipality":
            return rows[0]
        return None if population is None else next(row for row in rows if row.up_to is None
                                                    or population <= row.up_to)


class Provider(FileModel):
    """A Dienstleister: who gets the bill."""

    name: str = Field(description="as the bill names it")
    address: str = Field("", description="in one line")


class CategoryRow(FileModel):
    """An agreed category, from a day on, whatever the destinations say."""

    municipality: Ags | Everyone = Field("*", description="AGS; '*': all")
    service: str = Field(description="the assistant")
    category: Category = Field(description="what was agreed")
    valid_from: date = Field(description="first day it holds")
    valid_until: date | None = Field(None, description="first day it does not hold any more")
    reason: str = Field(description="who agreed, when: stands in the line's evidence")


class SetupRow(FileModel):
    """Something charged once."""

    municipality: Ags = Field(description="AGS")
    day: date = Field(alias="date", description="it is charged in the year of this day")
    amount: Amount = Field(description="Euro")
    text: str = Field(description="as the bill names it")


class AdjustmentRow(FileModel):
    """A subsidy or another change of what is charged: a percentage of lines, or an amount per
    municipality."""

    text: str = Field(description="as the bill names it")
    municipality: Ags | Everyone = Field("*", description="AGS; '*': all")
    service: str = Field("*", description="the assistant; '*': all")
    on: Literal["yearly", "setup", "all"] = Field("yearly", description="which lines a percentage is of")
    percent: Amount | None = Field(None,
                                   description="of the lines; -100 takes all away; either this or amount")
    amount: Amount | None = Field(None, description="Euro for each municipality; either this or percent")
    valid_from: date = Field(description="it counts in each year of which it holds on any day")
    valid_until: date | None = Field(None, description="first day it does not hold any more")

    @model_validator(mode="after")
    def _one_of_both(self) -> AdjustmentRow:
        if (self.percent is None) == (self.amount is None):
            raise ValueError("give either percent or amount")
        return self


class BillingFile(FileModel):
    """``billing.toml``"""

    prices: tuple[PriceTable, ...] = Field(min_length=1, description="the price tables, each from a day on")
    provider: Mapping[Key,
                      Provider] = Field({}, description="who gets bills, by the key that municipalities name")
    county_services: tuple[str, ...] = Field((), description="assistants only for counties and cities that "
                                                             "are one")
    category: tuple[CategoryRow, ...] = Field((), description="agreed categories")
    setup: tuple[SetupRow, ...] = Field((), description="what is charged once")
    adjustment: tuple[AdjustmentRow, ...] = Field((), description="subsidies and other changes")

    def table(self, year: int) -> PriceTable | None:
        """The prices that hold when the year begins."""
        return max((table for table in self.prices if table.valid_from <= date(year, 1, 1)),
                   key=lambda table: table.valid_from,
                   default=None)


def load(file: Path) -> BillingFile:
    """Read ``billing.toml``, its numbers as exact decimals. Raises `ConfigError`."""
    try:
        return BillingFile(**tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal))
    except OSError as error:
        raise ConfigError.at(file, "file", f"cannot be read ({error.strerror})",
                             "write one as docs/billing.md shows") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError.at(file, "TOML", str(error), "correct the line") from error
    except ValidationError as error:
        raise ConfigError(problems_of(file, error)) from error


def check(configuration: Configuration) -> Iterator[tuple[str, Finding]]:
    """What ``drehscheibe check`` says about ``billing.toml`` beside ``hub.toml``: nothing where there is
    none."""
    file = configuration.file.parent / "billing.toml"
    if not file.is_file():
        return
    try:
        prices = load(file)
    except ConfigError as error:
        yield from (("billing", Finding("error", problem)) for problem in error.problems)
        return
    yield "billing", Finding("ok",
                             f"{len(prices.prices)} Preistafel(n), {len(prices.provider)} Dienstleister")
    for municipality in configuration.municipalities.values():
        provider = municipality.row.contract.provider
        if provider is not None and provider not in prices.provider:
            yield str(municipality.file), Finding("error",
                                          f"contract.provider: {provider!r} steht nicht in billing.toml",
                                          suggest(provider, prices.provider, german=True))


def money(amount: Decimal) -> str:
    """As printed in German, rounded half up: 253.125 is ``253,13``."""
    text = f"{amount.quantize(CENT, ROUND_HALF_UP):,.2f}"
    return text.translate(str.maketrans(",.", ".,"))
