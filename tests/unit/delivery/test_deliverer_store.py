"""The store's faults, and the hub's own, are not the receiver's."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from hub.delivery import deliverer as deliver
from hub.delivery.circuit_breaker import Circuit
from hub.endpoint import Done
from hub.errors import StoreUnavailable, Temporary
from hub.message import (
    Delivery,
    DeliveryState,
    Receipt,
)
from hub.store.store import Store
from hub.store.transitions.deliveries import LostLease, Settlement
from tests.services import wait_until
from tests.unit.delivery.bench import EINS, Bench, Benches, Hang, Outlet, quiet


def test_an_outcome_that_could_not_be_written_is_written_later_and_nothing_is_sent_again(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused_once = bench.store.settle, threading.Event()

    def full(settlements: Sequence[Any]) -> int:
        if not refused_once.is_set():
            refused_once.set()
            raise StoreUnavailable("voll")
        return real(settlements)

    monkeypatch.setattr(bench.store, "settle", full)
    message = bench.message()
    bench.deliverer.wake()
    assert refused_once.wait(10)
    row = bench.until(message, DeliveryState.DONE)
    assert (row.attempts, len(bench.outlet.tries)) == (1, 1)


def _three(bench: Bench) -> list[str]:
    """Three messages that one claim takes in hand together."""
    bench.stop()
    messages = [bench.message(number) for number in range(3)]
    bench.deliverer = bench.new_deliverer(circuits={EINS: Circuit(window=3)})
    return messages


def _breaks_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *,
                 after: bool = False) -> threading.Event:
    """An error that nobody could have foreseen, once: instead of what was asked for, or when it is done."""
    real, broke = getattr(owner, name), threading.Event()

    def breaks(*arguments: Any) -> Any:
        answer = real(*arguments) if after or broke.is_set() else None
        if not broke.is_set():
            broke.set()
            raise RuntimeError("nobody could have foreseen this")
        return answer

    monkeypatch.setattr(owner, name, breaks)
    return broke


def test_what_a_claim_took_before_an_unforeseen_error_is_given_back(bench: Bench,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    messages = _three(bench)
    broke = _breaks_once(monkeypatch, Store, "claim_deliveries", after=True)
    bench.deliverer.start()
    assert broke.wait(10)
    assert [bench.until(message, DeliveryState.DONE).attempts
            for message in messages] == [1, 1, 1], "there was no try"
    assert len(bench.outlet.tries) == 3


@pytest.mark.parametrize("crowd", [(), ("zwei", "drei", "vier", "fünf")])
def test_a_store_that_takes_nothing_is_not_asked_again_and_again(
        benches: Benches, monkeypatch: pytest.MonkeyPatch, crowd: Sequence[str]) -> None:
    """Nor where more destinations wait than one thread may have in hand: the others look at once for room."""
    bench = benches(threads=1)
    claims: list[object] = []

    def full(*arguments: object) -> Sequence[Any]:
        claims.append(arguments)
        raise StoreUnavailable("voll")

    monkeypatch.setattr(bench.store, "claim_deliveries", full)
    for number, name in enumerate(("eins", *crowd)):
        bench.message(number, name)
    bench.deliverer.wake()
    wait_until(lambda: claims, "it was asked", 10)
    time.sleep(1)
    assert len(claims) <= 3 * (1 + len(crowd))


def test_whose_outcome_got_lost_is_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = _three(bench)
    bench.outlet.probes = [Done(Receipt("war schon da"))] * 3
    broke = _breaks_once(monkeypatch, Store, "settle")
    bench.deliverer.start()
    assert broke.wait(10)
    for message in messages:
        assert bench.until(message, DeliveryState.DONE).receipt == {"reference": "war schon da", "detail": {}}
    assert len(bench.outlet.tries) == 3


def test_what_was_not_tried_yet_when_an_outcome_got_lost_goes_back_as_that(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = _three(bench)
    bench.outlet.probes = [Done(Receipt("war schon da"))]
    broke = _breaks_once(monkeypatch, deliver.Outcomes, "add")
    bench.deliverer.start()
    assert broke.wait(10)
    wait_until(lambda: {bench.delivery(message).state for message in messages} == {DeliveryState.DONE,
                                                                                   DeliveryState.DUE},
               "the first was asked for", 10)
    bench.later(seconds=10)
    references = [bench.until(message, DeliveryState.DONE).receipt["reference"] for message in messages]
    assert sorted(references) == ["angekommen", "angekommen", "war schon da"]
    assert (len(bench.outlet.tries),
            [bench.delivery(message).attempts for message in messages]) == (3, [1, 1, 1])


@pytest.mark.parametrize("error", [StoreUnavailable("voll"), LostLease("weg")])
def test_an_intent_that_cannot_be_written_is_no_try_and_not_the_receivers_fault(
        benches: Benches, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    bench = benches(connector="smtp")
    real, times = bench.store.begin_effect, itertools.count()

    def full(delivery_id: str) -> None:
        if next(times) < 4:
            raise error
        real(delivery_id)

    monkeypatch.setattr(bench.store, "begin_effect", full)
    sent: list[str] = []

    class Translating(Outlet):
        repeat = "ask"

        def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
            try:
                effect_begins()
            except Exception as wrong:
                raise Temporary("so sagt es der Connector") from wrong
            sent.append(delivery.id)
            return Receipt("angekommen")

    bench.outlet = Translating([], [])
    message = bench.message()
    bench.deliverer.wake()
    for _ in range(4):
        quiet(bench)
        row = bench.delivery(message)
        if row.state is DeliveryState.DUE:
            assert (row.attempts, row.error, sent) == (0, "held", [])
        assert bench.deliverer.circuits()["musterstadt/eins"].failures == 0
        bench.later(seconds=6)
    assert bench.until(message, DeliveryState.DONE).attempts == 1
    assert len(sent) == 1


def test_a_stop_that_gave_up_is_not_a_clean_end(benches: Benches) -> None:
    bench = benches()
    hang = Hang()
    bench.outlet.script = [hang]
    bench.message()
    bench.deliverer.wake()
    assert hang.hangs.wait(10)
    assert not bench.deliverer.stop(timedelta(milliseconds=50))
    hang.release.set()
    wait_until(lambda: not bench.deliverer.circuits()[EINS].active, "it ends", 10)
    bench.store.close(clean=False)
    again = type(bench.store).open(bench.folder / "state")
    assert again.unclean
    again.close()


def test_outcomes_that_wait_are_written_at_the_stop(benches: Benches,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    bench = benches()
    message = bench.message()
    bench.until(message, DeliveryState.DONE)
    real = bench.store.settle

    asked = threading.Event()

    def full(settlements: Sequence[Settlement]) -> int:
        asked.set()
        raise StoreUnavailable("voll")

    monkeypatch.setattr(bench.store, "settle", full)
    second = bench.message(1)
    bench.deliverer.wake()
    assert asked.wait(10), "an outcome that cannot be written"
    assert not bench.deliverer.stop(timedelta(seconds=10)), "what is known is not on disk"
    monkeypatch.setattr(bench.store, "settle", real)
    assert bench.deliverer.stop(timedelta(seconds=10))
    assert bench.delivery(second).state is DeliveryState.DONE
