"""How the embedded database is opened: SQLite in WAL mode with synchronous=FULL, one writing connection,
readers beside it.

SQLite comes from PyPI's ``pysqlite3`` and is at least 3.51.3: older ones can lose committed transactions when
two connections write and checkpoint at once. Checkpoints run on the writer's connection, inside its commits.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from pysqlite3 import dbapi2
from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text, update
from sqlalchemy.pool import NullPool, QueuePool

from hub.errors import Busy, ConfigError
from hub.store.database.statements import Query
from hub.store.database.tables import COPY, REVISION, store

OLDEST_SQLITE = (3, 51, 3)
MIGRATIONS = Path(__file__).parent / "migrations"
PATIENCE = 10_000
"""Milliseconds that a connection waits for another one's lock."""


RESTORING, INTERRUPTED = "restoring", "restoring.unfinished"
"""Where a restore builds the store, and the mark that stands while it moves it into its place."""


class StoreInUse(Busy):
    """Another process writes to this store: stop it, or ask it through its socket."""


def check_sqlite(version: tuple[int, ...] = dbapi2.sqlite_version_info) -> None:
    """Raises `ConfigError` for a SQLite that can lose what it committed."""
    if version < OLDEST_SQLITE:
        raise ConfigError.at("pysqlite3", "version",
                             f"SQLite {'.'.join(map(str, version))} can lose committed transactions",
                             f"install a pysqlite3 with SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer")


def writing_engine(file: Path) -> Engine:
    """For the one writer: every transaction takes the write lock at its begin."""
    return _engine(file, "rwc", "BEGIN IMMEDIATE", (
        "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={PATIENCE}",
        "cache_size=-65536",
        "wal_autocheckpoint=4000", "journal_size_limit=67108864", "secure_delete=ON"))


def reading_engine(file: Path) -> Engine:
    """For readers: they see one committed state per transaction and can write nothing."""
    return _engine(file, "ro", "BEGIN", ("query_only=ON", "busy_timeout=10000", "cache_size=-16384"))


def _engine(file: Path, mode: str, begin: str, pragmas: tuple[str, ...]) -> Engine:
    def connect() -> Any:
        connection = dbapi2.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None,
                                    check_same_thread=False, cached_statements=256)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    pool = {"poolclass": NullPool} if mode == "rwc" else {"poolclass": QueuePool, "pool_size": 4,
                                                          "max_overflow": 28}
    engine = create_engine("sqlite://", module=dbapi2, creator=connect, hide_parameters=True, **pool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def truncate_log(connection: Any) -> bool:
    """Bring all of the write-ahead log into the file and cut it to nothing; False when a reader still needs
    it.

    On the writer's bare connection, outside of a transaction. It waits for readers only a moment: everybody's
    commits wait for it.
    """
    connection.execute("PRAGMA busy_timeout=200").fetchall()
    try:
        [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout={PATIENCE}").fetchall()
    return not busy


class Embedded:
    """SQLite in the hub's own folder: one process writes. Its counterpart with the same methods is
    `hub.store.database.postgresql.Served`."""

    shared = False
    takeover = timedelta.max

    def __init__(self, directory: Path) -> None:
        check_sqlite()
        self.where = directory / "store.sqlite3"
        self._directory = directory
        self._lock: int | None = None

    def writing_engine(self) -> Engine:
        """For the one writer."""
        return writing_engine(self.where)

    def reading_engine(self) -> Engine:
        """For readers."""
        return reading_engine(self.where)

    def lock(self) -> None:
        """Keep every other process from writing. Raises `StoreInUse`."""
        self._lock = lock(self._directory / "lock")

    def unlock(self) -> None:
        """Let the next one begin."""
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            os.close(descriptor)

    def enter(self, connection: Connection, now: int) -> tuple[int, bool, int | None]:
        """Raise the fencing number, from here on no earlier process writes.

        The number, whether the last end was unclean, and for a copy that was never opened the moment it was
        made.
        """
        migrate(connection, self.where)
        row = connection.execute(select(store)).one_or_none()
        if row is None:
            connection.execute(insert(store).values(id=1, fencing=1, clean=0, opened_at=now))
            return 1, False, None
        connection.execute(update(store).values(fencing=row.fencing + 1, clean=0, opened_at=now))
        return row.fencing + 1, not row.clean, row.opened_at if row.clean == COPY else None

    def owns(self, connection: Connection, fencing: int) -> bool:
        """Whether this process may still write."""
        [row] = _FENCING(connection)
        return bool(row.fencing == fencing)

    def tell(self, connection: Connection, fencing: int) -> None:
        """Nobody listens."""

    def leave(self, connection: Connection, *, clean: bool) -> None:
        """The end: whether it was clean."""
        connection.execute(update(store).values(clean=int(clean)))

    @contextmanager
    def alone(self, job: str) -> Iterator[bool]:  # noqa: ARG002
        """Nobody else is there."""
        yield True


_FENCING = Query(select(store.c.fencing))


def log_pages(file: Path) -> int:
    """How many pages of SQLite's write-ahead log are committed, by the index beside it (``-shm``); 0 where
    there is no whole one.

    Layout: https://sqlite.org/walformat.html §2.1. Ask only while this process has no connection to the file:
    closing the index would take SQLite's locks away.
    """
    try:
        with file.with_name(f"{file.name}-shm").open("rb") as index:
            first, second = index.read(48), index.read(48)
    except FileNotFoundError:
        return 0
    return int.from_bytes(first[16:20], sys.byteorder) if len(second) == 48 and first == second else 0


def lost_pages(engine: Engine, before: int) -> int:
    """How many of the `before` committed pages of its log SQLite does not find any more.

    SQLite reads the log that a dead process left up to the first page that is not whole, and says nothing
    about what comes after it: a commit that was under way, or damage, behind which acknowledged messages are
    lost. The index is never ahead of what was synced, so it tells the one from the other. After a power cut
    it may be older, or gone, and tells nothing.
    """
    if not before:
        return 0
    with engine.connect() as connection:
        [(_, found, _)] = connection.connection.cursor().execute("PRAGMA wal_checkpoint(NOOP)").fetchall()
    return max(0, before - max(0, int(found)))


LOCK_SECONDS = 2.0
"""Seconds for which a taken store is asked for again."""


def lock(file: Path) -> int:
    """Hold the store for this process as long as the descriptor is open. Raises `StoreInUse`.

    Waits a moment: a hub that was killed while it started a worker leaves a copy of the descriptor in the
    half-born child.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    patience = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() < patience:
                time.sleep(0.05)
                continue
            os.close(descriptor)
            raise StoreInUse(f"{file.parent}: another hub runs on this store: "
                             "ask it (drehscheibe queue), or stop it first") from error
        return descriptor


def revision(connection: Connection) -> str | None:
    """The schema the store has; None when it is new."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def migrate(connection: Connection, where: Path | str) -> None:
    """Bring the schema up to this version. Raises `ConfigError` when the store is newer than this program."""
    has = revision(connection)
    if has == REVISION:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if has is not None and has not in known:
        raise ConfigError.at(where, "schema", f"revision {has} comes from a newer version of this program",
                             "install that version again, or restore the backup made before the upgrade")
    command.upgrade(config, "head")


def check_revision(connection: Connection, where: Path | str) -> None:
    """For readers, which never migrate. Raises `ConfigError` when the schema is not the one this program
    knows."""
    has = revision(connection)
    if has != REVISION:
        raise ConfigError.at(where, "schema", f"revision {has}, but this program reads {REVISION}",
                             "open it once with the program that writes it")


def copy(connection: Any, file: Path, made_at: int, clean: int, progress: Callable[[int, int], None]) -> None:
    """Copy the tables, as of the transaction that the bare `connection` is in, to a new file beside any
    writer.

    The copy says of itself what it is: `clean` and `opened_at` (microseconds) of its row in the table
    `store`.
    """
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    target = dbapi2.connect(file, isolation_level=None)
    try:
        connection.backup(target, pages=2000, progress=lambda _status, left, of: progress(of - left, of))
        # one file: whoever opens it for writing makes it WAL again
        target.execute("PRAGMA journal_mode=DELETE").fetchall()
        target.execute("PRAGMA synchronous=FULL").fetchall()
        target.execute("UPDATE store SET clean = ?, opened_at = ?", (clean, made_at))
    finally:
        target.close()
