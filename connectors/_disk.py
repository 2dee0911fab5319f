"""The `Place` on a mounted file system, and the system calls that make it safe.

Everything below the target is reached step by step from the target's descriptor, and no step is a link.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from connectors._layout import chunks, is_too_long


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
            if error.errno == errno.ENOENT or is_too_long(error):  # nothing can have such a name
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


def rename_exclusively(folder: int, old: str, new: str) -> int:
    """renameat2(2) with RENAME_NOREPLACE. Returns the error's number; 0: it was renamed."""
    done = _libc.renameat2(folder, os.fsencode(old), folder, os.fsencode(new), _RENAME_NOREPLACE) == 0
    return 0 if done else ctypes.get_errno()


def rename_new(folder: int, old: str, new: str) -> None:
    """Rename within a folder; raises FileExistsError where `new` exists. rename(2) alone would overwrite it.

    File systems without RENAME_NOREPLACE (NFS) are asked first and renamed then; the name holds the
    delivery's id, so nobody else wants it in between.
    """
    code = rename_exclusively(folder, old, new)
    if not code:
        return
    if code not in _UNSUPPORTED:
        raise OSError(code, os.strerror(code))
    with suppress(FileNotFoundError):
        os.stat(new, dir_fd=folder, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
