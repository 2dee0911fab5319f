"""The hub's lives within one world: it starts, is killed or stopped, and starts again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, Row

from hub.delivery.deliverer import Deliverer
from hub.errors import StoreUnavailable
from hub.intake.receiver import Receiver
from hub.operations.operator import Operator
from hub.store.database.sqlite import Embedded, make_engine
from hub.store.database.transaction import Transaction
from hub.store.store import Store
from hub.store.transitions import deliveries
from hub.telemetry.counters import Metrics
from hub.workers.dispatcher import Dispatcher
from tests.simulation.ground import Ground, Notes
from tests.simulation.inline import Flag, InlineWriter, ThreadPool
from tests.simulation.tasks import Killed
from tests.simulation.transports import Outlet
from tests.simulation.workers import Pool
from tests.unit.operator_kit import beside

MOST_LIVES = 60
"""More lives than anything that comes to its end needs."""


class Lives(Ground):
    """The hub's own code, life after life."""

    deliverer: Deliverer
    dispatcher: Dispatcher
    receiver: Receiver
    operator: Operator
    threads: ThreadPool
    stopping: Flag

    def start(self) -> None:
        """Start the hub, as `hub.daemon.Daemon` does."""
        self.lives += 1
        self.store = self.open()
        recovered = self.store.recover(assume_begun=self._assume_begun)
        if recovered.alone:
            self.store.count_death(recovered.alone)
        self.note(f"life {self.lives}: {recovered}{' unclean' if self.store.unclean else ''}")
        self.threads, self.stopping, notes = ThreadPool(self, 5), Flag(), Notes(self)
        self.deliverer = Deliverer(self.store, self.configuration, metrics(), self.clock,
                                   lambda connector, options: Outlet(self, connector, options),
                                   monotonic=self.monotonic, dice=self.dice.random, threads=self.threads,
                                   stopping=self.stopping, logger=notes)
        pool: Any = Pool(self)
        self.dispatcher = Dispatcher(self.store, self.configuration, pool, metrics(), self.deliverer.wake,
                                     monotonic=self.monotonic, now=self.clock, stopping=self.stopping,
                                     logger=notes)
        self.receiver = Receiver(self.store, self.configuration, metrics(), self.dispatcher.wake, self.clock,
                                 monotonic=self.monotonic, logger=notes)
        self.operator = beside(self.store, self.deliverer, self._folder, self._wake_all)

    def open(self) -> Store:
        """The store, with this world's clock, names, writer and engine."""
        return Store.open(self._folder, now=self.clock, writer=partial(InlineWriter, world=self),
                          embedded=partial(Embedded, engine=_engine), new_id=self.new_id)

    def _assume_begun(self, key: str) -> bool:
        found = self.configuration().destination(key)
        return found is None or found.repeat != "ask"

    def _wake_all(self) -> None:
        self.dispatcher.wake()
        self.deliverer.wake()

    def die(self) -> None:
        """Kill the hub. What was committed stays."""
        self.dead = True
        for task in list(self.tasks):
            with suppress(Killed):
                self.resume(task, Killed())
        self.dead = False
        self.tasks.clear()
        self.in_worker.clear()
        if "store" in self.__dict__:
            self.store.let_go()

    def live_again(self) -> None:
        """Start the hub again, until a start succeeds."""
        self.kills += self.lives > 0
        while True:
            self.die()
            try:
                self.start()
            except (Killed, StoreUnavailable):
                self.full_until = 0
                continue
            self.judge.books(self.store)
            if self.lives > MOST_LIVES:
                self.judge.fault("deaths", "the hub dies again and again")
            return

    def stop(self) -> None:
        """Stop the hub in order, and start it."""
        self.note("a stop in order")
        self.stopping.set()
        for _ in range(500):
            ready = [task for task in self.tasks if task.not_before <= self.steady]
            if not ready:
                break
            self.resume(self.dice.choice(ready))
        clean = self.deliverer.stop(timedelta(0)) and not self.tasks
        self.store.close(clean=clean)
        self.kills -= 1
        self.live_again()


@contextmanager
def watched(world: Ground) -> Iterator[None]:
    """The judge hears what is claimed, within the transaction: what comes a moment later was not earlier."""
    claim = deliveries.claim

    def heard(tx: Transaction, *arguments: Any) -> Sequence[Row[Any]]:
        claimed = claim(tx, *arguments)
        world.judge.claims(tx.connection, [row.id for row in claimed if row.state == "due" and row.case])
        return claimed

    with patch.object(deliveries, "claim", heard):
        yield


_place: dict[str, Path] = {}


def _engine(file: Path, mode: str, begin: str, pragmas: tuple[str, ...]) -> Engine:
    """One engine for all files, so that statements are compiled once for all lives. Nothing is synced."""
    _place["file"] = file
    return _shared_engine(mode, begin,
                          tuple(each for each in pragmas if not each.startswith(("synchronous", "secure"))))


@cache
def _shared_engine(mode: str, begin: str, pragmas: tuple[str, ...]) -> Engine:
    class Moving(type(Path())):  # type: ignore[misc]
        def absolute(self) -> Path:
            return _place["file"].absolute()

    return make_engine(Moving("store"), mode, begin, (*pragmas, "synchronous=OFF"))


@cache
def metrics() -> Metrics:
    """The metrics, made once, because making them takes long and nobody reads them here."""
    return Metrics()


@cache
def template() -> dict[str, bytes]:
    """The file of a new store, made once, so that the schema is not made for each world."""
    with tempfile.TemporaryDirectory() as folder:
        Store.open(Path(folder)).close()
        return {"store.sqlite3": (Path(folder) / "store.sqlite3").read_bytes()}
