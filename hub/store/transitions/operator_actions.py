"""What an operator may do with a message or a delivery: replay, discard, confirm, send again as new.

An action may carry an id. An id that is known already does nothing and returns the first answer again, so a
double click sends nothing twice. Every action is an event with the name of the person. A delivery that is
under way cannot be changed: `NotNow`. Texts of `NotNow` are German, for the operator.

Functions on one `Transaction`, called by `hub.store.store` for `hub.operations.operator`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, Table, func, insert, or_, select, update

from hub.errors import HubError
from hub.i18n.texts import STATES
from hub.message import BERLIN, RESTORED, MessageState, Reason, delivery_id
from hub.store.database.tables import action, delivery, event, message, moment
from hub.store.database.transaction import Transaction
from hub.store.transitions import case_order
from hub.store.transitions.deliveries import (
    DELIVERING,
    DISCARDED,
    DONE,
    DUE,
    IN_DOUBT,
    PARKED,
    close_messages,
    count_as_used,
)

SHOWN = 5
"""How many are named of several that begin alike."""
REPEATABLE = {PARKED, IN_DOUBT, DUE}
"""What a person may have tried now: also what only waits, for a receiver of
whom the person knows that it is back."""


class NotFound(HubError):
    """No message or delivery has an id that begins like this."""


class Ambiguous(NotFound):
    """Several messages or deliveries have an id that begins like this."""


class NotNow(HubError):
    """The state does not allow this action. The text is German, for the operator."""


def once(tx: Transaction, action_id: str | None, who: str, verb: str, target: str,
         act: Callable[[Transaction], Any]) -> Any:
    """Call `act`, unless an action with this id was done before. Then return the answer of that action.

    Raises `NotNow` when that action was another one.
    """
    if action_id is not None:
        tx.one_by_one([action_id])
        known = tx.connection.execute(select(action).where(action.c.id == action_id)).one_or_none()
        if known is not None:
            if (known.verb, known.target) != (verb, target):
                raise NotNow(f"Die Aktion {action_id} war schon: {known.verb} {known.target}")
            return json.loads(known.result)
    result = act(tx)
    if action_id is not None:
        tx.connection.execute(insert(action),
                              [{"id": action_id, "at": tx.now, "who": who, "verb": verb, "target": target,
                                "result": json.dumps(result)}])
    return result


def find(connection: Connection, table: Table, name: str, *, hold: bool = False) -> Row[Any]:
    """The row with this id, or with this unique beginning of an id. Raises `NotFound`.

    With `hold` nobody else changes the row until the transaction ends.
    """
    begins = (table.c.id >= name, table.c.id < f"{name}~")  # '~' sorts behind every character of an id
    query = select(table).where(*begins).limit(2)
    rows = connection.execute(query.with_for_update() if hold else query).all() if name else []
    if len(rows) == 1 or (rows and rows[0].id == name):
        return rows[0]
    if not rows:
        raise NotFound(f"no entry begins with {name[:40]!r}")
    count = connection.execute(select(func.count()).select_from(table).where(*begins)).scalar_one()
    first = connection.execute(
        select(table.c.id).where(*begins).order_by(table.c.no).limit(SHOWN)).scalars().all()
    several = (f"{count} messages begin with {name!r}" if table is message
               else f"{count} deliveries begin with {name!r}")
    raise Ambiguous(f"{several}: {', '.join(first)}{', …' if count > SHOWN else ''}: give more of the id")


def replay(tx: Transaction, name: str, who: str, *, ask_first: bool = False) -> int:
    """Process a parked message again. Of a routed message, make every delivery due that did not arrive.

    With `ask_first` the deliveries of a parked message will be in doubt: somebody knows that they may have
    been sent already. Returns how many were changed.
    """
    row = find(tx.connection, message, name, hold=True)
    _refuse_emptied(row)
    if row.state == MessageState.PARKED:
        _move_message(tx, row, MessageState.RECEIVED, "replayed", who, deaths=0, suspect=0, reason_text=None,
                      reason=RESTORED if ask_first or _may_have_gone_on(tx, row.id) else None)
        return 1
    if row.state != MessageState.ROUTED:
        raise NotNow(f"Nachricht {row.id} ist {STATES[row.state]}: nur geparkte lassen sich wiederholen, und "
                     "die in Zustellung sind")
    rows = [each for each in _deliveries(tx, row.id) if each.state in REPEATABLE and each.lease_until is None
            and (each.state != DUE or each.attempts)]
    for each in rows:
        due_again(tx, each, who)
    return len(rows)


def replay_delivery(tx: Transaction, name: str, who: str) -> int:
    """Make a delivery due that is parked, in doubt or waiting. It sends the same bytes."""
    _refuse_emptied(_message_of(tx, name))
    row = _idle(tx, name, REPEATABLE)
    due_again(tx, row, who)
    return 1


def _may_have_gone_on(tx: Transaction, message_id: str) -> bool:
    """Whether a message comes from a backup, in which it was on its way: it may have arrived since.

    One that was parked in the backup was not.
    """
    return tx.connection.execute(
        select(event.c.no).where(event.c.message_id == message_id, event.c.name == RESTORED,
                                 or_(event.c.before.is_(None), event.c.before != MessageState.PARKED.value))
        .limit(1)).scalar() is not None


def due_again(tx: Transaction, row: Row[Any], who: str) -> None:
    # somebody may have replayed it after the backup: its receiver is asked first
    if row.error == RESTORED and row.state == PARKED:
        _move_delivery(tx, row, IN_DOUBT, "replayed", who, due_at=tx.now, first_due_at=tx.now, reason=None)
        return
    # a delivery in doubt may be there already: the receiver shall see that this may be a repetition
    marked = int(row.repeat_marked or row.state == IN_DOUBT or row.reason == Reason.IN_DOUBT)
    _move_delivery(tx, row, DUE, "replayed", who, due_at=tx.now, first_due_at=tx.now, repeat_marked=marked,
                   error=None,
                   reason=None, reason_text=None, effect_at=None)


def discard_message(tx: Transaction, name: str, who: str, reason: str) -> int:
    """Discard a parked message, or all deliveries of a routed message that did not arrive. This is final.

    Returns how many were discarded.
    """
    row = find(tx.connection, message, name, hold=True)
    if row.state == MessageState.PARKED:
        _move_message(tx, row, MessageState.DISCARDED, "discarded", who, detail=reason, finished_at=tx.now)
        case_order.free(tx, [(row.tenant, row.case)])
        return 1
    if row.state != MessageState.ROUTED:
        raise NotNow(
            f"Nachricht {row.id} ist {STATES[row.state]}: nur geparkte lassen sich verwerfen, und die in "
            "Zustellung sind")
    rows = [each for each in _deliveries(tx, row.id) if each.state not in {DONE, DISCARDED}]
    for each in rows:
        _refuse_busy(each)
        _move_delivery(tx, each, DISCARDED, "discarded", who, detail=reason, due_at=None, finished_at=tx.now)
    close_messages(tx, [row.id])
    case_order.free(tx, [(each.tenant, each.order_key) for each in rows])
    return len(rows)


def discard_delivery(tx: Transaction, name: str, who: str, reason: str) -> int:
    """Discard one delivery. This is final: the recipient does not get it."""
    row = _idle(tx, name, {DUE, IN_DOUBT, PARKED})
    _move_delivery(tx, row, DISCARDED, "discarded", who, detail=reason, due_at=None, finished_at=tx.now)
    close_messages(tx, [row.message_id])
    case_order.free(tx, [(row.tenant, row.order_key)])
    return 1


def confirm(tx: Transaction, name: str, who: str, reason: str) -> int:
    """Mark a delivery as done: a person knows that the receiver has it."""
    row = _idle(tx, name, {IN_DOUBT, PARKED})
    receipt = json.dumps({"reference": f"bestätigt von {who}", "detail": {"reason": reason}},
                         ensure_ascii=False)
    _move_delivery(tx, row, DONE, "confirmed", who, detail=reason, due_at=None, finished_at=tx.now,
                   receipt=receipt)
    close_messages(tx, [row.message_id])
    case_order.free(tx, [(row.tenant, row.order_key)])
    return 1


def resend_as_new(tx: Transaction, name: str, who: str) -> str:
    """Send the same body under a new id, as if it had never been sent. Returns the id of the new delivery."""
    tx.hold(message.c.id, [find(tx.connection, delivery, name).message_id])
    row = find(tx.connection, delivery, name, hold=True)
    _refuse_emptied(_message_of(tx, name))
    if row.state == DELIVERING:
        _refuse_busy(row)
    last = tx.connection.execute(select(func.max(delivery.c.generation)).where(
        delivery.c.message_id == row.message_id, delivery.c.recipient == row.recipient)).scalar_one()
    new = delivery_id(row.message_id, row.recipient, last + 1)
    kept = ("message_id", "tenant", "ags", "service", "recipient", "destination", "test", "case", "order_key",
            "manifest",
            "config_digest", "mapping_digest")
    tx.connection.execute(insert(delivery), [{
        **{column: row._mapping[column] for column in kept}, "id": new, "generation": last + 1, "state": DUE,
        "created_at": tx.now, "first_due_at": tx.now, "due_at": tx.now}])
    tx.ledger.happened("delivery", row.service, row.destination, "created")
    tx.ledger.moved("delivery", row.service, row.destination, None, DUE)
    tx.ledger.event(tx.now, row.message_id, "created", delivery_id=new, after=DUE, who=who,
                    detail=f"noch einmal als neu: {row.id}")
    parent = find(tx.connection, message, row.message_id)
    if parent.state != MessageState.ROUTED:
        _move_message(tx, parent, MessageState.ROUTED, "routed", who, finished_at=None)
    return new


def content_read(tx: Transaction, name: str, who: str) -> None:
    """Note in a message's history that a person looks at its content. Nothing else changes."""
    row = find(tx.connection, message, name)
    _refuse_emptied(row)
    tx.ledger.event(tx.now, row.id, "content-read", detail="Vorschau", who=who)


def _deliveries(tx: Transaction, message_id: str) -> list[Row[Any]]:
    return list(tx.connection.execute(
        select(delivery).where(delivery.c.message_id == message_id).order_by(delivery.c.no)
        .with_for_update()))


def _idle(tx: Transaction, name: str, states: set[str]) -> Row[Any]:
    """The delivery. Raises `NotNow` unless it is in one of these states and no claim holds it."""
    row = find(tx.connection, delivery, name, hold=True)
    _refuse_busy(row)
    if row.state not in states:
        may = ", ".join(STATES[state] for state in sorted(states))
        raise NotNow(f"Zustellung {row.id} ist {STATES[row.state]}: das geht nur bei {may}")
    return row


def _refuse_busy(row: Row[Any]) -> None:
    if row.lease_until is not None:
        raise NotNow(f"Zustellung {row.id} läuft gerade: bitte gleich noch einmal versuchen")


def _move_message(tx: Transaction, row: Row[Any], after: MessageState, name: str, who: str, *,
                  detail: str | None = None,
                  **values: Any) -> None:
    tx.connection.execute(update(message).where(message.c.no == row.no).values(state=after.value, **values))
    tx.ledger.moved("message", row.service, "", row.state, after.value)
    tx.ledger.happened("message", row.service, "", name)
    tx.ledger.event(tx.now, row.id, name, before=row.state, after=after.value, detail=detail, who=who)


def _move_delivery(tx: Transaction, row: Row[Any], after: str, name: str, who: str, *,
                   detail: str | None = None,
                   **values: Any) -> None:
    tx.connection.execute(update(delivery).where(delivery.c.no == row.no).values(state=after, **values))
    tx.ledger.moved("delivery", row.service, row.destination, row.state, after)
    tx.ledger.happened("delivery", row.service, row.destination, name)
    tx.ledger.event(tx.now, row.message_id, name, delivery_id=row.id, before=row.state, after=after,
                    detail=detail, who=who)
    if after == DONE:
        count_as_used(tx, row, by_a_person=True)


def _message_of(tx: Transaction, delivery_name: str) -> Row[Any]:
    return find(tx.connection, message, find(tx.connection, delivery, delivery_name).message_id)


def _refuse_emptied(row: Row[Any]) -> None:
    if row.payload_deleted_at is not None:
        day = moment(row.payload_deleted_at).astimezone(BERLIN)
        raise NotNow(f"Der Inhalt der Nachricht {row.id} wurde am {day:%d.%m.%Y} nach Ablauf der "
                     "Aufbewahrungsfrist gelöscht: "
                     "Sie lässt sich nicht noch einmal senden; ihr Nachweis bleibt.")
