"""Write and sync calls whose bytes are on disk when they return.

An fsync that fails raises `SyncFailed`: after it nobody knows what the disk holds. A full disk is no such
failure, because the file is then thrown away as a whole.

Used by `hub.store.blobs.files`, `hub.store.blobs.stored` and `hub.store.store`.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hub.errors import StoreUnavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The error numbers of a full disk or a used-up quota."""


class SyncFailed(StoreUnavailable):
    """An fsync failed. What the disk holds is unknown, and a second fsync would not tell."""


def write_all(fd: int, data: bytes) -> None:
    """Write all bytes to an open file. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def sync_fd(fd: int) -> None:
    """Sync an open file. Raises `SyncFailed`, or `OSError` when the disk is full."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in FULL:  # the caller throws the whole file away, so nothing unknown remains
            raise
        raise SyncFailed(f"fsync failed ({error.strerror})") from error


def sync(folder: Path) -> None:
    """Sync the entries of a folder. Raises as `sync_fd` does."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_fd(fd)
    finally:
        os.close(fd)
