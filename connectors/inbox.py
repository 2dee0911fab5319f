"""Watched folder inlet: one file or one folder per application, below ``<root>/[test/]<AGS>/<service>/``.

What arrives where: a file becomes one part, named after it. A folder becomes one part per file in it, in the
order of their names. The configured sender owns the root. What lies in the wrong place (directly below the
root or a municipality) is handed over with what is known of its place, and the hub parks it.

When it is complete: a file, when its size and time have not changed for `stable_seconds` between two looks,
or at once when it was renamed to its place. That is the right way to deliver: write ``name.part``, then
rename. A folder, when nothing in it changed for as long; with `marker`, as soon as a file of that name is in
it, and not before. Names of what is still written (`unfinished`), at any depth, make the file or the whole
folder wait. An upload without progress for `overdue_seconds` is told as an alarm, and never handed over.

What is left out: files that programs of a desktop leave behind (`left_out`), symbolic links and special
files, which are never followed or read. The history of the message says how many. What lies so in the folders
above is told as well.

When it is acknowledged: after `accept` returned it is moved to the done folder. What the hub refuses (not
allowed, over the size limit) goes to the rejected folder, with a note beside it that says why. Both keep the
path below the root, and a name that is taken gets a number. While the store is unavailable everything stays
where it is, and the scan after its pause asks again.

What a second delivery does: the key is the content. So after a death between `accept` and the move the hub
answers "duplicate", and the file is moved then. The same application put in twice is one message.

The periodic scan is the truth; events of the file system (watchdog) only make it look sooner. So a share that
sends no events works, and a root that is removed and made again is noticed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path

from pydantic import Field, model_validator

from connectors._framing import Body, Spool, clean, name_on_disk
from connectors._upload import LEFT_OUT, UNFINISHED, Contents, Names, Patterns, Snapshot, move, numbered
from connectors._watch import Events, Watch
from hub.endpoint import (
    Accept,
    Finding,
    InletBase,
    InletContext,
    Needs,
    NotTaken,
    OptionsModel,
    SenderName,
)
from hub.errors import Conflict, NotAllowed, StoreUnavailable
from hub.message import Incoming, IncomingPart

CHUNK = 256 * 1024
MAX_FILES = 200
LONGEST_PAUSE = 300.0
NOTE = ".grund.txt"
"""Ends the name of the note beside what was rejected."""


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
    unfinished: tuple[str, ...] = Field(
        UNFINISHED, description="names of what is still written, at any depth: the upload waits")
    left_out: tuple[str, ...] = Field(
        LEFT_OUT, description="names of files and folders that are no part of an application")
    overdue_seconds: float = Field(
        3600, gt=0, description="an incomplete upload without progress for so long is an alarm")
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

    snapshot: Snapshot
    since: float


class _ChangedError(Exception):
    """Somebody wrote to it while it was read."""


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
        self._names = Names(Patterns(options.unfinished), Patterns(options.left_out), options.marker)
        self._events = Events()
        self._not_taken: Counter[NotTaken] = Counter()
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
        self._not_taken = Counter()
        entries = list(self._entries())
        failed = 0
        for gone in self._seen.keys() - set(entries):
            del self._seen[gone]
        self._counted &= set(entries)
        for entry in entries:
            if stop.is_set() or self._clock() < self._not_before:
                return
            failed += not self._look_at(entry, str(entry) in renamed, accept)
        self.context.files_not_taken(self._not_taken)
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
        for top in self._listed(self.options.root):
            if _is_test(top.name) and _is_folder(top):
                for below in self._listed(top):
                    yield from self._below_municipality(below)
            else:
                yield from self._below_municipality(top)

    def _below_municipality(self, municipality: Path) -> Iterator[Path]:
        if not self._leads_on(municipality):
            yield municipality
            return
        for service in self._listed(municipality):
            if self._leads_on(service):
                yield from self._listed(service)
            else:
                yield service

    def _leads_on(self, path: Path) -> bool:
        return _is_folder(path) and self._names.unfinished.find(path.name) is None

    def _listed(self, folder: Path) -> list[Path]:
        """The files and folders in a folder. What is never taken is counted."""
        found = []
        try:
            paths = sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        for path in paths:
            if self._names.left_out.find(path.name) is not None:
                self._not_taken["left-out"] += 1
            elif _is_file(path) or _is_folder(path):
                found.append(path)
            else:
                self._not_taken["special"] += os.path.lexists(path)
        return found

    def _place(self, entry: Path) -> Place:
        levels = entry.relative_to(self.options.root).parts[:-1]
        test = _is_test(*levels[:1])
        ags, service = (*levels[test:], "", "")[:2]
        return Place(clean(ags) or "", clean(service) or "", test)

    def _look_at(self, entry: Path, renamed: bool, accept: Accept) -> bool:
        """Hand it over when it is complete. False when it cannot be read or moved."""
        try:
            snapshot = Snapshot.take(entry)
            contents = snapshot.contents(self._names)
            if self._complete(snapshot, contents, renamed):
                self._hand_over(snapshot, contents, accept)
        except (FileNotFoundError, _ChangedError):  # its sender is still at it
            self._seen.pop(entry, None)
        except OSError:
            return not os.path.lexists(entry)
        return True

    def _complete(self, snapshot: Snapshot, contents: Contents, renamed: bool) -> bool:
        now = self._clock()
        seen = self._seen.get(snapshot.root)
        same = seen is not None and seen.snapshot == snapshot
        if seen is None or not same:
            seen = self._seen[snapshot.root] = _Seen(snapshot, now)
        by_marker = self.options.marker is not None and snapshot.is_folder
        if contents.unfinished or (by_marker and not contents.marked):
            self._not_taken["unfinished"] += now - seen.since >= self.options.overdue_seconds
            return False
        if by_marker or (renamed and not snapshot.is_folder):
            return True
        return same and now - seen.since >= self.options.stable_seconds

    def _hand_over(self, snapshot: Snapshot, contents: Contents, accept: Accept) -> None:
        """Raises `OSError` when something cannot be read or moved, `_ChangedError` when somebody writes."""
        parts: list[IncomingPart] = []
        entry = snapshot.root
        place = self._place(entry)
        try:
            self.context.admit(sum(file.stat().st_size for file in contents.files) or 1)
            self._read(snapshot, contents, parts)
            accept(Incoming(self.name, self.options.sender.name, place.ags, place.service, tuple(parts),
                            place.test, notes=contents.notes()))
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
            self._reject(
                entry, f"zu groß: höchstens {self.context.max_bytes} Bytes und {MAX_FILES} Dateien.")
        except NotAllowed:
            self._reject(
                entry, f"der Absender „{self.options.sender.name}“, dem dieser Eingang gehört, darf hierhin "
                "nicht senden. Ordner (AGS, Leistung) prüfen oder den Betrieb der Drehscheibe um "
                "Freischaltung bitten.")
        except Conflict:
            self._reject(entry, "unter diesem Schlüssel liegt bereits eine andere Nachricht.")
        else:
            move(entry, self._beside(entry, self.options.done))
        finally:
            self._spool.release(parts)
        self._seen.pop(entry, None)
        self._counted.discard(entry)

    def _read(self, snapshot: Snapshot, contents: Contents, parts: list[IncomingPart]) -> None:
        """Fill `parts`; whatever goes wrong, they hold what is spooled."""
        if len(contents.files) > MAX_FILES:
            raise _TooLargeError
        for file in contents.files:
            parts.append(self._part(file, sum(part.size for part in parts)))
        if Snapshot.take(snapshot.root) != snapshot:  # what came since would be moved away unseen
            raise _ChangedError

    def _part(self, file: Path, before: int) -> IncomingPart:
        """The file's bytes, spooled. It is opened without following a link, whatever happened meanwhile."""
        body = Body(self._spool)
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            with os.fdopen(descriptor, "rb") as source:
                while chunk := source.read(CHUNK):
                    self._write(body, chunk, before)
            name = name_on_disk(file)
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

    def _beside(self, entry: Path, target: Path) -> Path:
        """The folder below `target` at the same relative place."""
        return target / entry.relative_to(self.options.root).parent

    def _reject(self, entry: Path, why: str) -> None:
        """To the rejected folder, with a note beside it."""
        place = move(entry, self._beside(entry, self.options.rejected))
        with contextlib.suppress(OSError):  # the log and the metrics say it, too
            place.with_name(numbered(place.name, 1, NOTE)).write_text(
                f"Nicht angenommen: {why}\nNach der Berichtigung erneut in den Eingang legen.\n",
                encoding="utf-8")


def _finding(what: str, place: Path, root: Path) -> Finding:
    if not place.is_dir():
        return Finding("error", f"{what}: Ordner {place} fehlt", "Ordner anlegen oder einhängen.")
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("error", f"{what}: in {place} darf nicht geschrieben werden", "Rechte setzen.")
    if root.is_dir() and place.stat().st_dev != root.stat().st_dev:
        return Finding("error", f"{what}: {place} liegt auf einem anderen Dateisystem als der Eingang",
                       "Ordner auf dasselbe Dateisystem legen.")
    return Finding("ok", f"{what}: {place}")


def _is_test(name: str = "") -> bool:
    return name.lower() == "test"


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
