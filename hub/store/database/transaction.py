"""One transaction of the writer, on either database, with its ledger and its locks.

Used by the transitions, which are functions on a `Transaction`. `hub.store.writer` makes one for each batch
and for each group of work in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

from sqlalchemy import Column, Connection, select, text

from hub.store.database.ledger import Ledger
from hub.store.database.tables import Lock

NAMES = 1024
"""How many locks there are for names: PostgreSQL's table of locks is small."""
_ONE_BY_ONE = text("SELECT pg_advisory_xact_lock(:kind, number) "
                   "FROM unnest(cast(:numbers AS int[])) AS number")


@dataclass(slots=True)
class Transaction:
    """What a piece of work writes with. `now` is in microseconds. `fencing` is the number of this process."""

    connection: Connection
    now: int
    fencing: int
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def shared(self) -> bool:
        """Whether others may write at the same time. With SQLite a transaction is alone from its begin on."""
        return self.connection.dialect.name == "postgresql"

    def one_by_one(self, names: Iterable[str]) -> None:
        """Lock these names until the transaction ends, so that what is read about them stays true."""
        if self.shared:
            # in one order, so that there is no deadlock
            numbers = sorted({crc32(name.encode()) % NAMES for name in names})
            self.connection.execute(_ONE_BY_ONE, {"kind": Lock.NAME, "numbers": numbers})

    def hold(self, column: Column[str], ids: Iterable[str]) -> None:
        """Lock these rows until the transaction ends: nobody else changes them, and they are up to date."""
        if self.shared:
            self.connection.execute(
                select(column).where(column.in_(sorted(set(ids)))).order_by(column).with_for_update())

