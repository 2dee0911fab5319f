"""Which destinations have deliveries that wait, and since when: read by index, however much lies there."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, literal_column, select, text

from hub.store.database.statements import Query
from hub.store.database.tables import delivery

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


def due_at(connection: Connection, destinations: Collection[str]) -> list[tuple[str, int]]:
    """`due_destinations`, of these only."""
    found = ((name, FIRST_DUE(connection, d=name)[0]) for name in destinations)
    return [(name, min(at for at in ways if at is not None)) for name, ways in found
            if any(at is not None for at in ways)]


FIRST_DUE = Query(select(*(
    select(delivery.c.due_at).where(delivery.c.destination == bindparam("d"),
                                    delivery.c.fresh == literal_column(fresh),
                                    delivery.c.due_at.is_not(None))
    .order_by(delivery.c.due_at).limit(literal_column("1")).scalar_subquery().label(name)
    for name, fresh in (("fresh", "1"), ("deferred", "0")))))


def due_destinations(connection: Connection) -> list[tuple[str, int]]:
    """Every destination that has waiting deliveries, with the earliest moment (a loose index scan: cost per
    destination)."""
    return [(name, min(at for at in ways if at is not None))
            for name, *ways in connection.execute(NEXT_DESTINATION)]


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


def oldest_open(connection: Connection) -> dict[str, int]:
    """By destination: when its oldest undelivered delivery was made, without those that wait for their turn
    (`hub.store.transitions.case_order`)."""
    return {row[0]: row[1] for row in connection.execute(OLDEST_OPEN)}
