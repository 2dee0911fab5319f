"""How the threads that bring messages to the workers share the work, with a pool that obeys the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.config import loader
from hub.job import Job
from hub.message import MessageState
from hub.telemetry.counters import Metrics
from hub.workers.dispatcher import Dispatcher
from hub.workers.pool import BatchResult
from tests.services import wait_until
from tests.unit.store_kit import accept, incoming, open_store, parked

HUB = '[hub]\nstate = "state"\nmappings = "mappings"\n[workers]\ncount = 2\nbatch = 4\n'


class Pool:
    """Parks everything. While `shut`, whatever comes waits for `opened`."""

    network_dropped = False

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.shut = False
        self.opened = threading.Event()

    def refill(self) -> list[str]:
        return []

    def run(self, jobs: Sequence[Job], _inputs: Sequence[int], _out_fd: int,
            _heard: Callable[[], None]) -> BatchResult:
        self.batches.append(len(jobs))
        if self.shut:
            self.shut = False
            assert self.opened.wait(20)
        return BatchResult(tuple(parked(job.message_id) for job in jobs))


class Bench:
    """A store, and a dispatcher of two threads."""

    def __init__(self, folder: Path) -> None:
        (folder / "mappings").mkdir()
        (folder / "municipalities").mkdir()
        (folder / "hub.toml").write_text(HUB)
        (folder / "municipalities/14999010.toml").write_text('name = "Musterstadt"\nags = "14999010"\ntenant '
                                                             '= "musterstadt"\n')
        configuration = loader.load(folder / "hub.toml")
        self.store = open_store(folder / "state")
        self.pool = Pool()
        self.claims: list[int] = []
        real = self.store.claim_messages

        def counted(*arguments: Any, **named: Any) -> Any:
            found = real(*arguments, **named)
            self.claims.append(len(found))
            return found

        self.store.claim_messages = counted  # type: ignore[method-assign]
        self.dispatcher = Dispatcher(self.store, lambda: configuration, self.pool,  # type: ignore[arg-type]
                                     Metrics(), lambda _: None)
        self.dispatcher.start()

    def accept(self, number: int) -> str:
        message = accept(self.store, incoming(str(number).encode())).id
        self.dispatcher.wake()
        return message

    def through(self, message: str) -> bool:
        return self.store.get_message(message).state is MessageState.PARKED


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.pool.opened.set()
    assert bench.dispatcher.stop(timedelta(seconds=10))
    bench.store.close()


def test_a_message_is_claimed_once_and_nothing_is_asked_in_vain(bench: Bench) -> None:
    wait_until(lambda: bench.claims == [0, 0, 0],
               "both have looked, and one because it was told so at the start", 10)
    for number in range(5):
        message = bench.accept(number)
        wait_until(lambda: bench.through(message), "it is through", 10)  # noqa: B023
    assert [count for count in bench.claims[3:] if count] == [1] * 5
    assert bench.claims[3:].count(0) <= 1, "only the look that is due without news"


def test_a_full_claim_is_followed_by_another(bench: Bench) -> None:
    bench.pool.shut = True
    first = bench.accept(0)
    wait_until(lambda: len(bench.pool.batches) == 1, "one has it", 10)
    messages = [accept(bench.store, incoming(str(number).encode())).id for number in range(1, 10)]
    bench.dispatcher.wake()
    wait_until(lambda: all(map(bench.through, messages)), "the other thread brings them all through", 10)
    assert not bench.through(first)
    assert bench.pool.batches[1:] == [4, 4, 1]


def test_who_takes_long_is_helped(bench: Bench) -> None:
    """A thread with little in hand is let alone, but not for long."""
    bench.pool.shut = True
    first = bench.accept(0)
    wait_until(lambda: len(bench.pool.batches) == 1, "one has it", 10)
    second = bench.accept(1)
    wait_until(lambda: bench.through(second), "the other one is through", 10)
    assert not bench.through(first)


def test_what_comes_while_a_thread_is_alone_comes_with_its_next_claim(
    bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.workers.dispatcher.ALONE", 30.0)
    bench.pool.shut = True
    bench.accept(0)
    wait_until(lambda: len(bench.pool.batches) == 1, "one has it", 10)
    messages = [bench.accept(number) for number in range(1, 4)]
    bench.pool.opened.set()
    wait_until(lambda: all(map(bench.through, messages)), "they are through", 10)
    assert bench.pool.batches == [1, 3]


def test_what_a_claim_took_before_an_unforeseen_error_is_given_back(bench: Bench,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease alone would keep it for half an hour."""
    monkeypatch.setattr("hub.workers.dispatcher.PAUSE", 0.1)
    real, broke = bench.store.claim_messages, threading.Event()

    def breaks(*arguments: Any, **named: Any) -> Any:
        found = real(*arguments, **named)
        if found and not broke.is_set():
            broke.set()
            raise RuntimeError("nobody could have foreseen this")
        return found

    bench.store.claim_messages = breaks  # type: ignore[method-assign]
    message = bench.accept(0)
    wait_until(lambda: bench.through(message), "it is through", 10)
    assert broke.is_set()
    assert bench.claims.count(1) == 2


def test_planted_a_thread_that_is_let_alone_for_ever_holds_the_others_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.workers.dispatcher.ALONE", 3600.0)
    bench.pool.shut = True
    bench.accept(0)
    wait_until(lambda: len(bench.pool.batches) == 1, "one has it", 10)
    second = bench.accept(1)
    with pytest.raises(pytest.fail.Exception):
        wait_until(lambda: bench.through(second), "the other one is through", 1)


