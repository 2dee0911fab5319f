"""A drop folder: a "Vorgangsordner" per application, or one file, on a local disk or a mounted share.

What arrives
    ``<path>/[<recipient's path>/]<name>/`` with the PDF, the XML and the attachments; or one file
    ``<name>.xml``. Nobody who polls the folder ever sees half a thing: see `connectors._drop` for the order
    of steps.
A second delivery
    finds its own name. Same content: success, nothing is written. Other content: it goes beside it (``-2``).
Temporary
    a target that is not mounted or lacks its marker (`mount`, `must_contain`), a full disk, a lost share.
Misconfigured
    a folder that does not exist, or that the hub's user may not write.
Hazard
    A hanging NFS server hangs the thread: mount such shares ``soft`` or with a time-out.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import Field, field_validator

from connectors import _drop
from connectors._layout import DropOptions, chunks, plan
from hub.endpoint import Finding, Needs
from hub.errors import DeliveryError, Misconfigured, Temporary
from hub.message import Delivery, Receipt


class Options(DropOptions):
    """``connector = "directory"``"""

    path: Path = Field(description="the target folder; absolute")
    mount: bool = Field(False, description="the target must be a mount point")
    mode: str = Field(
        "0640", pattern=r"^0[0-7]{3}$", description="rights of new files; folders get x where there is r")

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError(f"{str(value)!r} is relative; name the folder from the root on")
        return value


_TEMPORARY = {
    errno.ENOSPC: "Das Ziel ist voll.",
    errno.EDQUOT: "Das Kontingent am Ziel ist erschöpft.",
    errno.EIO: "Das Ziel meldet einen Ein-/Ausgabefehler.",
    errno.ESTALE: "Die Freigabe ist nicht mehr gültig eingehängt.",
    errno.ENOTCONN: "Die Freigabe ist nicht verbunden.",
    errno.EHOSTDOWN: "Der Server der Freigabe ist nicht erreichbar.",
    errno.EHOSTUNREACH: "Der Server der Freigabe ist nicht erreichbar.",
    errno.ETIMEDOUT: "Der Server der Freigabe antwortet nicht.",
    errno.ENODEV: "Das Gerät des Ziels fehlt.",
    errno.EMFILE: "Dem Prozess gehen die Dateideskriptoren aus.",
}
_MISCONFIGURED = {
    errno.EACCES: "Der Benutzer der Drehscheibe darf im Ziel nicht schreiben.",
    errno.EPERM: "Der Benutzer der Drehscheibe darf im Ziel nicht schreiben.",
    errno.EROFS: "Das Ziel ist nur lesbar eingehängt.",
    errno.ENOENT: "Der Zielordner fehlt.",
    errno.ENOTDIR: "Das Ziel ist kein Ordner.",
}


def _meaning(error: OSError) -> DeliveryError:
    if error.errno in _MISCONFIGURED:
        return Misconfigured(_MISCONFIGURED[error.errno])
    other = f"Das Ziel meldet: {error.strerror or type(error).__name__}."
    return Temporary(_TEMPORARY.get(error.errno or 0, other))


@contextmanager
def _translated() -> Iterator[None]:
    """The border: the system's errors become ours."""
    try:
        yield
    except OSError as error:
        raise _meaning(error) from error


class Outlet(_drop.DropOutlet[Options]):
    """Files, by a rename that shows all or nothing."""

    whom = "die eigene IT (Freigabe eingehängt? Rechte des Benutzers der Drehscheibe? Platz?)"
    gathers = True
    onboards = "folder"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._gathered: Gathered | None = None
        self._hidden: dict[str, str] = {}  # what is prepared: delivery id to hidden name

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """The folder, with its marker."""
        marker = (options.path / options.must_contain,) if options.must_contain else ()
        return Needs(folders=(options.path,), files=marker)

    @classmethod
    def arrivals(cls, options: Options, reference: str) -> Sequence[str]:
        """The path below the folder."""
        return (str(options.path / reference),)

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Write hidden, sync, rename; only the last where it was prepared. Raises like every drop."""
        place, hidden = self._gathered, self._hidden.get(delivery.id)
        if place is None or hidden is None:
            return super().deliver(delivery, effect_begins)
        where = plan(self.options, delivery)
        return self.guarded(lambda: self.deposit(place, where, delivery, effect_begins, hidden))

    def prepare(self, deliveries: Sequence[Delivery]) -> None:
        """Write all of them hidden and sync them together."""
        if not can_sync_all(self.options.path):
            return
        place = self._gathered = self._gathered or Gathered(self.options.path, int(self.options.mode, 8))
        written: dict[str, str] = {}
        try:
            self.ready()
            # Opened before the first write: it is told of errors from here on.
            with _opened(self.options.path) as target:
                for delivery in deliveries:
                    # `deliver` meets an error again, and says what it means.
                    with suppress(OSError, DeliveryError):
                        where = plan(self.options, delivery)
                        if not where.folder or place.size(where.folder) is not None:
                            written[delivery.id] = self.conceal(place, where, delivery)
                sync_all(target)
        except (OSError, DeliveryError):
            _drop.forget(place, *written.values())
        else:
            self._hidden |= written

    def conclude(self) -> None:
        """One fsync for each folder in which something was renamed. Raises `Temporary`, `Misconfigured`."""
        place, self._gathered = self._gathered, None
        hidden, self._hidden = self._hidden, {}
        if place is None:
            return
        _drop.forget(place, *set(hidden.values()) - place.shown)
        with _translated():
            place.settle()

    def place(self) -> Disk:
        """The target. Raises `OSError`, and `Temporary` where it must be a mount point and is none."""
        if self.options.mount and not self.options.path.is_mount():
            raise Temporary("Das Ziel ist nicht eingehängt.")
        if not stat.S_ISDIR(self.options.path.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return Disk(self.options.path, int(self.options.mode, 8))

    def border(self) -> AbstractContextManager[None]:
        """The system's errors become ours."""
        return _translated()

    def remedy(self, error: DeliveryError) -> str:
        """By the system's error; without one the share is missing."""
        cause = error.__cause__
        if not isinstance(cause, OSError):
            return f"Die Freigabe einhängen oder {self.options.path} prüfen."
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return "Dort Platz schaffen."
        return f"Ordner {self.options.path} anlegen und dem Benutzer der Drehscheibe geben."

    def approval(self) -> Sequence[Finding]:
        """It can be written to; and whether there is room. Raises `OSError`."""
        path = self.options.path
        findings = [Finding("ok", f"{path} ist beschreibbar.")]
        free = shutil.disk_usage(path).free // 1_000_000
        if free < 1000:
            findings.append(Finding("warning", f"In {path} sind nur noch {free} MB frei.", "Platz schaffen."))
        return findings


class Disk:
    """A `Place` on a mounted file system. The target itself is never made."""

    def __init__(self, root: Path, mode: int) -> None:
        self.root = root
        self.mode = mode
        self.folder_mode = mode | (mode & 0o444) >> 2 | 0o300

    def make_folder(self, path: str, *, exist_ok: bool = False) -> None:
        folder = self.root / path
        folder.mkdir(exist_ok=exist_ok)
        folder.chmod(self.folder_mode)

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._at(path), flags, 0o600)
        try:
            for piece in chunks(source):
                write_all(descriptor, piece)
            if os.fstat(descriptor).st_size != size:
                raise OSError(errno.EIO, "wrong size")
            os.fchmod(descriptor, self.mode)
            self._sync_file(descriptor)
        finally:
            os.close(descriptor)

    def _sync_file(self, descriptor: int) -> None:
        sync(descriptor)

    def sync_folder(self, path: str) -> None:
        _folders.sync(self._at(path))

    def publish(self, hidden: str, final: str) -> None:
        rename_new(self._at(hidden), self._at(final))

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}"

    def names(self, path: str) -> Sequence[str]:
        return [entry.name for entry in (self.root / path).iterdir()]

    def size(self, path: str) -> int | None:
        try:
            status = os.lstat(self._at(path))
        except FileNotFoundError:
            return None
        return -1 if stat.S_ISDIR(status.st_mode) else status.st_size

    def digest(self, path: str) -> str:
        with (self.root / path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self, path: str) -> None:
        if self.size(path) == -1:
            shutil.rmtree(self.root / path)
        else:
            (self.root / path).unlink(missing_ok=True)


class Gathered(Disk):
    """A `Disk` on which nothing is durable at once: `sync_all` is for files, `settle` for folders."""

    def __init__(self, root: Path, mode: int) -> None:
        super().__init__(root, mode)
        self.shown: set[str] = set()
        self._changed: set[str] = set()

    def _sync_file(self, descriptor: int) -> None:
        """Together with the others."""

    def sync_folder(self, path: str) -> None:
        self._changed.add(path)

    def publish(self, hidden: str, final: str) -> None:
        super().publish(hidden, final)
        self.shown.add(hidden)
        self._changed.discard(hidden)

    def remove(self, path: str) -> None:
        super().remove(path)
        self._changed.discard(path)

    def settle(self) -> None:
        """Make durable what was renamed. Raises `OSError`."""
        for path in self._changed:
            _folders.sync(self._at(path))


class FolderSyncs:
    """One fsync of a folder serves all threads that asked for it before it began, as a group commit does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, _Asked] = {}

    def asked(self, folder: str) -> int:
        """How many are waiting for an fsync of this folder, or have theirs now."""
        with self._lock:
            return self._asked[folder].users if folder in self._asked else 0

    def sync(self, folder: str) -> None:
        """What was done in the folder so far is on disk when this returns.

        Raises `OSError`, to all whom the fsync was for.
        """
        with self._lock:
            asked = self._asked.setdefault(folder, _Asked())
            asked.users += 1
            asked.newest += 1
            mine = asked.newest
        try:
            with asked.turn:
                if asked.covered < mine:
                    asked.covered, asked.error = asked.newest, None
                    asked.error = _failure_of_sync(folder)
                # The kernel tells of it only once: nobody may ask again and hear that all is well.
                if asked.error is not None:
                    raise OSError(*asked.error.args)
        finally:
            with self._lock:
                asked.users -= 1
                if not asked.users:
                    del self._asked[folder]


@dataclass(eq=False)
class _Asked:
    """A folder that somebody wants on disk: the number of the newest wish, and of the newest one seen to."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    newest: int = 0
    covered: int = 0
    error: OSError | None = None


def _failure_of_sync(folder: str) -> OSError | None:
    try:
        with _opened(folder) as descriptor:
            sync(descriptor)
    except OSError as error:
        return error
    return None


@contextmanager
def _opened(folder: str | Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


_folders = FolderSyncs()


def write_all(descriptor: int, piece: bytes) -> None:
    """All of it: a write may take less."""
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view):]


def sync(descriptor: int) -> None:
    """On disk before this returns."""
    os.fsync(descriptor)


def sync_all(descriptor: int) -> None:
    """All that anybody wrote to this file system is on disk before this returns (syncfs(2))."""
    if _libc.syncfs(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def can_sync_all(path: Path) -> bool:
    """Whether `sync_all` there is as good as an fsync of each file.

    A share's server may keep what only fsync makes it write.
    """
    status = ctypes.create_string_buffer(256)  # struct statfs begins with the type (statfs(2))
    known = _libc.statfs(os.fsencode(path), status) == 0
    return known and int.from_bytes(status.raw[:8], sys.byteorder) in LOCAL


LOCAL = (0xEF53, 0x58465342, 0x9123683E)  # ext4, XFS, Btrfs
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_libc = ctypes.CDLL(None, use_errno=True)


def rename_new(source: str, target: str) -> None:
    """Rename; raises FileExistsError where `target` exists. rename(2) alone would overwrite it.

    File systems without RENAME_NOREPLACE (NFS) are asked first and renamed then; the name holds the
    delivery's id, so nobody else wants it in between.
    """
    old, new = os.fsencode(source), os.fsencode(target)
    if _libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code not in _UNSUPPORTED:
        raise OSError(code, os.strerror(code))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(source, target)  # noqa: PTH104
