"""A store that was restored from a backup does not know what happened after
the backup: nothing is sent plainly again.

What was due or under way when the backup was made may have arrived since. So when a copy is opened for the
first time, in the same transaction that takes it over,

  * every delivery that was due, under way or in doubt is in doubt, marked ``restored``: its receiver is asked
  first, and only where a receiver keeps for ever what it got (`OutletBase.keeps`) does "it is not there"
  prove anything; everywhere else the destination's `in_doubt` decides (a repetition that says so, or a
  person);
  * a message that was not translated yet is marked, and its deliveries are made in doubt in the same way
  (`hub.store.transitions.messages.record`);
  * a parked message or delivery is marked, so that a replay asks first, too
  (`hub.store.transitions.operator_actions`);
* each of these messages has the event ``restored`` in its history.

The mark that makes a store a copy is set by `hub.store.database.sqlite.copy` in the copy itself: so the rule
holds for a copy that was put into its place by hand, too, and there is no moment in which a restored store
could be opened without it.

A store whose log has lost commits (`hub.store.database.sqlite.lost_pages`) is in the same position, and is
treated so at its next opening.

Unknown remains: what was accepted after the backup, and the duplicate keys of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sqlalchemy import func, insert, literal_column, or_, select, update

from hub.message import BERLIN, RESTORED, DeliveryState, MessageState
from hub.store.database.tables import DELIVERY_OPEN, action, delivery, message, moment
from hub.store.database.transaction import Transaction

WHO = "restore"


@dataclass(frozen=True, slots=True)
class AfterRestore:
    """How many: deliveries in doubt now, messages whose deliveries will be, and what was parked."""

    in_doubt: int
    messages: int
    parked: int


def put_in_doubt(tx: Transaction, made_at: int, what: str = "Aus der Sicherung vom") -> AfterRestore:
    """Mark everything that may have gone on after `made_at` (microseconds), the backup's moment."""
    day = f"{moment(made_at).astimezone(BERLIN):%d.%m.%Y %H:%M:%S}"
    why = f"{what} {day}: Ob sie danach schon zugestellt wurde, ist unbekannt."
    told: set[str] = set()
    in_doubt = _deliveries(tx, why, told)
    waiting = _messages(tx, why, told)
    parked = _parked(tx, why, told)
    for message_id in sorted(told):
        tx.ledger.event(tx.now, message_id, RESTORED, detail=f"{what} {day}", who=WHO)
    after_restore = AfterRestore(in_doubt, waiting, parked)
    tx.connection.execute(insert(action), [{"id": f"restore-{tx.fencing}-{tx.now}", "at": tx.now, "who": WHO,
                                            "verb": "restore",
                                            "target": day, "result": json.dumps(asdict(after_restore))}])
    return after_restore


def _deliveries(tx: Transaction, why: str, told: set[str]) -> int:
    rows = tx.connection.execute(select(delivery.c.id, delivery.c.message_id, delivery.c.service,
                                        delivery.c.destination,
                                        delivery.c.state).where(DELIVERY_OPEN).order_by(delivery.c.no)).all()
    for row in rows:
        told.add(row.message_id)
        tx.ledger.moved("delivery", row.service, row.destination, row.state, DeliveryState.IN_DOUBT.value)
        tx.ledger.happened("delivery", row.service, row.destination, RESTORED)
        tx.ledger.event(tx.now, row.message_id, RESTORED, delivery_id=row.id, before=row.state,
                        after=DeliveryState.IN_DOUBT.value, detail=why, who=WHO)
    tx.connection.execute(update(delivery).where(DELIVERY_OPEN).values(
        state=DeliveryState.IN_DOUBT.value, due_at=tx.now, first_due_at=tx.now, fresh=0,
        error=RESTORED, reason=None, reason_text=why, lease_owner=None, lease_until=None, lease_fencing=0))
    return len(rows)


def _messages(tx: Transaction, why: str, told: set[str]) -> int:
    waits = or_(message.c.state == literal_column(f"'{MessageState.RECEIVED.value}'"),
                message.c.state == literal_column(f"'{MessageState.DEFERRED.value}'"))
    ids = tx.connection.execute(select(message.c.id).where(waits)).scalars().all()
    told.update(ids)
    tx.connection.execute(update(message).where(waits).values(
        reason=RESTORED, reason_text=why, suspect=0, lease_owner=None, lease_until=0, lease_fencing=0))
    return len(ids)


def _parked(tx: Transaction, why: str, told: set[str]) -> int:
    is_parked = delivery.c.state == DeliveryState.PARKED.value
    ids = tx.connection.execute(select(message.c.id).where(message.c.state
                                                           == MessageState.PARKED.value)).scalars().all()
    told.update(ids)
    deliveries = tx.connection.execute(select(delivery.c.message_id).where(is_parked)).scalars().all()
    told.update(deliveries)
    tx.connection.execute(update(delivery).where(is_parked).values(
        error=RESTORED, reason_text=func.coalesce(delivery.c.reason_text, "") + f" ({why})"))
    return len(ids) + len(deliveries)
