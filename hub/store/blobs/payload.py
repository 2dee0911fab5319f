"""Bodies at rest: what a citizen sent and what was made of it, each with its digest.

A blob belongs to one message and one municipality and is never shared. Every stored payload starts with two
bytes: the format (0) and the id of the key it is encrypted with (0: plain). A reader refuses any other.

`FileBlobs` stands beside SQLite: up to 64 KiB lie in the blob's row, larger ones in
``blobs/xx/<id>``. A file is written under a temporary name, synced, renamed and its folder
synced *before* the row that names it commits; so a row without its file means damage, and a file
without its row means only an interrupted acceptance.

`RowBlobs` keeps everything in PostgreSQL, in the transaction that names it: small ones in the blob's row,
others in chunks of 1 MB.

Every read checks the digest: a damaged body raises `Damaged` and is never handed on.
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

HEADER = b"\x00\x00"  # format 0, key 0: plain
INLINE = 64 * 1024
CHUNK = 1024 * 1024


class Damaged(Permanent):
    """A stored body does not have its digest any more, or is gone."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes of an open file, from `offset` on. Read by position: the descriptor's own is not touched."""

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
        """Bytes in memory."""
        return cls(content, len(content), hashlib.sha256(content).hexdigest())

    def chunks(self) -> Iterator[bytes]:
        """The bytes, checked: raises `ValueError` at the end when they are not what was announced."""
        digest, size = hashlib.sha256(), 0
        for chunk in self._raw():
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        self._check(size, digest.hexdigest())

    def whole(self) -> bytes:
        """All of a small body at once, checked as by `chunks`."""
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
                yield from read_at(file.fileno(), 0, self.size + 1)  # one more: a longer file shows itself


def read_at(fd: int, offset: int, length: int) -> Iterator[bytes]:
    end = offset + length
    while offset < end and (chunk := os.pread(fd, min(CHUNK, end - offset), offset)):
        offset += len(chunk)
        yield chunk


@dataclass(frozen=True, slots=True)
class Staged:
    """A body that is as durable as it can be before its row commits.
    `content` is None when it lies in a file."""

    id: str
    size: int
    sha256: str
    content: bytes | None
    source: Payload | None = None  # still to be read, inside the transaction


INSERT = Many.insert(blob, ["id", "message_id", "tenant", "size", "sha256", "content"])
FETCH = Query(select(blob.c.id, blob.c.size, blob.c.sha256, blob.c.content)
               .where(blob.c.id.in_(bindparam("ids", expanding=True))))
