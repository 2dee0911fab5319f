"""Which destinations have open deliveries, and since when; how many messages wait for a person.

The statements are loose index scans over partial indexes (`hub.store.database.tables`): their cost grows with
the destinations, not with the deliveries. What is parked is counted in an index that has nothing else. They
change nothing.

Used by `hub.store.store`, for the deliverer's schedule and for the metrics.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, func, literal_column, select, text

from hub.store.database.statements import Query
from hub.store.database.tables import MESSAGE_PARKED, delivery, message

PARKED = (select(message.c.tenant, message.c.reason, func.count()).where(MESSAGE_PARKED)
          .group_by(message.c.tenant, message.c.reason))
FIRST_DUE = Query(select(*(
    select(delivery.c.due_at).where(delivery.c.destination == bindparam("d"),
                                    delivery.c.fresh == literal_column(fresh),
                                    delivery.c.due_at.is_not(None))
    .order_by(delivery.c.due_at).limit(literal_column("1")).scalar_subquery().label(name)
    for name, fresh in (("fresh", "1"), ("deferred", "0")))))
NEXT_DESTINATION = text("""
    WITH RECURSIVE place(name) AS (
        SELECT (SELECT destination FROM delivery WHERE due_at IS NOT NULL ORDER BY destination LIMIT 1)
        UNION ALL
        SELECT (SELECT destination FROM delivery WHERE due_at IS NOT NULL AND destination > place.name
                ORDER BY destination LIMIT 1)
        FROM place WHERE place.name IS NOT NULL)
    SELECT name,
           (SELECT due_at FROM delivery WHERE destination = name AND fresh = 1 AND due_at IS NOT NULL
            ORDER BY due_at LIMIT 1),
           (SELECT due_at FROM delivery WHERE destination = name AND fresh = 0 AND due_at IS NOT NULL
            ORDER BY due_at LIMIT 1)
    FROM place WHERE name IS NOT NULL""")
OLDEST_OPEN = text("""
    WITH RECURSIVE place(name) AS (
        SELECT (SELECT destination FROM delivery WHERE state IN ('due', 'delivering', 'in_doubt')
                ORDER BY destination LIMIT 1)
        UNION ALL
        SELECT (SELECT destination FROM delivery WHERE state IN ('due', 'delivering', 'in_doubt')
                AND destination > place.name ORDER BY destination LIMIT 1)
        FROM place WHERE place.name IS NOT NULL)
    SELECT name, (SELECT created_at FROM delivery
                  WHERE destination = name AND state IN ('due', 'delivering', 'in_doubt')
                  AND (state <> 'due' OR due_at IS NOT NULL) ORDER BY created_at LIMIT 1)
    FROM place WHERE name IS NOT NULL""")


def due_at(connection: Connection, destinations: Collection[str]) -> list[tuple[str, int]]:
    """As `due_destinations`, for these destinations only."""
    found = ((name, FIRST_DUE(connection, d=name)[0]) for name in destinations)
    return [(name, min(at for at in ways if at is not None)) for name, ways in found
            if any(at is not None for at in ways)]


def due_destinations(connection: Connection) -> list[tuple[str, int]]:
    """Every destination with waiting deliveries, and when its first one is due (microseconds)."""
    return [(name, min(at for at in ways if at is not None))
            for name, *ways in connection.execute(NEXT_DESTINATION)]


def oldest_open(connection: Connection) -> dict[str, int]:
    """When the oldest open delivery of each destination was made (microseconds), by destination.

    Deliveries that wait within their case do not count (`hub.store.transitions.case_order`).
    """
    return {row[0]: row[1] for row in connection.execute(OLDEST_OPEN)}


def parked(connection: Connection) -> dict[tuple[str, str], int]:
    """How many messages are parked, by tenant and reason. The tenant of nobody's message is empty."""
    return {(tenant, reason or ""): count for tenant, reason, count in connection.execute(PARKED)}
