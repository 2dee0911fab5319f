"""The changes of a delivery's state: it is claimed, tried, settled, released or recovered.

::

    due ─► delivering ─► done                     due_at       set exactly while the hub shall act by itself
     ▲         ├──► due (later, or again)         lease_until  set exactly while a claim holds it
     │         ├──► in_doubt ─► due | done        effect_at    the intent: since then bytes may have left
     └─replay──┴──► parked ─► discarded

`claim` counts the attempt and writes the lease before the try. `begin` writes the intent before any byte
leaves. `settle` writes the outcome. A delivery in doubt is claimed for probing; it keeps its state, and no
attempt is counted. After a crash `recover` frees the claims of the dead process: a delivery with an intent
is then in doubt, another one is due.

Functions on one `Transaction`; `hub.store.store.Store` provides threads and bodies. What an operator changes
is in `hub.store.transitions.operator_actions`. Which destinations have due deliveries is asked in
`hub.store.transitions.waiting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, zip_longest
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Row,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)

from hub.errors import HubError
from hub.message import RESTORED, Delivery, DeliveryState, MessageState, Receipt, encode_json
from hub.store.blobs.payload import Staged
from hub.store.blobs.protocol import Blobs
from hub.store.database.statements import Many, Query, batches
from hub.store.database.tables import COPIED, delivery, event, message, micros, moment, span
from hub.store.database.transaction import Transaction
from hub.store.transitions import case_order

DUE, DELIVERING, IN_DOUBT, DONE, PARKED, DISCARDED = (state.value for state in (
    DeliveryState.DUE, DeliveryState.DELIVERING, DeliveryState.IN_DOUBT, DeliveryState.DONE,
    DeliveryState.PARKED, DeliveryState.DISCARDED))
ROUNDS = 20
"""How often a claim looks again when all deliveries that it found must wait within their case."""
DUE_NOW = Query(select(delivery.c.no)
                .where(delivery.c.destination == bindparam("d"), delivery.c.fresh == bindparam("fresh"),
                       delivery.c.due_at <= bindparam("now"))
                .order_by(delivery.c.due_at, delivery.c.no).limit(bindparam("limit"))
                .with_for_update(skip_locked=True))
_CLAIMED = Query(select(delivery, *(message.c[name].label(f"own_{name}") for name in COPIED))
                 .join(message, message.c.id == delivery.c.message_id)
                 .where(delivery.c.no.in_(bindparam("nos", expanding=True))))
CLAIM = Many(update(delivery).where(delivery.c.no == bindparam("b_no")).values(
    state=bindparam("state"), attempts=bindparam("attempts"), fresh=literal_column("0"), due_at=null(),
    lease_owner=bindparam("owner"), lease_until=bindparam("until"), lease_fencing=bindparam("fencing")),
    ("state", "attempts", "owner", "until", "fencing", "b_no"))
_IN_HAND = Query(select(delivery).where(
    delivery.c.id.in_(bindparam("ids", expanding=True)), delivery.c.lease_until.is_not(None),
    delivery.c.lease_fencing == bindparam("fencing")))
_BEGIN = Many(update(delivery).where(delivery.c.no == bindparam("b_no")).values(effect_at=bindparam("at")),
              ("at", "b_no"))
FILES = "-dateien"
"""Ends the name of the recipient that gets the files of a mail that was too large."""
_SETTLED = ("state", "destination", "due_at", "attempts", "fresh", "error", "reason", "reason_text",
            "repeat_marked", "receipt", "effect_at", "finished_at")
_SETTLE = Many(update(delivery).where(delivery.c.no == bindparam("b_no")).values(
    **{name: bindparam(name) for name in _SETTLED}, lease_owner=null(), lease_until=null(),
    lease_fencing=literal_column("0")), (*_SETTLED, "b_no"))
_UNFINISHED: ColumnElement[int] = literal_column(f"CASE WHEN delivery.state IN ('{DONE}', '{DISCARDED}') "
                                                 "THEN 0 ELSE 1 END")
_DONE: ColumnElement[int] = literal_column(f"CASE WHEN delivery.state = '{DONE}' THEN 1 ELSE 0 END")
_OF_MESSAGE = (message.c.id, message.c.tenant, message.c.service, message.c.state, message.c.test)
_CLOSING = Query(select(*_OF_MESSAGE, func.sum(_UNFINISHED).label("open"), func.sum(_DONE).label("done"),
                        func.max(delivery.c.generation).label("generation"))
                 .join(delivery, delivery.c.message_id == message.c.id)
                 .where(message.c.id.in_(bindparam("ids", expanding=True))).group_by(*_OF_MESSAGE))
_CLOSE = Many(update(message).where(message.c.id == bindparam("b_id")).values(
    state=bindparam("state"), finished_at=bindparam("finished_at")), ("state", "finished_at", "b_id"))
FRESH_WAIT, LONGEST_WAIT = timedelta(hours=1), timedelta(hours=30)
"""Longer than any delivery waits: one that was not tried yet, and one that was (`pull_in`)."""


class LostLease(HubError):
    """This process no longer holds the delivery: it must not send anything for it."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this process holds.

    `first_due_at` is when the clock of its retry policy began; a replay starts it anew.
    `attempts` includes this attempt. `probe`: the delivery is in doubt, so the receiver must
    be asked first. `restored`: it comes from a backup.
    """

    delivery: Delivery
    first_due_at: datetime
    attempts: int
    probe: bool
    restored: bool = False


@dataclass(frozen=True, slots=True)
class Slim:
    """A new manifest for a delivery that travels without its files.

    A new delivery `files_id` to `files_to` takes the old manifest over. With None other deliveries have all
    files already, and none is made.
    """

    blobs: Blobs
    manifest: Staged
    files_id: str
    files_to: str | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """The outcome of a claimed delivery. The class methods make it."""

    delivery_id: str
    state: Literal["done", "due", "in_doubt", "parked"]
    event: str
    due_at: datetime | None = None
    receipt: Receipt | None = None
    error: str | None = None
    reason: str | None = None
    text: str | None = None
    repeat_marked: bool = False
    counted: bool = True
    destination: str | None = None
    kind: str = ""
    slim: Slim | None = None
    claim: int | None = None
    """For an outcome that is written late: the claim that held the delivery. If
    another claim holds it now, nothing is written."""

    @classmethod
    def done(cls, delivery_id: str, receipt: Receipt, kind: str = "") -> Settlement:
        """The receiver, a destination of this `kind`, has it.

        The event is ``done_partly`` when some of its addresses refused.
        """
        return cls(delivery_id, "done", "done_partly" if receipt.detail.get("refused") else "done",
                   receipt=receipt, kind=kind)

    @classmethod
    def later(cls, delivery_id: str, due_at: datetime, error: str, text: str, *,
              counted: bool = True) -> Settlement:
        """The hub tries again at `due_at`. `error` is the class of the error.

        Without `counted` there was no attempt (the destination rests), and the event is ``held``.
        """
        return cls(delivery_id, "due", "later" if counted else "held", due_at, error=error, text=text,
                   counted=counted)

    @classmethod
    def in_doubt(cls, delivery_id: str, text: str, probe_at: datetime | None) -> Settlement:
        """The receiver may have it. The hub probes at `probe_at`; with None it waits for a person."""
        return cls(delivery_id, "in_doubt", "in_doubt", probe_at, text=text)

    @classmethod
    def parked(cls, delivery_id: str, reason: str, text: str) -> Settlement:
        """A person must act. `reason` is a code of `hub.message.Reason`."""
        return cls(delivery_id, "parked", "parked", reason=reason, text=text)

    @classmethod
    def again(cls, delivery_id: str, due_at: datetime, *, repeat_marked: bool) -> Settlement:
        """It was in doubt, and the hub sends it again. With
        `repeat_marked` every copy from now on says so."""
        return cls(delivery_id, "due", "again", due_at, repeat_marked=repeat_marked)

    @classmethod
    def split(cls, delivery_id: str, due_at: datetime, text: str, slim: Slim) -> Settlement:
        """It travels without its files, which other deliveries have (`hub.store.slim_manifest`)."""
        return cls(delivery_id, "due", "split", due_at, text=text, slim=slim)

    @classmethod
    def rerouted(cls, delivery_id: str, due_at: datetime, destination: str, text: str) -> Settlement:
        """It is too large for its destination. From now on `destination` gets the same body."""
        return cls(delivery_id, "due", "rerouted", due_at, text=text, destination=destination)


def claim(tx: Transaction, destination: str, limit: int, lease: timedelta, owner: str,
          deferred_first: bool = False) -> list[Row[Any]]:
    """Claim up to `limit` due deliveries. Fresh and deferred ones alternate, each kind in order of time.

    A claim of one alone would always take a fresh one; `deferred_first` lets the deferred ones begin.
    Deliveries that must wait within their case are held back (`hub.store.transitions.case_order`).
    """
    rows: dict[int, Row[Any]] = {}
    for _ in range(ROUNDS):
        rows = _choose(tx, destination, limit, (0, 1) if deferred_first else (1, 0))
        early = case_order.blocked(tx, rows.values())
        _hold(tx, [rows.pop(no) for no in early])
        if rows or not early:
            break
    CLAIM(tx.connection, [{
        "b_no": row.no, "state": row.state if row.state == IN_DOUBT else DELIVERING,
        "attempts": row.attempts + (row.state == DUE), "owner": owner, "until": tx.now + span(lease),
        "fencing": tx.fencing} for row in rows.values()])
    for row in rows.values():
        if row.state == DUE:
            moved(tx, row, DELIVERING, "claimed", detail=str(row.attempts + 1))
    return list(rows.values())


def _choose(tx: Transaction, destination: str, limit: int, ways: Sequence[int]) -> dict[int, Row[Any]]:
    """The rows by number, in the order in which they shall be tried."""
    found = [[row.no for row in DUE_NOW(tx.connection, d=destination, fresh=fresh, now=tx.now, limit=limit)]
             for fresh in ways]
    chosen = [no for no in chain.from_iterable(zip_longest(*found)) if no is not None][:limit]
    rows = {row.no: row for some in batches(chosen) for row in _CLAIMED(tx.connection, nos=some)}
    return {no: rows[no] for no in chosen}


def _hold(tx: Transaction, rows: Sequence[Row[Any]]) -> None:
    """Hold these back within their case. Only the first time makes an event."""
    case_order.hold(tx, [row.no for row in rows])
    for row in rows:
        if row.reason != "order":
            moved(tx, row, row.state, "held", reason="order", detail=case_order.TEXT)


def moved(tx: Transaction, row: Row[Any], after: str, name: str, *, reason: str | None = None,
           detail: str | None = None,
           who: str | None = None, destination: str | None = None) -> None:
    """Write a change of state into the ledger. From now on it is counted
    at `destination`, if that is given."""
    tx.ledger.moved("delivery", row.service, row.destination, row.state, None)
    tx.ledger.moved("delivery", row.service, destination or row.destination, None, after)
    tx.ledger.happened("delivery", row.service, row.destination, name)
    tx.ledger.event(tx.now, row.message_id, name, delivery_id=row.id, before=row.state, after=after,
                    reason=reason,
                    detail=detail, who=who)


def _in_hand(tx: Transaction, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """The rows that this process holds."""
    return {row.id: row for some in batches(ids)
            for row in _IN_HAND(tx.connection, ids=some, fencing=tx.fencing)}


def claim_of(row: Row[Any]) -> int:
    """The number of the claim (`hub.store.store.Store.new_claim`) that holds a delivery."""
    return int(row.lease_owner.rpartition(":")[2])


def begin(tx: Transaction, ids: Sequence[str]) -> list[bool]:
    """Write the intent of each delivery. False: this process no longer holds it."""
    rows = _in_hand(tx, ids)
    rows = {name: row for name, row in rows.items() if row.state == DELIVERING}
    _BEGIN(tx.connection, [{"b_no": row.no, "at": tx.now} for row in rows.values()])
    return [name in rows for name in ids]


def settle(tx: Transaction, settlements: Sequence[Settlement]) -> list[bool]:
    """Write the outcomes. False: this process no longer held the delivery, and nothing was written."""
    rows = _in_hand(tx, [settlement.delivery_id for settlement in settlements])
    changes, finished, answers, over = [], [], [], []
    arrived: set[tuple[str, str]] = set()
    for settlement in settlements:
        row = rows.pop(settlement.delivery_id, None)
        if row is not None and settlement.claim not in (None, claim_of(row)):
            rows[row.id], row = row, None
        answers.append(row is not None)
        if row is None:
            continue
        changes.append(change(tx, row, settlement))
        if settlement.slim is not None:
            _split(tx, row, settlement.slim)
        if settlement.state == DONE:
            finished.append(row.message_id)
            over.append((row.tenant, row.order_key))
            if (row.message_id, row.recipient) not in arrived:
                count_as_used(tx, row, settlement.kind)
                arrived.add((row.message_id, row.recipient))
        elif settlement.destination:
            over.append((row.tenant, row.order_key))
        detail = settlement.text if settlement.receipt is None else settlement.receipt.reference
        moved(tx, row, settlement.state, settlement.event, reason=settlement.reason or settlement.error,
               detail=detail,
               destination=settlement.destination)
    _SETTLE(tx.connection, changes)
    close_messages(tx, finished)
    case_order.free(tx, over)
    return answers


def _split(tx: Transaction, row: Row[Any], slim: Slim) -> None:
    """Exchange the manifest, and let a new delivery take the old one over."""
    slim.blobs.insert(tx.connection, [(slim.manifest, row.message_id, row.tenant)])
    tx.connection.execute(update(delivery).where(delivery.c.no == row.no).values(manifest=slim.manifest.id))
    if slim.files_to is None:
        return
    kept = ("message_id", "tenant", "ags", "service", "test", "case", "order_key", "generation", "manifest",
            "config_digest",
            "mapping_digest")
    tx.connection.execute(insert(delivery), [{
        **{column: getattr(row, column) for column in kept}, "id": slim.files_id,
        "recipient": f"{row.recipient}{FILES}",
        "destination": slim.files_to, "state": DUE, "created_at": tx.now, "first_due_at": tx.now,
        "due_at": tx.now}])
    tx.ledger.happened("delivery", row.service, slim.files_to, "created")
    tx.ledger.moved("delivery", row.service, slim.files_to, None, DUE)
    tx.ledger.event(tx.now, row.message_id, "created", delivery_id=slim.files_id, after=DUE,
                    detail=f"Dateien von {row.id}")


def change(tx: Transaction, row: Row[Any], settlement: Settlement) -> dict[str, Any]:
    """The delivery's new row, for the statement that settles."""
    attempts = row.attempts - (not settlement.counted and row.state == DELIVERING)
    receipt = settlement.receipt
    restored = settlement.state == IN_DOUBT and row.error == RESTORED  # asked in vain: it is still not known
    return {
        "b_no": row.no, "state": settlement.state, "due_at": None if settlement.due_at is None
        else micros(settlement.due_at),
        "destination": settlement.destination or row.destination,
        "attempts": attempts, "fresh": int(attempts == 0), "error": RESTORED if restored
        else settlement.error,
        "reason": settlement.reason,
        "reason_text": settlement.text, "repeat_marked": int(row.repeat_marked or settlement.repeat_marked),
        "receipt": None if receipt is None
        else encode_json({"reference": receipt.reference, "detail": dict(receipt.detail)}),
        "effect_at": row.effect_at if settlement.state == IN_DOUBT else None,
        "finished_at": tx.now if settlement.state == DONE else None}


def close_messages(tx: Transaction, ids: Iterable[str]) -> None:
    """Finish each routed message whose deliveries are all final.

    It is completed if one of them is done, else discarded.
    """
    changes = []
    ids = sorted(set(ids))
    tx.hold(message.c.id, ids)  # two nodes may finish the last two deliveries of one message at once
    for some in batches(ids):
        for row in _CLOSING(tx.connection, ids=some):
            if row.open == 0 and row.state == MessageState.ROUTED:
                after = MessageState.COMPLETED.value if row.done else MessageState.DISCARDED.value
                changes.append({"b_id": row.id, "state": after, "finished_at": tx.now})
                tx.ledger.moved("message", row.service, "", row.state, after)
                tx.ledger.happened("message", row.service, "", after)
                tx.ledger.event(tx.now, row.id, after, before=row.state, after=after)
                if row.done and not row.test and not (row.generation and _was_completed(tx, row.id)):
                    tx.ledger.used(tx.now, row.tenant, row.service)
    _CLOSE(tx.connection, changes)


def count_as_used(tx: Transaction, row: Row[Any], kind: str = "", *, by_a_person: bool = False) -> None:
    """Count a delivery that arrived, for the bill: each recipient of a message once.

    What was sent again as new after it had arrived is not counted, and no test is. Only what a person touched
    can have arrived before: it has a later generation, or it is due from a later moment than that of its
    making.
    """
    if row.test:
        return
    touched = by_a_person or row.generation or row.first_due_at != row.created_at
    if not touched or tx.connection.execute(select(delivery.c.no).where(
            delivery.c.message_id == row.message_id, delivery.c.recipient == row.recipient,
            delivery.c.id != row.id, delivery.c.state == DONE).limit(1)).scalar() is None:
        tx.ledger.used(tx.now, row.tenant, row.service, row.destination, kind)


def _was_completed(tx: Transaction, message_id: str) -> bool:
    """Whether the message was completed before and is counted already: part of it was sent again as new."""
    return tx.connection.execute(select(event.c.no).where(
        event.c.message_id == message_id,
        event.c.name == MessageState.COMPLETED).limit(1)).scalar() is not None


def release(tx: Transaction, ids: Sequence[str]) -> int:
    """Put claimed deliveries back as they were, because there was no attempt. Returns how many.

    A delivery whose effect has begun stays claimed.
    """
    changes = []
    for row in _in_hand(tx, ids).values():
        if row.effect_at is None:
            changes.append(change(tx, row, Settlement(
                row.id, IN_DOUBT if row.state == IN_DOUBT else DUE,  # type: ignore[arg-type]
                "released", moment(tx.now), error=row.error,
                reason=row.reason, text=row.reason_text, counted=False)))
            if row.state == DELIVERING:
                moved(tx, row, DUE, "released")
    _SETTLE(tx.connection, changes)
    return len(changes)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The claims of a dead process that were freed: deliveries that are due, and in doubt; suspect messages.

    `alone` is the message that a worker tried alone in the suspects' lane when the process died, if no other
    message was in flight. That death counts against the message.
    """

    due: int
    in_doubt: int
    suspects: int
    alone: str | None

    def __add__(self, other: Recovered) -> Recovered:
        return Recovered(self.due + other.due, self.in_doubt + other.in_doubt, self.suspects + other.suspects,
                         self.alone or other.alone)


def recover(tx: Transaction, assume_begun: Callable[[str], bool], *, unclean: bool,
            gone: int | None = None) -> Recovered:
    """Free the claims of earlier processes, or of the node `gone`.

    After an unclean end the messages that were in flight are suspect.
    """
    theirs = {table: table.c.lease_fencing < tx.fencing if gone is None else table.c.lease_fencing == gone
              for table in (delivery, message)}
    if gone is None:
        last = tx.connection.execute(select(event.c.at).order_by(event.c.no.desc()).limit(1)).scalar()
        if last is not None and last > tx.now:
            set_back(tx, timedelta(microseconds=last - tx.now))
        pull_in(tx)
    due, doubt = free(tx, assume_begun, theirs[delivery], "Der Prozess endete während der Zustellung")
    rows = list(tx.connection.execute(
        select(message.c.id, message.c.suspect)
        .where(message.c.state == literal_column(f"'{MessageState.RECEIVED.value}'"),
               message.c.suspect.in_([0, 1]),
               message.c.lease_until > 0, theirs[message])))
    for some in batches([row.id for row in rows]):
        tx.connection.execute(update(message).where(message.c.id.in_(some)).values(
            lease_owner=None, lease_until=0, lease_fencing=0, **({"suspect": 1} if unclean else {})))
    alone = rows[0].id if unclean and len(rows) == 1 and rows[0].suspect else None
    return Recovered(due, doubt, len(rows) if unclean else 0, alone)


def recover_lost(tx: Transaction, nobodys: Callable[[Row[Any]], bool],
                 assume_begun: Callable[[str], bool]) -> int:
    """Free the deliveries that this process leased and none of its claims holds. Returns how many."""
    ours = delivery.c.lease_fencing == tx.fencing
    return sum(free(tx, assume_begun, ours, "Die Zustellung ging in der Drehscheibe selbst verloren",
                     nobodys))


def set_back(tx: Transaction, step: timedelta) -> int:
    """Adjust the waiting deliveries after the clock went back by `step`. Returns how many.

    Each delivery keeps the rest of its wait, and none has a clock that begins in the
    future. A delivery that was deferred after the step is due at once, which costs one
    early attempt. Slow: it looks at every delivery.
    """
    due, began = delivery.c.due_at - span(step), delivery.c.first_due_at
    return int(tx.connection.execute(update(delivery).where(delivery.c.due_at > tx.now).values(
        due_at=case((due > tx.now, due), else_=tx.now),
        first_due_at=case((began > tx.now, tx.now), else_=began))).rowcount)


def pull_in(tx: Transaction) -> int:
    """Make deliveries due whose wait is impossibly long, because the clock
    has gone back since. Returns how many.

    A delivery that was not tried yet waits for minutes at most, a deferred one for a day
    (`hub.config.retry.RetryPolicy.delay`). Slow: it looks at every delivery.
    """
    too_far = (((delivery.c.fresh == 1) & (delivery.c.due_at > tx.now + span(FRESH_WAIT)))
               | (delivery.c.due_at > tx.now + span(LONGEST_WAIT)))
    return int(tx.connection.execute(update(delivery).where(too_far).values(due_at=tx.now)).rowcount)


def free(tx: Transaction, assume_begun: Callable[[str], bool], which: ColumnElement[bool], why: str,
          nobodys: Callable[[Row[Any]], bool] = lambda _: True) -> tuple[int, int]:
    """Free the claims that `which` selects. Returns how many deliveries are due now and how many in doubt."""
    changes = []
    for row in tx.connection.execute(select(delivery).where(delivery.c.lease_until.is_not(None), which)):
        if not nobodys(row):
            continue
        doubtful = row.state == IN_DOUBT or row.effect_at is not None or assume_begun(row.destination)
        state: Literal["in_doubt", "due"] = "in_doubt" if doubtful else "due"
        changes.append(change(tx, row, Settlement(row.id, state, "recovered", moment(tx.now), text=why)))
        if row.state == DELIVERING:
            moved(tx, row, state, "recovered", detail=why)
    _SETTLE(tx.connection, changes)
    doubts = sum(each["state"] == IN_DOUBT for each in changes)
    return len(changes) - doubts, doubts
