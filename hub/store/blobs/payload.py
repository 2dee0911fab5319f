"""A body on its way into the store: its bytes, its size and its digest.

A stored body (*blob*) is what a citizen sent, or what the hub made of it. A blob belongs to one message and
one municipality and is never shared. Each stored body begins with two bytes: the format (0) and the id of the
key that encrypts it (0: plain). A reader refuses any other value.

`hub.store.blobs.files` keeps bodies beside SQLite: up to 64 KiB in the row, larger ones in ``blobs/xx/<id>``.
`hub.store.blobs.rows` keeps them in PostgreSQL: small ones in the row, larger ones in chunks of 1 MiB.

`Payload` checks size and digest while it is read, so a body that changed since it was announced is never
stored. `hub.store.blobs.stored` reads bodies back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import bindparam, select

from hub.errors import Permanent
from hub.store.database.statements import Many, Query
from hub.store.database.tables import blob

HEADER = b"\x00\x00"
"""The first two bytes of each stored body: format 0, key 0 (plain)."""
INLINE = 64 * 1024
"""Bodies up to this size (bytes) are kept in their row."""
CHUNK = 1024 * 1024
"""Bytes that are read or written at once."""

INSERT = Many.insert(blob, ["id", "message_id", "tenant", "size", "sha256", "content"])
FETCH = Query(select(blob.c.id, blob.c.size, blob.c.sha256, blob.c.content)
              .where(blob.c.id.in_(bindparam("ids", expanding=True))))


class Damaged(Permanent):
    """A stored body no longer has its digest, or is gone."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes of an open file, from `offset` on. They are read by position; the file's own position stays."""

    fd: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Payload:
    """A body to be stored, with the size and the digest it must have."""

    source: bytes | Path | Slice
    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Payload:
        """A payload of bytes in memory."""
        return cls(content, len(content), hashlib.sha256(content).hexdigest())

    def chunks(self) -> Iterator[bytes]:
        """The bytes in pieces. Raises `ValueError` at the end when size or digest differ."""
        digest, size = hashlib.sha256(), 0
        for chunk in self._raw():
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        self._check(size, digest.hexdigest())

    def whole(self) -> bytes:
        """All bytes of a small body. Raises as `chunks` does."""
        content = self.source if isinstance(self.source, bytes) else b"".join(self._raw())
        self._check(len(content), hashlib.sha256(content).hexdigest())
        return content

    def _check(self, size: int, sha256: str) -> None:
        if size != self.size or sha256 != self.sha256:
            raise ValueError("the bytes do not have the announced size and digest")

    def _raw(self) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            yield self.source
        elif isinstance(self.source, Slice):
            yield from read_at(self.source.fd, self.source.offset, self.size)
        else:
            with self.source.open("rb") as file:
                yield from read_at(file.fileno(), 0, self.size + 1)  # one byte more shows a longer file


def read_at(fd: int, offset: int, length: int) -> Iterator[bytes]:
    """Up to `length` bytes of an open file from `offset` on, in pieces. The file's own position stays."""
    end = offset + length
    while offset < end and (chunk := os.pread(fd, min(CHUNK, end - offset), offset)):
        offset += len(chunk)
        yield chunk


@dataclass(frozen=True, slots=True)
class Staged:
    """A body that is as durable as it can be before its row commits.

    `content` is None when the body is not in the row. `source` is then what is read inside the transaction,
    or None when the body is a file already.
    """

    id: str
    size: int
    sha256: str
    content: bytes | None
    source: Payload | None = None
