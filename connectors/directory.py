"""A drop folder: a "Vorgangsordner" per application, or one file, on a local disk or a mounted share.

What arrives
    ``<path>/[<recipient's path>/]<name>/`` with the PDF, the XML and the attachments; or one file
    ``<name>.xml``. Nobody who polls the folder ever sees half a thing: see `connectors._drop` for the order
    of steps.
A second delivery
    finds its own name. Same content: success, nothing is written. Other content: it goes beside it (``-2``).
Links
    `path` itself may be a link. Everything below it is reached step by step from the target's descriptor, and
    no step is a link (``O_NOFOLLOW``). Whoever may write into the target could otherwise lead a delivery into
    another recipient's folder, also by a link that is put there between two steps.
Temporary
    a target that is not mounted or lacks its marker (`mount`, `must_contain`), a full disk, an exhausted
    quota, a lost share.
Misconfigured
    a folder that does not exist, that the hub's user may not write, that is mounted read-only; a link below
    the target.
Permanent
    a name that is too long for the target's file system, a file that is too large for it.
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
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import Field, field_validator

from connectors import _drop, _layout
from connectors._layout import DropOptions, chunks, plan
from hub.endpoint import Finding
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary, TooLarge
from hub.message import Delivery, Receipt

T = TypeVar("T")


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


_MEANINGS: dict[int, tuple[type[DeliveryError], str]] = {
    errno.ENOSPC: (Temporary, "Das Ziel ist voll: dort Platz schaffen."),
    errno.EDQUOT: (Temporary, "Das Kontingent am Ziel ist erschöpft: dort aufräumen oder es erhöhen lassen."),
    errno.EIO: (Temporary, "Das Ziel meldet einen Ein-/Ausgabefehler: den Datenträger dort prüfen."),
    errno.ESTALE: (Temporary, "Die Freigabe ist nicht mehr gültig eingehängt: neu einhängen."),
    errno.ENOTCONN: (Temporary, "Die Freigabe ist nicht verbunden: neu einhängen."),
    errno.EHOSTDOWN: (Temporary, "Der Server der Freigabe ist nicht erreichbar."),
    errno.EHOSTUNREACH: (Temporary, "Der Server der Freigabe ist nicht erreichbar."),
    errno.ETIMEDOUT: (Temporary, "Der Server der Freigabe antwortet nicht."),
    errno.ENODEV: (Temporary, "Das Gerät des Ziels fehlt."),
    errno.EMFILE: (Temporary, "Dem Prozess gehen die Dateideskriptoren aus."),
    errno.EACCES: (Misconfigured, "Der Benutzer der Drehscheibe darf im Ziel nicht schreiben."),
    errno.EPERM: (Misconfigured, "Der Benutzer der Drehscheibe darf im Ziel nicht schreiben."),
    errno.EROFS: (Misconfigured, "Das Ziel ist nur lesbar eingehängt: zum Schreiben einhängen."),
    errno.ENOENT: (Misconfigured, "Der Zielordner fehlt."),
    errno.ENOTDIR: (Misconfigured, "Das Ziel ist kein Ordner."),
    errno.ELOOP: (Misconfigured, _layout.LINKED),
    errno.ENAMETOOLONG: (Permanent, _layout.TOO_LONG),
    errno.EILSEQ: (Permanent, "Das Ziel nimmt einen Namen nicht an: in name andere Platzhalter wählen."),
    errno.EFBIG: (TooLarge, "Eine Datei ist für das Ziel zu groß."),
}


def _meaning(error: OSError) -> DeliveryError:
    other = Temporary, f"Das Ziel meldet: {error.strerror or type(error).__name__}."
    kind, text = _MEANINGS.get(error.errno or 0, other)
    return kind(text)


@contextmanager
def _translated() -> Iterator[None]:
    """The border: the system's errors become ours."""
    try:
        yield
    except OSError as error:
        raise _meaning(error) from error


class Outlet(_drop.DropOutlet[Options]):
    """Files, by a rename that shows all or nothing."""

    gathers = True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._disk: Disk | None = None
        self._gathered: Gathered | None = None
        self._hidden: dict[str, str] = {}  # what is prepared: delivery id to hidden name

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
        written: dict[str, str] = {}
        try:
            self.ready()
            place = self._gathered = self._gathered or Gathered(self.options.path, int(self.options.mode, 8))
        except (OSError, DeliveryError):
            return
        finally:
            self.close()
        try:
            # Opened before the first write: it is told of errors from here on.
            with place.opened("") as target:
                for delivery in deliveries:
                    # `deliver` meets an error again, and says what it means.
                    with suppress(OSError, DeliveryError):
                        where = plan(self.options, delivery)
                        if not where.folder or place.size(where.folder) is not None:
                            written[delivery.id] = self.conceal(place, where, delivery)
                sync_all(target)
        except OSError:
            _drop.forget(place, *written.values())
        else:
            self._hidden |= written

    def conclude(self) -> None:
        """One fsync for each folder in which something was renamed. Raises `Temporary`, `Misconfigured`."""
        place, self._gathered = self._gathered, None
        hidden, self._hidden = self._hidden, {}
        if place is None:
            return
        try:
            _drop.forget(place, *set(hidden.values()) - place.shown)
            with _translated():
                place.settle()
        finally:
            place.close()

    def guarded(self, action: Callable[[], T]) -> T:
        """As every drop; the target's descriptor is kept no longer, so that a share can be unmounted."""
        try:
            return super().guarded(action)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the target."""
        disk, self._disk = self._disk, None
        if disk is not None:
            disk.close()

    def place(self) -> Disk:
        """The target. Raises `OSError`, and `Temporary` where it must be a mount point and is none."""
        if self.options.mount and not self.options.path.is_mount():
            raise Temporary("Das Ziel ist nicht eingehängt.")
        self.close()
        self._disk = Disk(self.options.path, int(self.options.mode, 8))
        return self._disk

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
        if cause.errno == errno.ELOOP:
            return f"Mit `find {self.options.path} -type l` suchen; statt der Verknüpfung einen Ordner anlegen."
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
    """A `Place` on a mounted file system. The target itself is never made.

    It holds a descriptor of the target; `close` gives it back.
    """

    def __init__(self, root: Path, mode: int) -> None:
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.close = weakref.finalize(self, os.close, self._root)
        self.mode = mode
        self.folder_mode = mode | (mode & 0o444) >> 2 | 0o300

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        """A descriptor to go on from; no step on the way is a link."""
        above = self._root
        try:
            for step in path.split("/") if path else ():
                below = _below(above, step)
                if above != self._root:
                    os.close(above)
                above = below
            yield above
        finally:
            if above != self._root:
                os.close(above)

    @contextmanager
    def _above(self, path: str) -> Iterator[tuple[int, str]]:
        """The folder in which something lies, and its name there."""
        folder, _, name = path.rpartition("/")
        with self._folder(folder) as descriptor:
            yield descriptor, name

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """A descriptor of a folder that can be listed and synced. Raises `OSError`."""
        with self._folder(path) as folder:
            descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def make_folder(self, path: str, *, exist_ok: bool = False) -> None:
        with self._above(path) as (above, name):
            try:
                os.mkdir(name, dir_fd=above)
            except FileExistsError:
                if not (exist_ok and self.size(path) == -1):
                    raise
                return
            with self.opened(path) as folder:
                os.fchmod(folder, self.folder_mode)

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._above(path) as (folder, name):
            descriptor = os.open(name, flags, 0o600, dir_fd=folder)
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
        with self.opened(path) as folder:
            _folders.sync(folder)

    def publish(self, hidden: str, final: str) -> None:
        with self._above(hidden) as (folder, name):  # both names lie in one folder
            rename_new(folder, name, final.rpartition("/")[2])

    def names(self, path: str) -> Sequence[str]:
        with self.opened(path) as folder, os.scandir(folder) as found:
            return [entry.name for entry in found]

    def size(self, path: str) -> int | None:
        status = self._status(path)
        if status is None:
            return None
        if stat.S_ISLNK(status.st_mode):
            raise _link()
        if stat.S_ISREG(status.st_mode):
            return status.st_size
        return -1 if stat.S_ISDIR(status.st_mode) else _NO_FILE

    def _status(self, path: str) -> os.stat_result | None:
        """Of the thing itself, also where it is a link; None when there is nothing."""
        try:
            with self._above(path) as (folder, name):
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):  # nothing can have a name that is too long
                return None
            raise

    def digest(self, path: str) -> str:
        # Without O_NONBLOCK a pipe of that name would hang the thread.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._above(path) as (folder, name):
            descriptor = os.open(name, flags, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self, path: str) -> None:
        status = self._status(path)
        if status is None:
            return
        with self._above(path) as (folder, name):
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(name, dir_fd=folder)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)


def _below(above: int, step: str) -> int:
    """A descriptor of a folder in another. Raises `OSError`: ELOOP for a link."""
    try:
        return os.open(step, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(step, dir_fd=above, follow_symlinks=False).st_mode):
            raise _link() from None
        raise


def _link() -> OSError:
    return OSError(errno.ELOOP, os.strerror(errno.ELOOP))


_NO_FILE = -2  # the size of a pipe or a socket, which no file of a delivery has


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
            super().sync_folder(path)


class FolderSyncs:
    """One fsync of a folder serves all threads that asked for it before it began, as a group commit does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[tuple[int, int], _Asked] = {}

    def asked(self, descriptor: int) -> int:
        """How many are waiting for an fsync of this folder, or have theirs now."""
        key = _identity(descriptor)
        with self._lock:
            return self._asked[key].users if key in self._asked else 0

    def sync(self, descriptor: int) -> None:
        """What was done in the folder so far is on disk when this returns.

        Raises `OSError`, to all whom the fsync was for.
        """
        key = _identity(descriptor)  # not its path, which may lead elsewhere by now
        with self._lock:
            asked = self._asked.setdefault(key, _Asked())
            asked.users += 1
            asked.newest += 1
            mine = asked.newest
        try:
            with asked.turn:
                if asked.covered < mine:
                    asked.covered, asked.error = asked.newest, None
                    asked.error = _failure_of_sync(descriptor)
                # The kernel tells of it only once: nobody may ask again and hear that all is well.
                if asked.error is not None:
                    raise OSError(*asked.error.args)
        finally:
            with self._lock:
                asked.users -= 1
                if not asked.users:
                    del self._asked[key]


@dataclass(eq=False)
class _Asked:
    """A folder that somebody wants on disk: the number of the newest wish, and of the newest one seen to."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    newest: int = 0
    covered: int = 0
    error: OSError | None = None


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _failure_of_sync(descriptor: int) -> OSError | None:
    try:
        sync(descriptor)
    except OSError as error:
        return error
    return None


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
_RENAME_NOREPLACE = 1
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_libc = ctypes.CDLL(None, use_errno=True)


def rename_new(folder: int, old: str, new: str) -> None:
    """Rename within a folder; raises FileExistsError where `new` exists. rename(2) alone would overwrite it.

    File systems without RENAME_NOREPLACE (NFS) are asked first and renamed then; the name holds the
    delivery's id, so nobody else wants it in between.
    """
    if _libc.renameat2(folder, os.fsencode(old), folder, os.fsencode(new), _RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code not in _UNSUPPORTED:
        raise OSError(code, os.strerror(code))
    with suppress(FileNotFoundError):
        os.stat(new, dir_fd=folder, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
