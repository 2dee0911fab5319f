"""Backups of the store, taken beside the running hub, and put back.

::

    <backup>/store.sqlite3   the tables as of one moment (SQLite's own backup), knowing that they are a copy
             blobs/xx/…      the large bodies that those rows name; files never change once they are written
             SHA256SUMS      of both, for `sha256sum -c`
             manifest.json   what, when, from which version; written last, so that a backup without it is none

or the same as an uncompressed tar file. Everything in it is for its owner alone (0600): it holds applications of citizens.

The tables come first, then the files they name. The running hub deletes nothing meanwhile (`Retention.paused`). Where another
process does, what it deleted is named in the manifest, and a restore deletes it, too. A body that is damaged or missing at its
source is told.

A restore checks the whole backup before it writes anything, builds the store beside the old one, opens it there once (so that
nothing in it is plainly due any more: `hub.store.transitions.restored`), and only then moves it into place. What was there before
is moved aside.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import structlog
from pysqlite3 import dbapi2

from hub import __version__
from hub.errors import HubError
from hub.operations.long_task import Progress
from hub.store.blobs.payload import HEADER
from hub.store.database.sqlite import INTERRUPTED, RESTORING, lock
from hub.store.database.tables import COPY, REVISION
from hub.store.store import Store

log = structlog.get_logger("hub.store.backup.take")

FORMAT = 1
STORE, SUMS, MANIFEST = "store.sqlite3", "SHA256SUMS", "manifest.json"
CHUNK = 1 << 20
SPARE = 1.05
"""A backup needs somewhat more room than its bytes."""


class BadBackup(HubError):
    """It is no backup, or not the one that was made."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself."""

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
        """With a digest of all the rest."""
        data = asdict(self)
        return {**data, "digest": _digest_of(data)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Manifest:
        """Raises `BadBackup`."""
        said = data.pop("digest", None)
        if data.get("format") != FORMAT:
            raise BadBackup(f"{MANIFEST}: format {data.get('format')!r}: this program reads {FORMAT}")
        if said != _digest_of(data):
            raise BadBackup(f"{MANIFEST}: does not have its digest any more")
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
        return cls(**values)


def _digest_of(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


# --- taking one -----------------------------------------------------------------------------------------------------------


class Sink(Protocol):
    """Where a backup is written. `put` takes a file's chunks and gives back their SHA-256."""

    def put(self, name: str, size: int, chunks: Iterator[bytes]) -> str: ...


class _Folder:
    """As files below a folder, synced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "blobs").mkdir(mode=0o700)

    def put(self, name: str, size: int, chunks: Iterator[bytes]) -> str:  # noqa: ARG002
        file = self._folder / name
        file.parent.mkdir(mode=0o700, exist_ok=True)
        digest = hashlib.sha256()
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            for chunk in chunks:
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest()


class _Tar:
    """As one tar file."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def put(self, name: str, size: int, chunks: Iterator[bytes]) -> str:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        source = _Chunks(chunks)
        self._archive.addfile(entry, source)  # type: ignore[arg-type]
        return source.digest.hexdigest()


class _Chunks:
    """Chunks as a file to read from, with a digest of what was read."""

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


def take(store: Store, target: Path, progress: Progress) -> dict[str, Any]:
    """Back the store up into a new folder, or a new file whose name ends in ``.tar``. What it holds, as plain data.

    Raises `HubError` when the target is there already, has no room or lies within what it saves, and `OSError`.
    """
    if target.exists() or target.is_symlink():
        raise HubError(f"{target}: is there already: name a new folder or file")
    if not target.parent.is_dir():
        raise HubError(f"{target.parent}: is no folder: make it, writable for the hub's user")
    if target.parent.resolve().is_relative_to(store.directory.resolve()):
        raise HubError(f"{target}: lies in the state folder itself and would be lost with it: name a place on another disk")
    _has_room(store, target.parent)
    working = target.with_name(f".{target.name}.part")
    if working.exists():
        raise HubError(f"{working}: is there already: another backup runs, or was interrupted; then remove it")
    try:
        with _sink(working, tar=target.suffix == ".tar") as (sink, scratch):
            manifest = _write(store, sink, scratch, progress)
        _sync(working)
        working.rename(target)
        _sync(target.parent)
    except BaseException:
        _remove(working)
        raise
    log.info("a backup was taken", target=str(target), made_at=manifest.made_at, messages=manifest.messages,
             files=manifest.files, bytes=manifest.bytes)
    return {"target": str(target), **manifest.to_json()}


@contextmanager
def _sink(working: Path, *, tar: bool) -> Iterator[tuple[Sink, Path]]:
    """Where to write, and a place for the tables' copy on the same file system."""
    if not tar:
        working.mkdir(mode=0o700)
        yield _Folder(working), working
        for folder in working.iterdir():
            if folder.is_dir():
                for below in (*folder.iterdir(), folder):
                    _sync(below)
        return
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".drehscheibe-", dir=working.parent)))
        descriptor = os.open(working, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        file = stack.enter_context(os.fdopen(descriptor, "wb"))
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            yield _Tar(archive), scratch
        file.flush()
        os.fsync(file.fileno())


def _write(store: Store, sink: Sink, scratch: Path, progress: Progress) -> Manifest:
    copy = scratch / f".{STORE}.copy"
    made_at = store.copy(copy, lambda done, of: progress("tables", done, of))
    with _opened(copy) as tables:
        facts = _facts(tables)
        files = tables.execute(_FILES).fetchall()
    sums = {STORE: sink.put(STORE, copy.stat().st_size, _read(copy))}
    written = copy.stat().st_size
    copy.unlink()
    copied, deleted, damaged, missing = 0, set(), [], []
    for number, (name, size, sha256, message_id) in enumerate(files, 1):
        file = store.files.path(name)
        try:
            with file.open("rb") as source:
                length = os.fstat(source.fileno()).st_size
                payload = hashlib.sha256()
                path = f"blobs/{file.parent.name}/{name}"
                sums[path] = sink.put(path, length, _watched(source, payload))
        except FileNotFoundError:
            if store.keeps(name):
                missing.append(name)
            else:
                deleted.add(message_id)
            continue
        if (length - len(HEADER), payload.hexdigest()) != (size, sha256):
            damaged.append(name)
        copied, written = copied + 1, written + length
        progress("files", number, len(files))
    listing = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    manifest = Manifest(FORMAT, __version__, REVISION, made_at.astimezone(UTC).isoformat(timespec="microseconds"), **facts,
                        files=copied, bytes=written, sums=sink.put(SUMS, len(listing), iter([listing])),
                        deleted_meanwhile=tuple(sorted(deleted)), damaged=tuple(damaged), missing=tuple(missing))
    content = json.dumps(manifest.to_json(), indent=1).encode()
    sink.put(MANIFEST, len(content), iter([content]))
    return manifest


_FILES = ("SELECT blob.id, blob.size, blob.sha256, blob.message_id FROM blob JOIN message ON message.id = blob.message_id "
          "WHERE blob.content IS NULL AND message.payload_deleted_at IS NULL ORDER BY blob.id")


def _facts(tables: Any) -> dict[str, int]:
    """Counts for the manifest."""
    one = "SELECT (SELECT fencing FROM store), (SELECT count(*) FROM message), (SELECT count(*) FROM delivery WHERE {})"
    [(fencing, messages, deliveries)] = tables.execute(one.format("state IN ('due', 'delivering', 'in_doubt')"))
    return {"fencing": fencing, "messages": messages, "open_deliveries": deliveries}


def _has_room(store: Store, folder: Path) -> None:
    needed = sum(file.stat().st_size for file in store.directory.glob(f"{STORE}*"))
    for file in store.files.files().values():
        with suppress(FileNotFoundError):
            needed += file.stat().st_size
    free = shutil.disk_usage(folder).free
    if free < needed * SPARE:
        raise HubError(f"{folder}: {free >> 20} MiB are free, the backup needs {int(needed * SPARE) >> 20}")


def _watched(source: IO[bytes], payload: Any) -> Iterator[bytes]:
    """A body's file, all of it; `payload` gets what comes after the header."""
    skip = len(HEADER)
    while chunk := source.read(CHUNK):
        payload.update(chunk[skip:])
        skip = 0
        yield chunk


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk


# --- reading one ----------------------------------------------------------------------------------------------------------


class Source(Protocol):
    """A backup to read from."""

    def names(self) -> set[str]: ...
    def open(self, name: str) -> IO[bytes]: ...


class _FolderSource:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> set[str]:
        return {file.relative_to(self._folder).as_posix() for file in self._folder.rglob("*") if not file.is_dir()}

    def open(self, name: str) -> IO[bytes]:
        return os.fdopen(os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


class _TarSource:
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
def _source(place: Path) -> Iterator[Source]:
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


def verify(place: Path, progress: Progress) -> Manifest:
    """Check manifest, every digest, and the tables themselves. Raises `BadBackup` with all that is wrong."""
    with _source(place) as source, tempfile.TemporaryDirectory(prefix="drehscheibe-verify-", dir=_scratch(place)) as folder:
        return _check(source, progress, Path(folder))[0]


def _scratch(place: Path) -> Path | None:
    """Beside the backup, where there is room for its tables; the system's own place where that may not be written."""
    return place.parent if os.access(place.parent, os.W_OK) else None


def _check(source: Source, progress: Progress, folder: Path) -> tuple[Manifest, dict[str, str]]:
    """As `verify`, with the digests by name; the tables' copy is left in `folder`."""
    manifest = _manifest(source)
    problems = []
    with source.open(SUMS) as file:
        listing = file.read()
    if hashlib.sha256(listing).hexdigest() != manifest.sums:
        raise BadBackup(f"{SUMS}: does not have its digest any more")
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in listing.decode().splitlines())}
    problems += [f"{name}: does not belong to the backup" for name in sorted(source.names() - set(sums) - {SUMS, MANIFEST})]
    for number, (name, said) in enumerate(sums.items(), 1):
        problems += _check_file(source, name, said, folder / STORE if name == STORE else None)
        progress("digests", number, len(sums))
    if not problems:
        progress("database", 0, 0)
        problems = _check_tables(folder / STORE, manifest)
    if problems:
        raise BadBackup("\n".join(problems))
    return manifest, sums


def _manifest(source: Source) -> Manifest:
    try:
        with source.open(MANIFEST) as file:
            data = json.loads(file.read())
    except FileNotFoundError as error:
        raise BadBackup(f"{MANIFEST} is not there: this is no backup, or it was not finished") from error
    except ValueError as error:
        raise BadBackup(f"{MANIFEST}: cannot be read") from error
    return Manifest.from_json(data)


def _check_file(source: Source, name: str, said: str, keep: Path | None) -> list[str]:
    digest = hashlib.sha256()
    try:
        with source.open(name) as file, (keep.open("wb") if keep else io.BytesIO()) as copy:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                if keep:
                    copy.write(chunk)
    except OSError as error:
        return [f"{name}: {error.strerror or 'is not there'}"]
    return [] if digest.hexdigest() == said else [f"{name}: does not have its digest any more"]


def _check_tables(file: Path, manifest: Manifest) -> list[str]:
    with _opened(file) as tables:
        wrong = [f"{STORE}: {line}" for (line,) in tables.execute("PRAGMA integrity_check") if line != "ok"]
        [(clean,)] = tables.execute("SELECT clean FROM store")
        if clean != COPY:
            wrong.append(f"{STORE}: does not say that it is a copy")
        if _facts(tables) != {name: getattr(manifest, name) for name in ("fencing", "messages", "open_deliveries")}:
            wrong.append(f"{STORE}: is not the one of the manifest")
    return wrong


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A database file that nobody writes to."""
    connection = dbapi2.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        yield connection
    finally:
        connection.close()


# --- putting one back -----------------------------------------------------------------------------------------------------


def restore(place: Path, state: Path, *, replace: bool, not_run_since: bool, progress: Progress,
            now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> dict[str, Any]:
    """Verify the backup, then make it the store in `state`. What became of it, as plain data.

    Raises `BadBackup`; `StoreInUse` when a hub runs there; `HubError` when there is a store already and not `replace`; then it
    is moved aside. `not_run_since`: the operator knows that no hub has run on this store since the backup, so what was due stays
    plainly due.
    """
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    held = lock(state / "lock")
    try:
        occupied = [name for name in (STORE, f"{STORE}-wal", f"{STORE}-shm", "blobs", "spool") if (state / name).exists()]
        if (state / STORE).exists() and not replace and not (state / INTERRUPTED).exists():
            raise HubError(f"{state}: there is a store already: with --replace it is moved aside (never deleted)")
        building = state / RESTORING
        _remove(building)
        building.mkdir(mode=0o700)
        with _source(place) as source:
            manifest, sums = _check(source, progress, building)
            _copy_blobs(source, sums, building, progress)
        before = _fencing(state / STORE)
        answer = _open_once(building, manifest, max(before, manifest.fencing), not_run_since=not_run_since)
        aside = _swap(state, building, occupied, now())
    finally:
        os.close(held)
    log.warning("the store was restored from a backup", made_at=manifest.made_at, fencing=answer["fencing"],
                in_doubt=answer["in_doubt"], moved_aside=str(aside) if aside else None)
    return {"made_at": manifest.made_at, "messages": manifest.messages, "files": manifest.files, "state": str(state),
            "moved_aside": str(aside) if aside else None, **answer}


def _copy_blobs(source: Source, sums: dict[str, str], building: Path, progress: Progress) -> None:
    names = sorted(name for name in sums if name != STORE)
    sink = _Folder(building)
    for number, name in enumerate(names, 1):
        if re.fullmatch(r"blobs/[0-9a-f]{2}/[0-9a-f-]{36}", name) is None:
            raise BadBackup(f"{name}: is no name of a body")
        with source.open(name) as file:
            if sink.put(name, 0, iter(partial(file.read, CHUNK), b"")) != sums[name]:
                raise BadBackup(f"{name}: has changed since it was checked")
        progress("files", number, len(names))


def _fencing(file: Path) -> int:
    """Of the store that is replaced, as far as it can be read."""
    if not file.exists():
        return 0
    try:
        connection = dbapi2.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        try:
            [(fencing,)] = connection.execute("SELECT fencing FROM store")
        finally:
            connection.close()
    except (dbapi2.DatabaseError, ValueError):
        return 0
    return int(fencing)


def _open_once(building: Path, manifest: Manifest, above: int, *, not_run_since: bool) -> dict[str, Any]:
    """As the hub would open it, but where it is not yet: what it finds there."""
    (building / STORE).chmod(0o600)
    if not_run_since:
        connection = dbapi2.connect(building / STORE, isolation_level=None)
        connection.execute("UPDATE store SET clean = 1")
        connection.close()
    store = Store.open(building)
    try:
        store.raise_fencing(above + 1)
        if manifest.deleted_meanwhile:
            store.shred(manifest.deleted_meanwhile)
        revived = store.revived
        answer = {"in_doubt": 0, "waiting": 0, "parked": 0} if revived is None else {
            "in_doubt": revived.in_doubt, "waiting": revived.messages, "parked": revived.parked}
        return {**answer, "fencing": store.fencing, "deleted_meanwhile": len(manifest.deleted_meanwhile),
                "damaged": list(manifest.damaged), "missing": list(manifest.missing)}
    finally:
        store.close()


def _swap(state: Path, building: Path, occupied: list[str], at: datetime) -> Path | None:
    """The old store aside, the new one into its place, the tables last; each step durable before the next."""
    if (building / f"{STORE}-wal").exists():  # it would have to be moved together with the tables
        raise HubError(f"{building / STORE}: is still open somewhere: nothing was changed")
    _own(building, state)
    _sync_tree(building)
    (state / INTERRUPTED).touch(mode=0o600)
    _sync(state)
    aside = None
    if occupied:
        aside = _fresh(state / f"before-restore-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        _own(aside, state)
        for name in occupied:
            (state / name).rename(aside / name)
        _sync(aside)
    for name in ("blobs", STORE):
        (building / name).rename(state / name)
    _sync(state)
    _remove(building)
    (state / INTERRUPTED).unlink()
    _sync(state)
    return aside


def _fresh(folder: Path) -> Path:
    """A new folder of this name, or of it and a number: a restore may be repeated within a second."""
    for number in itertools.count(1):
        place = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
            break
    return place


def _own(folder: Path, like: Path) -> None:
    """What root restores belongs to the hub's user."""
    owner = like.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for place in (folder, like / "lock", *folder.rglob("*")):
        os.chown(place, owner.st_uid, owner.st_gid)


def _remove(place: Path) -> None:
    """A half-made backup or restore of our own."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _sync_tree(folder: Path) -> None:
    for place in sorted(folder.rglob("*"), reverse=True):
        _sync(place)
    _sync(folder)


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
