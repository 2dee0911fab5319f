"""An upload in a watched folder: a file, or a folder with all below it, as it lies there at one moment.

Whoever uploads gives a file a temporary name first, or changes it until it is whole. So an upload in which
anything has such a name is not complete, at whatever depth. What programs of a desktop leave behind is no
part of an application.

Hazard: watchdog's own snapshot leaves out folders that cannot be read. Here they raise, because a file that
nobody may read is missing otherwise.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

UNFINISHED = (
    ".*", "~*", "*.part", "*.partial", "*.filepart", "*.tmp", "*.temp", "*.crdownload", "*.download",
    "*.opdownload", "*.incomplete", "*.inprogress", "*.uploading", "*.upload")
"""Names that programs give to what they are still writing: WinSCP, rsync, browsers, Office, this hub."""
LEFT_OUT = (
    "Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store", "._*", ".AppleDouble", "__MACOSX",
    ".Spotlight-V100", ".TemporaryItems", ".fseventsd", ".Trashes", ".directory", "@eaDir", ".@__thumb")
"""What Windows, macOS, KDE and storage boxes leave in folders."""
LONGEST_NAME = 255
"""Bytes. The file systems of Linux take no longer name."""
LONGEST_SUFFIX = 40


class Patterns:
    """Names by patterns like ``*.part``. Small and capital letters are the same."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [(pattern, re.compile(fnmatch.translate(pattern.lower()))) for pattern in patterns]

    def find(self, name: str) -> str | None:
        """The first pattern that fits."""
        lower = name.lower()
        return next((pattern for pattern, compiled in self._patterns if compiled.match(lower)), None)


@dataclass(frozen=True, slots=True)
class Names:
    """What a name says of a file or folder. `marker` is the file that ends an upload, if there is one."""

    unfinished: Patterns
    left_out: Patterns
    marker: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that lies at a path, by its relative path. Two are equal when nothing was written in between."""

    root: Path
    states: Mapping[Path, tuple[int, ...]]

    @classmethod
    def take(cls, root: Path) -> Snapshot:
        """Now. Raises `OSError` when something cannot be looked at or went away meanwhile."""
        return cls(root, dict(_states(root)))

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder with files, or one file."""
        return stat.S_ISDIR(self.states[Path()][0])

    def contents(self, names: Names) -> Contents:
        """What of it is handed over, and what is not."""
        if not self.is_folder:
            unfinished = names.unfinished.find(self.root.name) is not None
            return Contents((self.root,), unfinished, False, Counter(), 0)
        files: list[Path] = []
        left: Counter[str] = Counter()
        unfinished = names.unfinished.find(self.root.name) is not None
        marked, special = False, 0
        for path in sorted(self.states.keys() - {Path()}):
            mode = self.states[path][0]
            pattern = next(filter(None, map(names.left_out.find, path.parts)), None)
            if path.parts == (names.marker,):
                marked = True
            elif pattern is not None:
                left[pattern] += not stat.S_ISDIR(mode)
            elif names.unfinished.find(path.name) is not None:
                unfinished = True
            elif stat.S_ISREG(mode):
                files.append(self.root / path)
            else:
                special += not stat.S_ISDIR(mode)
        return Contents(tuple(files), unfinished, marked, +left, special)


@dataclass(frozen=True, slots=True)
class Contents:
    """What an upload consists of."""

    files: tuple[Path, ...]
    """In the order of their names."""
    unfinished: bool
    """Something in it has a name of what is still written."""
    marked: bool
    """Its marker is there."""
    left: Mapping[str, int]
    """How many files are left out for good, by the pattern that says so."""
    special: int
    """How many links, pipes and so on there are, which nobody reads."""

    def notes(self) -> tuple[str, ...]:
        """What is left out, in German. No name that a person gave is in it."""
        notes = []
        if self.left:
            notes.append(f"Nicht übernommen: {sum(self.left.values())} Datei(en) mit Namen aus left_out "
                         f"({', '.join(sorted(self.left))}).")
        if self.special:
            notes.append(f"Nicht übernommen: {self.special} Verweis(e) oder Sonderdatei(en); "
                         "sie werden nie gelesen.")
        return tuple(notes)


def _states(root: Path) -> Iterator[tuple[Path, tuple[int, ...]]]:
    yield Path(), _state(root)
    for folder, folders, files in os.walk(root, onerror=_raise):
        for name in (*folders, *files):
            path = Path(folder, name)
            yield path.relative_to(root), _state(path)


def _state(path: Path) -> tuple[int, ...]:
    found = path.lstat()
    return found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _raise(error: OSError) -> None:
    if not isinstance(error, NotADirectoryError):  # a plain file
        raise error


def numbered(name: str, count: int, ending: str = "") -> str:
    """The name with ``-<count>`` before its suffix (not for 1) and with `ending`; at most 255 bytes."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, no path
    if len(os.fsencode(suffix)) > LONGEST_SUFFIX:
        stem, suffix = name, ""
    tail = (f"-{count}" if count > 1 else "") + suffix + ending
    while len(os.fsencode(stem + tail)) > LONGEST_NAME:
        stem = stem[:-1]
    return stem + tail


def move(entry: Path, folder: Path) -> Path:
    """Put it into `folder` under its name, or one with a number where that is taken. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 1
    while os.path.lexists(goal := folder / numbered(entry.name, count)):  # this thread alone writes here
        count += 1
    return entry.rename(goal)
