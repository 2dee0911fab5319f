"""Bodies beside SQLite: small ones in their row, large ones as files.

A file is written under a temporary name, synced and renamed, and its folder is synced, before the row that
names it commits. So a row without its file means damage. A file without its row is the rest of an acceptance
that never committed.

Erased content is overwritten in its row, and the file is deleted after the commit
(`hub.store.transitions.erasure`).

Used by `hub.store.store`; `hub.store.blobs.rows` has the same methods for PostgreSQL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sqlalchemy import Connection, delete, func, select, update

from hub.errors import StoreUnavailable
from hub.message import new_message_id
from hub.store.blobs import durable
from hub.store.blobs.payload import FETCH, HEADER, INLINE, INSERT, Payload, Staged
from hub.store.blobs.stored import StoredBody
from hub.store.database.statements import batches
from hub.store.database.tables import blob


class FileBlobs:
    """Keeps bodies up to `inline` bytes in their row, larger ones as files below `folder`."""

    def __init__(self, folder: Path, *, inline: int = INLINE,
                 new_id: Callable[[], str] = new_message_id) -> None:
        self._folder = folder
        self._inline = inline
        self._new_id = new_id

    def prepare(self) -> None:
        """Make the folders durably, and delete the half-written files of an interrupted process."""
        temporary = self._folder / "tmp"
        for each in (self._folder, temporary):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = {entry.name for entry in os.scandir(self._folder)}
        for name in {f"{number:02x}" for number in range(256)} - there:
            (self._folder / name).mkdir(mode=0o700)
        for file in temporary.iterdir():
            file.unlink()
        durable.sync(self._folder)
        durable.sync(self._folder.parent)

    def path(self, blob_id: str) -> Path:
        """The path of a large body."""
        return self._folder / blob_id[-2:] / blob_id

    def stage(self, payloads: Sequence[Payload]) -> list[Staged]:
        """See `hub.store.blobs.protocol.Blobs.stage`."""
        staged: list[Staged] = []
        try:
            for payload in payloads:
                inline = payload.size <= self._inline
                staged.append(Staged(self._new_id(), payload.size, payload.sha256,
                                     HEADER + payload.whole() if inline else None))
                if not inline:
                    self._write(staged[-1].id, payload)
            self._make_names_durable(staged)
        except BaseException as error:
            self.abandon(staged)
            if isinstance(error, OSError):
                raise StoreUnavailable(f"a body cannot be written now ({error.strerror})") from error
            raise
        return staged

    def _write(self, blob_id: str, payload: Payload) -> None:
        temporary = self._folder / "tmp" / blob_id
        try:
            with temporary.open("xb", buffering=0) as file:
                os.fchmod(file.fileno(), 0o600)
                durable.write_all(file.fileno(), HEADER)
                for chunk in payload.chunks():
                    durable.write_all(file.fileno(), chunk)
                durable.sync_fd(file.fileno())
            temporary.rename(self.path(blob_id))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _make_names_durable(self, staged: Sequence[Staged]) -> None:
        for folder in {self.path(body.id).parent for body in staged if body.content is None}:
            durable.sync(folder)

    def insert(self, connection: Connection, blobs: Sequence[tuple[Staged, str, str]]) -> None:
        """See `Blobs.insert`."""
        INSERT(connection, [{"id": body.id, "message_id": message_id, "tenant": tenant, "size": body.size,
                              "sha256": body.sha256, "content": body.content}
                            for body, message_id, tenant in blobs])

    def abandon(self, staged: Iterable[Staged]) -> None:
        """See `Blobs.abandon`."""
        for body in staged:
            if body.content is None:
                self.path(body.id).unlink(missing_ok=True)

    def fetch(self, connection: Connection, ids: Sequence[str]) -> dict[str, StoredBody]:
        """See `Blobs.fetch`."""
        found = {}
        for some in batches(ids):
            for row in FETCH(connection, ids=some):
                found[row.id] = StoredBody(row.id, row.size, row.sha256, row.content,
                                           self.path(row.id) if row.content is None else None)
        return found

    def delete(self, connection: Connection, ids: Sequence[str]) -> list[Staged]:
        """See `Blobs.delete`."""
        bodies = self.fetch(connection, ids)
        for some in batches(ids):
            connection.execute(delete(blob).where(blob.c.id.in_(some)))
        return [Staged(body.id, body.size, body.sha256, body.content) for body in bodies.values()]

    def erase(self, connection: Connection, message_ids: Sequence[str]) -> list[tuple[str, Staged]]:
        """Overwrite the bodies of these messages in place. `abandon` the result after the commit.

        Returns pairs of message id and body. The rows stay for now. SQLite overwrites a value of unchanged
        length in place, and appending rows moves none. But deleting a row can make SQLite move the cells of
        the neighbours to another page and leave a copy of them in unused space, where ``secure_delete`` does
        not find it (measured). So a row is deleted only where no neighbour has content any more:
        `hub.store.transitions.erasure.dead`.
        """
        bodies: list[tuple[str, Staged]] = []
        for some in batches(message_ids):
            bodies += [
                (row.message_id, Staged(row.id, row.size, row.sha256, None if row.file else b""))
                for row in connection.execute(
                    select(blob.c.message_id, blob.c.id, blob.c.size, blob.c.sha256,
                           blob.c.content.is_(None).label("file"))
                    .where(blob.c.message_id.in_(some)))]
            connection.execute(
                update(blob).where(blob.c.message_id.in_(some), blob.c.content.is_not(None))
                .values(content=func.zeroblob(func.length(blob.c.content))))
        return bodies

    def orphans(self, connection: Connection) -> list[Path]:
        """The files without a row: rests of acceptances that never committed. Slow: it lists every file."""
        files = self.files()
        known = self.fetch(connection, list(files))
        return [file for name, file in sorted(files.items()) if name not in known]

    def files(self) -> dict[str, Path]:
        """Every file, by the id of its body. Slow."""
        return {file.name: file for file in self._folder.glob("[0-9a-f][0-9a-f]/*")}
