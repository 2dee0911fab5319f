"""Nothing that hangs holds up the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from hub.delivery import deliverer
from hub.delivery.circuit_breaker import Circuit
from hub.endpoint import Absent
from hub.message import Delivery, DeliveryState, Receipt
from hub.telemetry.families import GIVEN_UP
from tests.services import wait_until
from tests.unit.delivery.bench import EINS, Bench, Benches, Hang, Outlet


def test_a_try_that_ignores_its_total_is_given_up_and_its_thread_replaced(benches: Benches) -> None:
    bench = benches('total = "0.3s"', threads=1)
    hang = Hang()
    bench.outlet.script, bench.outlet.probes = [Receipt("eins"), Receipt("zwei"), hang], [Absent()]
    for number in range(2):
        bench.until(bench.message(number), DeliveryState.DONE)
    stuck = bench.message(2)
    rest = [bench.message(number) for number in range(3, 6)]
    bench.deliverer.wake()
    assert hang.hangs.wait(10)
    bench.until(stuck, DeliveryState.IN_DOUBT)
    assert bench.metrics.registry.get_sample_value(GIVEN_UP.name, {"connector": "directory"}) == 1
    for message in rest:
        assert bench.until(
            message, DeliveryState.DONE).attempts == 1, "what was behind it was not tried and is not lost"
    bench.later(minutes=2)
    assert bench.until(stuck, DeliveryState.DONE).receipt == {"reference": "angekommen", "detail": {}}
    done = len(bench.outlet.tries)
    hang.release.set()
    wait_until(lambda: hang.thread not in {thread.name for thread in threading.enumerate()},
               "the lost thread ends", 10)
    assert bench.delivery(stuck).receipt == {"reference": "angekommen",
                                             "detail": {}}, "its late answer changes nothing"
    assert len(bench.outlet.tries) == done
    assert bench.store.tallies() == bench.store.tallies() | bench.store.recount()


def test_what_was_given_up_before_its_effect_may_not_begin_any_more(benches: Benches) -> None:
    bench = benches('total = "0.3s"')
    hang, sent = Hang(), []

    class Late(Outlet):
        def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
            self.tries.append(delivery)
            if len(self.tries) == 1:
                hang()
            effect_begins()
            sent.append(delivery.id)
            return Receipt("angekommen")

    bench.outlet = Late([], [])
    message = bench.message()
    bench.deliverer.wake()
    assert hang.hangs.wait(10)
    row = bench.until(message, DeliveryState.DUE, tries=1)
    wait_until(lambda: bench.delivery(message).error == "temporary", "it is given up", 10)
    assert row.attempts == 1
    hang.release.set()
    wait_until(lambda: hang.thread not in {thread.name for thread in threading.enumerate()},
               "the lost thread ends", 10)
    assert sent == []
    bench.later(hours=2)
    bench.until(message, DeliveryState.DONE)
    assert len(sent) == 1


def test_outcomes_before_the_one_that_hangs_are_written(benches: Benches) -> None:
    bench = benches('total = "0.3s"\nparallel = 1')
    hang = Hang()
    bench.outlet.begin = False
    for number in range(3):
        bench.until(bench.message(number), DeliveryState.DONE)
    bench.stop()
    bench.outlet.script = [Receipt("eins"), Receipt("zwei"), hang]
    messages = [bench.message(number) for number in range(10, 14)]
    bench.start_anew(circuits={EINS: Circuit(window=4)})
    assert hang.hangs.wait(10)
    for message in (messages[0], messages[1], messages[3]):
        assert bench.until(message, DeliveryState.DONE).attempts == 1
    hang.release.set()
    bench.later(hours=2)
    bench.until(messages[2], DeliveryState.DONE)


def test_a_planted_deliverer_without_the_watch_would_hang(benches: Benches,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer.Assignment, "left", lambda self, total: None)
    bench = benches('total = "0.3s"\nparallel = 1')
    hang = Hang()
    bench.outlet.script = [hang]
    message = bench.message()
    bench.deliverer.wake()
    assert hang.hangs.wait(10)
    other = bench.message(1)
    bench.until(bench.message(2, "zwei"), DeliveryState.DONE)
    assert [bench.delivery(each).state for each in (message, other)] == [DeliveryState.DELIVERING,
                                                                         DeliveryState.DUE]
    hang.release.set()


def test_who_takes_long_is_helped(bench: Bench) -> None:
    """Beside an errand with little in hand no other one begins, but not for long."""
    for number in range(3):  # from now on a claim asks for several
        bench.until(bench.message(number), DeliveryState.DONE)
    hanging, release = threading.Event(), threading.Event()

    def hang() -> Receipt:
        hanging.set()
        release.wait(20)
        return Receipt("spät")

    bench.outlet.script = [hang]
    slow = bench.message(7)
    bench.deliverer.wake(["musterstadt/eins"])
    assert hanging.wait(10)
    quick = bench.message(8)
    bench.deliverer.wake(["musterstadt/eins"])
    wait_until(lambda: bench.delivery(quick).state is DeliveryState.DONE, "the other one is delivered", 10)
    assert bench.delivery(slow).state is DeliveryState.DELIVERING
    release.set()
    bench.until(slow, DeliveryState.DONE)
