"""A PostgreSQL as the store's database, shared by several hubs (nodes).

::

    node A ──one writing session──┐                       ┌─ node: fencing number, beat, ended
           ──reading sessions─────┼──► PostgreSQL ────────┤
    node B ──the same─────────────┘                       └─ advisory locks: see `Lock`

Fencing. A node enters with a new fencing number, and beats over a session of its own. Each writing
transaction first takes the shared lock of its own number, and then checks that the node was not ended. A
node that takes another one over ends the sessions of that one, and takes that lock exclusively. So what a
frozen node had begun is either committed before the takeover, and counted, or never.

Judging. A node judges another one only by what it saw itself: the other's beat did not
change for `takeover` while its own beats went on. Clocks of machines are not compared.
An outage of the database makes no node dead.

Time limits. The server ends a session that waits inside a transaction for 10 s, one whose
bytes nobody acknowledges for 8 s, and a statement after 15 s. When the server says
nothing for 20 s, the client ends the session.

BUGS: a node that freezes in the middle of several statements sent at once is not ended by the server. It
holds its locks until it is taken over. The writers of the other nodes wait; their beats do not.

Used by `hub.store.store`; `hub.store.database.sqlite.Embedded` has the same methods for SQLite.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import psycopg
from psycopg import conninfo
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    bindparam,
    create_engine,
    delete,
    literal_column,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.pool import NullPool, QueuePool

from hub.config.sections import StoreSection
from hub.endpoint import Finding, read_secret, secret_path
from hub.errors import ConfigError, StoreUnavailable
from hub.store.database import sqlite
from hub.store.database.tables import COPY, Lock, node, store

CHANNEL = "drehscheibe"
"""The channel of NOTIFY on which nodes tell each other that work was made."""
OLDEST_SERVER = 150000
"""The oldest version of the server that serves, as in ``server_version_num``."""
MOST_SKEW = 2.0
"""Seconds by which clocks may differ: a delivery is due by the clock of the node that settled it."""
KEPT = timedelta(days=30)
"""How long the row of an ended node is kept."""
STOPPED, TAKEN_OVER, FOLLOWED = "stopped", "taken over", "started anew"
"""How a node ended."""

_DATABASE_NOW: Any = literal_column("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", BigInteger)
_LOCK_ALONE = text("SELECT pg_advisory_xact_lock(:kind, :number)")
_LOCK_SHARED = text("SELECT pg_advisory_xact_lock_shared(:kind, :number)")
_ALIVE = select(node.c.fencing).where(node.c.fencing == bindparam("fencing"), node.c.ended_at.is_(None))
_BEAT = ("UPDATE node SET beat = beat + 1, "
         "beat_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint "
         "WHERE fencing = %s AND ended_at IS NULL RETURNING fencing")
_LIVING = ("SELECT fencing, name, session, started_at, beat, "
           "(extract(epoch FROM clock_timestamp()) - beat_at / 1e6)::float8 "
           "FROM node WHERE ended_at IS NULL ORDER BY fencing")
_CUT = ("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = %s "
        "AND EXISTS (SELECT FROM node WHERE fencing = %s AND beat = %s AND ended_at IS NULL)")
_NOTIFY = text("SELECT pg_notify(:channel, :payload)")


@dataclass(frozen=True, slots=True)
class Node:
    """One run of a hub on this database. `silent`: seconds since its last beat, by the database's clock."""

    fencing: int
    name: str
    session: str
    started_at: int
    beat: int
    silent: float
    ended: str | None


class Session(psycopg.Connection[Any]):
    """A session that does not wait for ever. The server itself gives up a statement sooner and says so."""

    patience = 20.0
    """Seconds without any answer after which the session is ended."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """See `psycopg.Connection.wait`."""
        began = time.monotonic()
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.Error as error:
            if timeout is None and time.monotonic() - began >= self.patience:
                self.close()  # a late answer would be taken for the answer to the next statement
                raise psycopg.OperationalError(
                    f"the database said nothing for {self.patience:.0f} s") from error
            raise


class Served:
    """A PostgreSQL as the store's database."""

    shared = True

    def __init__(self, settings: StoreSection, directory: Path) -> None:
        self.settings = settings
        self.where = f"[store] url ({_public(settings)})"
        self.takeover = settings.takeover
        self._directory = directory
        self._lock: int | None = None
        self.name = settings.node or os.uname().nodename
        self.session = f"drehscheibe {uuid.uuid4().hex[:12]} {self.name}"[:63]

    # ---------------------------------------------------------------- sessions

    def connect(self, **options: str) -> Session:
        """A new session. Raises `psycopg.Error`, and `ConfigError` when the password cannot be read."""
        return Session.connect(**self._parameters(options))

    def _parameters(self, options: dict[str, str]) -> dict[str, Any]:
        settings = self.settings
        limits = {"statement_timeout": "15s", "lock_timeout": "12s",
                  "idle_in_transaction_session_timeout": "10s", "synchronous_commit": "on",
                  "default_transaction_isolation": "read committed", "timezone": "UTC", **options}
        found: dict[str, Any] = {
            "connect_timeout": "5", "tcp_user_timeout": "8000", "keepalives_idle": "5",
            "keepalives_interval": "2", "keepalives_count": "3", "target_session_attrs": "primary",
            "client_encoding": "utf8", "sslmode": settings.tls,
            **conninfo.conninfo_to_dict(settings.url or ""),
            "application_name": self.session,
            "options": " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}"
                                for name, value in limits.items())}
        if settings.tls == "verify-full":
            found["sslrootcert"] = str(settings.ca) if settings.ca else "system"
        if settings.certificate is not None and settings.key is not None:
            found |= {"sslcert": str(settings.certificate), "sslkey": str(secret_path(settings.key))}
        if settings.password is not None:
            found["password"] = read_secret(settings.password)
        return found

    def writing_engine(self) -> Engine:
        """The engine of this node's one writer."""
        return create_engine("postgresql+psycopg://", creator=self.connect, poolclass=NullPool,
                             use_native_hstore=False, hide_parameters=True)

    def reading_engine(self) -> Engine:
        """The engine of readers. A reader sees one committed state per transaction and cannot write."""
        def connect() -> Session:
            session = self.connect(default_transaction_isolation="repeatable read",
                                   default_transaction_read_only="on", statement_timeout="120s")
            session.patience = 130.0
            return session

        return create_engine("postgresql+psycopg://", creator=connect, use_native_hstore=False,
                             hide_parameters=True, poolclass=QueuePool, pool_size=4, max_overflow=28,
                             pool_timeout=20)

    # ---------------------------------------------------------------- nodes

    def lock(self) -> None:
        """Let only one process use a state folder, so that a former run of this node is certainly gone.

        Raises `StoreInUse`.
        """
        self._lock = sqlite.lock(self._directory / "lock")

    def unlock(self) -> None:
        """Let the next process begin."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def enter(self, connection: Connection, now: int) -> tuple[int, bool, int | None]:
        """Enter as a new node.

        Returns the new fencing number, whether a former run of this node ended uncleanly, and when a restored
        backup was made (microseconds; None: it is no backup). Raises `ConfigError`.
        """
        version = connection.execute(text("SHOW server_version_num")).scalar_one()
        if int(version) < OLDEST_SERVER:
            raise ConfigError.at("hub.toml", "store.url", f"the server's version is {version}",
                                 "PostgreSQL 15 or newer serves")
        _lock_alone(connection, Lock.OPEN, 0)
        sqlite.migrate(connection, self.where)
        connection.execute(insert(store).values(id=1, fencing=0, clean=1,
                                                opened_at=now).on_conflict_do_nothing())
        was = connection.execute(select(store).with_for_update()).one()
        fencing: int = was.fencing + 1
        connection.execute(update(store).values(fencing=fencing, clean=1, opened_at=now))
        identity = self._identity()
        before = connection.execute(select(node.c.fencing).where(node.c.identity == identity,
                                                                 node.c.ended_at.is_(None))).all()
        connection.execute(insert(node).values(fencing=fencing, identity=identity, name=self.name,
                                               session=self.session,
                                               started_at=now, beat=0, beat_at=_DATABASE_NOW))
        connection.execute(delete(node).where(node.c.ended_at < now - KEPT // timedelta(microseconds=1)))
        return fencing, bool(before), was.opened_at if was.clean == COPY else None

    def owns(self, connection: Connection, fencing: int) -> bool:
        """Whether this node may write. The answer holds until the transaction ends."""
        connection.execute(_LOCK_SHARED, {"kind": Lock.NODE, "number": fencing})
        # a second statement, because it must see what was committed before the lock was granted
        return connection.execute(_ALIVE, {"fencing": fencing}).scalar() is not None

    def former(self, connection: Connection, fencing: int) -> list[int]:
        """The fencing numbers of former runs of this node that were not ended.

        They are certainly gone, because this process holds the lock of their folder.
        """
        return list(connection.execute(select(node.c.fencing).where(
            node.c.identity == self._identity(), node.c.ended_at.is_(None), node.c.fencing != fencing)
            .order_by(node.c.fencing)).scalars())

    def end(self, connection: Connection, fencing: int, now: int, how: str, beat: int | None = None) -> bool:
        """End a node: from here on it cannot write.

        False when it was ended already, or has beaten since `beat`.
        """
        if how != STOPPED:  # a node that stops by itself holds its own shared lock
            _lock_alone(connection, Lock.NODE, fencing)
        last = true() if beat is None else node.c.beat == beat
        ended = connection.execute(
            update(node).where(node.c.fencing == fencing, node.c.ended_at.is_(None), last)
            .values(ended_at=now, ended=how).returning(node.c.fencing)).all()
        return bool(ended)

    def nodes(self, connection: Connection) -> list[Node]:
        """The living nodes, and those that ended within the last 30 days."""
        silent = ((_DATABASE_NOW - node.c.beat_at) / 1e6).label("silent")
        rows = connection.execute(select(node, silent).order_by(node.c.fencing))
        return [Node(row.fencing, row.name, row.session, row.started_at, row.beat, float(row.silent),
                     row.ended) for row in rows]

    def _identity(self) -> str:
        """The identity of this node: the same after each start with this machine name and folder.

        A copied machine with another name has another identity.
        """
        file = self._directory / "node-id"
        try:
            own = file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            own = str(uuid.uuid4())
            file.write_text(f"{own}\n", encoding="ascii")
        return f"{os.uname().nodename} {own}"

    def findings(self) -> Iterator[Finding]:
        """What ``drehscheibe check`` says about the database, in German. Raises `StoreUnavailable`."""
        try:
            with self.connect(default_transaction_read_only="on") as session:
                facts = {name: str((session.execute(f"SHOW {name}").fetchone() or ("",))[0])
                         for name in ("server_version", "server_version_num", "fsync", "full_page_writes",
                                      "max_connections", "synchronous_standby_names", "ssl")}
                encrypted = session.pgconn.ssl_in_use
                skew = (session.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone() or (0,))[0]
                revision = session.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
        except psycopg.Error as error:
            raise StoreUnavailable(_first_line(error)) from error
        yield Finding("ok", f"PostgreSQL {facts['server_version']}, "
                            f"{'verschlüsselt' if encrypted else 'unverschlüsselt'}, "
                            + ("die Tabellen sind da" if revision and revision[0] else "noch leer")
                            + (f", Standby: {facts['synchronous_standby_names']}"
                               if facts["synchronous_standby_names"] else ""))
        if int(facts["server_version_num"]) < OLDEST_SERVER:
            yield Finding("error", "PostgreSQL 15 oder neuer ist nötig", "Die Datenbank erneuern")
        for name in ("fsync", "full_page_writes"):
            if facts[name] != "on":
                yield Finding("error",
                              f"{name} ist ausgeschaltet: ein Stromausfall kann angenommene Anträge kosten",
                              f"ALTER SYSTEM SET {name} = on, dann neu laden")
        if abs(time.time() - float(skew)) > MOST_SKEW:
            yield Finding("warning", "Die Uhren von Drehscheibe und Datenbank gehen "
                                     f"{abs(time.time() - float(skew)):.0f} s "
                                     "auseinander", "NTP auf beiden Rechnern einrichten")

    # ---------------------------------------------------------------- between nodes

    def tell(self, connection: Connection, fencing: int) -> None:
        """Wake the other nodes when this transaction commits."""
        connection.execute(_NOTIFY, {"channel": CHANNEL, "payload": str(fencing)})

    def listen(self, fencing: int, heard: Callable[[], None], ended: Callable[[], bool]) -> None:
        """Call `heard` whenever another node made work, until `ended` is true.

        Raises `StoreUnavailable` when the session is lost.
        """
        try:
            with self.connect() as session:
                session.autocommit = True
                session.execute(f"LISTEN {CHANNEL}")
                heard()  # notices from before LISTEN do not arrive
                while not ended():
                    told = [notice.payload for notice in session.notifies(timeout=1.0, stop_after=1)]
                    if any(payload != str(fencing) for payload in told):
                        heard()
        except psycopg.Error as error:
            raise StoreUnavailable(f"the database cannot be heard now: {type(error).__name__}") from error

    @contextmanager
    def alone(self, job: str) -> Iterator[bool]:
        """Whether this node may do a job alone. If so, no other node does it until the block ends."""
        try:
            with self.connect(idle_session_timeout="0") as session:
                session.autocommit = True
                row = session.execute("SELECT pg_try_advisory_lock(%s, %s)",
                                      (int(Lock.JOB), _number(job))).fetchone()
                yield bool(row and row[0])
        except psycopg.Error as error:
            raise StoreUnavailable(f"the database is not there: {type(error).__name__}") from error


class Pulse:
    """Beats for a node, over a session of its own that never waits for locked rows. One thread uses it."""

    def __init__(self, base: Served, fencing: int) -> None:
        self._base = base
        self._fencing = fencing
        self._session: Session | None = None

    def beat(self) -> list[Node] | None:
        """Beat once. Returns all living nodes, or None when this node
        was ended. Raises `StoreUnavailable`."""
        with self._there() as session:
            if session.execute(_BEAT, (self._fencing,)).fetchone() is None:
                return None
            return [Node(fencing, name, own, since, beat, silent, None)
                    for fencing, name, own, since, beat, silent in session.execute(_LIVING)]

    def cut(self, other: Node) -> None:
        """End the sessions of a node that did not beat since. That frees its locks.

        Raises `StoreUnavailable`.
        """
        with self._there() as session:
            session.execute(_CUT, (other.session, other.fencing, other.beat))

    def close(self) -> None:
        """End the session."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    @contextmanager
    def _there(self) -> Iterator[Session]:
        try:
            if self._session is None:
                self._session = self._base.connect()
                self._session.autocommit = True
            yield self._session
        except psycopg.Error as error:
            self.close()
            raise StoreUnavailable(f"the database is not there: {_first_line(error)}") from error


def _lock_alone(connection: Connection, kind: Lock, number: int) -> None:
    connection.execute(_LOCK_ALONE, {"kind": kind, "number": number})


def _first_line(error: psycopg.Error) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _number(name: str) -> int:
    return crc32(name.encode()) & 0x7FFFFFFF


def _public(settings: StoreSection) -> str:
    """The address of the database, for people: without user and password."""
    known = conninfo.conninfo_to_dict(settings.url or "")
    return f"{known.get('host', 'local')}/{known.get('dbname', '')}"
