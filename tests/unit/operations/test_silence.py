"""Who is missed: months of senders with their weekends, holidays and outages, in a real store."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from sqlalchemy import insert

from hub.config.business_days import BusinessDays
from hub.config.configuration import Configuration
from hub.config.sections import Sender, SilenceSection
from hub.message import BERLIN
from hub.operations.silence import OUTAGE, REFRESH, Silence
from hub.store.database.tables import message, micros
from hub.store.store import Store
from tests.test_house import ROOT
from tests.unit.store_kit import prepare

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
BEGIN = date(2026, 11, 2)
"""A Monday."""


class CalendarDays(BusinessDays):
    """Planted fault: every day counts."""

    def includes(self, day: date) -> bool:
        return True


class Years:
    """A store with what senders sent, and somebody who looks at it at any moment."""

    def __init__(self, store: Store, calendar: Callable[[tuple[str, ...]], BusinessDays] = BusinessDays,
                 **settings: Any) -> None:
        self.store = store
        self.now = datetime(2026, 11, 2, tzinfo=UTC)
        self.seconds = 0.0
        self.senders = {name: Sender(name=name) for name in ("portal", "small", "steady")}
        self.settings = SilenceSection(**settings)
        self.calendar = calendar
        self.begin_anew()

    def begin_anew(self) -> None:
        """As a new start of the hub does."""
        self.silence = Silence(self.store.reading, now=lambda: self.now, clock=lambda: self.seconds,
                               calendar=self.calendar)

    @property
    def configuration(self) -> Configuration:
        return cast("Configuration", SimpleNamespace(
            senders=self.senders, settings=SimpleNamespace(silence=self.settings)))

    def sent(self, sender: str, moments: list[datetime], *, test: bool = False) -> None:
        """Rows as if the messages had arrived then."""
        rows = [{"id": f"{sender}-{test}-{micros(at)}", "tenant": "m", "ags": "14999010",
                 "service": "hundesteuer", "sender": sender, "inlet": "portal", "test": int(test),
                 "state": "completed", "received_at": micros(at), "accepted_day": "2026-11-02",
                 "content_digest": "0", "config_digest": "0"} for at in moments]
        if rows:
            self.store.transact(lambda transaction: transaction.connection.execute(insert(message), rows))

    def missed(self, at: datetime) -> set[str]:
        """Who is missed at that moment, as the alert's rule says it."""
        self.now = at
        self.seconds += REFRESH
        return {name for name, quiet in self.silence.look(self.configuration).items()
                if quiet.usual is not None and quiet.silent > OUTAGE * quiet.usual}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(prepare(tmp_path))
    yield store
    store.close()


def office_days(first: date, last: date, each_day: float, seed: int) -> list[datetime]:
    """Citizens: so many a day from 7 to 22 o'clock, a third of it on weekends and holidays, and a tenth
    between the years."""
    dice, found, day = random.Random(seed), [], first
    calendar = BusinessDays()
    while day <= last:
        rate = each_day * (1 if calendar.includes(day) else 0.3)
        if date(day.year, 12, 20) <= day or day <= date(day.year, 1, 7):
            rate *= 0.1
        begin = datetime.combine(day, time(7), BERLIN).astimezone(UTC)
        found += [begin + 15 * HOUR * dice.random() for _ in range(poisson(dice, rate))]
        day += DAY
    return sorted(found)


def poisson(dice: random.Random, mean: float) -> int:
    count, spent = 0, dice.expovariate(1.0)
    while spent < mean:
        count, spent = count + 1, spent + dice.expovariate(1.0)
    return count


def batches(first: date, last: date) -> list[datetime]:
    """A town's own system: twice on each of its working days, and closed from 19 December to 7 January."""
    calendar, found, day = BusinessDays(), [], first
    while day <= last:
        closed = date(2026, 12, 19) <= day <= date(2027, 1, 7)
        if calendar.includes(day) and not closed:
            found += [datetime.combine(day, time(hour), BERLIN).astimezone(UTC) for hour in (9, 16)]
        day += DAY
    return found


def replayed(years: Years, sent: dict[str, list[datetime]], first: date, last: date) -> dict[str, datetime]:
    """Since when each was missed while the days go by: each day's messages come on that day."""
    found: dict[str, datetime] = {}
    for name, moments in sent.items():
        years.sent(name, [at for at in moments if at.date() < first])
    day = first
    while day <= last:
        for hour in range(0, 24, 3):
            at = datetime.combine(day, time(hour), UTC)
            for name, moments in sent.items():
                years.sent(name, [each for each in moments if at - 3 * HOUR <= each < at])
            for name in years.missed(at):
                found.setdefault(name, at)
        day += DAY
    return found


def a_winter() -> dict[str, list[datetime]]:
    last = date(2027, 1, 20)
    return {"portal": office_days(BEGIN, last, 40, 1), "small": office_days(BEGIN, last, 2, 2),
            "steady": batches(BEGIN, last)}


@pytest.mark.slow
def test_a_month_with_christmas_misses_nobody(store: Store) -> None:
    assert replayed(Years(store), a_winter(), date(2026, 12, 7), date(2027, 1, 19)) == {}


@pytest.mark.parametrize("calendar", [lambda _: CalendarDays(), lambda _: BusinessDays()],
                         ids=["calendar days", "no quiet season"])
def test_who_counts_other_days_misses_somebody_at_christmas(
        store: Store, calendar: Callable[[tuple[str, ...]], BusinessDays]) -> None:
    """Planted faults: it is what the calendar is for."""
    sent = {"steady": batches(BEGIN, date(2027, 1, 20))}
    missed = replayed(Years(store, calendar=calendar), sent, date(2026, 12, 14), date(2027, 1, 8))
    assert set(missed) == {"steady"}
    assert date(2026, 12, 20) < missed["steady"].date() < date(2027, 1, 8)


@pytest.mark.parametrize("stops", [date(2026, 12, 10), date(2027, 1, 8)])
def test_a_sender_that_stops_is_missed(store: Store, stops: date) -> None:
    """Within its usual time, and whichever sender it is; the others are not."""
    sent = a_winter()
    sent["steady"] = [at for at in sent["steady"] if at.date() < stops]
    missed = replayed(Years(store), sent, stops, stops + 8 * DAY)
    assert set(missed) == {"steady"}
    assert missed["steady"].date() <= stops + 6 * DAY


def test_it_stays_missed_until_it_sends_again(store: Store) -> None:
    years = Years(store)
    years.sent("steady", batches(BEGIN, date(2026, 12, 4)))
    for later in (date(2026, 12, 14), date(2027, 3, 1), date(2028, 3, 1)):
        assert years.missed(datetime.combine(later, time(12), UTC)) == {"steady"}, later
    years.begin_anew()
    assert years.missed(datetime(2028, 3, 1, 12, tzinfo=UTC)) == {"steady"}, "a new start forgets nothing"
    years.sent("steady", [datetime(2028, 3, 1, 13, tzinfo=UTC)])
    assert years.missed(datetime(2028, 3, 1, 14, tzinfo=UTC)) == set()


def test_an_outage_that_is_over_is_not_usual(store: Store) -> None:
    """Else nobody would be missed for three times as long as the last outage."""
    years = Years(store)
    all_days = batches(BEGIN, date(2026, 12, 11))
    years.sent("steady", [at for at in all_days if not date(2026, 11, 20) <= at.date() < date(2026, 11, 28)])
    assert years.missed(datetime(2026, 12, 16, 20, tzinfo=UTC)) == {"steady"}


def test_who_is_hardly_known_is_never_missed(store: Store) -> None:
    years = Years(store)
    long_after = datetime(2027, 6, 1, tzinfo=UTC)
    years.sent("portal", [datetime(2026, 11, 2, 8, tzinfo=UTC) + number * HOUR / 10 for number in range(100)])
    years.sent("small", batches(BEGIN, date(2026, 11, 30))[:19 * 2:2])
    years.sent("steady", batches(BEGIN, date(2026, 11, 12)))
    assert years.missed(long_after) == set(), "too short a time, too few messages, nine days"
    years.sent("small", [datetime(2026, 11, 30, 8, tzinfo=UTC)])
    assert years.missed(long_after) == {"small"}
    years.settings = SilenceSection(business_days=5, messages=10)
    assert years.missed(long_after) == {"small", "steady"}, "a reload counts at once"


def test_tests_are_no_sign_of_life(store: Store) -> None:
    years = Years(store)
    years.sent("steady", batches(BEGIN, date(2026, 12, 4)))
    years.sent("steady", batches(BEGIN, date(2026, 12, 18)), test=True)
    years.sent("portal", batches(BEGIN, date(2026, 12, 4)), test=True)
    assert years.missed(datetime(2026, 12, 15, tzinfo=UTC)) == {"steady"}
    years.senders["steady"] = Sender(name="steady", test=True)
    assert years.missed(datetime(2026, 12, 15, tzinfo=UTC)) == set(), "who sends only tests is nobody to miss"
    del years.senders["steady"]
    assert years.missed(datetime(2026, 12, 15, tzinfo=UTC)) == set()


def test_what_is_usual_is_worked_out_now_and_then_and_silence_at_once(store: Store) -> None:
    years = Years(store)
    years.sent("steady", batches(BEGIN, date(2026, 12, 4)))
    years.now = datetime(2026, 12, 7, 8, tzinfo=UTC)
    before = years.silence.look(years.configuration)["steady"]
    years.sent("steady", [years.now])
    years.seconds += REFRESH / 2
    after = years.silence.look(years.configuration)["steady"]
    assert (before.silent > HOUR, after.silent, after.usual) == (True, timedelta(), before.usual)


def test_the_alerts_rule_has_the_same_factor() -> None:
    rules = yaml.safe_load((ROOT / "etc/prometheus/rules/drehscheibe.yml").read_text(encoding="utf-8"))
    [expression] = [rule["expr"] for group in rules["groups"] for rule in group["rules"]
                    if rule["alert"] == "DrehscheibeSenderSilent"]
    assert f"> {OUTAGE} * " in expression
