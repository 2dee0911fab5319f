"""Puts the open deliveries of a restored store in doubt, because nobody knows what happened after the backup.

What was due or under way at the time of the backup may have arrived since. So the
transaction that first opens a copy does this:

* Every delivery that was due, under way or in doubt is now in doubt and marked ``restored``. Its receiver is
  asked first. The answer "it is not there" proves something only where a receiver keeps everything for ever
  (`hub.endpoint.OutletBase.keeps`). Elsewhere the destination's `in_doubt` decides: a marked repetition, or a
  person.
* A message that was not translated yet is marked. Its deliveries are created in doubt
  (`hub.store.transitions.messages.record`).
* A parked delivery is marked, so that a replay asks the receiver first
  (`hub.store.transitions.operator_actions`).
* A parked message was never translated, so nothing of it was ever sent. It stays what it is: a replay sends
  it as for the first time. Only a person can have replayed it since the backup, and the journal says so: who
  replays it again asks the receiver first (``replay --ask-first``).
* The history of each of these messages gets the event ``restored``, with the state that it had (`before`).

`hub.store.database.sqlite.copy` writes into the copy itself that it is a copy. So the rule also holds for a
copy that somebody put into place by hand, and no restored store can be opened without it.

A store whose log has lost commits (`hub.store.database.sqlite.lost_pages`) is
treated in the same way at its next opening.

BUGS: what was accepted after the backup stays unknown, and so do its duplicate keys.

Functions on one `Transaction`, called by `hub.store.store`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sqlalchemy import func, insert, literal_column, or_, select, update

from hub.message import BERLIN, RESTORED, DeliveryState, MessageState
from hub.store.database.tables import DELIVERY_OPEN, action, delivery, message, moment
from hub.store.database.transaction import Transaction

WHO = "restore"
"""Who acts, in the events."""


@dataclass(frozen=True, slots=True)
class AfterRestore:
    """How many deliveries are in doubt now, how many messages will have such ones, how many are parked."""

    in_doubt: int
    messages: int
    parked: int


def put_in_doubt(tx: Transaction, made_at: int, what: str = "Aus der Sicherung vom") -> AfterRestore:
    """Mark everything that may have gone on after the backup was made, at `made_at` (microseconds)."""
    day = f"{moment(made_at).astimezone(BERLIN):%d.%m.%Y %H:%M:%S}"
    why = f"{what} {day}: Ob sie danach schon zugestellt wurde, ist unbekannt."
    told: dict[str, str] = {}
    in_doubt = _deliveries(tx, why, told)
    waiting = _messages(tx, why, told)
    parked = _parked(tx, why, told)
    for message_id, before in sorted(told.items()):
        tx.ledger.event(tx.now, message_id, RESTORED, before=before, detail=f"{what} {day}", who=WHO)
    after_restore = AfterRestore(in_doubt, waiting, parked)
    tx.connection.execute(insert(action), [{
        "id": f"restore-{tx.fencing}-{tx.now}", "at": tx.now, "who": WHO, "verb": "restore", "target": day,
        "result": json.dumps(asdict(after_restore))}])
    return after_restore


def _deliveries(tx: Transaction, why: str, told: dict[str, str]) -> int:
    rows = tx.connection.execute(
        select(delivery.c.id, delivery.c.message_id, delivery.c.service, delivery.c.destination,
               delivery.c.state).where(DELIVERY_OPEN).order_by(delivery.c.no)).all()
    for row in rows:
        told[row.message_id] = MessageState.ROUTED
        tx.ledger.moved("delivery", row.service, row.destination, row.state, DeliveryState.IN_DOUBT.value)
        tx.ledger.happened("delivery", row.service, row.destination, RESTORED)
        tx.ledger.event(tx.now, row.message_id, RESTORED, delivery_id=row.id, before=row.state,
                        after=DeliveryState.IN_DOUBT.value, detail=why, who=WHO)
    tx.connection.execute(update(delivery).where(DELIVERY_OPEN).values(
        state=DeliveryState.IN_DOUBT.value, due_at=tx.now, first_due_at=tx.now, fresh=0,
        error=RESTORED, reason=None, reason_text=why, lease_owner=None, lease_until=None, lease_fencing=0))
    return len(rows)


def _messages(tx: Transaction, why: str, told: dict[str, str]) -> int:
    waits = or_(message.c.state == literal_column(f"'{MessageState.RECEIVED.value}'"),
                message.c.state == literal_column(f"'{MessageState.DEFERRED.value}'"))
    ids = tx.connection.execute(select(message.c.id).where(waits)).scalars().all()
    told.update(dict.fromkeys(ids, MessageState.RECEIVED))
    tx.connection.execute(update(message).where(waits).values(
        reason=RESTORED, reason_text=why, suspect=0, lease_owner=None, lease_until=0, lease_fencing=0))
    return len(ids)


def _parked(tx: Transaction, why: str, told: dict[str, str]) -> int:
    is_parked = delivery.c.state == DeliveryState.PARKED.value
    ids = tx.connection.execute(
        select(message.c.id).where(message.c.state == MessageState.PARKED.value)).scalars().all()
    told.update(dict.fromkeys(ids, MessageState.PARKED))
    deliveries = tx.connection.execute(select(delivery.c.message_id).where(is_parked)).scalars().all()
    told.update(dict.fromkeys(deliveries, MessageState.ROUTED))
    tx.connection.execute(update(delivery).where(is_parked).values(
        error=RESTORED, reason_text=func.coalesce(delivery.c.reason_text, "") + f" ({why})"))
    return len(ids) + len(deliveries)
