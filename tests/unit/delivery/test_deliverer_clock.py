"""A clock that goes back holds nothing up."""

from __future__ import annotations

from datetime import timedelta

from hub.errors import Temporary
from hub.message import DeliveryState
from tests.services import wait_until
from tests.unit.delivery.bench import Bench


def test_a_delivery_does_not_wait_for_a_clock_that_went_back(bench: Bench) -> None:
    bench.stop()
    bench.clock += timedelta(days=2)
    message = bench.message()
    bench.deliverer = bench.new_deliverer()
    bench.clock -= timedelta(days=2)
    bench.deliverer.start()
    assert bench.until(message, DeliveryState.DONE).attempts == 1


def test_a_wait_and_a_rest_keep_their_length_when_the_clock_goes_back(bench: Bench) -> None:
    bench.outlet.script, bench.outlet.begin = [Temporary("besetzt")] * 3, False
    messages = [bench.message(number) for number in range(3)]
    for message in messages:
        bench.deliverer.wake()
        wait_until(lambda message=message: bench.delivery(message).error == "temporary", "a first try")
    bench.clock -= timedelta(days=1)
    bench.deliverer.wake()
    wait_until(lambda: all(bench.delivery(message).due_at < bench.clock + timedelta(hours=2)
                           for message in messages),
               "the new time is noticed")
    bench.later(hours=1.5)
    for message in messages:
        bench.until(message, DeliveryState.DONE)


def test_a_start_keeps_the_length_of_a_wait_when_the_clock_went_back_meanwhile(bench: Bench) -> None:
    bench.outlet.script, bench.outlet.begin = [Temporary("besetzt")], False
    message = bench.message()
    bench.deliverer.wake()
    wait_until(lambda: bench.delivery(message).error == "temporary", "a first try")
    bench.stop()
    bench.clock -= timedelta(days=1)
    bench.store.recover()
    assert bench.clock < bench.delivery(message).due_at < bench.clock + timedelta(hours=2)


def test_a_start_does_not_wait_for_a_clock_that_went_back(bench: Bench) -> None:
    bench.stop()
    bench.clock += timedelta(days=2)
    bench.message()
    bench.clock -= timedelta(days=2)
    assert bench.store.due_destinations(bench.clock) == []
    bench.store.recover()
    assert [name for name, _ in bench.store.due_destinations(bench.clock)] == ["musterstadt/eins"]
