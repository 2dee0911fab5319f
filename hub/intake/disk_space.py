"""Watches the free space of the disk, and stops accepting before the disk is full.

So the hub can still deliver what it accepted, and write down the outcomes. Three levels of free space on the
state's file system decide. `Space` looks at them once a second (``statvfs``, microseconds) and before a large
body::

    free ≥ minimum + a quarter    the hub accepts (again), and lays the reserve by if it was used
    free < minimum                the hub accepts nothing: HTTPS 503, AMQP pauses, folders keep their files;
                                  deliveries go on
    free < size of the reserve    the reserve is deleted, so that the outcomes of deliveries have room;
                                  nothing is translated, because renderings take room

The reserve is a file with real blocks (``posix_fallocate``), because other programs fill the disk too.

BUGS: on a file system that copies on write or is thinly provisioned, deleting the reserve may free less than
its size.

Used by `hub.intake.receiver` (accept?), `hub.workers.dispatcher` (translate?) and the metrics.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from hub.errors import StoreUnavailable

if TYPE_CHECKING:
    from hub.config.sections import DiskSection

log = structlog.get_logger("hub.intake.disk_space")

FRESH = 1.0
"""Seconds for which one look at the disk serves."""
LARGE = 1 << 20
"""From this size on (bytes) a body causes a look of its own."""
COPIES = 2
"""How often a body lies on the disk while it is accepted: in the spool and in the store."""
AGAIN = 1.25
"""The hub accepts again only above this multiple of the minimum, so that it does not alternate."""
RETRY_AFTER = 30.0
"""Seconds after which a refused sender shall come again."""
PATIENCE = 600.0
"""Seconds until the next attempt to lay by a reserve, after the file system refused one."""


@dataclass(frozen=True, slots=True)
class Room:
    """The result of one look, in bytes. `inodes` is None where the file system does not limit them."""

    free: int
    size: int
    inodes: int | None


def room_of(folder: Path) -> Room:
    """The room that the file system reports. The share reserved for root does not count."""
    status = os.statvfs(folder)
    return Room(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize,
                status.f_favail if status.f_files else None)


class Space:
    """Knows whether one state folder has room. Any thread may ask."""

    def __init__(self, folder: Path, settings: Callable[[], DiskSection],
                 look: Callable[[Path], Room] = room_of,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._file = folder / "reserve"
        self._settings = settings
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = -FRESH
        self._lay_after = 0.0
        self._why: str | None = None
        self.room = Room(0, 0, None)

    @property
    def why(self) -> str | None:
        """Why nothing is accepted now, for operators; None while there is room."""
        self.look()
        return self._why

    @property
    def reserve(self) -> int:
        """Bytes of the reserve; 0 while it is in use."""
        try:
            return self._file.stat().st_size
        except FileNotFoundError:
            return 0

    def admit(self, size: int = 0) -> None:
        """Raise `StoreUnavailable` when there is no room for a body of `size` bytes.

        Call it before the body is read.
        """
        self.look(now=size >= LARGE)
        if self._why is not None:
            raise StoreUnavailable(self._why, RETRY_AFTER)
        if size >= LARGE and self.room.free - COPIES * size < self._minimum():
            raise StoreUnavailable(f"no room for {size} bytes: {self.room.free >> 20} MiB are free",
                                   RETRY_AFTER)

    def may_translate(self) -> bool:
        """Whether there is room for renderings."""
        self.look()
        return self._why is None or not self._reserved() or self.reserve > 0

    def look(self, *, now: bool = False) -> None:
        """Look at the disk if the last look is old, or with `now`, and act on the result. Never raises."""
        with self._lock:
            if not now and self._clock() - self._looked < FRESH:
                return
            self._looked = self._clock()
            try:
                self.room = self._look(self._folder)
                self._judge()
            except OSError as error:  # the file system is gone: the store reports that itself
                log.error("the free space cannot be looked at", error=error.strerror)

    def _minimum(self) -> int:
        settings = self._settings()
        return max(settings.min_free_mb << 20, int(self.room.size * settings.min_free_percent / 100))

    def _reserved(self) -> int:
        return self._settings().reserve_mb << 20

    def _judge(self) -> None:
        lowest, inodes = self._minimum(), self._settings().min_free_inodes
        if self._why is not None:
            lowest, inodes = int(lowest * AGAIN), int(inodes * AGAIN)
        why = None
        if self.room.free < lowest:
            why = (f"the disk fills: {self.room.free >> 20} MiB are free in {self._folder}, "
                   f"{lowest >> 20} are needed to accept")
        elif self.room.inodes is not None and self.room.inodes < inodes:
            why = (f"the disk fills: {self.room.inodes} files can be made in {self._folder}, "
                   f"{inodes} are needed to accept")
        if (why is None) != (self._why is None):
            self._tell(why)
        self._why = why
        self._keep_reserve()

    def _tell(self, why: str | None) -> None:
        free = self.room.free >> 20
        if why is None:
            log.info("there is room again: applications are accepted", free_mib=free)
        else:
            log.error("nothing is accepted any more, deliveries go on; senders are told to come again",
                      reason=why, free_mib=free)

    def _keep_reserve(self) -> None:
        """Lay the reserve by when there is plenty of room. Delete it when there is hardly any."""
        wanted, there = self._reserved(), self.reserve
        if there and self._why is not None and self.room.free < wanted:
            self._file.unlink(missing_ok=True)
            self.room = self._look(self._folder)
            log.error("the reserve is given back, for the outcomes of deliveries; nothing is translated",
                      reserve_mib=there >> 20)
        elif (there != wanted and self._why is None and self.room.free - wanted + there >= self._minimum()
              and self._clock() >= self._lay_after):
            self._lay_by(wanted)
            self.room = self._look(self._folder)

    def _lay_by(self, size: int) -> None:
        self._file.unlink(missing_ok=True)
        if not size:
            return
        new = self._file.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            new.rename(self._file)
        except OSError as error:
            new.unlink(missing_ok=True)
            self._lay_after = self._clock() + PATIENCE
            log.warning("no reserve could be laid by", error=error.strerror)
        finally:
            os.close(descriptor)
