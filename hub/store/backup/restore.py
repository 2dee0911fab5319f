"""Restores a backup, or only verifies it.

`restore` checks the whole backup before it writes anything. It builds the store in a folder beside the old
one and opens it there once, so that its open deliveries are in doubt (`hub.store.transitions.restored`). Only
then it moves the store into place. What was there before is moved aside, never deleted. Each step is durable
before the next begins; the mark `hub.store.database.sqlite.INTERRUPTED` stands while the store is moved, so
that no hub opens a half-moved store.

It restores a store in SQLite. A PostgreSQL is restored by its own tools (docs/operate-two-nodes.md).

Used by ``drehscheibe restore`` (`hub.cli`). `hub.store.backup.take` makes backups.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from pysqlite3 import dbapi2

from hub.errors import HubError
from hub.store.backup.archive import (
    CHUNK,
    MANIFEST,
    STORE,
    SUMS,
    BadBackup,
    Folder,
    Manifest,
    Source,
    facts_of,
    open_source,
    opened,
    remove,
    sync,
)
from hub.store.database.sqlite import INTERRUPTED, RESTORING, lock
from hub.store.database.tables import COPY
from hub.store.integrity import Progress
from hub.store.store import Store

log = structlog.get_logger("hub.store.backup.restore")


def verify(place: Path, progress: Progress) -> Manifest:
    """Check the manifest, each digest, and the tables. Raises `BadBackup` with everything that is wrong."""
    with open_source(place) as source, tempfile.TemporaryDirectory(prefix="drehscheibe-verify-",
                                                                   dir=_scratch(place)) as folder:
        return _check(source, progress, Path(folder))[0]


def _scratch(place: Path) -> Path | None:
    """The folder for a temporary copy of the tables: beside the backup, where there is room for it.

    None means the system's own place, when this process may not write beside the backup.
    """
    return place.parent if os.access(place.parent, os.W_OK) else None


def _check(source: Source, progress: Progress, folder: Path) -> tuple[Manifest, dict[str, str]]:
    """Check as `verify` does. Returns the digests by name too, and leaves the tables' copy in `folder`."""
    manifest = _manifest(source)
    problems = []
    with source.open(SUMS) as file:
        listing = file.read()
    if hashlib.sha256(listing).hexdigest() != manifest.sums:
        raise BadBackup(f"{SUMS}: does not have its digest any more")
    sums = {name: digest
            for digest, _, name in (line.partition("  ") for line in listing.decode().splitlines())}
    problems += [f"{name}: does not belong to the backup"
                 for name in sorted(source.names() - set(sums) - {SUMS, MANIFEST})]
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
    with opened(file) as tables:
        wrong = [f"{STORE}: {line}" for (line,) in tables.execute("PRAGMA integrity_check") if line != "ok"]
        [(clean,)] = tables.execute("SELECT clean FROM store")
        if clean != COPY:
            wrong.append(f"{STORE}: does not say that it is a copy")
        if facts_of(tables) != {name: getattr(manifest, name)
                                for name in ("fencing", "messages", "open_deliveries")}:
            wrong.append(f"{STORE}: is not the one of the manifest")
    return wrong


def restore(place: Path, state: Path, *, replace: bool, not_run_since: bool, progress: Progress,
            now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> dict[str, Any]:
    """Verify the backup, then make it the store in `state`. Returns what became of it, as plain data.

    With `replace` a store that is there already is moved aside. With `not_run_since` the operator asserts
    that no hub has run on this store since the backup, so what was due stays due.

    Raises `BadBackup`; `StoreInUse` when a hub runs there; `HubError` when a store is there already, without
    `replace`.
    """
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    held = lock(state / "lock")
    try:
        occupied = [name for name in (STORE, f"{STORE}-wal", f"{STORE}-shm", "blobs", "spool")
                    if (state / name).exists()]
        if (state / STORE).exists() and not replace and not (state / INTERRUPTED).exists():
            raise HubError(f"{state}: there is a store already: with --replace it is moved aside (never "
                           "deleted)")
        building = state / RESTORING
        remove(building)
        building.mkdir(mode=0o700)
        with open_source(place) as source:
            manifest, sums = _check(source, progress, building)
            _copy_blobs(source, sums, building, progress)
        before = _fencing(state / STORE)
        answer = _open_once(building, manifest, max(before, manifest.fencing), not_run_since=not_run_since)
        aside = _swap(state, building, occupied, now())
    finally:
        os.close(held)
    log.warning("the store was restored from a backup", made_at=manifest.made_at, fencing=answer["fencing"],
                in_doubt=answer["in_doubt"], moved_aside=str(aside) if aside else None)
    return {"made_at": manifest.made_at, "messages": manifest.messages, "files": manifest.files,
            "state": str(state), "moved_aside": str(aside) if aside else None, **answer}


def _copy_blobs(source: Source, sums: dict[str, str], building: Path, progress: Progress) -> None:
    names = sorted(name for name in sums if name != STORE)
    sink = Folder(building)
    for number, name in enumerate(names, 1):
        if re.fullmatch(r"blobs/[0-9a-f]{2}/[0-9a-f-]{36}", name) is None:
            raise BadBackup(f"{name}: is no name of a body")
        with source.open(name) as file:
            if sink.put(name, 0, iter(partial(file.read, CHUNK), b"")) != sums[name]:
                raise BadBackup(f"{name}: has changed since it was checked")
        progress("files", number, len(names))


def _fencing(file: Path) -> int:
    """The fencing number of the store that is replaced. 0 when it cannot be read."""
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
    """Open the new store as the hub would, before it is in its place. Returns what was found."""
    (building / STORE).chmod(0o600)
    if not_run_since:
        connection = dbapi2.connect(building / STORE, isolation_level=None)
        connection.execute("UPDATE store SET clean = 1")
        connection.close()
    store = Store.open(building)
    try:
        store.raise_fencing(above + 1)
        if manifest.deleted_meanwhile:
            store.erase(manifest.deleted_meanwhile)
        after_restore = store.after_restore
        answer = {"in_doubt": 0, "waiting": 0, "parked": 0} if after_restore is None else {
            "in_doubt": after_restore.in_doubt, "waiting": after_restore.messages,
            "parked": after_restore.parked}
        return {**answer, "fencing": store.fencing, "deleted_meanwhile": len(manifest.deleted_meanwhile),
                "damaged": list(manifest.damaged), "missing": list(manifest.missing)}
    finally:
        store.close()


def _swap(state: Path, building: Path, occupied: list[str], at: datetime) -> Path | None:
    """Move the old store aside and the new one into its place, the tables last.

    Each step is durable before the next. Returns where the old store is now.
    """
    if (building / f"{STORE}-wal").exists():  # the log would have to be moved together with the tables
        raise HubError(f"{building / STORE}: is still open somewhere: nothing was changed")
    _own(building, state)
    _sync_tree(building)
    (state / INTERRUPTED).touch(mode=0o600)
    sync(state)
    aside = None
    if occupied:
        aside = _fresh(state / f"before-restore-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        _own(aside, state)
        for name in occupied:
            (state / name).rename(aside / name)
        sync(aside)
    for name in ("blobs", STORE):
        (building / name).rename(state / name)
    sync(state)
    remove(building)
    (state / INTERRUPTED).unlink()
    sync(state)
    return aside


def _fresh(folder: Path) -> Path:
    """A new folder of this name, with a number if there is one: two restores may follow within a second."""
    for number in itertools.count(1):
        place = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
            break
    return place


def _own(folder: Path, like: Path) -> None:
    """Give what root restores to the hub's user."""
    owner = like.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for place in (folder, like / "lock", *folder.rglob("*")):
        os.chown(place, owner.st_uid, owner.st_gid)


def _sync_tree(folder: Path) -> None:
    for place in sorted(folder.rglob("*"), reverse=True):
        sync(place)
    sync(folder)
