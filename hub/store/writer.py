"""Group commit: one thread writes everything that waits in one transaction.

Any thread submits work and gets the result only after the commit. The writer takes all waiting work,
begins one transaction, and commits once. Neighbouring work of the same kind runs together in one
savepoint. So one fsync serves a whole batch, and batches grow with the load by themselves. After a
large batch the writer lets the next one gather for a moment: where a sync is quick, batches would
otherwise stay small, and each costs the waking of a thread.

Errors:

* An error of one piece of work goes to its caller alone.
* An error of the disk goes to all callers of the batch as `StoreUnavailable`.
* When a session of PostgreSQL is cut during the commit, nobody knows whether it was done. The callers get
  `StoreUnavailable`, and their next try finds out: a repeated message is a duplicate, a repeated settlement
  comes too late.
* A conflict between two nodes (deadlock, serialization) is tried again.
* After a failed fsync nobody knows what is on the disk, and a second fsync would report success although the
  pages are lost. The writer then writes no more. Only a new start, which reads the disk, may write again.

A `Transaction` never outlives its batch. Used by `hub.store.store`.
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

import tenacity
from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from hub.errors import StoreDamaged, StoreUnavailable
from hub.store.database.transaction import Transaction

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


EachT = TypeVar("EachT")
MANY = 10
"""After a batch of this many pieces of work the next batch may gather."""
GATHER = 0.02
"""Seconds for which a batch gathers; more brings nothing."""
BREAKING = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_AUTH",
            "SQLITE_PROTOCOL")
PASSING = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_NOMEM",
           "SQLITE_INTERRUPT")
SERVER = ("08", "25", "28", "3D", "40", "42501", "53", "55", "57", "58", "XX")
"""Classes of PostgreSQL's SQLSTATE for what no caller can help: it is gone,
full, read-only, stopping, or refuses us."""
CONFLICT = ("40001", "40P01")
"""SQLSTATEs of a conflict between two nodes: one of them must try again."""
TRIES = 5


@dataclass(slots=True)
class Job(Generic[ItemT, ResultT]):
    """One piece of waiting work: `work` is called with `item`, and
    `future` gets the result after the commit."""

    work: Callable[[Transaction, Sequence[ItemT]], Sequence[ResultT]]
    item: ItemT
    future: Future[ResultT]
    outcome: ResultT | None = None
    error: Exception | None = None


class StaleFencing(StoreUnavailable):
    """Another process has opened this store since: this one was frozen or
    lost its lock and must write nothing."""


def disk_failure(error: BaseException) -> str | None:
    """The name of a failure that is not the caller's fault but the disk's (or the database's), else None."""
    if not isinstance(error, DBAPIError) or isinstance(error, IntegrityError):
        return None
    state: str | None = getattr(error.orig, "sqlstate", "")
    if state != "":
        if state is None:  # the server sent nothing, not even an error
            return (None if isinstance(error, DataError | ProgrammingError)
                    else "no connection to the database")
        return f"SQLSTATE {state}" if state.startswith(SERVER) else None
    name = str(getattr(error.orig, "sqlite_errorname", ""))
    return name if name.startswith(BREAKING + PASSING) else None


def damage(error: BaseException, where: Path | str) -> StoreDamaged | None:
    """The error to raise when the database `where` is damaged. None for every other failure."""
    failure = disk_failure(error) or ""
    if not failure.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return None
    return StoreDamaged(f"{where}: the database is damaged ({failure}): stop the hub, keep a copy of its "
                        "state, "
                        "then drehscheibe restore the last backup (docs/operate-backup.md)")


def _conflict(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in CONFLICT


def commit_plainly(transaction: RootTransaction) -> None:
    """Commit a transaction. Tests hand in something else."""
    transaction.commit()


class Batches:
    """Writes batches of work, each in one transaction. One thread at a time uses it.

    `begin` is asked once per transaction, inside it: it checks that the store is still ours and gives the
    `Transaction`. `end` is told of it before the commit, and `commit` does that.
    """

    def __init__(self, engine: Engine, begin: Callable[[Connection], Transaction],
                 end: Callable[[Transaction], None] = lambda _: None,
                 commit: Callable[[RootTransaction], None] = commit_plainly) -> None:
        self._engine = engine
        self._begin = begin
        self._end = end
        self._commit = commit
        self.broken: str | None = None
        self._breaking = threading.Lock()
        self._again = tenacity.Retrying(retry=tenacity.retry_if_exception(_conflict), reraise=True,
                                        stop=tenacity.stop_after_attempt(TRIES - 1))

    def break_down(self, why: str) -> None:
        """Never write again in this process; what waits is refused."""
        with self._breaking:
            self.broken = self.broken or why

    def refuse_if_broken(self) -> None:
        """Raise `StoreUnavailable` when this process may write no more."""
        if self.broken is not None:
            raise StoreUnavailable(self.broken)

    def run(self, connection: Connection, batch: Sequence[Job[Any, Any]]) -> None:
        """Do all that waits, and tell everybody what came of it. Never raises."""
        if ordinary := [job for job in batch if job.work is not _one_by_one]:
            self.write(connection, ordinary)
        for job in batch:
            if job.work is _one_by_one:
                self._run_one_by_one(connection, job)

    def _run_one_by_one(self, connection: Connection, job: Job[Any, Any]) -> None:
        try:
            self.refuse_if_broken()
            job.future.set_result(job.item(connection.connection.dbapi_connection))
        except Exception as error:  # noqa: BLE001  the waiting caller must get it
            job.future.set_exception(error)

    def write(self, connection: Connection, batch: Sequence[Job[Any, Any]]) -> None:
        """In one transaction, begun anew where two nodes were in each other's way. Never raises."""
        try:
            try:
                self._try(connection, batch)
            except DBAPIError as error:
                if not _conflict(error):
                    raise
                self._again(self._try_anew, connection, batch)  # nothing of it was written
        except Exception as error:  # noqa: BLE001  the callers wait: each must hear of it
            self._fail(batch, error)
        else:
            resolve(batch)

    def _try(self, connection: Connection, batch: Sequence[Job[Any, Any]]) -> None:
        """Write and commit the whole batch. Raises the error, and then nothing of the batch was written."""
        try:
            self.refuse_if_broken()
            with connection.begin() as commit:
                transaction = self._begin(connection)
                for _, group in itertools.groupby(batch, key=_kind):
                    _run_group(transaction, list(group), alone=len(batch) == 1)
                transaction.ledger.write(connection)
                self._end(transaction)
                self.commit(commit)
        except Exception:
            self._leave(connection)
            raise

    def commit(self, transaction: RootTransaction) -> None:
        """Only after this anything is promised."""
        self._commit(transaction)

    def _try_anew(self, connection: Connection, batch: Sequence[Job[Any, Any]]) -> None:
        for job in batch:
            job.outcome = job.error = None
        self._try(connection, batch)

    def _leave(self, connection: Connection) -> None:
        """End the transaction after a failure: SQLite and SQLAlchemy may both still be inside it.

        A session of PostgreSQL that may be lost is thrown away. The next transaction gets a new one.
        """
        try:
            connection.rollback()
            if self._engine.dialect.name == "sqlite":
                connection.connection.rollback()
        except Exception as error:  # noqa: BLE001  after any error here the connection cannot be trusted
            if self._engine.dialect.name == "postgresql":
                connection.invalidate()
                return
            self.break_down(
                f"the store is broken (rollback: {error}): nothing is accepted before a new start")

    def _fail(self, batch: Sequence[Job[Any, Any]], error: Exception) -> None:
        """Refuse the whole batch: nothing of it was written, or, after a failed fsync, nobody knows."""
        if len(batch) == 1 and batch[0].error is error:
            refuse(batch, error)
            return
        name = disk_failure(error) or type(error).__name__  # never its text: it may hold what is written
        why = str(error) if isinstance(error, StoreUnavailable) else name
        if isinstance(error, StaleFencing) or name.startswith(BREAKING):
            self.break_down(f"the store is broken ({why}): nothing is accepted before a new start")
        for job in batch:
            refusal = StoreUnavailable(f"nothing can be written now: {why}")
            refusal.__cause__ = error
            refuse([job], refusal)


def resolve(batch: Sequence[Job[Any, Any]]) -> None:
    """Give each caller its result, after the commit."""
    for job in batch:
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.outcome)


def refuse(batch: Sequence[Job[Any, Any]], error: Exception) -> None:
    """Tell each caller that nothing was written."""
    for job in batch:
        job.future.set_exception(error)


class Writer:
    """The one thread that writes. See `Batches` for `begin`, `end` and `commit`.

    Up to `largest` pieces of work are one batch. `sleep` waits (seconds) while a batch gathers.
    """

    def __init__(self, engine: Engine, begin: Callable[[Connection], Transaction], largest: int = 1000,
                 end: Callable[[Transaction], None] = lambda _: None,
                 commit: Callable[[RootTransaction], None] = commit_plainly,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._engine = engine
        self.batches = Batches(engine, begin, end, commit)
        self._largest = largest
        self._sleep = sleep
        self._waiting: queue.SimpleQueue[Job[Any, Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._last = 0
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def broken(self) -> str | None:
        """Why this process writes no more, or None."""
        return self.batches.broken

    def submit(self, work: Callable[[Transaction], ResultT]) -> Future[ResultT]:
        """Queue one piece of work. Its result comes after the commit.

        Raises `StoreUnavailable` when the writer is broken or closed.
        """
        return self.gather(_single, work)

    def do(self, work: Callable[[Transaction], ResultT]) -> ResultT:
        """`submit` one piece of work, and wait for its result."""
        return self.submit(work).result()

    def gather(self, work: Callable[[Transaction, Sequence[ItemT]], Sequence[ResultT]],
               item: ItemT) -> Future[ResultT]:
        """Queue one item for `work`, which is given all neighbouring
        items of the same `work` at once, in order.

        When `work` fails for several, it is called again with each alone, so the guilty one fails alone.
        """
        job = Job(work, item, Future())
        with self._lock:  # nothing may enter the queue behind the end
            self.batches.refuse_if_broken()
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._waiting.put(job)
        return job.future

    def one_by_one(self, work: Callable[[Any], EachT]) -> EachT:
        """Run `work` on the driver's own connection between two transactions, and wait for its result.

        It is for what SQLite does outside of any transaction.
        """
        future: Future[EachT] = self.gather(_one_by_one, work)
        return future.result()

    def break_down(self, why: str) -> None:
        """Never write again in this process; what waits is refused."""
        self.batches.break_down(why)

    def close(self) -> None:
        """Finish the waiting work, then stop the thread."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        with self._engine.connect() as connection:
            while (batch := self._take()) is not None:
                self.batches.run(connection, batch)

    def _take(self) -> list[Job[Any, Any]] | None:
        """All waiting work, at least one piece. After a large batch it gathers first. None at the end."""
        job = self._waiting.get()
        if job is None:
            return None
        if self._last >= MANY:
            self._sleep(GATHER)
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


def _one_by_one(transaction: Transaction, items: Sequence[Any]) -> Sequence[Any]:
    """Marks the work of `Writer.one_by_one`. It is never called, because that work is in no transaction."""
    raise AssertionError(transaction, items)


def _single(transaction: Transaction, items: Sequence[Callable[[Transaction], Any]]) -> Sequence[Any]:
    return [work(transaction) for work in items]


def _kind(job: Job[Any, Any]) -> int:
    """A key that is equal for neighbours that run together."""
    return id(job if job.work is _single else job.work)


def _run_group(transaction: Transaction, group: list[Job[Any, Any]], *, alone: bool) -> None:
    """Run neighbours of one kind in one savepoint. When that fails, run each in a savepoint of its own."""
    # Core would compile its savepoint anew each time, under another name
    say = transaction.connection.exec_driver_sql
    if not alone:
        say("SAVEPOINT piece")
    try:
        _call(transaction, group)
    except Exception as error:
        if disk_failure(error) is not None:
            # SQLite may have rolled everything back by itself: the
            # savepoint is gone, and nothing more may run
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


def _call(transaction: Transaction, group: list[Job[Any, Any]]) -> None:
    part = Transaction(transaction.connection, transaction.now, transaction.fencing)
    for job, outcome in zip(group, group[0].work(part, [job.item for job in group]), strict=True):
        job.outcome = outcome
    transaction.ledger.add(part.ledger)
