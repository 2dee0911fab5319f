"""The hub's threads as the world has them: nothing runs by itself, and nobody waits for a clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import OperationalError

from hub.errors import StoreUnavailable
from hub.store.database.transaction import Transaction
from hub.store.writer import Batches, Job, Writer, refuse

if TYPE_CHECKING:
    from tests.simulation.ground import Ground


class Flag(threading.Event):
    """An event for which nobody waits."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class ThreadPool:
    """The deliverer's threads as tasks of the world. At most `size` are under way at once."""

    def __init__(self, world: Ground, size: int) -> None:
        self._world, self._size = world, size
        self._waiting: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], None]) -> None:
        self._waiting.append(work)

    def hire(self) -> None:
        """Begin waiting work while a thread is free."""
        busy = sum(task.name.startswith("deliver") for task in self._world.tasks)
        while self._waiting and busy < self._size:
            self._world.begin("deliver", self._waiting.pop(0))
            busy += 1

    def write_off(self, _: object) -> None:
        self._size += 1

    def dismiss(self) -> None:
        pass


class _Result(Future[Any]):
    """A result of the writer. Whoever asks for it causes the commit of all that waits."""

    def __init__(self, flush: Callable[[], None]) -> None:
        super().__init__()
        self._flush = flush

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self._flush()
        return super().result(timeout)


class InlineWriter(Writer):
    """The store's writer without its thread. All that waits is committed
    as soon as anybody asks for a result."""

    def __init__(self, engine: Engine, begin: Callable[[Connection], Transaction],
                 end: Callable[[Transaction], None], world: Ground) -> None:
        self.batches = Batches(engine, begin, end, self.commit)
        self.world = world
        self.jobs: list[Job[Any, Any]] = []
        self.connection = engine.connect()

    def gather(self, work: Any, item: Any) -> Future[Any]:
        self.world.breathe()
        self.batches.refuse_if_broken()
        if self.connection.closed:
            raise StoreUnavailable("the store is closed")
        job: Job[Any, Any] = Job(work, item, _Result(self.flush))
        self.jobs.append(job)
        return job.future

    def flush(self) -> None:
        """Write all that waits."""
        self.world.point("before a commit")
        batch, self.jobs = self.jobs, []
        if self.world.store_is_full and self.world.dice.random() < 0.5:
            refuse(batch, StoreUnavailable("nothing can be written now: SQLITE_FULL"))
            return
        self.batches.run(self.connection, batch)
        self.world.point("after a commit", waits=False)

    def commit(self, transaction: RootTransaction) -> None:
        """A disk that is full takes no commit."""
        if self.world.store_is_full:
            raise OperationalError("COMMIT", None, _Full())
        transaction.commit()

    def close(self) -> None:
        self.connection.close()


class _Full(Exception):
    """The error of SQLite when a commit has no room."""

    sqlite_errorname = "SQLITE_FULL"
