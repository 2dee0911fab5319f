"""The judge: what must hold, whatever happens.

It judges from what was sent, what arrived and the store's rows. It has rules of its own and uses none of the
hub's logic. Its verdicts:

================  =========================================================================================
lost              acknowledged but not in the store; or done in the ledger but not at the receiver
silent duplicate  one delivery twice at a receiver without a mark; or one application under two ids
phantom           at a receiver although nobody sent it; or with another content than was sent
misrouted         at another place than the configuration in force said; or a test at a real place
unexplained       parked or open without a reason; or not at rest although everything works
unbalanced        the ledger contradicts itself or the rows
order             tried although an earlier delivery of its case was open
window            tried outside of the destination's window
uncounted         tried before the attempt (or, where the outcome may be unknown, the intent) was on disk
deaths            parked for deaths of workers, although it was not the planted message
action            a repeated action had an effect
failed            an error that the hub itself did not foresee
================  =========================================================================================
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from hub.message import Accepted, Delivery
from hub.store.store import Store
from hub.store.transitions.deliveries import FILES
from tests.simulation.municipalities import VARIANTS, configurations, expected, is_open
from tests.unit.store_kit import unbalanced

OPEN = ("due", "delivering", "in_doubt", "parked")


@dataclass(frozen=True)
class Sent:
    """What a sender sends. `number` identifies the content; `key` is the sender's own key, or None."""

    number: int
    sender: str
    ags: str
    service: str
    test: bool = False
    form: str = "1.0"
    key: str | None = None
    case: str | None = None
    poison: str | None = None

    def content(self) -> bytes:
        """The bytes of the application."""
        return json.dumps({"number": self.number, "ags": self.ags, "service": self.service, "test": self.test,
                           "form": self.form, "poison": self.poison}).encode()

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two sendings have in common if the second is a duplicate."""
        return self.sender, self.ags, self.service, self.test, self.key or self.number


@dataclass
class Judge:
    """Is told everything, and keeps what was wrong."""

    faults: list[tuple[str, str]] = field(default_factory=list)
    sent: dict[int, Sent] = field(default_factory=dict)
    tried: dict[tuple[Any, ...], set[int]] = field(default_factory=lambda: defaultdict(set))
    """The contents that were sent, answered or not, by identity."""
    known: dict[str, Sent] = field(default_factory=dict)
    """What was acknowledged, by the hub's id."""
    ids: dict[tuple[tuple[Any, ...], int], str] = field(default_factory=dict)
    copies: dict[str, list[tuple[bool, bool]]] = field(default_factory=lambda: defaultdict(list))
    """The copies at the receiver, as (marked, late), by delivery."""
    begun: Counter[str] = field(default_factory=Counter)
    confirmed: set[str] = field(default_factory=set)
    planted: set[str] = field(default_factory=set)
    """Messages that kill each worker, including those that were never acknowledged."""
    innocent: Counter[str] = field(default_factory=Counter)
    """Deaths that no message caused, by the message that the worker had."""
    forgotten: set[str] = field(default_factory=set)
    """Deliveries that a restored store no longer knows."""

    def fault(self, verdict: str, what: str) -> None:
        """Note a fault."""
        self.faults.append((verdict, what))

    # ---------------------------------------------------------------- the door

    def sends(self, sent: Sent) -> None:
        """A sender sends this. The hub does not have it yet."""
        self.sent[sent.number] = sent
        self.tried[sent.identity].add(sent.number)

    def answered(self, sent: Sent, answer: Accepted) -> None:
        """The hub acknowledged this."""
        before = self.known.get(answer.id)
        if before is not None and before.number != sent.number:
            self.fault("lost", f"{sent} was answered with the number of {before}")
        first = self.ids.setdefault((sent.identity, sent.number), answer.id)
        if first != answer.id and len(self.tried[sent.identity]) == 1:
            self.fault("silent duplicate", f"{sent} has the numbers {first} and {answer.id}")
        self.known[answer.id] = sent

    def refused(self, sent: Sent) -> None:
        """The hub answered that the key is known with another content."""
        if len(self.tried[sent.identity]) == 1:
            self.fault("lost", f"{sent} was refused as a conflict, and there was none")

    # ---------------------------------------------------------------- the receivers

    def attempts(self, delivery: Delivery, at: datetime, probe: bool) -> None:
        """A connector is called."""
        if not is_open(delivery.destination, at):
            self.fault("window", f"{delivery.destination} was {'asked' if probe else 'tried'} at {at}")

    def begins(self, store: Store, delivery: Delivery, repeat: str) -> None:
        """From now on bytes may leave."""
        [row] = rows(store, "SELECT state, attempts, effect_at FROM delivery WHERE id = :id", id=delivery.id)
        self.begun[delivery.id] += 1
        if row["state"] != "delivering" or row["attempts"] < self.begun[delivery.id]:
            self.fault("uncounted",
                       f"{delivery.id} is {row['state']} with {row['attempts']} attempts at its try "
                                    f"{self.begun[delivery.id]}")
        if repeat == "ask" and row["effect_at"] is None:
            self.fault("uncounted", f"{delivery.id} has no intent")

    def arrives(self, delivery: Delivery, body: bytes, repeat: str, *, late: bool) -> None:
        """The receiver has acted. `late`: the hub had given the try up before."""
        name, _, content = body.partition(b"|")
        number = json.loads(content)["number"]
        sent = self.sent.get(number)
        if sent is None or content != sent.content() or name.decode() != delivery.recipient.removesuffix(
            FILES):
            self.fault("phantom", f"{delivery.destination} got {body!r}")
            return
        if sent.test != delivery.destination.endswith("/probe"):
            self.fault("misrouted", f"{sent} at {delivery.destination}")
        if not any(delivery.destination.partition("/")[0] == tenant for tenant in _tenants(sent.ags)):
            self.fault("misrouted", f"{sent} at {delivery.destination}")
        copies = self.copies[delivery.id]
        copies.append((delivery.repeat_marked, late))
        plain = [each for each in copies if not each[0] and (repeat == "ask" or not each[1])]
        if len(plain) > 1 and repeat != "idempotent" and delivery.id not in self.forgotten:
            self.fault("silent duplicate", f"{delivery.id} of {sent} at {delivery.destination}: {copies}")

    # ---------------------------------------------------------------- the store

    def claims(self, connection: Connection, ids: Sequence[str]) -> None:
        """This transaction claims these deliveries, which will be tried."""
        for name in ids:
            earlier = _rows(connection, """
                SELECT before.id FROM delivery AS own JOIN message AS mine ON mine.id = own.message_id
                JOIN delivery AS before ON before.order_key = own.order_key
                    AND before.destination = own.destination
                JOIN message AS first ON first.id = before.message_id AND first.no < mine.no
                WHERE own.id = :id AND own.state = 'delivering'
                    AND before.state IN ('due', 'delivering', 'in_doubt', 'parked')
                UNION ALL
                SELECT first.id FROM delivery AS own JOIN message AS mine ON mine.id = own.message_id
                JOIN message AS first ON first."case" = own.order_key AND first.tenant = own.tenant
                    AND first.no < mine.no
                WHERE own.id = :id AND own.state = 'delivering'
                    AND (first.state = 'received' OR (first.state = 'parked' AND first.service = own.service))
                """, id=name)
            if earlier:
                self.fault("order", f"{name} is tried before {earlier[0]['id']}")

    def books(self, store: Store) -> None:
        """Both balances hold, and the tallies agree with the rows."""
        for line in unbalanced(store):
            self.fault("unbalanced", line)

    def missing(self, store: Store) -> None:
        """Each acknowledged message is in the store, as it was sent. What is done has arrived."""
        there = {row["id"]: row for row in rows(store, 'SELECT id, ags, service, test, "case" FROM message')}
        for name, sent in self.known.items():
            row = there.get(name)
            if row is None or (row["ags"], row["service"], bool(row["test"])) != (sent.ags, sent.service,
                                                                                  sent.test):
                self.fault("lost", f"{name}: {sent} is {row or 'not there'}")
        for row in rows(store, "SELECT id, state, destination FROM delivery WHERE state = 'done'"):
            if not self.copies[row["id"]] and row["id"] not in self.confirmed:
                self.fault("lost", f"{row['id']} is done, and {row['destination']} does not have it")

    def routed(self, store: Store) -> None:
        """Each message went where the configuration that routed it said, and nowhere else."""
        variants = {configurations()[variant.name].digest: variant for variant in VARIANTS}
        places: dict[str, set[str]] = defaultdict(set)
        for row in rows(store, "SELECT message_id, recipient, tenant, generation FROM delivery"):
            places[row["message_id"]].add(f"{row['tenant']}/{row['recipient'].removesuffix(FILES)}")
        for row in rows(store, "SELECT id, ags, service, test, state, reason, config_digest FROM message"):
            sent = self.known.get(row["id"])
            if sent is None or row["state"] == "received":
                continue
            want = expected(variants[row["config_digest"]], row["ags"], row["service"], bool(row["test"]),
                            sent.form)
            got = frozenset(places[row["id"]])
            if row["state"] == "parked":
                if row["reason"] not in ("conflict", "runaway", want):
                    self.fault("misrouted", f"{sent} was parked as {row['reason']} instead of {want}")
            elif got and got != want:
                self.fault("misrouted", f"{sent} went to {sorted(got)} instead of {want}")
            elif not got and row["state"] != "discarded":
                self.fault("lost", f"{sent} is {row['state']} without a delivery")

    def deaths(self, store: Store) -> None:
        """Only planted messages are parked for deaths."""
        for row in rows(store,
                        "SELECT id, reason_text FROM message WHERE reason = 'runaway' AND state = 'parked'"):
            if row["id"] not in self.planted and self.innocent[row["id"]] < 3:
                self.fault("deaths", f"{row['id']}: {row['reason_text']}")

    def rests(self, store: Store) -> None:
        """Nothing waits for the hub, and what waits for a person has a reason."""
        for row in rows(store, "SELECT id, state, reason, reason_text FROM message"):
            if row["state"] == "received" or (row["state"] == "parked"
                                              and not (row["reason"] and row["reason_text"])):
                self.fault("unexplained", f"message {row['id']}: {row}")
        finished = defaultdict(list)
        held = {row["id"] for row in rows(store, f"SELECT id FROM delivery WHERE {_HELD} OR {_SEPARATE}")}
        for row in rows(store, "SELECT id, message_id, state, reason, reason_text, due_at FROM delivery"):
            finished[row["message_id"]].append(row["state"] in ("done", "discarded"))
            explained = row["reason"] and row["reason_text"]
            if row["state"] == "delivering" or (row["state"] in ("due", "in_doubt")
                                                and row["id"] not in held) or (
row["state"] == "parked" and not explained):
                self.fault("unexplained", f"delivery {row['id']}: {row}")
        for row in rows(store, "SELECT id, state FROM message WHERE state IN ('routed', 'completed')"):
            if finished[row["id"]] and (row["state"] == "completed") != all(finished[row["id"]]):
                self.fault("unexplained", f"message {row['id']} is {row['state']}: {finished[row['id']]}")

    def waiting(self, store: Store) -> list[int]:
        """When each delivery that waits for the hub is due; 0 for a claimed one.

        A mail whose files are parked waits for a person and does not count.
        """
        return [row["at"] for row in rows(store, "SELECT coalesce(due_at, 0) AS at FROM delivery WHERE "
                                                 "(due_at IS NOT NULL "
                                                 f"OR lease_until IS NOT NULL) AND NOT ({_SEPARATE})")]

    def held(self, store: Store) -> None:
        """Each delivery that waits within its case waits for another one, and that one waits for a person."""
        for row in rows(store, "SELECT id FROM delivery WHERE state = 'due' AND due_at IS NULL"):
            before = store.predecessor(row["id"])
            if before is None:
                self.fault("unexplained", f"delivery {row['id']} waits for its turn, and nobody is before it")


_HELD = "(state = 'due' AND due_at IS NULL AND reason = 'order')"
_SEPARATE = """(state = 'due' AND error IS 'held'
    AND coalesce(reason_text, '') LIKE 'Die Mail wartet, bis ihre Dateien%'
    AND EXISTS (
    SELECT 1 FROM delivery AS files WHERE files.message_id = delivery.message_id AND files.id <> delivery.id
    AND files.destination LIKE '%/ablage'
    AND (files.state = 'parked' OR (files.state = 'due' AND files.due_at IS NULL))))"""


def rows(store: Store, query: str, **values: Any) -> list[dict[str, Any]]:
    """Rows of the tables."""
    with store.reading() as connection:
        return _rows(connection, query, **values)


def _rows(connection: Connection, query: str, **values: Any) -> list[dict[str, Any]]:
    cursor = connection.connection.cursor()
    cursor.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _tenants(ags: str) -> tuple[str, ...]:
    return {"14999010": ("nord",), "14999020": ("sued",)}.get(ags, ())
