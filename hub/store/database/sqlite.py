"""The embedded database: SQLite in WAL mode with synchronous=FULL, one writing connection, several readers.

SQLite comes from the distribution ``pysqlite3`` and is at least 3.51.3. Older versions can
lose committed transactions when two connections write and checkpoint at once. Checkpoints
run on the writer's connection, inside its commits.

Here are the engines, the lock of the state folder, the migration of the schema, the copy for backups, and the
check of the write-ahead log after a crash.

Used by `hub.store.store`; `hub.store.database.postgresql.Served` has the same methods as `Embedded`.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import tenacity
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
WRITING = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={PATIENCE}",
           "cache_size=-65536", "wal_autocheckpoint=4000", "journal_size_limit=67108864", "secure_delete=ON")
"""Pragmas of the connection that writes. `synchronous` keeps what was acknowledged when the power fails;
`secure_delete` leaves nothing of deleted content in the file."""
READING = ("query_only=ON", "busy_timeout=10000", "cache_size=-16384")
"""Pragmas of a connection that reads."""
_FENCING = Query(select(store.c.fencing))
LOCK_SECONDS = 2.0
"""Seconds for which `lock` tries to get a store that another process holds."""


class StoreInUse(Busy):
    """Another process holds this store: stop it, or ask it through its socket."""


def check_sqlite(version: tuple[int, ...] = dbapi2.sqlite_version_info) -> None:
    """Raise `ConfigError` for a version of SQLite that can lose what it committed."""
    if version < OLDEST_SQLITE:
        raise ConfigError.at("pysqlite3", "version",
                             f"SQLite {'.'.join(map(str, version))} can lose committed transactions",
                             f"install a pysqlite3 with SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer")


def make_engine(file: Path, mode: str, begin: str, pragmas: tuple[str, ...]) -> Engine:
    """An engine for `file`.

    `mode` is that of SQLite's URI: ``rwc`` has one connection at a time, ``ro`` keeps several. Each
    transaction begins with the statement `begin`, and each connection with the `pragmas`.
    """
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
    """Bring the whole write-ahead log into the file and truncate it. False when a reader still needs it.

    Call it on the driver's own connection of the writer, outside of a transaction. It waits for readers only
    a moment, because all commits wait for it.
    """
    connection.execute("PRAGMA busy_timeout=200").fetchall()
    try:
        [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout={PATIENCE}").fetchall()
    return not busy


class Embedded:
    """SQLite in the hub's state folder, to which one process writes."""

    shared = False
    takeover = timedelta.max

    def __init__(self, directory: Path,
                 engine: Callable[[Path, str, str, tuple[str, ...]], Engine] = make_engine) -> None:
        check_sqlite()
        self.where = directory / "store.sqlite3"
        self._directory = directory
        self._engine = engine
        self._lock: int | None = None

    def writing_engine(self) -> Engine:
        """The engine of the one writer. Each transaction takes the write lock at its begin."""
        return self._engine(self.where, "rwc", "BEGIN IMMEDIATE", WRITING)

    def reading_engine(self) -> Engine:
        """The engine of readers. A reader sees one committed state per transaction and cannot write."""
        return self._engine(self.where, "ro", "BEGIN", READING)

    def lock(self) -> None:
        """Keep every other process away. Raises `StoreInUse`."""
        self._lock = lock(self._directory / "lock")

    def unlock(self) -> None:
        """Let the next process begin."""
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            os.close(descriptor)

    def enter(self, connection: Connection, now: int) -> tuple[int, bool, int | None]:
        """Raise the fencing number: from here on no earlier process can write.

        Returns the number, whether the last process ended uncleanly, and, for a copy that was never opened,
        when it was made (microseconds).
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
        """Do nothing: no other node listens."""

    def leave(self, connection: Connection, *, clean: bool) -> None:
        """Note whether this process ended cleanly."""
        connection.execute(update(store).values(clean=int(clean)))

    @contextmanager
    def alone(self, job: str) -> Iterator[bool]:  # noqa: ARG002
        """Nobody else is there."""
        yield True


def log_pages(file: Path) -> int:
    """How many pages of SQLite's write-ahead log are committed, by the index beside
    it (``-shm``); 0 where there is no whole one.

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
    """How many of the `before` committed pages of the log SQLite no longer finds.

    SQLite reads the log of a dead process up to the first page that is not whole, and does not report what
    follows. That may be a commit that was under way, or damage that hides acknowledged messages. The index is
    never ahead of what was synced, so it tells the two cases apart. After a power cut the index may be older
    or gone, and proves nothing.
    """
    if not before:
        return 0
    with engine.connect() as connection:
        [(_, found, _)] = connection.connection.cursor().execute("PRAGMA wal_checkpoint(NOOP)").fetchall()
    return max(0, before - max(0, int(found)))


def lock(file: Path) -> int:
    """Hold the store for this process as long as the descriptor is open. Raises `StoreInUse`.

    Waits a moment: a hub that was killed while it started a worker leaves a copy
    of the descriptor in the half-born child.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    asking = tenacity.Retrying(retry=tenacity.retry_if_exception_type(BlockingIOError),
                               wait=tenacity.wait_fixed(0.05), stop=tenacity.stop_after_delay(LOCK_SECONDS),
                               reraise=True)
    try:
        asking(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StoreInUse(f"{file.parent}: another hub runs on this store: "
                         "ask it (drehscheibe queue), or stop it first") from error
    return descriptor


def revision(connection: Connection) -> str | None:
    """The revision of the store's schema. None for a new store."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def migrate(connection: Connection, where: Path | str) -> None:
    """Upgrade the schema to this version. Raises `ConfigError` when the store is newer than this program."""
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
    """Raise `ConfigError` when the schema is not the one of this
    program. For readers, which never migrate."""
    has = revision(connection)
    if has != REVISION:
        raise ConfigError.at(where, "schema", f"revision {has}, but this program reads {REVISION}",
                             "open it once with the program that writes it")


def copy(connection: Any, file: Path, made_at: int, clean: int, progress: Callable[[int, int], None]) -> None:
    """Copy the tables to a new file, as of the transaction of `connection`, while others may write.

    `connection` is the driver's own. The copy's row in the table `store` gets `clean` and, as `opened_at`,
    `made_at` (microseconds), so the copy says of itself what it is.
    """
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    target = dbapi2.connect(file, isolation_level=None)
    try:
        connection.backup(target, pages=2000, progress=lambda _status, left, of: progress(of - left, of))
        # one single file; the first writer makes it WAL again
        target.execute("PRAGMA journal_mode=DELETE").fetchall()
        target.execute("PRAGMA synchronous=FULL").fetchall()
        target.execute("UPDATE store SET clean = ?, opened_at = ?", (clean, made_at))
    finally:
        target.close()
