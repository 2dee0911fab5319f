"""When messages of a sender arrived, tests left out: the last one, and the longer gaps between them.

A sender may have sent millions. The gaps are found by a loose scan over the index ``message_by_sender``: it
jumps from a message to the last one within `least` of it, so its cost grows with the time that is looked at,
not with the messages.

Used by `hub.operations.silence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from hub.store.database.tables import micros, moment, span

_LAST = text("SELECT max(received_at) FROM message WHERE sender = :sender AND test = 0")
_FIRST = text("""
    SELECT min(received_at) FROM message WHERE sender = :sender AND test = 0 AND received_at >= :since""")
_COUNT = text("""
    SELECT count(*) FROM (SELECT 1 FROM message WHERE sender = :sender AND test = 0 AND received_at >= :since
                          LIMIT :most) AS found""")
_GAPS = text("""
    WITH RECURSIVE jump(at, since) AS (
        SELECT CAST(:first AS BIGINT), CAST(NULL AS BIGINT)
        UNION ALL
        SELECT COALESCE(
                   (SELECT max(received_at) FROM message WHERE sender = :sender AND test = 0
                    AND received_at > jump.at AND received_at <= jump.at + :least),
                   (SELECT min(received_at) FROM message WHERE sender = :sender AND test = 0
                    AND received_at > jump.at + :least)),
               CASE WHEN NOT EXISTS (
                   SELECT 1 FROM message WHERE sender = :sender AND test = 0
                   AND received_at > jump.at AND received_at <= jump.at + :least) THEN jump.at END
        FROM jump WHERE jump.at IS NOT NULL)
    SELECT since, at FROM jump WHERE since IS NOT NULL AND at IS NOT NULL""")


@dataclass(frozen=True, slots=True)
class History:
    """What a sender's messages since some moment were like."""

    first: datetime
    """When the first of them arrived."""
    count: int
    """How many there were, at most as many as were asked for."""
    gaps: tuple[tuple[datetime, datetime], ...]
    """The gaps between two of them that are longer than was asked for."""


def last(connection: Connection, sender: str) -> datetime | None:
    """When the last message of this sender arrived; None when there was none."""
    at = connection.execute(_LAST, {"sender": sender}).scalar_one_or_none()
    return None if at is None else moment(at)


def history(connection: Connection, sender: str, since: datetime, least: timedelta,
            most: int) -> History | None:
    """What this sender sent since then: gaps longer than `least`, and how many messages up to `most`."""
    values = {"sender": sender, "since": micros(since)}
    first = connection.execute(_FIRST, values).scalar_one_or_none()
    if first is None:
        return None
    count = connection.execute(_COUNT, values | {"most": most}).scalar_one()
    gaps = connection.execute(_GAPS, {"sender": sender, "first": first, "least": span(least)})
    return History(moment(first), count, tuple((moment(begin), moment(end)) for begin, end in gaps))
