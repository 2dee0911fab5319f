"""A receiver that is down rests as a whole, and costs the others nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from hub.errors import Misconfigured, Temporary
from hub.message import (
    Delivery,
    DeliveryState,
    Receipt,
)
from tests.services import wait_until
from tests.unit.delivery.bench import Bench, Benches, quiet


def test_a_dead_destination_rests_as_a_whole_and_drains_when_it_is_back(bench: Bench) -> None:
    bench.outlet.begin = False
    bench.outlet.script = [Temporary("weg") for _ in range(3)]
    messages = [bench.message(number) for number in range(20)]
    bench.deliverer.wake()
    wait_until(lambda: not bench.outlet.script, "three failures", 10)
    wait_until(lambda: all(bench.delivery(message).state is DeliveryState.DUE for message in messages),
               "all wait", 10)
    assert len(bench.outlet.tries) == 3, "the other seventeen were not tried"
    assert sorted(bench.delivery(message).attempts for message in messages) == [0] * 17 + [1] * 3
    assert bench.deliverer.circuits()["musterstadt/eins"].open(bench.clock)
    bench.later(hours=3)
    for message in messages:
        bench.until(message, DeliveryState.DONE)


def test_a_misconfigured_destination_parks_nothing(bench: Bench) -> None:
    bench.outlet.begin = False
    bench.outlet.script = [Misconfigured("Kennwort falsch")]
    messages = [bench.message(number) for number in range(5)]
    bench.deliverer.wake()
    circuits = bench.deliverer.circuits
    wait_until(lambda: "musterstadt/eins" in circuits() and circuits()["musterstadt/eins"].misconfigured,
               "the alarm", 10)
    wait_until(lambda: all(bench.delivery(message).state is DeliveryState.DUE for message in messages),
               "all wait", 10)
    bench.deliverer.reset("musterstadt/eins")
    bench.later(minutes=16)
    for message in messages:
        bench.until(message, DeliveryState.DONE)


def test_what_a_resting_destination_gave_back_untried_does_not_wait_when_it_is_repaired(bench: Bench) -> None:
    for number in range(5):
        bench.until(bench.message(number), DeliveryState.DONE)  # so that several are claimed at once
    bench.outlet.begin = False
    bench.outlet.script = [Misconfigured("nur lesbar")]
    messages = [bench.message(number) for number in range(5, 15)]
    bench.deliverer.wake()
    wait_until(lambda: bench.deliverer.circuits()["musterstadt/eins"].misconfigured, "the alarm", 10)
    wait_until(lambda: all(bench.delivery(message).state is DeliveryState.DUE for message in messages),
               "all wait", 10)
    untried = [message for message in messages if not bench.delivery(message).attempts]
    assert untried
    bench.deliverer.reset("musterstadt/eins")
    bench.later(minutes=2)
    for message in untried:
        bench.until(message, DeliveryState.DONE)


def test_one_dead_municipality_does_not_slow_the_others(bench: Bench,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, release = threading.Event(), threading.Event()
    slow = [bench.message(number) for number in range(3)]
    # not the first three tries: an errand may take two of them
    dead = {bench.delivery(message).id for message in slow}
    tries = bench.outlet.deliver

    def hang(delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        if delivery.id in dead:
            hanging.set()
            release.wait(20)
        return tries(delivery, effect_begins)

    monkeypatch.setattr(bench.outlet, "deliver", hang)
    bench.deliverer.wake()
    assert hanging.wait(10)
    quick = bench.message(9, "zwei")
    bench.until(quick, DeliveryState.DONE)
    assert all(bench.delivery(message).state is not DeliveryState.DONE for message in slow)
    release.set()
    for message in slow:
        bench.until(message, DeliveryState.DONE)


def test_an_outage_rings_once_and_probes_one_by_one(benches: Benches,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    bench = benches()
    bench.outlet.begin = False
    bench.outlet.script = [Temporary("weg") for _ in range(6)]
    messages = [bench.message(number) for number in range(10)]
    bench.deliverer.wake()
    for tries in (3, 4, 5, 6):
        wait_until(lambda tries=tries: len(bench.outlet.tries) >= tries, f"{tries} tries", 10)
        quiet(bench)
        assert len(bench.outlet.tries) == tries, "half open means one"
        bench.later(hours=3)
    for message in messages:
        bench.until(message, DeliveryState.DONE)
    text = capsys.readouterr().out
    assert text.count("the destination rests") == 1
    assert text.count("answers again") == 1
