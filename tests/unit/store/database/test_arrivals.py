"""A sender's last message and its gaps, by jumps over an index."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.store.database import arrivals
from hub.store.store import Store
from tests.unit.store_kit import Clock, accept, incoming, prepare

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store.open(prepare(tmp_path), now=clock)
    yield store
    store.close()


def test_gaps_are_those_between_a_senders_own_real_messages(store: Store, clock: Clock) -> None:
    begin = clock.now
    for number, (hour, sender, test) in enumerate((
            (0, "portal", False), (0.5, "portal", False), (3, "other", False), (4, "portal", True),
            (5, "portal", False), (5.9, "portal", False), (6.9, "portal", False), (9, "portal", False))):
        clock.now = begin + hour * HOUR
        accept(store, incoming(b"%d" % number, sender=sender, test=test))
    with store.reading() as connection:
        assert arrivals.last(connection, "portal") == begin + 9 * HOUR
        assert arrivals.last(connection, "nobody") is None
        found = arrivals.history(connection, "portal", begin, HOUR, 4)
        assert found == arrivals.History(begin, 4, ((begin + 0.5 * HOUR, begin + 5 * HOUR),
                                                    (begin + 6.9 * HOUR, begin + 9 * HOUR)))
        later = arrivals.history(connection, "portal", begin + HOUR, HOUR, 99)
        assert later == arrivals.History(begin + 5 * HOUR, 4, found.gaps[1:])
        assert arrivals.history(connection, "portal", begin + 10 * HOUR, HOUR, 4) is None


def test_it_jumps_over_the_index(store: Store) -> None:
    with store.reading() as connection:
        for statement in (
                "SELECT max(received_at) FROM message WHERE sender = 'a' AND test = 0",
                "SELECT min(received_at) FROM message WHERE sender = 'a' AND test = 0 AND received_at > 7",
                "SELECT max(received_at) FROM message WHERE sender = 'a' AND test = 0 AND received_at > 7 "
                "AND received_at <= 9"):
            [plan] = connection.execute(text(f"EXPLAIN QUERY PLAN {statement}")).all()
            assert "COVERING INDEX message_by_sender (sender=?" in plan.detail, plan.detail


def test_the_gaps_are_all_gaps_and_only_those(store: Store, clock: Clock) -> None:
    """Against the plain way, which looks at each message."""
    begin, dice = clock.now, random.Random(7)
    moments = [begin]
    for number in range(200):
        accept(store, incoming(b"%d" % number))
        clock.now += dice.choice((1, 20, 59, 60, 61, 300)) * timedelta(minutes=1)
        moments.append(clock.now)
    plain = tuple(pair for pair in pairwise(moments[:-1]) if pair[1] - pair[0] > HOUR)
    with store.reading() as connection:
        found = arrivals.history(connection, "portal", begin, HOUR, 1000)
    assert found == arrivals.History(begin, 200, plain)
    assert len(plain) > 30
