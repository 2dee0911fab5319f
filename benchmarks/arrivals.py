"""Notes what arrives in a folder, and when.

It uses inotify, so that watching costs next to nothing beside what is watched.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_CLOSE_WRITE, _MOVED_TO, _CREATE = 0x8, 0x80, 0x100
_QUEUE_OVERFLOW = 0x4000
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class TooSlow(Exception):
    """Not everything arrived in time. The text says how much did."""


class Arrivals:
    """The names that appeared in folders, with their moments (`time.monotonic`), without hidden names.

    With `renamed` a thing is complete when it is renamed into a folder, else when a file is closed after
    writing. A context manager: it ends its thread.
    """

    def __init__(self, folders: Sequence[Path] | Path, *, renamed: bool = True) -> None:
        self.seen: dict[str, float] = {}
        self.twice = 0
        self._news = threading.Condition()
        self._fd = _libc.inotify_init1(os.O_CLOEXEC)
        for folder in [folders] if isinstance(folders, Path) else folders:
            if _libc.inotify_add_watch(self._fd, bytes(folder), _MOVED_TO if renamed else _CLOSE_WRITE) < 0:
                raise OSError(ctypes.get_errno(), f"inotify: {folder}")
        self._end, self._ender = os.pipe()
        self._thread = threading.Thread(target=self._read, name="arrivals", daemon=True)
        self._thread.start()

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ender)
        self._thread.join()
        os.close(self._fd)
        os.close(self._end)

    def _read(self) -> None:
        while True:
            readable, _, _ = select.select([self._fd, self._end], [], [])
            if self._end in readable:
                return
            data = os.read(self._fd, 1 << 20)
            now = time.monotonic()
            with self._news:
                self._take(data, now)
                self._news.notify_all()
            time.sleep(0.0005)  # lets events gather: moments are exact to half a millisecond

    def _take(self, data: bytes, now: float) -> None:
        at = 0
        while at < len(data):
            _, mask, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0").decode()
            at += _EVENT.size + length
            if mask & _QUEUE_OVERFLOW:
                raise OverflowError("inotify lost events")
            if name.startswith("."):
                continue
            self.twice += name in self.seen
            self.seen.setdefault(name, now)

    def forget(self) -> None:
        """Forget what arrived so far."""
        with self._news:
            self.seen.clear()
            self.twice = 0

    def count(self) -> int:
        """How many names arrived so far."""
        with self._news:
            return len(self.seen)

    def wait(self, count: int, seconds: float) -> float:
        """Wait until `count` names have arrived. Returns the moment of the last. Raises `TooSlow`."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.seen) >= count, seconds):
                raise TooSlow(f"{len(self.seen)} of {count} arrived within {seconds:.0f} s")
            return max(self.seen.values())


def number_of(name: str) -> str:
    """The number in a name: ``<number>.xml``, ``<number>_<delivery>.xml`` or ``<number>``."""
    return name.partition("_")[0].removesuffix(".xml")
