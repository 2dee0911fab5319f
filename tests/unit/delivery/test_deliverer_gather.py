"""Deliveries that an outlet takes several at once: prepared together, tried each by itself, done only once
they will last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hub.delivery import deliverer
from hub.delivery.circuit_breaker import Circuit
from hub.endpoint import Done
from hub.errors import Permanent, Temporary
from hub.message import Delivery, DeliveryState, Receipt
from tests.services import wait_until
from tests.unit.delivery.bench import BODY, EINS, Bench, Outlet


class Gathering(Outlet):
    """Notes what it is asked, in order."""

    gathers = True

    def __init__(self) -> None:
        super().__init__([], [])
        self.calls: list[str] = []
        self.prepares: Callable[[], None] = lambda: None
        self.concludes: Callable[[], None] = lambda: None
        self.settled: Callable[[], int] = lambda: 0

    def prepare(self, deliveries: Sequence[Delivery]) -> None:
        self.calls.append(f"prepare {len(deliveries)}")
        self.prepares()

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        self.calls.append("deliver")
        return super().deliver(delivery, effect_begins)

    def conclude(self) -> None:
        self.calls.append(f"conclude, {self.settled()} settled")
        self.concludes()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, policy='total = "0.5s"\nparallel = 1')
    bench.outlet = Gathering()
    yield bench
    bench.close()


def backlog(bench: Bench, count: int) -> tuple[Gathering, list[str]]:
    """So many wait; a deliverer that may claim all of them begins."""
    bench.stop()
    messages = [bench.message(number) for number in range(count)]
    outlet = bench.outlet
    assert isinstance(outlet, Gathering)
    outlet.settled = lambda: sum(bench.delivery(each).state is not DeliveryState.DELIVERING
                                 for each in messages)
    bench.start_anew(circuits={EINS: Circuit(window=count)})
    return outlet, messages


def test_all_that_is_claimed_is_prepared_together_and_done_once_it_is_concluded(bench: Bench) -> None:
    outlet, messages = backlog(bench, 3)
    for message in messages:
        assert bench.until(message, DeliveryState.DONE).attempts == 1
    assert outlet.calls == ["prepare 3", *["deliver"] * 3, "conclude, 0 settled"]


def test_one_alone_is_not_prepared(bench: Bench) -> None:
    outlet, [message] = backlog(bench, 1)
    bench.until(message, DeliveryState.DONE)
    assert outlet.calls == ["deliver"]


def test_no_more_is_prepared_at_once_than_fits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "GATHERED", 2 * len(BODY))
    outlet, messages = backlog(bench, 4)
    for message in messages:
        bench.until(message, DeliveryState.DONE)
    assert [call for call in outlet.calls if call.startswith("prepare")] == ["prepare 2", "prepare 2"]


def test_where_nobody_knows_whether_they_last_all_are_in_doubt(bench: Bench) -> None:
    outlet = bench.outlet
    assert isinstance(outlet, Gathering)
    wrong = [Temporary("der Ordner ließ sich nicht sichern")]
    outlet.concludes = lambda: _raise(wrong.pop()) if wrong else None
    outlet.script = [Receipt("eins"), Permanent("nie"), Receipt("drei")]
    outlet.begin = True
    _, messages = backlog(bench, 3)
    for message in (messages[0], messages[2]):
        row = bench.until(message, DeliveryState.IN_DOUBT)
        assert "gesichert" in (row.text or "") or "sichern" in (row.text or "")
    assert bench.delivery(messages[1]).state is not DeliveryState.DONE
    outlet.probes = [Done(Receipt("da"))] * 3
    bench.later(hours=2)
    for message in (messages[0], messages[2]):
        assert bench.until(message, DeliveryState.DONE).attempts == 1


def test_a_preparation_that_fails_costs_nobody_the_try(bench: Bench) -> None:
    outlet = bench.outlet
    assert isinstance(outlet, Gathering)
    outlet.prepares = lambda: _raise(ZeroDivisionError())
    _, messages = backlog(bench, 2)
    for message in messages:
        assert bench.until(message, DeliveryState.DONE).attempts == 1


@pytest.mark.parametrize("where", ["prepares", "concludes"])
def test_one_that_hangs_is_given_up_like_any_try(bench: Bench, where: str) -> None:
    outlet = bench.outlet
    assert isinstance(outlet, Gathering)
    hangs, release = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        release.wait(20)

    setattr(outlet, where, hang)
    _, messages = backlog(bench, 3)
    assert hangs.wait(10)
    # nothing has begun: the first one had its try, the others none, and they go by another thread
    if where == "prepares":
        outlet.prepares = lambda: None
        assert bench.until(messages[0], DeliveryState.DUE).attempts == 1
        for message in messages[1:]:
            assert bench.until(message, DeliveryState.DONE).attempts == 1
    else:
        for message in messages:
            bench.until(message, DeliveryState.IN_DOUBT)
    setattr(outlet, where, lambda: None)
    release.set()
    wait_until(lambda: all(thread.name != "deliver-1" for thread in threading.enumerate()),
               "the lost thread ends", 10)
    outlet.probes = [Done(Receipt("da"))] * 3
    bench.later(hours=2)
    for message in messages:
        bench.until(message, DeliveryState.DONE)


def _raise(error: Exception) -> None:
    raise error
