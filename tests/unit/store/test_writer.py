"""Group commit: results come after the commit, failures go where they belong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pysqlite3 import dbapi2
from sqlalchemy import Connection, Engine, RootTransaction, text

from hub.errors import StoreUnavailable
from hub.store import writer as writer_module
from hub.store.database.sqlite import Embedded
from hub.store.database.transaction import Transaction
from hub.store.writer import GATHER, MANY, Batches, StaleFencing, Writer


@pytest.fixture()
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Embedded(tmp_path).writing_engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
    yield engine
    engine.dispose()


class Ours(Writer):
    """Without a ledger's tables."""

    def __init__(self, engine: Engine, begin: Callable[[Connection], Transaction] | None = None) -> None:
        self.before_commit: Callable[[], None] = lambda: None
        self.waits: list[float] = []

        def commit(transaction: RootTransaction) -> None:
            self.before_commit()
            transaction.commit()

        super().__init__(engine, begin or (lambda connection: Transaction(connection, 0, 1)), commit=commit,
                         sleep=self.waits.append)


@pytest.fixture()
def writer(engine: Engine) -> Iterator[Ours]:
    writer = Ours(engine)
    yield writer
    writer.close()


def put(number: int) -> Callable[[Transaction], int]:
    def work(tx: Transaction) -> int:
        tx.connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": number})
        return number

    return work


def there(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT n FROM t ORDER BY n")).scalars())


def held(writer: Writer, works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Queue all of these while the writer is busy, so that they form one batch."""
    busy, go = threading.Event(), threading.Event()

    def wait(tx: Transaction) -> None:
        busy.set()
        go.wait(30)

    first = writer.submit(wait)
    assert busy.wait(30)
    futures = [work() for work in works]
    go.set()
    first.result(30)
    return futures


def sqlite_error(name: str) -> Exception:
    error = dbapi2.OperationalError(name)
    error.sqlite_errorname = name
    return error


def test_one_batch_is_one_commit(engine: Engine, writer: Ours) -> None:
    commits = []
    writer.before_commit = lambda: commits.append(1)
    futures = held(writer, [lambda n=n: writer.submit(put(n)) for n in range(50)])
    assert [future.result(30) for future in futures] == list(range(50))
    assert len(commits) == 2  # the one that waited, and all others
    assert there(engine) == list(range(50))


def test_after_a_batch_of_many_the_next_one_gathers(writer: Ours) -> None:
    waits = writer.waits
    for future in held(writer, [lambda n=n: writer.submit(put(n)) for n in range(MANY)]):
        future.result(30)
    assert waits == []
    writer.do(put(100))
    assert waits == [GATHER]
    writer.do(put(101))
    assert waits == [GATHER]  # one alone has nobody to wait for


def test_one_that_fails_fails_alone(engine: Engine, writer: Ours) -> None:
    def bad(tx: Transaction) -> None:
        put(7)(tx)
        raise KeyError("mine")

    ok, failed, last = held(writer, [lambda: writer.submit(put(1)), lambda: writer.submit(bad),
                                     lambda: writer.submit(put(2))])
    with pytest.raises(KeyError, match="mine"):
        failed.result(30)
    assert (ok.result(30), last.result(30), there(engine)) == (1, 2, [1, 2])


def test_one_alone_that_fails_writes_nothing(engine: Engine, writer: Ours) -> None:
    def bad(tx: Transaction) -> None:
        put(7)(tx)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        writer.do(bad)
    writer.do(put(1))
    assert there(engine) == [1]


def test_neighbours_of_one_kind_are_given_at_once_and_the_guilty_fails_alone(engine: Engine,
                                                                             writer: Ours) -> None:
    calls = []

    def insert_all(tx: Transaction, numbers: Sequence[int]) -> list[int]:
        calls.append(list(numbers))
        for number in numbers:
            put(number)(tx)
            if number == 2:
                raise ValueError(number)
        return list(numbers)

    futures = held(writer, [lambda n=n: writer.gather(insert_all, n) for n in range(4)])
    assert [futures[n].result(30) for n in (0, 1, 3)] == [0, 1, 3]
    with pytest.raises(ValueError, match="2"):
        futures[2].result(30)
    assert calls == [[0, 1, 2, 3], [0], [1], [2], [3]]
    assert there(engine) == [0, 1, 3]


@pytest.mark.parametrize(("name", "breaks"),
                         [("SQLITE_FULL", False), ("SQLITE_BUSY", False), ("SQLITE_IOERR_FSYNC", True)])
def test_a_failing_disk_fails_all_of_the_batch(engine: Engine, writer: Ours, name: str, breaks: bool) -> None:
    def disk() -> None:
        from sqlalchemy.exc import OperationalError
        raise OperationalError("COMMIT", {}, sqlite_error(name))

    writer.before_commit = disk
    busy, go = threading.Event(), threading.Event()
    futures = [writer.submit(lambda tx: (busy.set(), go.wait(30)))]
    assert busy.wait(30)
    futures += [writer.submit(put(n)) for n in (1, 2)]
    go.set()
    for future in futures:
        with pytest.raises(StoreUnavailable, match=name):
            future.result(30)
    assert there(engine) == []
    writer.before_commit = lambda: None
    if breaks:
        with pytest.raises(StoreUnavailable, match="broken"):
            writer.do(put(3))
    else:
        assert writer.do(put(3)) == 3
    assert there(engine) == ([] if breaks else [3])


def test_sqlite_that_rolled_back_by_itself_writes_nothing_more(engine: Engine, writer: Ours) -> None:
    """SQLITE_FULL may end the transaction inside a piece of work: what follows must not run outside of
    one."""

    def full(tx: Transaction) -> None:
        from sqlalchemy.exc import OperationalError
        tx.connection.connection.rollback()
        raise OperationalError("INSERT", {}, sqlite_error("SQLITE_FULL"))

    futures = held(writer, [lambda: writer.submit(put(1)), lambda: writer.submit(full),
                            lambda: writer.submit(put(2))])
    for future in futures:
        with pytest.raises(StoreUnavailable):
            future.result(30)
    assert there(engine) == []
    assert writer.do(put(3)) == 3


def test_a_real_full_database_is_unavailable_and_recovers(engine: Engine, writer: Ours) -> None:
    def fill(tx: Transaction) -> None:
        tx.connection.execute(text("INSERT INTO big VALUES (zeroblob(1000000))"))

    def limit(pages: int) -> Callable[[Transaction], None]:
        return lambda tx: tx.connection.exec_driver_sql(
            f"PRAGMA max_page_count = {pages}").fetchall() and None

    writer.do(lambda tx: tx.connection.execute(text("CREATE TABLE big (b BLOB)")))
    writer.do(limit(20))
    good, bad = held(writer, [lambda: writer.submit(put(1)), lambda: writer.submit(fill)])
    for future in (good, bad):
        with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
            future.result(30)
    assert there(engine) == []
    writer.do(limit(100_000))
    writer.do(fill)
    assert writer.broken is None


def test_stale_fencing_breaks_the_writer(engine: Engine) -> None:
    def stale(connection: Connection) -> Transaction:
        raise StaleFencing("another process")

    writer = Ours(engine, stale)
    with pytest.raises(StoreUnavailable):
        writer.do(put(1))
    with pytest.raises(StoreUnavailable, match="broken"):
        writer.do(put(2))
    writer.close()
    assert there(engine) == []


def test_close_finishes_what_waits_and_takes_nothing_more(engine: Engine) -> None:
    writer = Ours(engine)
    futures = [writer.submit(put(n)) for n in range(20)]
    writer.close()
    assert [future.result(30) for future in futures] == list(range(20))
    with pytest.raises(StoreUnavailable, match="closed"):
        writer.do(put(99))


def promised_but_lost(engine: Engine, writer_class: type[Ours]) -> bool:
    """Whether a caller heard "done" about something that a crash just before the commit takes away."""
    writer = writer_class(engine)

    def crash() -> None:
        raise MemoryError("power cut")

    writer.before_commit = crash
    future = writer.submit(put(1))
    error = future.exception(30)
    writer.close()
    return error is None and there(engine) == []


def test_nothing_is_promised_before_the_commit(engine: Engine) -> None:
    assert not promised_but_lost(engine, Ours)


def test_planted_a_promise_before_the_commit_is_noticed(engine: Engine,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, write = writer_module.resolve, Batches.write

    def early(self: Batches, connection: Connection, batch: Sequence[Any]) -> None:
        commit = self.commit

        def promised(transaction: RootTransaction) -> None:
            resolve(batch)
            commit(transaction)

        self.commit = promised
        write(self, connection, batch)
        self.commit = commit

    monkeypatch.setattr(Batches, "write", early)
    for late in ("resolve", "refuse"):
        monkeypatch.setattr(writer_module, late, lambda *_: None)
    assert promised_but_lost(engine, Ours)


def test_after_a_commit_that_failed_for_want_of_space_the_next_one_is_written(
        engine: Engine, writer: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine.dialect.do_commit

    def full(connection: Any) -> None:
        monkeypatch.setattr(engine.dialect, "do_commit", real)
        # inside of SQLAlchemy's own commit: it and SQLite stay in the transaction
        raise sqlite_error("SQLITE_FULL")

    monkeypatch.setattr(engine.dialect, "do_commit", full)
    with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
        writer.do(put(1))
    assert writer.do(put(2)) == 2
    assert there(engine) == [2]
