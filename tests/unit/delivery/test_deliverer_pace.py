"""How fast a destination is served, and that nobody starves."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from hub.delivery.circuit_breaker import Circuit
from hub.errors import Temporary
from hub.message import DeliveryState, Receipt
from hub.store.transitions.deliveries import Settlement
from tests.services import wait_until
from tests.unit.delivery.bench import EINS, Benches, quiet


@pytest.mark.slow
def test_an_outage_is_drained_at_the_destinations_rate(benches: Benches) -> None:
    bench = benches('rate = "60/m"')
    clocks: list[datetime] = []

    def arrive() -> Receipt:
        clocks.append(bench.clock)
        return Receipt("angekommen")

    bench.outlet.begin, bench.outlet.script = False, [*[Temporary("weg")] * 3, *[arrive] * 12]
    messages = [bench.message(number) for number in range(12)]
    for _ in range(3):
        quiet(bench)
        bench.later(seconds=1)
    wait_until(lambda: bench.deliverer.circuits().get(EINS, Circuit()).resting_until is not None,
               "the outage", 10)
    bench.clock += timedelta(hours=3)
    for _ in range(40):
        quiet(bench)
        bench.later(milliseconds=500)
    for message in messages:
        bench.until(message, DeliveryState.DONE)
    assert len(clocks) == 12
    assert all(later - earlier >= timedelta(seconds=1) for earlier, later in itertools.pairwise(clocks))


def test_fresh_ones_do_not_starve_behind_deferred_ones_nor_these_behind_them(benches: Benches) -> None:
    """One by one, as after an outage: every second claim begins with the other kind."""
    bench = benches("parallel = 1", hub="batch = 1\n")
    bench.outlet.begin = False
    old = [bench.message(number) for number in range(10)]
    bench.stop()
    for message in old:
        if bench.delivery(message).state is DeliveryState.DUE:
            item = bench.store.claim_deliveries(EINS, 1, timedelta(minutes=5))[0]
            bench.store.settle([Settlement.later(item.delivery.id, bench.clock, "temporary", "weg")])
    old = [message for message in old if bench.delivery(message).state is DeliveryState.DUE]
    bench.outlet.tries.clear()
    new = [bench.message(number) for number in range(20, 20 + len(old))]
    bench.start_anew()
    for message in old + new:
        bench.until(message, DeliveryState.DONE)
    kinds = ["old" if delivery.message_id in old else "new" for delivery in bench.outlet.tries]
    assert len(old) >= 5
    assert kinds[:10] in (["old", "new"] * 5, ["new", "old"] * 5)


def test_waking_one_destination_does_not_look_at_all_the_others(benches: Benches,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    bench = benches()
    quiet(bench)
    looks: list[Any] = []
    real = bench.store.due_at

    def look(names: Any) -> Any:
        looks.append(set(names))
        return real(names)

    monkeypatch.setattr(bench.store, "due_at", look)
    monkeypatch.setattr(bench.store, "due_destinations", lambda now=None: looks.append("all") or [])
    message = bench.message()
    bench.deliverer.wake([EINS])
    wait_until(lambda: bench.delivery(message).state is DeliveryState.DONE, "it is delivered", 10)
    assert {EINS} in looks
    assert "all" not in looks
