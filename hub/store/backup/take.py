"""Takes a backup of the store while the hub runs.

`hub.store.backup.archive` describes the form. A backup holds applications of citizens, so only its owner may
read it (0600).

The tables are copied first, as of one moment, by SQLite's own backup. Then the files are copied that those
rows name; a file never changes once it is written. The running hub deletes nothing meanwhile
(`hub.administration.retention.Retention.paused`). When another process deletes content during the backup, the
manifest names the messages, and a restore deletes their content too. The manifest also names bodies that are
damaged or missing in the store itself. It is written last.

Used by `hub.operations` and by ``drehscheibe backup``. `hub.store.backup.restore` puts a backup back.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import IO, Any

import structlog

from hub import __version__
from hub.errors import HubError
from hub.store.backup.archive import (
    CHUNK,
    FORMAT,
    MANIFEST,
    STORE,
    SUMS,
    Folder,
    Manifest,
    Sink,
    Tar,
    facts_of,
    opened,
    remove,
    sync,
)
from hub.store.blobs.payload import HEADER
from hub.store.database.tables import REVISION
from hub.store.integrity import Progress
from hub.store.store import Store

log = structlog.get_logger("hub.store.backup.take")

SPARE = 1.05
"""The room that a backup needs, as a multiple of its bytes."""

_FILES = ("SELECT blob.id, blob.size, blob.sha256, blob.message_id FROM blob "
          "JOIN message ON message.id = blob.message_id "
          "WHERE blob.content IS NULL AND message.payload_deleted_at IS NULL ORDER BY blob.id")


def take(store: Store, target: Path, progress: Progress) -> dict[str, Any]:
    """Back the store up into a new folder, or into a new file whose name ends in ``.tar``.

    Returns what the backup holds, as plain data. Raises `HubError` when the target exists, has no room or is
    inside the state folder, and `OSError`.
    """
    if target.exists() or target.is_symlink():
        raise HubError(f"{target}: is there already: name a new folder or file")
    if not target.parent.is_dir():
        raise HubError(f"{target.parent}: is no folder: make it, writable for the hub's user")
    if target.parent.resolve().is_relative_to(store.directory.resolve()):
        raise HubError(f"{target}: lies in the state folder itself and would be lost with it: name a place "
                       "on another disk")
    _has_room(store, target.parent)
    working = target.with_name(f".{target.name}.part")
    if working.exists():
        raise HubError(
            f"{working}: is there already: another backup runs, or was interrupted; then remove it")
    try:
        with _sink(working, tar=target.suffix == ".tar") as (sink, scratch):
            manifest = _write(store, sink, scratch, progress)
        sync(working)
        working.rename(target)
        sync(target.parent)
    except BaseException:
        remove(working)
        raise
    log.info("a backup was taken", target=str(target), made_at=manifest.made_at, messages=manifest.messages,
             files=manifest.files, bytes=manifest.bytes)
    return {"target": str(target), **manifest.to_json()}


@contextmanager
def _sink(working: Path, *, tar: bool) -> Iterator[tuple[Sink, Path]]:
    """The sink to write to, and a folder on the same file system for the tables' copy."""
    if not tar:
        working.mkdir(mode=0o700)
        yield Folder(working), working
        for folder in working.iterdir():
            if folder.is_dir():
                for below in (*folder.iterdir(), folder):
                    sync(below)
        return
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".drehscheibe-",
                                                                       dir=working.parent)))
        descriptor = os.open(working, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        file = stack.enter_context(os.fdopen(descriptor, "wb"))
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            yield Tar(archive), scratch
        file.flush()
        os.fsync(file.fileno())


def _write(store: Store, sink: Sink, scratch: Path, progress: Progress) -> Manifest:
    copy = scratch / f".{STORE}.copy"
    made_at = store.copy(copy, lambda done, of: progress("tables", done, of))
    with opened(copy) as tables:
        facts = facts_of(tables)
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
    manifest = Manifest(FORMAT, __version__, REVISION,
                        made_at.astimezone(UTC).isoformat(timespec="microseconds"), **facts,
                        files=copied, bytes=written, sums=sink.put(SUMS, len(listing), iter([listing])),
                        deleted_meanwhile=tuple(sorted(deleted)), damaged=tuple(damaged),
                        missing=tuple(missing))
    content = json.dumps(manifest.to_json(), indent=1).encode()
    sink.put(MANIFEST, len(content), iter([content]))
    return manifest


def _has_room(store: Store, folder: Path) -> None:
    needed = sum(file.stat().st_size for file in store.directory.glob(f"{STORE}*"))
    for file in store.files.files().values():
        with suppress(FileNotFoundError):
            needed += file.stat().st_size
    free = shutil.disk_usage(folder).free
    if free < needed * SPARE:
        raise HubError(f"{folder}: {free >> 20} MiB are free, the backup needs {int(needed * SPARE) >> 20}")


def _watched(source: IO[bytes], payload: Any) -> Iterator[bytes]:
    """The whole file of a body. `payload`, a digest, gets what follows the header."""
    skip = len(HEADER)
    while chunk := source.read(CHUNK):
        payload.update(chunk[skip:])
        skip = 0
        yield chunk


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk
