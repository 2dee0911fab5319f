"""Watched folder inlet: one file or one folder per application, below ``<root>/[test/]<AGS>/<service>/``.

What arrives where: a file becomes one part, named after it. A folder becomes one part per file in it, in the
order of their names. The configured sender owns the root. What lies in the wrong place (directly below the
root or a municipality) is handed over with what is known of its place, and the hub parks it.

When it is complete: a file, when its size and time have not changed for `stable_seconds` between two looks,
or at once when it was renamed to its place. That is the right way to deliver: write ``name.part``, then
rename. A folder, when nothing in it changed for as long; with `marker`, as soon as a file of that name is in
it, and not before. Names that begin with ``.`` or ``~`` or end in ``.part`` or ``.tmp`` are not looked at.
Symbolic links and special files are never followed or read.

When it is acknowledged: after `accept` returned it is moved to the done folder. What the hub refuses (not
allowed, over the size limit) goes to the rejected folder. Both keep the path below the root, and a name that
is taken gets a number. While the store is unavailable everything stays where it is, and the scan after its
pause asks again.

What a second delivery does: the key is the content. So after a death between `accept` and the move the hub
answers "duplicate", and the file is moved then. The same application put in twice is one message.

The periodic scan is the truth; events of the file system (watchdog) only make it look sooner. So a share that
sends no events works, and a root that is removed and made again is noticed.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path

from pydantic import Field, model_validator
from watchdog.utils.dirsnapshot import DirectorySnapshot, DirectorySnapshotDiff

from connectors._framing import Body, Spool, clean
from connectors._watch import Events, Watch
from hub.endpoint import Accept, Finding, InletBase, InletContext, Needs, OptionsModel, SenderName
from hub.errors import Conflict, NotAllowed, StoreUnavailable
from hub.message import Incoming, IncomingPart

UNFINISHED = (".part", ".tmp")
CHUNK = 256 * 1024
MAX_FILES = 200
LONGEST_PAUSE = 300.0


class Sender(OptionsModel):
    """Whose folder it is."""

    name: SenderName = Field(min_length=1, description="the sender's name in the hub's configuration")


class Options(OptionsModel):
    """Which folder, when something in it is complete, and where it goes afterwards."""

    root: Path = Field(description="the watched folder; below it <AGS>/<service>/, or test/<AGS>/<service>/")
    sender: Sender = Field(description="whose folder it is")
    done: Path = Field(
        description="where accepted files are moved; on the same file system, outside the root")
    rejected: Path = Field(
        description="where refused files are moved; on the same file system, outside the root")
    scan_seconds: float = Field(10, gt=0, description="how often the folder is looked through")
    stable_seconds: float = Field(10, gt=0, description="unchanged for so long means complete")
    marker: str | None = Field(
        None, description="a folder is complete when this file is in it, e.g. 'fertig'")
    events: bool = Field(True, description="look sooner on events of the file system")

    @model_validator(mode="after")
    def _lies_outside(self) -> Options:
        for name, place in (("done", self.done), ("rejected", self.rejected)):
            if place == self.root or self.root in place.parents:
                raise ValueError(f"{name} lies below root and would be read again: choose a folder outside")
        return self


@dataclass(frozen=True, slots=True)
class Place:
    """What the path below the root says."""

    ags: str
    service: str
    test: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an entry looked like, and since when."""

    snapshot: DirectorySnapshot
    since: float


class _TooLargeError(Exception):
    """An application over the size limit."""


class _SpoolError(StoreUnavailable):
    """The spool cannot be written."""


class Inlet(InletBase[Options]):
    """Scans until stopped. `clock` gives seconds that only grow."""

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """Its three folders."""
        return Needs(folders=(options.root, options.done, options.rejected))

    @classmethod
    def takes_at(cls, options: Options) -> Path:
        """The watched folder."""
        return options.root

    def __init__(self, options: Options, context: InletContext,
                 clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(options, context)
        self._clock = clock
        self._spool = Spool(context.spool, context.name)
        self._events = Events()
        self._seen: dict[Path, _Seen] = {}
        self._counted: set[Path] = set()
        self._not_before = 0.0
        self._runs = False

    def run(self, accept: Accept, stop: threading.Event) -> None:
        """Raises `OSError` when the root cannot be listed or something cannot be moved."""
        self._spool.sweep()
        self._seen.clear()
        watch = Watch(self.options.root, self._events)
        self._runs = True
        try:
            while not stop.is_set():
                if self.options.events:
                    watch.renew()
                self._events.wake.clear()
                self.scan(accept, stop)
                self._wait(stop)
        finally:
            self._runs = False
            watch.end()

    def ready(self) -> bool:
        """Whether it runs and sees its folder."""
        return self._runs and self.options.root.is_dir()

    def scan(self, accept: Accept, stop: threading.Event) -> None:
        """Look through the folder once and hand over what is complete.

        What cannot be read or moved does not hold up the others. `OSError` is raised at the end, without
        names.
        """
        renamed = self._events.take_renamed()  # before looking: what is renamed meanwhile is the next scan's
        entries = list(self._entries())
        failed = 0
        for gone in self._seen.keys() - set(entries):
            del self._seen[gone]
        self._counted &= set(entries)
        for entry in entries:
            if stop.is_set() or self._clock() < self._not_before:
                return
            if self._complete(entry, str(entry) in renamed):
                failed += not self._try(entry, accept)
        if failed:
            raise PermissionError(
                f"{failed} entries of the inbox cannot be read or moved: see their permissions")

    def check(self) -> Sequence[Finding]:
        """Are the three folders there, and can files be moved between them?"""
        options = self.options
        places = (("Eingang", options.root), ("Erledigt", options.done), ("Abgelehnt", options.rejected))
        return [_finding(what, place, options.root) for what, place in places]

    def _wait(self, stop: threading.Event) -> None:
        """For the next scan, an event, or the stop.

        While something becomes stable, an event alone changes nothing.
        """
        due = self._clock() + self.options.scan_seconds
        while (left := due - self._clock()) > 0 and not stop.is_set() and not self._events.wake.is_set():
            self._events.wake.wait(min(left, 0.2))

    def _entries(self) -> Iterator[Path]:
        """Every file or folder that could be an application, in the order of their names."""
        root = self.options.root
        for top in _listed(root):
            if top.name == "test" and _is_folder(top):
                for below in _listed(top):
                    yield from self._below_municipality(below)
            else:
                yield from self._below_municipality(top)

    def _below_municipality(self, municipality: Path) -> Iterator[Path]:
        if not _is_folder(municipality):
            yield municipality
            return
        for service in _listed(municipality):
            if _is_folder(service):
                yield from _listed(service)
            else:
                yield service

    def _place(self, entry: Path) -> Place:
        levels = entry.relative_to(self.options.root).parts[:-1]
        test = levels[:1] == ("test",)
        ags, service = (*levels[test:], "", "")[:2]
        return Place(clean(ags) or "", clean(service) or "", test)

    def _complete(self, entry: Path, renamed: bool) -> bool:
        try:
            snapshot = DirectorySnapshot(str(entry), stat=os.lstat)
        except OSError:  # it went away while we looked
            return False
        if self.options.marker and _is_folder(entry):
            return (entry / self.options.marker).is_file()
        if renamed and not _is_folder(entry):
            return True
        seen = self._seen.get(entry)
        if seen is None or len(DirectorySnapshotDiff(seen.snapshot, snapshot)):
            self._seen[entry] = _Seen(snapshot, self._clock())
            return False
        return self._clock() - seen.since >= self.options.stable_seconds

    def _try(self, entry: Path, accept: Accept) -> bool:
        try:
            self._hand_over(entry, accept)
        except OSError:
            return not os.path.lexists(entry)  # taken back by the sender while we read
        return True

    def _hand_over(self, entry: Path, accept: Accept) -> None:
        parts: list[IncomingPart] = []
        place = self._place(entry)
        try:
            files = self._files(entry)
            self.context.admit(sum(file.stat().st_size for file in files) or 1)
            for file in files:
                parts.append(self._part(file, sum(part.size for part in parts)))
            accept(Incoming(self.name, self.options.sender.name, place.ags, place.service, tuple(parts),
                            place.test))
        except _SpoolError as error:
            if entry not in self._counted:  # once for an application, however often it is tried
                self._counted.add(entry)
                self.context.turned_away("unavailable")
            self._not_before = self._clock() + error.retry_after
            return
        except StoreUnavailable as error:
            self._not_before = self._clock() + min(error.retry_after, LONGEST_PAUSE)
            return
        except _TooLargeError:
            self.context.turned_away("too-large")
            self._move(entry, self.options.rejected)
        except (NotAllowed, Conflict):
            self._move(entry, self.options.rejected)
        else:
            self._move(entry, self.options.done)
        finally:
            self._spool.release(parts)
        self._seen.pop(entry, None)
        self._counted.discard(entry)

    def _files(self, entry: Path) -> list[Path]:
        """The files of an application. An empty folder is handed over without parts, and parked."""
        if not _is_folder(entry):
            return [entry]
        files = [file for file in sorted(entry.rglob("*")) if _is_file(file) and not _unfinished(file.name)
                 and file.name != self.options.marker and not _through_link(file, entry)]
        if len(files) > MAX_FILES:
            raise _TooLargeError
        return files

    def _part(self, file: Path, before: int) -> IncomingPart:
        """The file's bytes, spooled. It is opened without following a link, whatever happened meanwhile."""
        body = Body(self._spool)
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            with os.fdopen(descriptor, "rb") as source:
                while chunk := source.read(CHUNK):
                    self._write(body, chunk, before)
            name = clean(file.name) or "datei"
            return body.part(name, _media_type(file), name)
        except BaseException:
            body.discard()
            raise

    def _write(self, body: Body, chunk: bytes, before: int) -> None:
        if before + body.size + len(chunk) > self.context.max_bytes:
            raise _TooLargeError
        try:
            body.write(chunk)
        except OSError as error:
            raise _SpoolError("the spool cannot be written") from error

    def _move(self, entry: Path, target: Path) -> None:
        """Below `target` at the same relative place.

        On `OSError` it stays where it is, and the hub will know the duplicate.
        """
        folder = target / entry.relative_to(self.options.root).parent
        folder.mkdir(parents=True, exist_ok=True)
        goal, count = folder / entry.name, 1
        while os.path.lexists(goal):  # this thread alone writes here
            count += 1
            goal = folder / f"{entry.stem}-{count}{entry.suffix}"
        entry.rename(goal)


def _finding(what: str, place: Path, root: Path) -> Finding:
    if not place.is_dir():
        return Finding("error", f"{what}: Ordner {place} fehlt", "Ordner anlegen oder einhängen.")
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("error", f"{what}: in {place} darf nicht geschrieben werden", "Rechte setzen.")
    if root.is_dir() and place.stat().st_dev != root.stat().st_dev:
        return Finding("error", f"{what}: {place} liegt auf einem anderen Dateisystem als der Eingang",
                       "Ordner auf dasselbe Dateisystem legen.")
    return Finding("ok", f"{what}: {place}")


def _unfinished(name: str) -> bool:
    return name.startswith((".", "~")) or name.lower().endswith(UNFINISHED)


def _listed(folder: Path) -> list[Path]:
    """What is finished in a folder: plain files and folders only."""
    try:
        paths = sorted(path for path in folder.iterdir() if not _unfinished(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for path in paths if _is_file(path) or _is_folder(path)]


def _media_type(file: Path) -> str:
    """By the name's ending. XML is said here: the system's own table calls it one thing or the other."""
    if file.suffix.lower() == ".xml":
        return "application/xml"
    return guess_type(file.name)[0] or "application/octet-stream"


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(_mode(path))


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(_mode(path))


def _through_link(file: Path, entry: Path) -> bool:
    """Whether a folder between the entry and the file is a symbolic link."""
    return any(parent.is_symlink() for parent in file.parents if entry in parent.parents)
