"""Bytes that are on disk when the call returns."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hub.errors import StoreUnavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class SyncFailed(StoreUnavailable):
    """An fsync failed: what the disk holds is unknown, and asking again would not tell."""


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def sync_fd(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in FULL:  # the file is thrown away whole, so nothing unknown remains
            raise
        raise SyncFailed(f"fsync failed ({error.strerror})") from error


def sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_fd(fd)
    finally:
        os.close(fd)
