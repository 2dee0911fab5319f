"""Who is served first, by what is known about the destinations."""

from __future__ import annotations

from datetime import UTC, datetime

from hub.delivery.circuit_breaker import Circuit, longest_unserved_first


def test_where_threads_are_short_the_longest_unserved_comes_first() -> None:
    circuits = {name: Circuit(turn=turn) for turn, name in enumerate(("c", "a", "b"), 1)}
    now = datetime(2026, 5, 4, tzinfo=UTC)
    waiting = [(name, now) for name in ("a", "b", "c", "new")]
    assert [name for name, _ in longest_unserved_first(waiting, circuits)] == ["new", "c", "a", "b"]
