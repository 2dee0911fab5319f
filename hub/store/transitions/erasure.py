"""Deletes the content of finished messages, and much later their proof.

Only finished messages are touched: completed or discarded, without a delivery that is due,
parked or in doubt. `hub.administration.retention` decides what is old enough. Changes are
functions on one `Transaction`, questions are functions on a `Connection`. Batches are small,
so that other writers wait for milliseconds only.

What deletion means in SQLite (tests/unit/store/transitions/test_erasure.py looks into the raw files):

* bodies are overwritten in place (`hub.store.blobs.files.FileBlobs.erase`), and files of large ones removed;
* their rows are deleted later, and only where no neighbouring row has content any more (`dead`);
* ``secure_delete`` zeroes what deleted rows of the other tables and freed pages held;
* the write-ahead log keeps old pages until it is truncated (`hub.store.store.Store.truncate_log`).

BUGS: the names of uploads (table `part`) are replaced under ``secure_delete``. This may leave a copy in
unused space of a page until that space is used again. Where a proof is deleted beside content that is
still needed (a parked message of years ago), the same holds for that content.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Text, cast, delete, func, literal_column, select, text, update

from hub.message import DeliveryState, MessageState
from hub.store.blobs.payload import Staged
from hub.store.blobs.protocol import Blobs
from hub.store.database.statements import batches
from hub.store.database.tables import (
    HAS_PAYLOAD,
    IS_PROOF,
    action,
    blob,
    delivery,
    duplicate,
    event,
    message,
    part,
    span,
)
from hub.store.database.transaction import Transaction

FINAL_MESSAGE = (MessageState.COMPLETED.value, MessageState.DISCARDED.value)
FINAL_DELIVERY = (DeliveryState.DONE.value, DeliveryState.DISCARDED.value)
NEIGHBOURS = 128
"""How many rows on either side a deletion may move: SQLite balances three
pages, and 27 of the smallest rows fill one."""
HIDDEN = "hmac-sha256:"
"""What a case begins with once only its keyed hash is kept."""
WHO = "retention"
"""Who acts, in the events."""

_LAST_ERASED = text("SELECT max(blob.rowid) FROM message JOIN blob ON blob.message_id = message.id "
                      "WHERE message.payload_deleted_at IS NOT NULL")
_ROWS = text("SELECT blob.rowid, message.payload_deleted_at IS NULL FROM blob "
             "JOIN message ON message.id = blob.message_id WHERE blob.rowid <= :last ORDER BY blob.rowid")
_BEYOND = text("SELECT rowid FROM blob WHERE rowid > :last LIMIT 1")
_BURY = text("DELETE FROM blob WHERE rowid = :number")


@dataclass(frozen=True, slots=True)
class Erased:
    """How much was deleted. `files` are large bodies whose files are deleted after the commit."""

    messages: int = 0
    bodies: int = 0
    bytes: int = 0
    files: tuple[Staged, ...] = ()

    def __add__(self, other: Erased) -> Erased:
        return Erased(self.messages + other.messages, self.bodies + other.bodies, self.bytes + other.bytes)


def services(connection: Connection, *, erased: bool) -> list[tuple[str, str]]:
    """Every (tenant, service) with finished messages that still have their content.

    With `erased`: every one with finished messages whose content is deleted.
    """
    rows = connection.execute(
        select(message.c.tenant, message.c.service).where(IS_PROOF if erased else HAS_PAYLOAD)
        .distinct().order_by(message.c.tenant, message.c.service))
    return [(row.tenant, row.service) for row in rows]


def due(connection: Connection, tenant: str, service: str, before: int, limit: int, *,
        erased: bool) -> list[str]:
    """Up to `limit` messages that finished not later than `before` (microseconds), the oldest first."""
    return list(connection.execute(
        select(message.c.id).where(IS_PROOF if erased else HAS_PAYLOAD, message.c.tenant == tenant,
                                   message.c.service == service, message.c.finished_at <= before)
        .order_by(message.c.finished_at).limit(limit)).scalars())


def count(connection: Connection, tenant: str, service: str, before: int, *, erased: bool) -> int:
    """How many messages `due` would name without a limit."""
    found: int = connection.execute(
        select(func.count()).select_from(message).where(
            IS_PROOF if erased else HAS_PAYLOAD, message.c.tenant == tenant, message.c.service == service,
            message.c.finished_at <= before)).scalar_one()
    return found


def erase(tx: Transaction, blobs: Blobs, ids: Sequence[str]) -> Erased:
    """Delete the content of the finished ones: bodies, names of uploads, the address of the answer."""
    names = list(_finished(tx.connection, ids, erased=False))
    bodies = blobs.erase(tx.connection, names)
    of_each: dict[str, list[Staged]] = {name: [] for name in names}
    for owner, body in bodies:
        of_each[owner].append(body)
    for name, own in of_each.items():
        size = sum(body.size for body in own)
        tx.ledger.event(tx.now, name, "payload_deleted", detail=f"{len(own)} Teile, {size} Bytes", who=WHO)
    for some in batches(names):
        tx.connection.execute(update(part).where(part.c.message_id.in_(some)).values(
            name=part.c.role + literal_column("'-'") + cast(part.c.no, Text), filename=None))
        tx.connection.execute(update(message).where(message.c.id.in_(some)).values(payload_deleted_at=tx.now,
                                                                                   reply_to=None))
    return Erased(len(names), len(bodies), sum(body.size for _, body in bodies),
                    tuple(body for _, body in bodies if body.content is None))


def _finished(connection: Connection, ids: Sequence[str], *, erased: bool) -> Iterator[str]:
    """The messages that may be touched now. It is asked inside the transaction.

    An operator may have sent one of them again meanwhile.
    """
    open_ones = select(delivery.c.message_id).where(delivery.c.message_id == message.c.id,
                                                    delivery.c.state.not_in(FINAL_DELIVERY)).exists()
    for some in batches(ids):
        yield from connection.execute(select(message.c.id).where(
            message.c.id.in_(some), message.c.state.in_(FINAL_MESSAGE), IS_PROOF if erased else HAS_PAYLOAD,
            ~open_ones).order_by(message.c.no).with_for_update()).scalars().all()


def forget(tx: Transaction, ids: Sequence[str]) -> int:
    """Delete the proofs of messages whose content is gone; the ledger keeps counting. Returns how many."""
    names = list(_finished(tx.connection, ids, erased=True))
    for some in batches(names):
        for row in tx.connection.execute(
                select(message.c.service, message.c.state).where(message.c.id.in_(some))):
            tx.ledger.moved("message_forgotten", row.service, "", None, row.state)
        for sent in tx.connection.execute(
                select(delivery.c.service, delivery.c.destination, delivery.c.state)
                .where(delivery.c.message_id.in_(some))):
            tx.ledger.moved("delivery_forgotten", sent.service, sent.destination, None, sent.state)
        for table in (event, part, delivery, blob, duplicate):
            tx.connection.execute(delete(table).where(table.c.message_id.in_(some)))
        tx.connection.execute(delete(message).where(message.c.id.in_(some)))
    return len(names)


def hide_cases(tx: Transaction, key: bytes, after: int, limit: int) -> tuple[int, int]:
    """Replace the case of messages whose content is gone by its keyed hash (`hidden`), beginning after the
    message `after` (its `no`).

    Returns the `no` of the last message that was looked at, 0 at the end, and how many were changed.
    """
    rows = tx.connection.execute(
        select(message.c.no, message.c.id, message.c.tenant, message.c.case)
        .where(IS_PROOF, message.c.case.is_not(None), message.c.case.not_like(f"{HIDDEN}%"),
               message.c.no > after).order_by(message.c.no).limit(limit)).all()
    for row in rows:
        case = hidden(key, row.tenant, row.case)
        for table, of in ((message, message.c.id), (delivery, delivery.c.message_id)):
            for column in (table.c.case, table.c.order_key):
                tx.connection.execute(update(table).where(of == row.id, column.is_not(None))
                                      .values({column: case}))
    return rows[-1].no if len(rows) == limit else 0, len(rows)


def hidden(key: bytes, tenant: str, case: str) -> str:
    """HMAC-SHA-256 (RFC 2104) over tenant, NUL and case: who has the key can say whether a case is this one,
    and nobody else learns anything. The same case of two municipalities is not the same."""
    return HIDDEN + hmac.new(key, f"{tenant}\0{case}".encode(), "sha256").hexdigest()


def expire(tx: Transaction, kept: timedelta, limit: int) -> int:
    """Delete up to `limit` expired duplicate keys, and as many operators' actions older than `kept`.

    Returns how many.
    """
    keys = tx.connection.execute(
        select(duplicate.c.key).where(duplicate.c.kept_until <= tx.now).limit(limit)).scalars().all()
    actions = tx.connection.execute(
        select(action.c.id).where(action.c.at <= tx.now - span(kept)).limit(limit)).scalars().all()
    for some in batches(keys):
        tx.connection.execute(delete(duplicate).where(duplicate.c.key.in_(some)))
    for some in batches(actions):
        tx.connection.execute(delete(action).where(action.c.id.in_(some)))
    return len(keys) + len(actions)


def dead(connection: Connection) -> list[int]:
    """The row numbers of overwritten bodies without a row with content near them: these can be deleted."""
    last = connection.execute(_LAST_ERASED).scalar()
    if last is None:
        return []
    rows = [(row[0], row[1]) for row in connection.execute(_ROWS, {"last": last})]
    beyond = connection.execute(_BEYOND, {"last": last}).scalar() is not None
    live = [place for place, (_, alive) in enumerate(rows) if alive] + ([len(rows)] if beyond else [])
    found, at = [], 0
    for place, (number, _) in enumerate(rows):
        while at < len(live) and live[at] < place - NEIGHBOURS:
            at += 1
        if at == len(live) or live[at] > place + NEIGHBOURS:
            found.append(number)
    return found


def bury(tx: Transaction, numbers: Sequence[int]) -> int:
    """Delete the rows that `dead` found. Returns how many."""
    for number in numbers:
        tx.connection.execute(_BURY, {"number": number})
    return len(numbers)


def erased_blobs(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of these blobs whose content should be deleted. A file of such a blob is a leftover."""
    found: set[str] = set()
    for some in batches(ids):
        found.update(connection.execute(
            select(blob.c.id).join(message, message.c.id == blob.c.message_id)
            .where(blob.c.id.in_(some), message.c.payload_deleted_at.is_not(None))).scalars())
    return found
