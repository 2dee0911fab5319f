"""The machine does not let a worker start: no message is blamed, and work goes on as soon as it can."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.config import loader
from hub.errors import HubError
from hub.message import MessageState, StoredMessage
from hub.store.store import Store
from hub.telemetry.counters import Metrics
from hub.workers.dispatcher import Dispatcher
from hub.workers.pool import BatchResult, WorkerPool, pack
from hub.workers.process import Why, WorkerUnavailable
from tests.integration.test_workers import RUNNER, SETTINGS, job, run, well
from tests.services import wait_until
from tests.unit.store_kit import accept, incoming, open_store, parked

HUB = '[hub]\nstate = "state"\nmappings = "mappings"\n[workers]\ncount = 2\nbatch = 4\n'


def _raises(error: BaseException) -> Callable[..., Any]:
    def refused(*_: object, **__: object) -> Any:
        raise error
    return refused


REFUSALS: dict[str, tuple[str, object]] = {
    "too many processes": ("subprocess.Popen", _raises(OSError(errno.EAGAIN, "no"))),
    "too many descriptors": ("subprocess.Popen", _raises(OSError(errno.EMFILE, "no"))),
    "too many descriptors, for the socket": ("socket.socketpair", _raises(OSError(errno.EMFILE, "no"))),
    "too many descriptors, when it runs already": ("os.pidfd_open", _raises(OSError(errno.EMFILE, "no"))),
    "no memory": ("subprocess.Popen", _raises(OSError(errno.ENOMEM, "no"))),
    "no memory in Python": ("subprocess.Popen", _raises(MemoryError())),
    "the control group says no": ("subprocess.Popen", _raises(PermissionError(errno.EPERM, "no"))),
    "no thread": ("subprocess.Popen", _raises(RuntimeError("can't start new thread"))),
    "no interpreter": ("sys.executable", "/nonexistent/python"),
    "another program": ("sys.executable", "/bin/true"),
    "a program that fails": ("sys.executable", "/bin/false"),
}


@contextmanager
def refused(why: str) -> Iterator[None]:
    """While this lasts no worker can be started."""
    with pytest.MonkeyPatch.context() as patch:
        name, instead = REFUSALS[why]
        patch.setattr(name, instead)
        yield


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("why", REFUSALS)
@pytest.mark.parametrize("before", ["died while idle", "died over a message"])
def test_a_slot_is_empty_before_a_launch_and_filled_as_soon_as_it_can_be(why: str, before: str) -> None:
    with WorkerPool(1, SETTINGS, RUNNER) as pool:
        well(pool)
        files = len(list(Path("/proc/self/fd").iterdir()))
        pid = int(run(pool, job("state"))[0].outcomes[0].text)  # type: ignore[union-attr]
        with refused(why):
            if before == "died while idle":
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda: not _runs(pid), "the worker's death")
            else:
                assert run(pool, job("exit"))[0].why == Why.DIED
            for _ in range(3):
                with pytest.raises(WorkerUnavailable):
                    run(pool, job())
                assert len(pool.missing) == 1
                assert "1 of 1" in pool.problems()[0]
        well(pool)
        assert (pool.missing, pool.problems()) == ((), [])
        assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_with_no_descriptor_left_a_worker_is_missing_and_comes_back() -> None:
    with WorkerPool(1, SETTINGS, RUNNER) as pool:
        fd, _ = pack([b"x"])
        one = job()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with tempfile.TemporaryFile() as out:
            assert pool.run([job("exit")], [fd], out.fileno()).why == Why.DIED
            next(iter(pool.alive)).kill()
            resource.setrlimit(resource.RLIMIT_NOFILE, (out.fileno() + 1, hard))
            try:
                for _ in range(3):
                    with pytest.raises(WorkerUnavailable):
                        pool.run([one], [fd], out.fileno())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(fd)
        well(pool)


def test_a_part_of_the_engine_that_is_missing_is_no_fault_of_the_message() -> None:
    with WorkerPool(1, SETTINGS, RUNNER) as pool:
        for _ in range(2):
            with pytest.raises(WorkerUnavailable, match="ModuleNotFoundError"):
                run(pool, job("part-missing"))
            assert "ModuleNotFoundError" in pool.problems()[0]
        pool.refill()
        assert pool.missing, "a worker that starts says nothing about what was missing"
        well(pool)
        assert not pool.missing


def test_an_idle_pool_fills_its_slots_by_itself() -> None:
    with WorkerPool(2, SETTINGS, RUNNER) as pool:
        for worker in pool.alive:
            worker.kill()
        with refused("no interpreter"):
            wait_until(lambda: len(pool.refill()) == 2, "both are missed")
            assert len(pool.missing) == 2
            assert pool.refill() == [], "it is not tried at once again"
        wait_until(lambda: pool.refill() == [] and not pool.missing, "both are back", 30)
        assert len(pool.alive) == 2
        well(pool)


def test_a_start_that_fails_half_way_leaves_no_slot_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = WorkerPool(2, SETTINGS, RUNNER)
    before, real, calls = _children(), subprocess.Popen, []

    def second_fails(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(errno.EAGAIN, "no")
        return real(*arguments, **named)

    monkeypatch.setattr(subprocess, "Popen", second_fails)
    with pytest.raises(WorkerUnavailable):
        pool.start()
    assert not pool.alive
    assert _children() == before
    well(pool)
    pool.stop()


# --- with the dispatcher: what becomes of the messages ------------------------------------------------------


class Hub:
    """A store, a dispatcher of two threads, and real workers that park everything as invalid."""

    def __init__(self, folder: Path, pool: Any) -> None:
        (folder / "mappings").mkdir()
        (folder / "municipalities").mkdir()
        (folder / "hub.toml").write_text(HUB)
        (folder / "municipalities/14999010.toml").write_text('name = "Musterstadt"\nags = "14999010"\ntenant '
                                                             '= "musterstadt"\n')
        configuration = loader.load(folder / "hub.toml")
        self.store: Store = open_store(folder / "state")
        self.pool = pool
        self.dispatcher = Dispatcher(self.store, lambda: configuration, pool, Metrics(), lambda _: None)

    def messages(self, count: int) -> list[str]:
        found = [accept(self.store, incoming(f"{number}{os.urandom(4).hex()}".encode())).id
                 for number in range(count)]
        self.dispatcher.wake()
        return found

    def read(self, ids: Sequence[str]) -> list[StoredMessage]:
        return [self.store.get_message(each) for each in ids]

    def blames_nobody(self, ids: Sequence[str]) -> None:
        """The rule: all wait, and none has been counted against."""
        for message in self.read(ids):
            assert (message.state, message.reason, message.deaths) == (MessageState.RECEIVED, None, 0)

    def through(self, ids: Sequence[str]) -> bool:
        return all(message.state is MessageState.PARKED for message in self.read(ids))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Hub]]:
    monkeypatch.setattr("hub.workers.dispatcher.PAUSE", 0.2)
    made: list[Hub] = []

    def make(pool: Any) -> Hub:
        made.append(Hub(tmp_path, pool))
        made[-1].dispatcher.start()
        return made[-1]

    yield make
    for each in made:
        assert each.dispatcher.stop(timedelta(seconds=10))
        if isinstance(each.pool, WorkerPool):
            each.pool.stop()
        each.store.close()


@pytest.mark.parametrize("why", ["too many processes", "no interpreter", "another program"])
def test_messages_wait_for_a_worker_and_none_is_parked(hub: Callable[[Any], Hub], why: str) -> None:
    pool = WorkerPool(2, SETTINGS, "tests.integration.worker_runner:park_all").start()
    bench = hub(pool)
    first = bench.messages(3)
    wait_until(lambda: bench.through(first), "they are through", 30)
    with refused(why):
        for worker in pool.alive:
            worker.kill()
        waiting = bench.messages(6)
        wait_until(lambda: len(pool.missing) == 2, "both are missed", 30)
        for _ in range(3):
            wait_until(lambda: not bench.store.suspects(), "a look", 5)
            bench.blames_nobody(waiting)
    wait_until(lambda: bench.through(waiting), "they are through without a restart", 30)
    assert {message.reason for message in bench.read(waiting)} == {"invalid"}
    assert {message.deaths for message in bench.read(waiting)} == {0}
    assert not pool.missing


class Nobody:
    """A pool without workers: each message waits."""

    network_dropped, tries = False, 0

    def refill(self) -> list[str]:
        return []

    def run(self, *_: object) -> BatchResult:
        self.tries += 1
        raise WorkerUnavailable("no worker can be started: [Errno 11]")


class Poisoned(Nobody):
    """The fault that was there: a closed worker comes back into its slot, and each message pays for it."""

    def run(self, *_: object) -> BatchResult:
        if self.tries:
            raise ValueError("file descriptor cannot be a negative integer (-1)")
        return super().run()


def test_who_has_no_worker_keeps_no_message_from_another_hub(hub: Callable[[Any], Hub]) -> None:
    bench = hub(Nobody())
    ids = bench.messages(3)
    wait_until(lambda: bench.pool.tries >= 3, "it was tried", 10)
    bench.blames_nobody(ids)

    def taken() -> bool:
        """Another claim gets them between two tries of the dispatcher."""
        number = bench.store.new_claim()
        try:
            found = bench.store.claim_messages(9, timedelta(minutes=1), claim=number)
            bench.store.record([parked(each.id) for each in found], -1, config_digest="c", messages=found)
        except HubError:
            return False
        return bench.through(ids)

    wait_until(taken, "another one takes them", 10)


def test_planted_a_poisoned_slot_is_found(hub: Callable[[Any], Hub]) -> None:
    bench = hub(Poisoned())
    ids = bench.messages(2)
    wait_until(lambda: bench.through(ids), "they are parked for nothing", 10)
    with pytest.raises(AssertionError):
        bench.blames_nobody(ids)
    assert {message.reason for message in bench.read(ids)} == {"runaway"}

