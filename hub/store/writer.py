"""Group commit: one thread, one connection, one transaction for everything that waits.

Any thread hands in a piece of work and gets its result only after the commit. The writer takes all that
waits, begins one transaction, gives each piece (or each run of pieces of the same kind at once) a savepoint
of its own, and commits once: an fsync is paid per batch, not per message, and the batch grows with the
waiting work by itself. After a batch of many the next one may gather for a moment: where a sync is quick,
batches would stay small, and a thread is woken for each.

What goes wrong in one piece goes to its caller alone. What goes wrong with the disk goes to all of the batch
as `StoreUnavailable`. When a session of PostgreSQL is cut during the commit, nobody knows whether it was
done: the callers hear `StoreUnavailable`, and whoever asks again finds out (a sender's repetition is a
duplicate, a settlement comes too late). What two nodes did to each other (deadlock, serialization) is done
anew.

After a failed fsync nobody knows what is on the disk, and asking again would say "fine" although the pages
are gone: the writer is broken then, for good, and only a new start, which reads the disk, may write again.

A `Transaction` never outlives its batch.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from hub.errors import StoreDamaged, StoreUnavailable
from hub.store.database.transaction import Transaction

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


EachT = TypeVar("EachT")


@dataclass(slots=True)
class _Job(Generic[ItemT, ResultT]):
    work: Callable[[Transaction, Sequence[ItemT]], Sequence[ResultT]]
    item: ItemT
    future: Future[ResultT]
    outcome: ResultT | None = None
    error: Exception | None = None


class StaleFencing(StoreUnavailable):
    """Another process has opened this store since: this one was frozen or lost its lock and must write
    nothing."""


MANY = 10
"""Pieces in a batch after which the next one may gather."""
GATHER = 0.02
"""Seconds for which it does; more brings nothing."""

BREAKING = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_AUTH",
            "SQLITE_PROTOCOL")
PASSING = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_NOMEM",
           "SQLITE_INTERRUPT")


SERVER = ("08", "25", "28", "3D", "40", "42501", "53", "55", "57", "58", "XX")
"""Classes of PostgreSQL's SQLSTATE for what no caller can help: it is gone, full, read-only, stopping, or
refuses us."""
CONFLICT = ("40001", "40P01")
"""Two nodes were in each other's way: one of them must begin anew."""
TRIES = 5


def disk_failure(error: BaseException) -> str | None:
    """The name of a failure that is not the caller's fault but the disk's (or the database's), else None."""
    if not isinstance(error, DBAPIError) or isinstance(error, IntegrityError):
        return None
    state: str | None = getattr(error.orig, "sqlstate", "")
    if state != "":
        if state is None:  # nothing came from the server, not even an error
            return None if isinstance(error,
                                      DataError | ProgrammingError) else "no connection to the database"
        return f"SQLSTATE {state}" if state.startswith(SERVER) else None
    name = str(getattr(error.orig, "sqlite_errorname", ""))
    return name if name.startswith(BREAKING + PASSING) else None


def damage(error: BaseException, where: Path | str) -> StoreDamaged | None:
    """What to say when the database `where` is not what was written; None for every other failure."""
    failure = disk_failure(error) or ""
    if not failure.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return None
    return StoreDamaged(f"{where}: the database is damaged ({failure}): stop the hub, keep a copy of its "
                        "state, "
                        "then drehscheibe restore the last backup (docs/operate-backup.md)")


def _conflict(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in CONFLICT


class Writer:
    """The one thread that writes.

    `begin` is asked once per transaction, inside it: it checks that the store is still ours and gives the
    `Transaction`. `end` is told of it before the commit.
    """

    def __init__(self, engine: Engine, begin: Callable[[Connection], Transaction], largest: int = 1000,
                 end: Callable[[Transaction], None] = lambda _: None) -> None:
        self._engine = engine
        self._begin = begin
        self._end = end
        self._largest = largest
        self._waiting: queue.SimpleQueue[_Job[Any, Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._broken: str | None = None
        self._closed = False
        self._last = 0
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def broken(self) -> str | None:
        """Why nothing is written any more, or None."""
        return self._broken

    def submit(self, work: Callable[[Transaction], ResultT]) -> Future[ResultT]:
        """Queue one piece of work; its result comes after the commit. Raises `StoreUnavailable` when broken
        or closed."""
        return self.gather(_single, work)

    def do(self, work: Callable[[Transaction], ResultT]) -> ResultT:
        """`submit` and wait."""
        return self.submit(work).result()

    def gather(self, work: Callable[[Transaction, Sequence[ItemT]], Sequence[ResultT]],
               item: ItemT) -> Future[ResultT]:
        """Queue one item for `work`, which is given all neighbouring items of the same `work` at once, in
        order.

        When `work` fails for several, it is called again with each alone, so the guilty one fails alone.
        """
        job = _Job(work, item, Future())
        with self._lock:  # nothing may enter the queue behind the end
            self._refuse_if_broken()
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._waiting.put(job)
        return job.future

    def one_by_one(self, work: Callable[[Any], EachT]) -> EachT:
        """Run `work` on the bare connection between two transactions, and wait: for what SQLite does outside
        of any."""
        future: Future[EachT] = self.gather(_one_by_one, work)
        return future.result()

    def break_down(self, why: str) -> None:
        """Never write again in this process; what waits is refused."""
        with self._lock:
            self._broken = self._broken or why

    def close(self) -> None:
        """Finish what waits, then stop."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            raise StoreUnavailable(self._broken)

    def _run(self) -> None:
        with self._engine.connect() as connection:
            while (batch := self._take()) is not None:
                aside = [job for job in batch if job.work is _one_by_one]
                if ordinary := [job for job in batch if job.work is not _one_by_one]:
                    self._write(connection, ordinary)
                for job in aside:
                    self._run_one_by_one(connection, job)

    def _run_one_by_one(self, connection: Connection, job: _Job[Any, Any]) -> None:
        try:
            self._refuse_if_broken()
            job.future.set_result(job.item(connection.connection.dbapi_connection))
        except Exception as error:  # noqa: BLE001  the caller waits: it must hear of it
            job.future.set_exception(error)

    def _take(self) -> list[_Job[Any, Any]] | None:
        """All that waits, at least one, and after a batch of many also what comes soon; None at the end."""
        job = self._waiting.get()
        if job is None:
            return None
        if self._last >= MANY:
            time.sleep(GATHER)
        batch = [job]
        while len(batch) < self._largest:
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._waiting.put(None)
                break
            batch.append(job)
        self._last = len(batch)
        return batch

    def _write(self, connection: Connection, batch: list[_Job[Any, Any]], tries: int = TRIES) -> None:
        try:
            self._refuse_if_broken()
            with connection.begin() as commit:
                transaction = self._begin(connection)
                for _, group in itertools.groupby(batch, key=lambda job: id(job if job.work is _single
                                                                            else job.work)):
                    _run_group(transaction, list(group), alone=len(batch) == 1)
                transaction.ledger.write(connection)
                self._end(transaction)
                self._commit(commit)
        except Exception as error:  # noqa: BLE001  the callers wait: each must hear of it
            self._leave(connection)
            if _conflict(error) and tries > 1:  # nothing of it was written
                for job in batch:
                    job.outcome = job.error = None
                self._write(connection, batch, tries - 1)
            else:
                self._fail(batch, error)
        else:
            self._resolve(batch)

    def _leave(self, connection: Connection) -> None:
        """After a commit that failed, SQLite and SQLAlchemy may both still be inside the transaction.

        A session of PostgreSQL that is lost, or may be, is thrown away: the next transaction has another.
        """
        try:
            connection.rollback()
            if self._engine.dialect.name == "sqlite":
                connection.connection.rollback()
        except Exception as error:  # noqa: BLE001  whatever it is, this connection cannot be trusted
            if self._engine.dialect.name == "postgresql":
                connection.invalidate()
                return
            self.break_down(
                f"the store is broken (rollback: {error}): nothing is accepted before a new start")

    @staticmethod
    def _commit(commit: Any) -> None:
        commit.commit()

    @staticmethod
    def _resolve(batch: list[_Job[Any, Any]]) -> None:
        for job in batch:
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.outcome)

    def _fail(self, batch: list[_Job[Any, Any]], error: Exception) -> None:
        """Nothing of the batch was written (or, after a failed fsync, nobody knows)."""
        if len(batch) == 1 and batch[0].error is error:
            batch[0].future.set_exception(error)
            return
        name = disk_failure(error) or type(error).__name__  # never its text: it may hold what is written
        why = str(error) if isinstance(error, StaleFencing) else name
        if isinstance(error, StaleFencing) or name.startswith(BREAKING):
            self.break_down(f"the store is broken ({why}): nothing is accepted before a new start")
        for job in batch:
            refusal = StoreUnavailable(f"nothing can be written now: {why}")
            refusal.__cause__ = error
            job.future.set_exception(refusal)


def _one_by_one(transaction: Transaction, items: Sequence[Any]) -> Sequence[Any]:
    """Names the work of `Writer.apart`; never called, because that work is in no transaction."""
    raise AssertionError(transaction, items)


def _single(transaction: Transaction, items: Sequence[Callable[[Transaction], Any]]) -> Sequence[Any]:
    return [work(transaction) for work in items]


def _run_group(transaction: Transaction, group: list[_Job[Any, Any]], *, alone: bool) -> None:
    """Run neighbours of one kind in one savepoint; when that fails, each in its own."""
    # Core would compile its savepoint, with another name, anew each time
    say = transaction.connection.exec_driver_sql
    if not alone:
        say("SAVEPOINT piece")
    try:
        _call(transaction, group)
    except Exception as error:
        if disk_failure(error) is not None:
            # SQLite may have rolled everything back by itself: the savepoint is gone, and nothing more may
            # run
            raise
        if len(group) == 1:
            group[0].error = error
        if alone:
            raise
        say("ROLLBACK TO SAVEPOINT piece")
        if len(group) > 1:
            for job in group:
                _run_group(transaction, [job], alone=False)
    if not alone:
        say("RELEASE SAVEPOINT piece")


def _call(transaction: Transaction, group: list[_Job[Any, Any]]) -> None:
    part = Transaction(transaction.connection, transaction.now, transaction.fencing)
    for job, outcome in zip(group, group[0].work(part, [job.item for job in group]), strict=True):
        job.outcome = outcome
    transaction.ledger.add(part.ledger)
