"""Senders that have fallen silent: how long a sender has said nothing, and what it usually does not exceed.

Time counts on business days only (`hub.config.business_days`): nobody is missed on a weekend, on a holiday,
or between Christmas and the new year. The usual longest gap is the longest between two messages of the
`WINDOW` before the last one. Up to `MOST_OUTAGES` gaps that are longer than `OUTAGE` times all others were
outages and are not usual.

Of a sender of which little is known nothing is usual, and so it is never missed: fewer messages or days than
``[silence]`` of hub.toml asks for. Tests do not count, neither single ones nor senders of tests.

All of it follows from the store, so that a restart forgets nothing, and hubs on one store say the same. What
is usual is worked out once in `REFRESH`.

Used by `hub.operations.ledger_metrics`; the alert DrehscheibeSenderSilent compares the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from hub.config.business_days import BusinessDays
from hub.config.configuration import Configuration
from hub.config.sections import SilenceSection
from hub.store.database import arrivals

WINDOW = timedelta(days=90)
"""How much of the past says what is usual."""
OUTAGE = 3
"""A gap that is more than so many times as long as the longest usual one is missed. The alert's rule has the
same."""
MOST_OUTAGES = 3
"""What happens more often is usual."""
LEAST = timedelta(hours=1)
"""Shorter gaps are not told apart: nothing is less than usual."""
REFRESH = 3600.0
"""Seconds until what is usual is worked out again."""
A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Quiet:
    """How a sender has been of late. Both on business days only."""

    silent: timedelta
    """How long it has sent nothing."""
    usual: timedelta | None
    """Its usual longest gap; None: too little is known."""


class Silence:
    """Asks the store about each configured sender. `clock` gives seconds that only grow."""

    def __init__(self, reading: Callable[[], AbstractContextManager[Connection]],
                 now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 clock: Callable[[], float] = time.monotonic,
                 calendar: Callable[[tuple[str, ...]], BusinessDays] = BusinessDays) -> None:
        self._reading = reading
        self._now = now
        self._clock = clock
        self._calendar = calendar
        self._settings: SilenceSection | None = None
        self._usual: dict[str, tuple[float, timedelta | None]] = {}

    def look(self, configuration: Configuration) -> dict[str, Quiet]:
        """Each sender that ever sent something, by its name. Raises `StoreUnavailable`."""
        settings = configuration.settings.silence
        if settings != self._settings:
            self._settings, self._usual = settings, {}
        days = self._calendar(settings.quiet)
        found = {}
        with self._reading() as connection:
            for sender in (each for each in configuration.senders.values() if not each.test):
                last = arrivals.last(connection, sender.name)
                if last is not None:
                    found[sender.name] = Quiet(days.between(last, self._now()),
                                               self._usual_of(connection, sender.name, last, days, settings))
        return found

    def _usual_of(self, connection: Connection, sender: str, last: datetime, days: BusinessDays,
                  settings: SilenceSection) -> timedelta | None:
        known = self._usual.get(sender)
        now = self._clock()
        if known is None or now - known[0] >= REFRESH:
            past = arrivals.history(connection, sender, last - WINDOW, LEAST, settings.messages)
            known = self._usual[sender] = now, _usual(past, last, days, settings)
        return known[1]


def _usual(past: arrivals.History | None, last: datetime, days: BusinessDays,
           settings: SilenceSection) -> timedelta | None:
    """The usual longest gap; None where too little is known."""
    if past is None or past.count < settings.messages:
        return None
    spent = days.between(past.first, last)
    enough = settings.business_days * A_DAY
    if spent < enough:
        return None
    gaps = [*sorted((days.between(*gap) for gap in past.gaps), reverse=True), LEAST]
    outages = max((number for number in range(1, min(MOST_OUTAGES + 1, len(gaps)))
                   if gaps[number - 1] > OUTAGE * max(gaps[number], LEAST)
                   and spent - sum(gaps[:number], timedelta()) >= enough), default=0)
    return max(gaps[outages], LEAST)
