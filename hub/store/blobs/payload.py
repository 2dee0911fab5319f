"""Bodies at rest: what a citizen sent and what was made of it, each with its digest.

A blob belongs to one message and one municipality and is never shared. Every stored payload starts with two bytes: the
format (0) and the id of the key it is encrypted with (0: plain). A reader refuses any other.

`FileBlobs` stands beside SQLite: up to 64 KiB lie in the blob's row, larger ones in ``blobs/xx/<id>``. A file is written under a
temporary name, synced, renamed and its folder synced *before* the row that names it commits; so a row without its file
means damage, and a file without its row means only an interrupted acceptance.

`RowBlobs` keeps everything in PostgreSQL, in the transaction that names it: small ones in the blob's row, others in chunks of
1 MB.

Every read checks the digest: a damaged body raises `Damaged` and is never handed on.
"""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from sqlalchemy import Connection, bindparam, delete, func, select, text, update

from hub.errors import Permanent, StoreUnavailable
from hub.message import new_message_id
from hub.store.database import tables
from hub.store.database.statements import Many, Query
from hub.store.database.tables import blob

HEADER = b"\x00\x00"  # format 0, key 0: plain
INLINE = 64 * 1024
CHUNK = 1024 * 1024
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Damaged(Permanent):
    """A stored body does not have its digest any more, or is gone."""


class SyncFailed(StoreUnavailable):
    """An fsync failed: what the disk holds is unknown, and asking again would not tell."""


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
            yield from _pread(self.source.fd, self.source.offset, self.size)
        else:
            with self.source.open("rb") as file:
                yield from _pread(file.fileno(), 0, self.size + 1)  # one more: a longer file shows itself


def _pread(fd: int, offset: int, length: int) -> Iterator[bytes]:
    end = offset + length
    while offset < end and (chunk := os.pread(fd, min(CHUNK, end - offset), offset)):
        offset += len(chunk)
        yield chunk


@dataclass(frozen=True, slots=True)
class Staged:
    """A body that is as durable as it can be before its row commits. `content` is None when it lies in a file."""

    id: str
    size: int
    sha256: str
    content: bytes | None
    source: Payload | None = None  # still to be read, inside the transaction


class Copy:
    """A body out of the database, in a file without a name below `folder`: copied when first asked for, gone with this object."""

    def __init__(self, folder: Path, chunks: Callable[[], Iterator[bytes]]) -> None:
        self._folder = folder
        self._chunks = chunks
        self._fd = -1

    def path(self) -> Path:
        """The file, by its descriptor. Raises `StoreUnavailable`."""
        if self._fd < 0:
            self._fill()
        return Path(f"/proc/self/fd/{self._fd}")

    def _fill(self) -> None:
        try:
            fd, name = tempfile.mkstemp(dir=self._folder)
            Path(name).unlink()
            self._fd = fd
            for chunk in self._chunks():
                _write_all(fd, chunk)
        except OSError as error:
            raise StoreUnavailable(f"a body cannot be copied now ({error.strerror})") from error

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body in the store. Nothing comes out of it unchecked: `read`, `open` and `place` raise `Damaged`."""

    id: str
    size: int
    sha256: str
    content: bytes | None = None
    path: Path | None = None
    copy: Copy | None = None

    @property
    def _file(self) -> Path | None:
        return self.path if self.copy is None else self.copy.path()

    def read(self) -> bytes:
        """All of it."""
        if self._file is None:
            return self._checked(self.content or b"")
        with self.open() as file:
            return file.read()

    def open(self) -> BinaryIO:
        """A seekable file of the payload."""
        file = self._file
        if file is None:
            return io.BytesIO(self.read())
        with self._missing():
            raw = _PayloadFile(file)
        try:
            with self._missing():
                self._check_file(raw.fileno())
        except BaseException:
            raw.close()
            raise
        return io.BufferedReader(raw, CHUNK)

    def place(self) -> tuple[Path, int] | None:
        """The checked file and where in it the payload begins, for as long as this body is held; None when it lies in the row."""
        file = self._file
        if file is None:
            return None
        self.open().close()
        return file, len(HEADER)

    def _checked(self, stored: bytes) -> bytes:
        self._check_header(stored[: len(HEADER)])
        payload = stored[len(HEADER):]
        self._check(hashlib.sha256(payload).hexdigest(), len(payload))
        return payload

    def _check_file(self, fd: int) -> None:
        self._check_header(os.pread(fd, len(HEADER), 0))
        digest, size = hashlib.sha256(), 0
        for chunk in _pread(fd, len(HEADER), self.size + 1):
            digest.update(chunk)
            size += len(chunk)
        self._check(digest.hexdigest(), size)

    def _check_header(self, header: bytes) -> None:
        if header != HEADER:
            raise Damaged(f"blob {self.id}: unknown storage format or key {header.hex() or '(empty)'}")

    def _check(self, sha256: str, size: int) -> None:
        if (sha256, size) != (self.sha256, self.size):
            raise Damaged(f"blob {self.id}: the stored body does not have its digest any more")

    @contextmanager
    def _missing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise Damaged(f"blob {self.id}: its file is missing") from error
        except OSError as error:
            if error.errno == errno.EIO:
                raise Damaged(f"blob {self.id}: its file cannot be read (input/output error)") from error
            raise


class _PayloadFile(io.RawIOBase):
    """A blob's file without its header."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._fd).st_size - len(HEADER)
        self._at = 0

    def fileno(self) -> int:
        return self._fd

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._fd, [buffer], self._at + len(HEADER))
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


class Blobs(Protocol):
    """Where bodies are kept. Order of use: `stage`, then `insert` inside the transaction; `abandon` if it never commits."""

    def stage(self, payloads: Sequence[Payload]) -> list[Staged]:
        """Make everything durable that does not go into the row; a source must stay until `insert`.

        Raises `StoreUnavailable`, `SyncFailed`, and `ValueError` when a payload is not what it says it is.
        """
        ...

    def insert(self, connection: Connection, blobs: Sequence[tuple[Staged, str, str]]) -> None:
        """The rows: (staged, message id, tenant)."""
        ...

    def abandon(self, staged: Iterable[Staged]) -> None:
        """What was staged will certainly never be named by a row."""
        ...

    def fetch(self, connection: Connection, ids: Sequence[str]) -> dict[str, StoredBody]:
        """The bodies with these ids; unknown ids are missing in the answer."""
        ...

    def delete(self, connection: Connection, ids: Sequence[str]) -> list[Staged]:
        """Delete the rows; `abandon` the result after the commit."""
        ...

    def erase(self, connection: Connection, message_ids: Sequence[str]) -> list[tuple[str, Staged]]:
        """Make these messages' bodies unreadable for good: (message, body); `abandon` the bodies after the commit."""
        ...

    def files(self) -> dict[str, Path]:
        """Every file there is, by its blob's id. Slow."""
        ...

    def prepare(self) -> None:
        """Called once, before anything else."""
        ...


class FileBlobs:
    """Small bodies in the row, large ones as files below `folder`."""

    def __init__(self, folder: Path, *, inline: int = INLINE) -> None:
        self._folder = folder
        self._inline = inline

    def prepare(self) -> None:
        """Make the folders, durably, and throw away what an interrupted process left half-written."""
        temporary = self._folder / "tmp"
        temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = {entry.name for entry in os.scandir(self._folder)}
        for name in {f"{number:02x}" for number in range(256)} - there:
            (self._folder / name).mkdir(mode=0o700)
        for file in temporary.iterdir():
            file.unlink()
        _sync(self._folder)
        _sync(self._folder.parent)

    def path(self, blob_id: str) -> Path:
        """Where a large body lies."""
        return self._folder / blob_id[-2:] / blob_id

    def stage(self, payloads: Sequence[Payload]) -> list[Staged]:
        """See `Blobs.stage`."""
        staged: list[Staged] = []
        try:
            for payload in payloads:
                inline = payload.size <= self._inline
                staged.append(Staged(new_message_id(), payload.size, payload.sha256,
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
                _write_all(file.fileno(), HEADER)
                for chunk in payload.chunks():
                    _write_all(file.fileno(), chunk)
                _fsync(file.fileno())
            temporary.rename(self.path(blob_id))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _make_names_durable(self, staged: Sequence[Staged]) -> None:
        for folder in {self.path(body.id).parent for body in staged if body.content is None}:
            _sync(folder)

    def insert(self, connection: Connection, blobs: Sequence[tuple[Staged, str, str]]) -> None:
        """See `Blobs.insert`."""
        _INSERT(connection, [{"id": body.id, "message_id": message_id, "tenant": tenant, "size": body.size,
                              "sha256": body.sha256, "content": body.content} for body, message_id, tenant in blobs])

    def abandon(self, staged: Iterable[Staged]) -> None:
        """See `Blobs.abandon`."""
        for body in staged:
            if body.content is None:
                self.path(body.id).unlink(missing_ok=True)

    def fetch(self, connection: Connection, ids: Sequence[str]) -> dict[str, StoredBody]:
        """See `Blobs.fetch`."""
        found = {}
        for some in batches(ids):
            for row in _FETCH(connection, ids=some):
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
        """Overwrite these messages' bodies where they lie: (message, body); `abandon` the bodies after the commit.

        The rows stay for now. SQLite overwrites a value of unchanged length in place, and appending rows moves none; but
        deleting a row can make it move the neighbours' cells to another page and leave a copy of them behind in unused
        space, where no ``secure_delete`` finds it (measured). So rows are only deleted where no neighbour has content any
        more: `hub.store.transitions.erasure.dead`.
        """
        bodies: list[tuple[str, Staged]] = []
        for some in batches(message_ids):
            bodies += [(row.message_id, Staged(row.id, row.size, row.sha256, None if row.file else b""))
                       for row in connection.execute(
                select(blob.c.message_id, blob.c.id, blob.c.size, blob.c.sha256, blob.c.content.is_(None).label("file"))
                .where(blob.c.message_id.in_(some)))]
            connection.execute(update(blob).where(blob.c.message_id.in_(some), blob.c.content.is_not(None)).values(
                content=func.zeroblob(func.length(blob.c.content))))
        return bodies

    def orphans(self, connection: Connection) -> list[Path]:
        """Files without a row: leftovers of acceptances that never committed. Slow: lists every file."""
        files = self.files()
        known = self.fetch(connection, list(files))
        return [file for name, file in sorted(files.items()) if name not in known]


    def files(self) -> dict[str, Path]:
        """Every file there is, by its blob's id. Slow."""
        return {file.name: file for file in self._folder.glob("[0-9a-f][0-9a-f]/*")}


class RowBlobs:
    """All bodies in the database, in the transaction that names them: a node that is gone takes none with it.

    Small ones lie in the blob's row, large ones in chunks of 1 MB. `reading` gives a connection of its own for large ones, which
    are read when they are wanted, into a file without a name below `folder`.
    """

    def __init__(self, folder: Path, reading: Callable[[], AbstractContextManager[Connection]], *, inline: int = INLINE) -> None:
        self._folder = folder
        self._reading = reading
        self._inline = inline

    def prepare(self) -> None:
        """See `Blobs.prepare`."""

    def stage(self, payloads: Sequence[Payload]) -> list[Staged]:
        """See `Blobs.stage`: nothing becomes durable yet, but what is not what it says it is, is found before the transaction."""
        staged = []
        try:
            for payload in payloads:
                if payload.size <= self._inline:
                    staged.append(Staged(new_message_id(), payload.size, payload.sha256, HEADER + payload.whole()))
                else:
                    for _ in payload.chunks():
                        pass
                    staged.append(Staged(new_message_id(), payload.size, payload.sha256, None, payload))
        except OSError as error:
            raise StoreUnavailable(f"a body cannot be read now ({error.strerror})") from error
        return staged

    def insert(self, connection: Connection, blobs: Sequence[tuple[Staged, str, str]]) -> None:
        """See `Blobs.insert`."""
        _INSERT(connection, [{"id": body.id, "message_id": message_id, "tenant": tenant, "size": body.size,
                              "sha256": body.sha256, "content": body.content} for body, message_id, tenant in blobs])
        for body, _, _ in blobs:
            if body.source is not None:
                try:
                    for no, content in enumerate(_pieces(body.source)):
                        _INSERT_CHUNK(connection, [{"blob_id": body.id, "no": no, "content": content}])
                except OSError as error:
                    raise StoreUnavailable(f"a body cannot be read now ({error.strerror})") from error

    def abandon(self, staged: Iterable[Staged]) -> None:
        """Nothing is outside of the transaction."""

    def fetch(self, connection: Connection, ids: Sequence[str]) -> dict[str, StoredBody]:
        """See `Blobs.fetch`."""
        found = {}
        for some in batches(ids):
            for row in _FETCH(connection, ids=some):
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
        """See `Blobs.delete`: the chunks go with their row."""
        bodies = self.fetch(connection, ids)
        for some in batches(ids):
            connection.execute(delete(blob).where(blob.c.id.in_(some)))
        return [Staged(body.id, body.size, body.sha256, b"") for body in bodies.values()]

    def erase(self, connection: Connection, message_ids: Sequence[str]) -> list[tuple[str, Staged]]:
        """See `Blobs.erase`: the rows go. Their bytes lie in the database's files until it uses the space again."""
        bodies: list[tuple[str, Staged]] = []
        for some in batches(message_ids):
            rows = connection.execute(delete(blob).where(blob.c.message_id.in_(some)).returning(
                blob.c.message_id, blob.c.id, blob.c.size, blob.c.sha256))
            bodies += [(row.message_id, Staged(row.id, row.size, row.sha256, b"")) for row in rows]
        return bodies

    def files(self) -> dict[str, Path]:
        """None."""
        return {}


def _pieces(payload: Payload) -> Iterator[bytes]:
    """Header and bytes in pieces of 1 MB, checked as by `Payload.chunks`."""
    waiting = bytearray(HEADER)
    for chunk in payload.chunks():
        waiting += chunk
        while len(waiting) >= CHUNK:
            yield bytes(waiting[:CHUNK])
            del waiting[:CHUNK]
    if waiting:
        yield bytes(waiting)


_CHUNK = select(tables.chunk.c.content).where(tables.chunk.c.blob_id == bindparam("id"), tables.chunk.c.no == bindparam("no"))
INCOMPLETE = text("""
    SELECT blob.id, blob.message_id, blob.size, coalesce(sum(octet_length(chunk.content)) - 2, 0) AS there
    FROM blob LEFT JOIN chunk ON chunk.blob_id = blob.id WHERE blob.content IS NULL
    GROUP BY blob.id, blob.message_id, blob.size
    HAVING coalesce(sum(octet_length(chunk.content)) - 2, 0) <> blob.size""")
"""Bodies of `RowBlobs` whose bytes are not all there."""
_INSERT_CHUNK = Many.insert(tables.chunk, ["blob_id", "no", "content"])
_INSERT = Many.insert(blob, ["id", "message_id", "tenant", "size", "sha256", "content"])
_FETCH = Query(select(blob.c.id, blob.c.size, blob.c.sha256, blob.c.content)
               .where(blob.c.id.in_(bindparam("ids", expanding=True))))


def batches(ids: Sequence[str], size: int = 500) -> Iterator[list[str]]:
    """In portions that fit into one statement."""
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def _fsync(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in FULL:  # the file is thrown away whole, so nothing unknown remains
            raise
        raise SyncFailed(f"fsync failed ({error.strerror})") from error


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _fsync(fd)
    finally:
        os.close(fd)
