"""The ledger: events tell what happened and never change; tallies count how many there are.

Both are written in the transaction of the change itself. So two balances hold at every moment:

* messages accepted = received + deferred + parked + routed + completed + discarded
* deliveries created = due + delivering + in_doubt + done + parked + discarded

Kinds of tallies: ``message`` and ``delivery`` count what is in a state now, so they go up and down.
``message_total`` and ``delivery_total`` count what happened, so they only go up (``accepted``, ``duplicate``,
``parked:invalid``, ``created``, ``done`` …).

A finished message stays counted when its proof is deleted. ``message_forgotten`` and ``delivery_forgotten``
say how many of a state have no row any more, so that tallies can still be checked against rows.

The usage (`Use`) says which service of which municipality was used in which month, and to which destinations
it was delivered. It names no message. It outlives the proofs, because bills are made from it.

Used by each transition through `hub.store.database.transaction`. `differences` serves the check of the store.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, func, select
from sqlalchemy.dialects import postgresql, sqlite

from hub.message import BERLIN, DeliveryState, MessageState
from hub.store.database.statements import Many
from hub.store.database.tables import delivery, event, message, moment, tally, usage

_WORK = {("message", MessageState.RECEIVED.value), ("delivery", DeliveryState.DUE.value),
         ("delivery", DeliveryState.IN_DOUBT.value)}
FORGOTTEN = {"message_forgotten": "message", "delivery_forgotten": "delivery"}


class TallyKey(NamedTuple):
    """What a tally counts. `name` is a state or an event; `destination` is empty for messages."""

    kind: str
    service: str
    destination: str
    name: str


class Use(NamedTuple):
    """What was used: a service of a municipality in a month (``YYYY-MM``).

    With a destination it counts deliveries done there, else completed messages.
    """

    tenant: str
    service: str
    month: str
    destination: str
    kind: str


@dataclass(frozen=True, slots=True)
class Used:
    """How often something was used, and when first and last (microseconds)."""

    count: int
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True)
class Balance:
    """One of the two balances. `total` came in; `states` says how many are in each state."""

    total: int
    states: dict[str, int]

    @property
    def holds(self) -> bool:
        """Whether the states add up to the total, and none is negative."""
        return self.total == sum(self.states.values()) and all(count >= 0 for count in self.states.values())


@dataclass(slots=True)
class Ledger:
    """What one transaction writes into the ledger at its end."""

    events: list[dict[str, Any]] = field(default_factory=list)
    # the fields of `TallyKey`, as a plain tuple, which is cheaper
    tallies: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    uses: dict[Use, Used] = field(default_factory=dict)

    def event(self, at: int, message_id: str, name: str, *, delivery_id: str | None = None,
              before: str | None = None, after: str | None = None, reason: str | None = None,
              detail: str | None = None, who: str | None = None) -> None:
        """Add one event to the history of a message."""
        self.events.append({"at": at, "message_id": message_id, "delivery_id": delivery_id, "name": name,
                            "before": before, "after": after, "reason": reason, "detail": detail, "who": who})

    def happened(self, kind: str, service: str, destination: str, name: str, count: int = 1) -> None:
        """Count something that happened."""
        self.tallies[f"{kind}_total", service, destination, name] += count

    def moved(self, kind: str, service: str, destination: str, before: str | None, after: str | None) -> None:
        """Count one that left the state `before` and entered `after`. None stands for no state."""
        if before is not None:
            self.tallies[kind, service, destination, before] -= 1
        if after is not None:
            self.tallies[kind, service, destination, after] += 1

    def used(self, at: int, tenant: str, service: str, destination: str = "", kind: str = "") -> None:
        """Count one completed message, or with `destination` one delivery done there.

        Do not call it for tests, which are never counted.
        """
        self._use(Use(tenant, service, _month(at), destination, kind), Used(1, at, at))

    def _use(self, key: Use, new: Used) -> None:
        known = self.uses.get(key)
        self.uses[key] = new if known is None else Used(known.count + new.count,
                                                        min(known.first_at, new.first_at),
                                                        max(known.last_at, new.last_at))

    def makes_work(self) -> bool:
        """Whether this transaction makes a message or a delivery wait that did not wait before."""
        return any(count > 0 and (kind, name) in _WORK for (kind, _, _, name), count in self.tallies.items())

    def add(self, other: Ledger) -> None:
        """Add what a finished part of the transaction wrote."""
        self.events += other.events
        for key, count in other.tallies.items():
            self.tallies[key] += count
        for use, used in other.uses.items():
            self._use(use, used)

    def write(self, connection: Connection) -> None:
        """Write everything into the tables. It is called just before the commit.

        It writes late and in one order, because other nodes wait for the same rows.
        """
        _EVENTS(connection, self.events)
        count_up = _COUNT_UP[connection.dialect.name]
        count_up(connection,
                 [{"kind": kind, "service": service, "destination": destination, "name": name, "count": count}
                  for (kind, service, destination, name), count in sorted(self.tallies.items()) if count])
        use_more = _USE[connection.dialect.name]
        use_more(connection,
                 [{**key._asdict(), "count": used.count, "first_at": used.first_at, "last_at": used.last_at}
                  for key, used in sorted(self.uses.items(), key=lambda use: use[0])])


@lru_cache(maxsize=16)
def _month(at: int) -> str:
    """The month of a moment (microseconds), in Berlin."""
    return moment(at).astimezone(BERLIN).strftime("%Y-%m")


def _upsert(new: Any) -> Any:
    return new.on_conflict_do_update(index_elements=list(tally.primary_key),
                                     set_={"count": tally.c["count"] + new.excluded["count"]})


def _upsert_use(new: Any) -> Any:
    # CASE, because the smaller of two is min() in SQLite and LEAST() in PostgreSQL
    first, last = new.excluded["first_at"], new.excluded["last_at"]
    return new.on_conflict_do_update(index_elements=list(usage.primary_key), set_={
        "count": usage.c["count"] + new.excluded["count"],
        "first_at": case((first < usage.c.first_at, first), else_=usage.c.first_at),
        "last_at": case((last > usage.c.last_at, last), else_=usage.c.last_at)})


_EVENTS = Many.insert(event, [column.name for column in event.c if column.name != "no"])
_COUNT_UP = {dialect: Many(_upsert(new), [column.name for column in tally.c], inserts=True)
             for dialect, new in (("sqlite", sqlite.insert(tally)), ("postgresql", postgresql.insert(tally)))}
_USE = {dialect: Many(_upsert_use(new), [column.name for column in usage.c], inserts=True)
        for dialect, new in (("sqlite", sqlite.insert(usage)), ("postgresql", postgresql.insert(usage)))}


def usages(connection: Connection, first_month: str, last_month: str) -> dict[Use, Used]:
    """What was used from `first_month` to `last_month` (both ``YYYY-MM``, both included)."""
    rows = connection.execute(
        select(usage).where(usage.c.month >= first_month, usage.c.month <= last_month)
        .order_by(usage.c.tenant, usage.c.service, usage.c.month, usage.c.destination, usage.c.kind))
    return {Use(*row[:5]): Used(*row[5:]) for row in rows}


def tallies(connection: Connection) -> dict[TallyKey, int]:
    """All tallies."""
    rows = connection.execute(select(tally.c.kind, tally.c.service, tally.c.destination, tally.c.name,
                                     tally.c["count"]))
    return {TallyKey(kind, service, destination, name): count
            for kind, service, destination, name, count in rows}


def balances(counts: dict[TallyKey, int]) -> tuple[Balance, Balance]:
    """The two balances of a set of tallies: of messages, and of deliveries."""
    return (_balance(counts, "message", "accepted", [state.value for state in MessageState]),
            _balance(counts, "delivery", "created", [state.value for state in DeliveryState]))


def _balance(counts: dict[TallyKey, int], kind: str, total: str, states: list[str]) -> Balance:
    sums: Counter[str] = Counter(dict.fromkeys(states, 0))
    for key, count in counts.items():
        if key.kind == kind:
            sums[key.name] += count
    accepted = sum(count for key, count in counts.items() if key.kind == f"{kind}_total"
                   and key.name == total)
    return Balance(accepted, dict(sums))


def recount(connection: Connection) -> dict[TallyKey, int]:
    """The tallies of states, counted anew from the rows, and from the tallies of rows that are gone. Slow."""
    counts: Counter[TallyKey] = Counter()
    for gone, count in tallies(connection).items():
        if gone.kind in FORGOTTEN:
            counts[gone._replace(kind=FORGOTTEN[gone.kind])] += count
    messages = select(message.c.service, message.c.state, func.count()).group_by(message.c.service,
                                                                                 message.c.state)
    for service, state, count in connection.execute(messages):
        counts[TallyKey("message", service, "", state)] += count
    key = (delivery.c.service, delivery.c.destination, delivery.c.state)
    for service, destination, state, count in connection.execute(select(*key, func.count()).group_by(*key)):
        counts[TallyKey("delivery", service, destination, state)] += count
    return counts


def differences(connection: Connection) -> dict[TallyKey, int]:
    """What must be added to the tallies so that they agree with the rows and both balances hold.

    It is empty when they do. Of the totals only ``accepted`` and ``created`` follow from the rows. For a
    rerouted delivery nobody knows the destination for which it was created, so a difference there goes to the
    service's busiest destination.
    """
    has, truth = tallies(connection), recount(connection)
    states = {key for key in has if key.kind in ("message", "delivery")}
    wrong = Counter({key: truth.get(key, 0) - has.get(key, 0) for key in {*truth, *states}})
    for kind, total in (("message", "accepted"), ("delivery", "created")):
        lacking: Counter[str] = Counter()
        for key, count in truth.items():
            lacking[key.service] += count if key.kind == kind else 0
        created = {key: count for key, count in has.items()
                   if (key.kind, key.name) == (f"{kind}_total", total)}
        for key, count in created.items():
            lacking[key.service] -= count
        for service, count in lacking.items():
            places = [(count, key.destination) for key, count in created.items() if key.service == service]
            places = places or [(count, key.destination) for key, count in truth.items()
                                if key[:2] == (kind, service)]
            if count:
                wrong[TallyKey(f"{kind}_total", service, max(places, default=(0, ""))[1], total)] += count
    return {key: count for key, count in sorted(wrong.items()) if count}
