"""How one destination is doing: well, failing, resting as a whole, or waiting for a person; and at what pace
it is served.

A state machine without clock, lock or threads of its own; its owner brings the time and calls one method at a
time. After several temporary failures in a row the destination rests, longer with each outage up to a quarter
of an hour; then one delivery tries alone, and with each success twice as many are claimed at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hub.config.retry import backoff
from hub.config.sections import DeliverSection
from hub.delivery.rate_limit import Pace

LONGEST_REST = timedelta(minutes=15)
"""No destination rests longer; one that needs a person is tried with a single delivery this often."""


@dataclass
class Circuit:
    """The state of one destination. `window` is how many deliveries are claimed at once, `active` how many
    claims are open, `turn` when it was served last, as a number that only grows, and `served_at` by
    `time.monotonic`; `more`: the last claim brought as much as it asked for; every second claim begins with a
    deferred one."""

    failures: int = 0
    resting_until: datetime | None = None
    why: str = ""
    misconfigured: bool = False
    window: int = 1
    active: int = 0
    turn: int = 0
    served_at: float = 0.0
    more: bool = False
    deferred_first: bool = False
    pace: Pace = field(default_factory=Pace)

    def open(self, now: datetime) -> bool:
        """Whether the destination rests."""
        return self.resting_until is not None and now < self.resting_until

    def reset(self) -> bool:
        """Nothing is known against it any more; whether it was resting."""
        rested = self.resting_until is not None
        self.failures, self.resting_until, self.misconfigured, self.why = 0, None, False, ""
        return rested

    def set_back(self, step: timedelta) -> None:
        """The clock went back by so much; the rest keeps its length."""
        if self.resting_until is not None:
            self.resting_until -= step

    def succeeded(self, settings: DeliverSection) -> bool:
        """A delivery arrived; whether that ended an outage."""
        self.window = min(self.window * 2, settings.batch)
        return self.reset()

    def failed(self, now: datetime, why: str, settings: DeliverSection) -> bool:
        """A temporary failure; whether an outage begins with it."""
        self.failures += 1
        self.window = 1
        outages = self.failures - settings.rest_after
        rest = backoff(min(outages, 4) + 1, settings.rest, 2, LONGEST_REST)
        return outages >= 0 and self._rest(now, rest, why)

    def misconfigure(self, now: datetime, why: str) -> bool:
        """It cannot work before somebody mends it; whether that is news."""
        news = not self.misconfigured
        self.failures = max(self.failures, 1)
        self.window, self.misconfigured = 1, True
        return self._rest(now, LONGEST_REST, why) or news

    def _rest(self, now: datetime, span: timedelta, why: str) -> bool:
        fresh = self.resting_until is None
        self.resting_until, self.why = now + span, why
        return fresh


def longest_unserved_first(waiting: Iterable[tuple[str, datetime]],
                           circuits: Mapping[str, Circuit]) -> list[tuple[str, datetime]]:
    """The destinations that wait, in the order in which they are served: where threads are short, nobody is
    passed over because of its name."""
    served = {key: circuit.turn for key, circuit in circuits.items()}
    return sorted(waiting, key=lambda item: served.get(item[0], 0))
