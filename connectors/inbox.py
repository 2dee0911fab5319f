"""Watched folder inlet: one file or one folder per application, below ``<root>/[test/]<AGS>/<service>/``.

What arrives where: a file becomes one part, named after it; a folder becomes one part per file in it, in the order of
their names. The configured sender owns the root. What lies in the wrong place (directly below the root or a
municipality) is handed over with what is known of its place, and the hub parks it.

When it is complete: a file, when its size and time have not changed for `stable_seconds` between two looks, or at
once when it was renamed to its place (the right way to deliver: write ``name.part``, then rename). A folder, when
nothing in it changed for as long; with `marker`, as soon as a file of that name is in it, and not before. Names that
begin with ``.`` or ``~`` or end in ``.part`` or ``.tmp`` are not looked at. Symbolic links and special files are
never followed or read.

When it is acknowledged: after `accept` returned it is moved to the done folder; what the hub refuses (not allowed,
over the size limit) to the rejected folder; both keep the path below the root, and a name that is taken gets a
number. While the store is unavailable everything stays where it is.

What a second delivery does: the key is the content, so after a death between `accept` and the move the hub answers
"duplicate", and the file is moved then. The same application put in twice is one message.

The periodic scan is the truth; events of the file system (watchdog) only make it look sooner. So a share that sends
no events works, and a root that is removed and made again is noticed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from mimetypes import guess_type
from pathlib import Path

from pydantic import Field, model_validator
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from connectors._framing import Body, Spool, clean
from hub.endpoint import Accept, Finding, InletBase, Needs, OptionsModel, SenderName
from hub.errors import Conflict, NotAllowed, StoreUnavailable
from hub.message import Incoming, IncomingPart

UNFINISHED = (".part", ".tmp")
CHUNK = 256 * 1024
MAX_FILES = 200


class Sender(OptionsModel):
    """Whose folder it is."""

    name: SenderName = Field(min_length=1, description="the sender's name in the hub's configuration")


class Options(OptionsModel):
    """Which folder, when something in it is complete, and where it goes afterwards."""

    root: Path = Field(description="the watched folder; below it <AGS>/<service>/, or test/<AGS>/<service>/")
    sender: Sender = Field(description="whose folder it is")
    done: Path = Field(description="where accepted files are moved; on the same file system, outside the root")
    rejected: Path = Field(description="where refused files are moved; on the same file system, outside the root")
    scan_seconds: float = Field(10, gt=0, description="how often the folder is looked through")
    stable_seconds: float = Field(10, gt=0, description="unchanged for so long means complete")
    marker: str | None = Field(None, description="a folder is complete when this file is in it, e.g. 'fertig'")
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


@dataclass(slots=True)
class _Seen:
    """What an entry looked like, and since when."""

    print: tuple[object, ...]
    since: float = field(default_factory=time.monotonic)


class _TooLargeError(Exception):
    """An application over the size limit."""


class _SpoolError(StoreUnavailable):
    """The spool cannot be written."""


class _Wake(FileSystemEventHandler):
    """Events only wake the scan; an exception here would end the observer, so nothing else is done."""

    def __init__(self, inlet: Inlet) -> None:
        self._inlet = inlet

    def on_moved(self, event: FileSystemEvent) -> None:
        self._inlet.renamed.add(os.fsdecode(event.dest_path))
        self._inlet.wake.set()

    def on_closed(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - watchdog's signature
        self._inlet.wake.set()


class Inlet(InletBase[Options]):
    """Scans until stopped."""

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """Its three folders."""
        return Needs(folders=(options.root, options.done, options.rejected))

    @classmethod
    def takes_at(cls, options: Options) -> Path:
        """The watched folder."""
        return options.root

    def __init__(self, options: Options, name: str, spool: Path, max_bytes: int) -> None:
        super().__init__(options, name, spool, max_bytes)
        self._spool = Spool(spool, name)
        self._seen: dict[Path, _Seen] = {}
        self._not_before = 0.0
        self.renamed: set[str] = set()
        self.wake = threading.Event()

    def run(self, accept: Accept, stop: threading.Event) -> None:
        """Raises `OSError` when the root cannot be listed or something cannot be moved."""
        self._spool.sweep()
        self._seen.clear()
        watch: _Watch | None = None
        try:
            while not stop.is_set():
                watch = self._watched(watch)
                self.wake.clear()
                self.scan(accept, stop)
                self._wait(stop)
        finally:
            if watch is not None:
                watch.end()

    def scan(self, accept: Accept, stop: threading.Event) -> None:
        """Look through the folder once and hand over what is complete.

        What cannot be read or moved does not hold up the others: `OSError` is raised at the end, without their names.
        """
        renamed, self.renamed = self.renamed, set()  # before looking: what is renamed meanwhile is the next scan's
        entries = list(self._entries())
        failed = 0
        for gone in self._seen.keys() - set(entries):
            del self._seen[gone]
        for entry in entries:
            if stop.is_set() or time.monotonic() < self._not_before:
                return
            if self._complete(entry, str(entry) in renamed):
                failed += not self._try(entry, accept)
        if failed:
            raise PermissionError(f"{failed} entries of the inbox cannot be read or moved: see their permissions")

    def check(self) -> Sequence[Finding]:
        """Are the three folders there, and can files be moved between them?"""
        findings = []
        for what, place in (("Eingang", self.options.root), ("Erledigt", self.options.done),
                            ("Abgelehnt", self.options.rejected)):
            if not place.is_dir():
                findings.append(Finding("error", f"{what}: Ordner {place} fehlt", "Ordner anlegen oder einhängen."))
            elif not os.access(place, os.W_OK | os.X_OK):
                findings.append(Finding("error", f"{what}: in {place} darf nicht geschrieben werden", "Rechte setzen."))
            elif self.options.root.is_dir() and place.stat().st_dev != self.options.root.stat().st_dev:
                findings.append(Finding("error", f"{what}: {place} liegt auf einem anderen Dateisystem als der Eingang",
                                        "Ordner auf dasselbe Dateisystem legen."))
            else:
                findings.append(Finding("ok", f"{what}: {place}"))
        return findings

    def _watched(self, watch: _Watch | None) -> _Watch | None:
        """The watch on the root as it is now; a folder that was made again needs a new one."""
        if not self.options.events or (watch is not None and watch.holds()):
            return watch
        if watch is not None:
            watch.end()
        with contextlib.suppress(OSError):  # no inotify left, or no root: the scan goes on without
            return _Watch(self.options.root, _Wake(self))
        return None

    def _wait(self, stop: threading.Event) -> None:
        """For the next scan, an event, or the stop. While something becomes stable, an event alone changes nothing."""
        due = time.monotonic() + self.options.scan_seconds
        while (left := due - time.monotonic()) > 0 and not stop.is_set() and not self.wake.is_set():
            self.wake.wait(min(left, 0.2))

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
            print_ = _print(entry)
        except OSError:  # it went away while we looked
            return False
        if self.options.marker and _is_folder(entry):
            return (entry / self.options.marker).is_file()
        if renamed and not _is_folder(entry):
            return True
        seen = self._seen.get(entry)
        if seen is None or seen.print != print_:
            self._seen[entry] = _Seen(print_)
            return False
        return time.monotonic() - seen.since >= self.options.stable_seconds

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
            self.admit(sum(file.stat().st_size for file in files) or 1)
            for file in files:
                parts.append(self._part(file, sum(part.size for part in parts)))
            accept(Incoming(self.name, self.options.sender.name, place.ags, place.service, tuple(parts), place.test))
        except _SpoolError as error:
            self.turned_away("unavailable")
            self._not_before = time.monotonic() + error.retry_after
            return
        except StoreUnavailable as error:
            self._not_before = time.monotonic() + min(error.retry_after, 300)
            return
        except _TooLargeError:
            self.turned_away("too-large")
            self._move(entry, self.options.rejected)
        except (NotAllowed, Conflict):
            self._move(entry, self.options.rejected)
        else:
            self._move(entry, self.options.done)
        finally:
            self._spool.release(parts)
        self._seen.pop(entry, None)

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
        """The file's bytes, spooled; its descriptor is opened without following a link, whatever happened meanwhile."""
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
        if before + body.size + len(chunk) > self.max_bytes:
            raise _TooLargeError
        try:
            body.write(chunk)
        except OSError as error:
            raise _SpoolError("the spool cannot be written") from error

    def _move(self, entry: Path, target: Path) -> None:
        """Below `target` at the same relative place. On `OSError` it stays, and the hub will know the duplicate."""
        folder = target / entry.relative_to(self.options.root).parent
        folder.mkdir(parents=True, exist_ok=True)
        goal, count = folder / entry.name, 1
        while os.path.lexists(goal):  # this thread alone writes here
            count += 1
            goal = folder / f"{entry.stem}-{count}{entry.suffix}"
        entry.rename(goal)


class _Watch:
    """An observer of the root, and which root it was."""

    def __init__(self, root: Path, handler: _Wake) -> None:
        self._root = root
        self._folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # keeps its number from being reused
        self._observer: BaseObserver = Observer()
        try:
            self._observer.schedule(handler, str(root), recursive=True)
            self._observer.start()
        except OSError:
            os.close(self._folder)
            raise

    def holds(self) -> bool:
        """Whether it still watches the folder that is there now; watchdog's threads may die with a removed folder."""
        with contextlib.suppress(OSError):
            alive = all(thread.is_alive() for thread in (self._observer, *self._observer.emitters))
            return alive and os.path.samestat(self._root.stat(), os.fstat(self._folder))
        return False

    def end(self) -> None:
        """Stop watching."""
        os.close(self._folder)
        self._observer.stop()
        self._observer.join()


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


def _print(entry: Path) -> tuple[object, ...]:
    """Changes when anything in the entry changes."""
    paths = [entry, *sorted(entry.rglob("*"))] if _is_folder(entry) else [entry]
    return tuple((str(path), (status := path.lstat()).st_size, status.st_mtime_ns, status.st_ino) for path in paths)
