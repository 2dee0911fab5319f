"""One transaction of the writer, on either database, with its savepoints and locks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

from sqlalchemy import Column, Connection, select, text

from hub.store.database.ledger import Ledger
from hub.store.database.tables import Lock


@dataclass(slots=True)
class Transaction:
    """What a piece of work writes with. `now` is microseconds; `fencing` is this process's number."""

    connection: Connection
    now: int
    fencing: int
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def shared(self) -> bool:
        """Whether others write at the same time. SQLite's one writer is alone
        from the begin of its transaction on."""
        return self.connection.dialect.name == "postgresql"

    def one_by_one(self, names: Iterable[str]) -> None:
        """Until this transaction ends nobody else looks at these names: what is asked now stays true."""
        if self.shared:
            # always in one order: no deadlock
            numbers = sorted({crc32(name.encode()) % NAMES for name in names})
            self.connection.execute(_ONE_BY_ONE, {"kind": Lock.NAME, "numbers": numbers})

    def hold(self, column: Column[str], ids: Iterable[str]) -> None:
        """Until this transaction ends nobody else changes these rows, and
        they are as the last one left them."""
        if self.shared:
            self.connection.execute(
                select(column).where(column.in_(sorted(set(ids)))).order_by(column).with_for_update())


NAMES = 1024
"""Names are locked by these many numbers: PostgreSQL's table of locks is small."""
_ONE_BY_ONE = text("SELECT pg_advisory_xact_lock(:kind, number) FROM unnest(cast(:numbers AS int[])) AS "
                   "number")
