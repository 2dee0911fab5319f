"""Order within a case (Vorgang): which deliveries must wait, where a route says ``order = "case"``.

A delivery with an `order_key` (its case) may go only when two things hold. Every delivery of an earlier
message of that case to the same destination is done or discarded. And no earlier message of the case still
waits to become deliveries. Earlier means accepted earlier (`message.no`).

A parked delivery holds later ones back until a person decides. A message that was parked before it became
deliveries holds back later ones of the same service only, because nobody knows where it would have gone.

The claim finds out which deliveries must wait. It takes their `due_at` away, so that no later
claim looks at them again. Each change that may end a wait calls `free` in the same
transaction. Two transactions of two nodes may miss each other's changes; `missed` finds the
deliveries that then still wait, and `free_all` lets them go.

Functions on one `Transaction`, in statements that SQLite and PostgreSQL both understand. Used by the other
transitions and by `hub.store.store`.
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
"""The reason that a person reads at a delivery that waits."""
_AT_ONCE = 1000

# The conditions of the partial indexes `delivery_ordered` and `message_unrouted`. They are literal text and
# not bound, because the planner must see that the indexes fit.
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


_FREE = Query(_of(delivery.c.no).add_columns(delivery.c.tenant, delivery.c.order_key).where(
    delivery.c.order_key.in_(bindparam("keys", expanding=True)), _HELD, ~_BLOCKED))


class Predecessor(NamedTuple):
    """What a delivery waits for: an earlier message, and the delivery of it, if it has one already."""

    message_id: str
    delivery_id: str | None
    state: str


def blocked(tx: Transaction, rows: Iterable[Row[Any]]) -> set[int]:
    """The numbers of those rows of `delivery` that must wait.

    A row in doubt never waits, because probing it sends nothing.
    """
    numbers = [row.no for row in rows if row.order_key is not None and row.state == DUE]
    return {no for some in batches(numbers)
            for no in tx.connection.execute(_of(delivery.c.no).where(delivery.c.no.in_(some),
                                                                     _BLOCKED)).scalars()}


def hold(tx: Transaction, numbers: Sequence[Any]) -> None:
    """Let these deliveries wait until `free` lets them go. No attempt is counted."""
    for some in batches(numbers):
        tx.connection.execute(update(delivery).where(delivery.c.no.in_(some)).values(
            due_at=None, error="held", reason="order", reason_text=TEXT))


def free(tx: Transaction, keys: Iterable[tuple[str, str | None]]) -> int:
    """Let those deliveries of the given cases go that need not wait any more. Returns how many.

    A case is (tenant, order key); a key of None is ignored.
    """
    wanted = {(tenant, key) for tenant, key in keys if key is not None}
    numbers: list[int] = []
    for some in batches(sorted({key for _, key in wanted})):
        numbers += [row.no for row in _FREE(tx.connection, keys=some)
                    if (row.tenant, row.order_key) in wanted]
    return _let_go(tx, numbers)


def missed(connection: Connection) -> list[int]:
    """The numbers of deliveries that wait without need, because two nodes committed at the same moment.

    Slow: it looks at every waiting delivery.
    """
    return list(connection.execute(_of(delivery.c.no).where(_HELD, ~_BLOCKED).limit(_AT_ONCE)).scalars())


def free_all(tx: Transaction, numbers: Sequence[int]) -> int:
    """Let the deliveries go that `missed` found. A claim checks them again. Returns how many."""
    return _let_go(tx, numbers)


def _let_go(tx: Transaction, numbers: Sequence[Any]) -> int:
    """Make these due since their creation, so that a long case does not queue anew with each message.

    The clock of the retry policy begins now.
    """
    for some in batches(numbers):
        tx.connection.execute(update(delivery).where(delivery.c.no.in_(some), _HELD).values(
            due_at=delivery.c.created_at, error=None, reason=None, reason_text=None,
            first_due_at=case((delivery.c.attempts == 0, tx.now), else_=delivery.c.first_due_at)))
    return len(numbers)


def waiting(connection: Connection) -> dict[str, int]:
    """The number of deliveries that wait within their case, by destination."""
    rows = connection.execute(
        select(delivery.c.destination, func.count()).where(_HELD).group_by(delivery.c.destination))
    return {row[0]: row[1] for row in rows}


def predecessor(connection: Connection, delivery_id: str) -> Predecessor | None:
    """The earliest message or delivery that a delivery waits for, or None."""
    own = (_of(_before.c.message_id).add_columns(_before.c.id, _before.c.state)
           .where(delivery.c.id == delivery_id))
    row = connection.execute(own.where(_EARLIER_DELIVERY)
                             .order_by(_before_message.c.no, _before.c.no).limit(1)).one_or_none()
    if row is None:
        row = connection.execute(
            _of(_unrouted.c.id).add_columns(literal_column("NULL"), _unrouted.c.state)
            .where(delivery.c.id == delivery_id, _EARLIER_MESSAGE)
            .order_by(_unrouted.c.no).limit(1)).one_or_none()
    return None if row is None else Predecessor(*row)
