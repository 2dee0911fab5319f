"""Who may read the files of a store: the hub alone, whatever the umask.

They hold what citizens wrote, their proofs, and copies of both. New files are made with their rights; what is
there already and too open (an older hub, a copy by hand) is closed at the start and said in the log.

Used by `hub.store.store`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger("hub.store.rights")

FILE, FOLDER = 0o600, 0o700
_FILES = ("store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm", "store.sqlite3-journal", "lock")
_FOLDERS = ("blobs", "spool", "restoring", "before-restore-*", "quarantine*")


def create(file: Path) -> None:
    """An empty file, if there is none. SQLite gives its log and its index the rights of the file.

    Never opened when it is there: closing a descriptor would take SQLite's locks away.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    except FileExistsError:
        return
    try:
        os.fchmod(descriptor, FILE)  # the umask may have taken the hub's own rights
    finally:
        os.close(descriptor)


def tighten(directory: Path) -> list[str]:
    """Take the rights of others from the store's files in this folder. Gives the names of those that had too
    many.

    What belongs to somebody else cannot be closed; that is said too.
    """
    tightened = []
    for place, wanted in _places(directory):
        mode = stat.S_IMODE(place.lstat().st_mode)
        if not mode & 0o077 or place.is_symlink():
            continue
        try:
            place.chmod(mode & wanted)
        except PermissionError:
            log.error("a file of the store can be read by others and is not the hub's to close",
                      file=str(place), mode=f"{mode:04o}")
            continue
        tightened.append(place.name)
        log.warning("a file of the store could be read by others; now it is the hub's alone",
                    file=str(place), mode=f"{mode:04o}")
    return tightened


def _places(directory: Path) -> Iterator[tuple[Path, int]]:
    for name in _FILES:
        if (directory / name).exists():
            yield directory / name, FILE
    for pattern in _FOLDERS:
        for folder in directory.glob(pattern):
            yield folder, FOLDER
