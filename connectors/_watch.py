"""A watch on a folder that may be removed and made again: watchdog's events, as long as it is the same
folder.

Events only make somebody look sooner. Where there are none (a share, no inotify left), nothing else changes.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver


class Events(FileSystemEventHandler):
    """What happened since somebody looked. An exception here would end the observer: nothing else is done."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self._renamed: set[str] = set()

    def on_moved(self, event: FileSystemEvent) -> None:
        """Something was renamed to its place: it is complete."""
        self._renamed.add(os.fsdecode(event.dest_path))
        self.wake.set()

    def on_closed(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - watchdog's signature
        """Somebody ended writing."""
        self.wake.set()

    def take_renamed(self) -> set[str]:
        """Paths to which something was renamed since the last call."""
        renamed, self._renamed = self._renamed, set()
        return renamed


class Watch:
    """Watches `root` and all below it, from `renew` to `end`."""

    def __init__(self, root: Path, events: Events) -> None:
        self._root = root
        self._events = events
        self._observer: BaseObserver | None = None
        self._folder = -1  # open while it is watched: the kernel must not give its number to another folder

    def renew(self) -> None:
        """Watch the folder that is there now, if it is another one than before or watchdog's threads have
        died.
        """
        if self.holds():
            return
        self.end()
        with contextlib.suppress(OSError):  # no inotify left, or no folder: it goes on without events
            self._begin()

    def holds(self) -> bool:
        """Whether it watches the folder that is there now."""
        observer = self._observer
        if observer is None:
            return False
        with contextlib.suppress(OSError):
            alive = all(thread.is_alive() for thread in (observer, *observer.emitters))
            return alive and os.path.samestat(self._root.stat(), os.fstat(self._folder))
        return False

    def end(self) -> None:
        """Stop watching."""
        observer, self._observer = self._observer, None
        if observer is not None:
            os.close(self._folder)
            observer.stop()
            observer.join()

    def _begin(self) -> None:
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        observer = Observer()
        try:
            observer.schedule(self._events, str(self._root), recursive=True)
            observer.start()
        except OSError:
            os.close(folder)
            raise
        self._folder, self._observer = folder, observer
