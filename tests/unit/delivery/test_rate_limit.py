"""A pace is even, and never saves up."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hub.delivery.rate_limit import Pace


def test_a_pace_is_even_and_never_saves_up() -> None:
    pace, now, taken = Pace(), datetime(2026, 5, 4, tzinfo=UTC), []
    for _ in range(100_000):
        ready = pace.ready(20.0, now)
        if ready > now:
            now = ready
            continue
        taken += [now] * pace.take(20)
        if len(taken) == 60:
            now += timedelta(days=1)  # a night without work gives no more than the start did
            taken += [now] * 0
        if len(taken) >= 120:
            break
    per_second = Counter(int(moment.timestamp()) for moment in taken)
    assert max(per_second.values()) <= 20 + 5
    evening, night = taken[:60], taken[60:]
    assert timedelta(seconds=2.6) <= evening[-1] - evening[0] <= timedelta(seconds=3)
    assert timedelta(seconds=2.6) <= night[-1] - night[0] <= timedelta(seconds=3)


def test_what_a_claim_did_not_use_is_not_lost() -> None:
    pace, now = Pace(), datetime(2026, 5, 4, tzinfo=UTC)
    assert pace.ready(4.0, now) == now
    assert pace.take(20) == 1
    pace.give_back(1)
    assert pace.ready(4.0, now) == now
