"""Checks whether the store is sound. It reads everything and changes nothing.

==============  =========================================================================================
kind of fault   what was found
==============  =========================================================================================
``database``    SQLite's integrity_check reports damage: a restore is needed
``reference``   a row names another row that is not there
``tally``       a tally differs from the number of rows
``orphan``      a file below ``blobs/`` that no row names
``leftover``    a file whose content should be deleted; the retention's next run deletes it
``missing``     the file of a body is not there
``damaged``     a body no longer has its size, or with `deep` its digest
==============  =========================================================================================

The check may run beside the writer. Rows are read as of one moment. A file is written before its row and
deleted after it, so a file that seems wrong is looked at again before it is reported. A fault is `known` when
the history of its message already notes the loss of the body.

`hub.store.transitions.repair` repairs what can be repaired safely. Used by `hub.store.store` for
``drehscheibe store check``, and by the repair.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, or_, select, text
from sqlalchemy.exc import DatabaseError

from hub.errors import StoreDamaged, StoreUnavailable
from hub.store.blobs.files import FileBlobs
from hub.store.blobs.payload import HEADER, Damaged
from hub.store.blobs.protocol import Blobs
from hub.store.blobs.rows import INCOMPLETE
from hub.store.blobs.stored import StoredBody
from hub.store.database import ledger
from hub.store.database.ledger import TallyKey
from hub.store.database.statements import batches
from hub.store.database.tables import COPIED, blob, delivery, event, message, part

Kind = Literal["database", "reference", "tally", "orphan", "leftover", "missing", "damaged"]
Progress = Callable[[str, int, int], None]
"""Called with the step, how much of it is done, and the total (0: unknown)."""

YOUNG = 15 * 60.0
"""Seconds in which a file without a row may still be an acceptance under way."""
BATCH = 200
EVENT = "damaged"
"""The event in a message's history that makes the loss of a body known."""
_COUNTS = text("SELECT (SELECT count(*) FROM message) AS messages, (SELECT count(*) FROM blob) AS bodies")
_ROWS = (select(blob.c.id, blob.c.size, blob.c.message_id, message.c.payload_deleted_at)
         .join(message, message.c.id == blob.c.message_id))
_ONE = _ROWS.where(blob.c.id == bindparam("id"))
_BODIES = _ROWS.where(blob.c.id > bindparam("last")).order_by(blob.c.id).limit(bindparam("limit"))
_FILES = _BODIES.where(blob.c.content.is_(None))
_LIVE = (message.c.payload_deleted_at.is_(None), blob.c.id.is_(None))
_PARTS = (select(part.c.message_id, part.c.blob.label("body")).join(message,
                                                                    message.c.id == part.c.message_id)
          .outerjoin(blob, blob.c.id == part.c.blob).where(*_LIVE))
_MISFITS = (select(delivery.c.id, delivery.c.message_id).join(message, message.c.id == delivery.c.message_id)
            .where(or_(*(delivery.c[name].is_distinct_from(message.c[name]) for name in COPIED))))
_MANIFESTS = (select(delivery.c.message_id, delivery.c.manifest.label("body"))
              .join(message, message.c.id == delivery.c.message_id)
              .outerjoin(blob, blob.c.id == delivery.c.manifest).where(*_LIVE))


def silent(step: str, done: int, of: int) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `id` names a body, a table or a tally. `text` says more, in English."""

    kind: Kind
    id: str
    text: str = ""
    message: str | None = None
    known: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check: what was read, and what is wrong."""

    deep: bool
    messages: int
    bodies: int
    files: int
    bytes: int
    faults: tuple[Fault, ...]
    tallies: Mapping[TallyKey, int] = field(default_factory=dict)
    """What must be added to each wrong tally."""

    @property
    def sound(self) -> bool:
        """Whether every fault is known, or is a leftover that the retention deletes by itself."""
        return not any(fault.kind != "leftover" and not fault.known for fault in self.faults)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {"sound": self.sound, "deep": self.deep, "messages": self.messages, "bodies": self.bodies,
                "files": self.files, "bytes": self.bytes,
                "counts": dict(Counter(fault.kind for fault in self.faults)),
                "faults": [asdict(fault) for fault in self.faults]}


def unreadable(error: BaseException, *, deep: bool) -> Report:
    """The report on a database that cannot be read at all."""
    return Report(deep, 0, 0, 0, 0, (_unreadable(error),))


def _unreadable(error: BaseException) -> Fault:
    cause = error.__cause__ if isinstance(error, StoreDamaged) else error
    return Fault("database", "store.sqlite3", f"cannot be read: {getattr(cause, 'orig', cause)}")


@dataclass(slots=True)
class Examination:
    """One check of one store. `read` gives a connection that sees one committed state."""

    read: Callable[[], AbstractContextManager[Connection]]
    blobs: Blobs
    progress: Progress = silent
    alone: bool = False
    """No hub runs, so even a young file without a row is an orphan."""
    faults: list[Fault] = field(default_factory=list)

    def run(self, *, deep: bool = False) -> Report:
        """Check everything. With `deep`, also read every body and check its digest."""
        try:
            with self.read() as connection:
                self._database(connection)
                wrong = self._tallies(connection)
                counts = connection.execute(_COUNTS).one()
            files = self._files(self.blobs) if isinstance(self.blobs, FileBlobs) else 0
            bytes_read = self._bodies(counts.bodies) if deep else 0
        except (DatabaseError, StoreUnavailable) as error:
            self.faults.append(_unreadable(error))
            return Report(deep, 0, 0, 0, 0, tuple(self.faults))
        return Report(deep, counts.messages, counts.bodies, files, bytes_read, self._known(), wrong)

    def _database(self, connection: Connection) -> None:
        self.progress("database", 0, 0)
        if connection.dialect.name == "sqlite":
            self._sqlite(connection)
        else:  # PostgreSQL keeps references itself, and pg_amcheck checks its files
            for row in connection.execute(INCOMPLETE):
                self.faults.append(Fault("damaged", row.id, f"has {row.there} bytes instead of {row.size}",
                                         row.message_id))
        for statement, what in ((_PARTS, "part"), (_MANIFESTS, "delivery")):
            for row in connection.execute(statement):
                self.faults.append(Fault("reference", row.body, f"a {what} names a body without a row",
                                         row.message_id))
        for row in connection.execute(_MISFITS):
            self.faults.append(Fault("reference", row.id, "a delivery's row does not fit its message's",
                                     row.message_id))

    def _sqlite(self, connection: Connection) -> None:
        for line in connection.execute(text("PRAGMA integrity_check")).scalars():
            if line != "ok":
                self.faults.append(Fault("database", "store.sqlite3", str(line)))
        self.progress("references", 0, 0)
        for row in connection.execute(text("PRAGMA foreign_key_check")):
            self.faults.append(Fault("reference", str(row[0]),
                                     f"row {row[1]} names a row of {row[2]} that is not there"))

    def _tallies(self, connection: Connection) -> dict[TallyKey, int]:
        """What must be added to the tallies so that they agree with the rows."""
        self.progress("tallies", 0, 0)
        wrong = ledger.differences(connection)
        for key, count in wrong.items():
            name = "/".join(filter(None, key))
            self.faults.append(Fault("tally", name,
                                     f"{abs(count)} too {'few' if count > 0 else 'many'} in the books"))
        return wrong

    def _files(self, blobs: FileBlobs) -> int:
        """Compare files with rows. Returns the number of files."""
        self.progress("files", 0, 0)
        files = blobs.files()  # before the rows: a file that is written meanwhile is not judged
        seen: set[str] = set()
        for rows in self._rows(_FILES):
            seen.update(row.id for row in rows)
            for row in rows:
                if row.payload_deleted_at is None:
                    self._file(blobs, row.id, row.size, row.message_id)
                elif row.id in files:
                    self.faults.append(Fault("leftover", row.id, "its content is to be deleted",
                                             row.message_id))
            self.progress("files", len(seen), max(len(files), len(seen)))
        self._orphans({name: file for name, file in files.items() if name not in seen})
        return len(files)

    def _file(self, blobs: FileBlobs, name: str, size: int, message_id: str) -> None:
        try:
            has = blobs.path(name).stat().st_size - len(HEADER)
        except FileNotFoundError:
            if self.still_there(blobs, name):
                self.faults.append(Fault("missing", name, "its file is not there", message_id))
            return
        if has != size:
            self.faults.append(Fault("damaged", name, f"has {has} bytes instead of {size}", message_id))

    def _orphans(self, files: Mapping[str, Path]) -> None:
        youngest = time.time() - (0 if self.alone else YOUNG)
        for names in batches(sorted(files), BATCH):
            with self.read() as connection:
                known = self.blobs.fetch(connection, names)
            for name in names:
                try:
                    old = files[name].stat().st_mtime <= youngest
                except FileNotFoundError:
                    continue
                if name not in known and old:
                    self.faults.append(Fault("orphan", name, "no row names it"))

    def still_there(self, blobs: FileBlobs, name: str) -> bool:
        """Whether the row is still there, its content must be kept, and its file is missing."""
        with self.read() as connection:
            row = connection.execute(_ONE, {"id": name}).one_or_none()
        return row is not None and row.payload_deleted_at is None and not blobs.path(name).exists()

    def _bodies(self, count: int) -> int:
        """Read every body. Returns the number of bytes."""
        wrong = {fault.id for fault in self.faults}
        done = bytes_read = 0
        for rows in self._rows(_BODIES):
            ids = [row.id for row in rows if row.payload_deleted_at is None and row.id not in wrong]
            with self.read() as connection:
                bodies = self.blobs.fetch(connection, ids)
            for row in rows:
                if (body := bodies.get(row.id)) is not None:
                    bytes_read += body.size
                    if (why := _damage(body)) is not None and self._damaged_still(row.id):
                        self.faults.append(Fault("damaged", row.id, why, row.message_id))
            done += len(rows)
            self.progress("bodies", done, max(count, done))
        return bytes_read

    def _damaged_still(self, name: str) -> bool:
        """Whether a second look finds the damage too: content may be deleted while it is read."""
        with self.read() as connection:
            row = connection.execute(_ONE, {"id": name}).one_or_none()
            if row is None or row.payload_deleted_at is not None:
                return False
            return _damage(self.blobs.fetch(connection, [name])[name]) is not None

    # -- both
    # ------------------------------------------------------------------

    def _rows(self, statement: Any) -> Iterator[Sequence[Any]]:
        """The rows in portions, each as of its own moment, so that the
        database can truncate its log meanwhile."""
        last = ""
        while True:
            with self.read() as connection:
                rows = connection.execute(statement, {"last": last, "limit": BATCH}).all()
            if not rows:
                return
            yield rows
            last = rows[-1].id

    def _known(self) -> tuple[Fault, ...]:
        """The faults, marked `known` where the history of the message already notes them."""
        ids = sorted({fault.message for fault in self.faults if fault.message})
        told: set[tuple[str, str]] = set()
        for some in batches(ids):
            with self.read() as connection:
                told |= {(row.message_id, row.detail) for row in connection.execute(
                    select(event.c.message_id, event.c.detail).where(event.c.message_id.in_(some),
                                                                     event.c.name == EVENT))}
        return tuple(Fault(fault.kind, fault.id, fault.text, fault.message,
                           (fault.message or "", fault.id) in told)
                     for fault in self.faults)


def _damage(body: StoredBody) -> str | None:
    """What is wrong with a body, in English, or None."""
    try:
        body.open().close()
    except Damaged as error:
        return str(error).partition(": ")[2]
    return None
