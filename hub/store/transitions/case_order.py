"""Order within a case (Vorgang): whose turn it is at a destination, where a
route asks for it (``order = "case"``).

A delivery with an `order_key` (its case) goes only when every delivery of an earlier message of that case to
the same destination is done or discarded, and no earlier message of the case is still on its way to the
outbox. Earlier means accepted earlier (`message.no`). A parked one holds the later ones back until a person
decided about it; of messages that are parked before they became deliveries, only those of the same service
do, because nobody knows where others would go.

Who must wait is found out at the claim and loses its `due_at`, so nobody looks at it again and again;
whatever may end a wait calls `free` in the same transaction. `free_all` finds those that two transactions of
two nodes missed between them.

Functions on one `Transaction`, in words that SQLite and PostgreSQL both understand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from hub.message import DeliveryState, MessageState
from hub.store.database.statements import Query, batches
from hub.store.database.tables import delivery, message
from hub.store.database.transaction import Transaction

DUE = DeliveryState.DUE.value
TEXT = "Eine frühere Nachricht desselben Vorgangs ist noch nicht zugestellt."
_AT_ONCE = 1000

# what the partial indexes `delivery_ordered` and `message_unrouted` hold; not
# bound: the planner must see that they fit
_OPEN = "{}.state IN ('due', 'delivering', 'in_doubt', 'parked')"
_UNROUTED = "{}.state IN ('received', 'deferred', 'parked')"

_own = message.alias("own")
_before = delivery.alias("before")
_before_message = message.alias("before_message")
_unrouted = message.alias("unrouted")


def _is(sql: str) -> ColumnElement[bool]:
    return literal_column(sql)


_EARLIER_DELIVERY = and_(
    _before.c.order_key == delivery.c.order_key, _before.c.destination == delivery.c.destination,
    _is(_OPEN.format("before")),
    _before_message.c.id == _before.c.message_id, _before_message.c.no < _own.c.no)
_EARLIER_MESSAGE = and_(
    _unrouted.c.tenant == delivery.c.tenant, _unrouted.c.case == delivery.c.order_key,
    _is(_UNROUTED.format("unrouted")), _unrouted.c.no < _own.c.no,
    or_(_unrouted.c.state != MessageState.PARKED.value, _unrouted.c.service == delivery.c.service))
_BLOCKED = or_(exists().where(_EARLIER_DELIVERY), exists().where(_EARLIER_MESSAGE))
_HELD = and_(delivery.c.order_key.is_not(None), _is(_OPEN.format("delivery")), delivery.c.state == DUE,
             delivery.c.due_at.is_(None))


def _of(what: Any) -> Select[Any]:
    return select(what).join(_own, _own.c.id == delivery.c.message_id)


class Predecessor(NamedTuple):
    """What a delivery waits for: an earlier message, and its delivery if it has become one."""

    message_id: str
    delivery_id: str | None
    state: str


def blocked(tx: Transaction, rows: Iterable[Row[Any]]) -> set[int]:
    """Of these rows of `delivery`: the numbers of those whose turn it is not. One
    in doubt may be there: it is asked for."""
    numbers = [row.no for row in rows if row.order_key is not None and row.state == DUE]
    return {no for some in batches(numbers)
            for no in tx.connection.execute(_of(delivery.c.no).where(delivery.c.no.in_(some),
                                                                     _BLOCKED)).scalars()}


def hold(tx: Transaction, numbers: Sequence[Any]) -> None:
    """These wait until somebody frees them; no try, so none is counted."""
    for some in batches(numbers):
        tx.connection.execute(update(delivery).where(delivery.c.no.in_(some)).values(
            due_at=None, error="held", reason="order", reason_text=TEXT))


def free(tx: Transaction, keys: Iterable[tuple[str, str | None]]) -> int:
    """Of the cases (tenant, order key; None: has none): let those go whose turn it is now. How many."""
    wanted = {(tenant, key) for tenant, key in keys if key is not None}
    numbers: list[int] = []
    for some in batches(sorted({key for _, key in wanted})):
        numbers += [row.no for row in _FREE(tx.connection, keys=some)
                    if (row.tenant, row.order_key) in wanted]
    return _let_go(tx, numbers)


_FREE = Query(_of(delivery.c.no).add_columns(delivery.c.tenant, delivery.c.order_key).where(
    delivery.c.order_key.in_(bindparam("keys", expanding=True)), _HELD, ~_BLOCKED))


def missed(connection: Connection) -> list[int]:
    """Those that wait although it is their turn: another node's transaction ended
    at the same moment. Slow: looks at all."""
    return list(connection.execute(_of(delivery.c.no).where(_HELD, ~_BLOCKED).limit(_AT_ONCE)).scalars())


def free_all(tx: Transaction, numbers: Sequence[int]) -> int:
    """Let those go that `missed` named; a claim looks again."""
    return _let_go(tx, numbers)


def _let_go(tx: Transaction, numbers: Sequence[Any]) -> int:
    """Due since they were made, so that a long case does not queue anew with
    each message; the retry policy begins now."""
    for some in batches(numbers):
        tx.connection.execute(update(delivery).where(delivery.c.no.in_(some), _HELD).values(
            due_at=delivery.c.created_at, error=None, reason=None, reason_text=None,
            first_due_at=case((delivery.c.attempts == 0, tx.now), else_=delivery.c.first_due_at)))
    return len(numbers)


def waiting(connection: Connection) -> dict[str, int]:
    """By destination: how many wait for their turn."""
    rows = connection.execute(select(delivery.c.destination,
                                     func.count()).where(_HELD).group_by(delivery.c.destination))
    return {row[0]: row[1] for row in rows}


def predecessor(connection: Connection, delivery_id: str) -> Predecessor | None:
    """The earliest of those that a delivery waits for, or None."""
    own = _of(_before.c.message_id).add_columns(_before.c.id,
                                                _before.c.state).where(delivery.c.id == delivery_id)
    row = connection.execute(own.where(_EARLIER_DELIVERY).order_by(_before_message.c.no,
                                                                   _before.c.no).limit(1)).one_or_none()
    if row is None:
        row = connection.execute(_of(_unrouted.c.id).add_columns(literal_column("NULL"),
                                                                 _unrouted.c.state).where(
delivery.c.id == delivery_id, _EARLIER_MESSAGE).order_by(_unrouted.c.no).limit(1)).one_or_none()
    return None if row is None else Predecessor(*row)
