"""Bodies in PostgreSQL: small ones in their row, large ones as chunks of 1 MiB.

Every body is written in the transaction of the row that names it. So a node that dies takes no body with it,
and no body is left without a row.

BUGS: erased bytes stay in the files of the database until it uses the space again.

Used by `hub.store.store`; `hub.store.blobs.files` has the same methods for SQLite.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, bindparam, delete, select, text

from hub.errors import StoreUnavailable
from hub.message import new_message_id
from hub.store.blobs.payload import CHUNK, FETCH, HEADER, INLINE, INSERT, Payload, Staged
from hub.store.blobs.stored import Copy, StoredBody
from hub.store.database import tables
from hub.store.database.statements import Many, batches
from hub.store.database.tables import blob

_CHUNK = select(tables.chunk.c.content).where(tables.chunk.c.blob_id == bindparam("id"),
                                              tables.chunk.c.no == bindparam("no"))
_INSERT_CHUNK = Many.insert(tables.chunk, ["blob_id", "no", "content"])
INCOMPLETE = text("""
    SELECT blob.id, blob.message_id, blob.size, coalesce(sum(octet_length(chunk.content)) - 2, 0) AS there
    FROM blob LEFT JOIN chunk ON chunk.blob_id = blob.id WHERE blob.content IS NULL
    GROUP BY blob.id, blob.message_id, blob.size
    HAVING coalesce(sum(octet_length(chunk.content)) - 2, 0) <> blob.size""")
"""The bodies whose chunks do not add up to their size."""


class RowBlobs:
    """Keeps bodies up to `inline` bytes in their row, larger ones in chunks.

    Large bodies are read only when they are wanted, over a connection of its own from `reading`, into a file
    without a name below `folder`.
    """

    def __init__(self, folder: Path, reading: Callable[[], AbstractContextManager[Connection]], *,
                 inline: int = INLINE, new_id: Callable[[], str] = new_message_id) -> None:
        self._folder = folder
        self._reading = reading
        self._inline = inline
        self._new_id = new_id

    def prepare(self) -> None:
        """Nothing has to be prepared."""

    def stage(self, payloads: Sequence[Payload]) -> list[Staged]:
        """See `hub.store.blobs.protocol.Blobs.stage`. Nothing becomes durable yet.

        But a payload with a wrong size or digest is found here, before the transaction.
        """
        staged = []
        try:
            for payload in payloads:
                if payload.size <= self._inline:
                    staged.append(Staged(self._new_id(), payload.size, payload.sha256,
                                         HEADER + payload.whole()))
                else:
                    for _ in payload.chunks():
                        pass
                    staged.append(Staged(self._new_id(), payload.size, payload.sha256, None, payload))
        except OSError as error:
            raise StoreUnavailable(f"a body cannot be read now ({error.strerror})") from error
        return staged

    def insert(self, connection: Connection, blobs: Sequence[tuple[Staged, str, str]]) -> None:
        """See `Blobs.insert`."""
        INSERT(connection, [{"id": body.id, "message_id": message_id, "tenant": tenant, "size": body.size,
                              "sha256": body.sha256, "content": body.content}
                            for body, message_id, tenant in blobs])
        for body, _, _ in blobs:
            if body.source is not None:
                try:
                    for no, content in enumerate(_pieces(body.source)):
                        _INSERT_CHUNK(connection, [{"blob_id": body.id, "no": no, "content": content}])
                except OSError as error:
                    raise StoreUnavailable(f"a body cannot be read now ({error.strerror})") from error

    def abandon(self, staged: Iterable[Staged]) -> None:
        """Nothing has to be thrown away: no byte is outside of the transaction."""

    def fetch(self, connection: Connection, ids: Sequence[str]) -> dict[str, StoredBody]:
        """See `Blobs.fetch`."""
        found = {}
        for some in batches(ids):
            for row in FETCH(connection, ids=some):
                copy = Copy(self._folder, partial(self._chunks, row.id)) if row.content is None else None
                found[row.id] = StoredBody(row.id, row.size, row.sha256, row.content, copy=copy)
        return found

    def _chunks(self, blob_id: str) -> Iterator[bytes]:
        with self._reading() as connection:
            for no in itertools.count():
                content = connection.execute(_CHUNK, {"id": blob_id, "no": no}).scalar()
                if content is None:
                    return
                yield content

    def delete(self, connection: Connection, ids: Sequence[str]) -> list[Staged]:
        """See `Blobs.delete`. The chunks are deleted with their row."""
        bodies = self.fetch(connection, ids)
        for some in batches(ids):
            connection.execute(delete(blob).where(blob.c.id.in_(some)))
        return [Staged(body.id, body.size, body.sha256, b"") for body in bodies.values()]

    def erase(self, connection: Connection, message_ids: Sequence[str]) -> list[tuple[str, Staged]]:
        """See `Blobs.erase`. The rows are deleted (see BUGS above)."""
        bodies: list[tuple[str, Staged]] = []
        for some in batches(message_ids):
            rows = connection.execute(delete(blob).where(blob.c.message_id.in_(some)).returning(
                blob.c.message_id, blob.c.id, blob.c.size, blob.c.sha256))
            bodies += [(row.message_id, Staged(row.id, row.size, row.sha256, b"")) for row in rows]
        return bodies

    def files(self) -> dict[str, Path]:
        """There are no files."""
        return {}


def _pieces(payload: Payload) -> Iterator[bytes]:
    """Header and bytes in pieces of 1 MiB. Raises as `Payload.chunks` does."""
    waiting = bytearray(HEADER)
    for chunk in payload.chunks():
        waiting += chunk
        while len(waiting) >= CHUNK:
            yield bytes(waiting[:CHUNK])
            del waiting[:CHUNK]
    if waiting:
        yield bytes(waiting)

