"""The ledger: what happened, as events that are never changed, and how many there are, as tallies.

Both are written in the transaction of the change itself, so the two balances hold at every moment:

* messages accepted = received + deferred + parked + routed + completed + discarded
* deliveries created = due + delivering + in_doubt + done + parked + discarded

Kinds of tallies: ``message`` and ``delivery`` count what is in a state now and go up and down; ``message_total`` and
``delivery_total`` count what happened and only go up (``accepted``, ``duplicate``, ``parked:invalid``, ``created``, ``done`` …).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from hub.message import DeliveryState, MessageState
from hub.tables import Many, delivery, event, message, tally


class TallyKey(NamedTuple):
    """What is counted. `name` is a state or an outcome; `destination` is empty for messages."""

    kind: str
    service: str
    destination: str
    name: str


@dataclass(frozen=True, slots=True)
class Balance:
    """One of the two balances: `total` came in, `states` says where they are."""

    total: int
    states: dict[str, int]

    @property
    def holds(self) -> bool:
        """Whether nothing is missing and nothing is there twice."""
        return self.total == sum(self.states.values()) and all(count >= 0 for count in self.states.values())


@dataclass(slots=True)
class Ledger:
    """What one transaction will write down at its end."""

    events: list[dict[str, Any]] = field(default_factory=list)
    tallies: Counter[TallyKey] = field(default_factory=Counter)

    def event(self, at: int, message_id: str, name: str, *, delivery_id: str | None = None, before: str | None = None,
              after: str | None = None, reason: str | None = None, detail: str | None = None,
              who: str | None = None) -> None:
        """One line of history."""
        self.events.append({"at": at, "message_id": message_id, "delivery_id": delivery_id, "name": name, "before": before,
                            "after": after, "reason": reason, "detail": detail, "who": who})

    def happened(self, kind: str, service: str, destination: str, name: str, count: int = 1) -> None:
        """One more for a total."""
        self.tallies[TallyKey(f"{kind}_total", service, destination, name)] += count

    def moved(self, kind: str, service: str, destination: str, before: str | None, after: str | None) -> None:
        """One left a state and entered another; None is nowhere."""
        if before is not None:
            self.tallies[TallyKey(kind, service, destination, before)] -= 1
        if after is not None:
            self.tallies[TallyKey(kind, service, destination, after)] += 1

    def add(self, other: Ledger) -> None:
        """Take over what a finished part of the transaction wrote."""
        self.events += other.events
        for key, count in other.tallies.items():
            self.tallies[key] += count

    def write(self, connection: Connection) -> None:
        """Into the tables, before the commit."""
        _EVENTS(connection, self.events)
        count_up = _COUNT_UP[connection.dialect.name]
        count_up(connection, [{"kind": key.kind, "service": key.service, "destination": key.destination, "name": key.name,
                               "count": count} for key, count in self.tallies.items() if count])


def _upsert(new: Any) -> Any:
    return new.on_conflict_do_update(index_elements=list(tally.primary_key),
                                     set_={"count": tally.c["count"] + new.excluded["count"]})


_EVENTS = Many.insert(event, [column.name for column in event.c if column.name != "no"])
_COUNT_UP = {dialect: Many(_upsert(new), [column.name for column in tally.c], inserts=True)
             for dialect, new in (("sqlite", sqlite.insert(tally)), ("postgresql", postgresql.insert(tally)))}


def tallies(connection: Connection) -> dict[TallyKey, int]:
    """All tallies."""
    rows = connection.execute(select(tally.c.kind, tally.c.service, tally.c.destination, tally.c.name, tally.c["count"]))
    return {TallyKey(kind, service, destination, name): count for kind, service, destination, name, count in rows}


def balances(counts: dict[TallyKey, int]) -> tuple[Balance, Balance]:
    """The two balances (messages, deliveries) of a set of tallies."""
    return (_balance(counts, "message", "accepted", [state.value for state in MessageState]),
            _balance(counts, "delivery", "created", [state.value for state in DeliveryState]))


def _balance(counts: dict[TallyKey, int], kind: str, total: str, states: list[str]) -> Balance:
    sums: Counter[str] = Counter(dict.fromkeys(states, 0))
    for key, count in counts.items():
        if key.kind == kind:
            sums[key.name] += count
    accepted = sum(count for key, count in counts.items() if key.kind == f"{kind}_total" and key.name == total)
    return Balance(accepted, dict(sums))


def recount(connection: Connection) -> dict[TallyKey, int]:
    """The slow truth: the tallies of states, counted from the rows themselves."""
    counts: dict[TallyKey, int] = {}
    messages = select(message.c.service, message.c.state, func.count()).group_by(message.c.service, message.c.state)
    for service, state, count in connection.execute(messages):
        counts[TallyKey("message", service, "", state)] = count
    key = (delivery.c.service, delivery.c.destination, delivery.c.state)
    for service, destination, state, count in connection.execute(select(*key, func.count()).group_by(*key)):
        counts[TallyKey("delivery", service, destination, state)] = count
    return counts
