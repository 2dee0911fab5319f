"""The form of a backup: a folder or an uncompressed tar file, with a manifest and digests.

::

    <backup>/store.sqlite3   the tables as of one moment; they say of themselves that they are a copy
             blobs/xx/…      the large bodies that those rows name
             SHA256SUMS      the digests of both, for `sha256sum -c`
             manifest.json   what, when, from which version; written last: a backup without it is unfinished

`Sink` is where a backup is written, `Source` is where it is read. Both kinds of both are here.

Used by `hub.store.backup.take` and `hub.store.backup.restore`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from pysqlite3 import dbapi2

from hub.errors import HubError

FORMAT = 1
"""The version of the form."""
STORE, SUMS, MANIFEST = "store.sqlite3", "SHA256SUMS", "manifest.json"
CHUNK = 1 << 20
"""Bytes that are read at once."""


class BadBackup(HubError):
    """This is no backup, or it differs from the one that was made."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself: its counts, its digests, and what was lost while it was made.

    `deleted_meanwhile` names messages whose content another process deleted during the backup. `damaged` and
    `missing` name bodies that were so in the store already.
    """

    format: int
    program: str
    schema: str
    made_at: str
    fencing: int
    messages: int
    open_deliveries: int
    files: int
    bytes: int
    sums: str
    deleted_meanwhile: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The manifest as plain data, with a digest over the rest."""
        data = asdict(self)
        return {**data, "digest": _digest_of(data)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Manifest:
        """The inverse of `to_json`. Raises `BadBackup` for another format or a wrong digest."""
        said = data.pop("digest", None)
        if data.get("format") != FORMAT:
            raise BadBackup(f"{MANIFEST}: format {data.get('format')!r}: this program reads {FORMAT}")
        if said != _digest_of(data):
            raise BadBackup(f"{MANIFEST}: does not have its digest any more")
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                  for name, value in data.items()}
        return cls(**values)


def _digest_of(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


class Sink(Protocol):
    """A place to which a backup is written."""

    def put(self, name: str, size: int, chunks: Iterator[bytes]) -> str:
        """Write a file of `size` bytes. Returns its SHA-256."""
        ...


class Folder:
    """Writes a backup as synced files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "blobs").mkdir(mode=0o700)

    def put(self, name: str, size: int, chunks: Iterator[bytes]) -> str:  # noqa: ARG002
        file = self._folder / name
        file.parent.mkdir(mode=0o700, exist_ok=True)
        digest = hashlib.sha256()
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600),
                       "wb") as out:
            for chunk in chunks:
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest()


class Tar:
    """Writes a backup as one tar file."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def put(self, name: str, size: int, chunks: Iterator[bytes]) -> str:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        source = _Chunks(chunks)
        self._archive.addfile(entry, source)  # type: ignore[arg-type]
        return source.digest.hexdigest()


class _Chunks:
    """Chunks as a file to read from, with a digest over what was read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        pieces = [self._rest]
        while sum(map(len, pieces)) < size and (chunk := next(self._chunks, b"")):
            pieces.append(chunk)
        whole = b"".join(pieces)
        given, self._rest = whole[:size], whole[size:]
        self.digest.update(given)
        return given


def facts_of(tables: Any) -> dict[str, int]:
    """Counts for the manifest."""
    one = ("SELECT (SELECT fencing FROM store), (SELECT count(*) FROM message), "
           "(SELECT count(*) FROM delivery WHERE {})")
    [(fencing, messages,
      deliveries)] = tables.execute(one.format("state IN ('due', 'delivering', 'in_doubt')"))
    return {"fencing": fencing, "messages": messages, "open_deliveries": deliveries}


class Source(Protocol):
    """A backup from which is read."""

    def names(self) -> set[str]:
        """The names of all files, relative to the backup."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """A file for reading. Raises `OSError`."""
        ...


class _FolderSource:
    """Reads a backup that is a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> set[str]:
        return {file.relative_to(self._folder).as_posix() for file in self._folder.rglob("*")
                if not file.is_dir()}

    def open(self, name: str) -> IO[bytes]:
        return os.fdopen(os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


class _TarSource:
    """Reads a backup that is a tar file."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._entries = {entry.name: entry for entry in archive.getmembers()}

    def names(self) -> set[str]:
        return set(self._entries)

    def open(self, name: str) -> IO[bytes]:
        entry = self._entries.get(name)
        file = self._archive.extractfile(entry) if entry is not None and entry.isreg() else None
        if file is None:
            raise FileNotFoundError(name)
        return file


@contextmanager
def open_source(place: Path) -> Iterator[Source]:
    """The backup at this place, for reading. Raises `BadBackup`."""
    if place.is_dir():
        yield _FolderSource(place)
        return
    try:
        archive = tarfile.open(place, mode="r:")  # noqa: SIM115 - closed below
    except FileNotFoundError as error:
        raise BadBackup(f"{place}: is not there") from error
    except tarfile.TarError as error:
        raise BadBackup(f"{place}: is neither a folder nor a tar file") from error
    with archive:
        yield _TarSource(archive)


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A read-only connection to a database file to which nobody writes."""
    connection = dbapi2.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def remove(place: Path) -> None:
    """Delete an unfinished backup or restore of this process."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def sync(place: Path) -> None:
    """Sync a file or a folder."""
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
