"""A stored body, for reading: as a whole or as a file.

No byte leaves this module unchecked. A body whose size or digest differs raises `Damaged` and is never handed
on. The same holds for a missing file, and for one that the disk cannot read.

Used by `hub.store.store`, `hub.store.integrity` and the two keepers of bodies.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hub.errors import StoreUnavailable
from hub.store.blobs import durable
from hub.store.blobs.payload import CHUNK, HEADER, Damaged, read_at


class Copy:
    """A body from the database, as a file without a name below `folder`.

    The body is copied when `path` is first called. The file goes with this object.
    """

    def __init__(self, folder: Path, chunks: Callable[[], Iterator[bytes]]) -> None:
        self._folder = folder
        self._chunks = chunks
        self._fd = -1

    def path(self) -> Path:
        """The path of the file, by its descriptor. Raises `StoreUnavailable`."""
        if self._fd < 0:
            self._fill()
        return Path(f"/proc/self/fd/{self._fd}")

    def _fill(self) -> None:
        try:
            fd, name = tempfile.mkstemp(dir=self._folder)
            Path(name).unlink()
            self._fd = fd
            for chunk in self._chunks():
                durable.write_all(fd, chunk)
        except OSError as error:
            raise StoreUnavailable(f"a body cannot be copied now ({error.strerror})") from error

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body in the store. `read`, `open` and `place` check it, and raise `Damaged`.

    The body is in `content`, in the file `path`, or in the database behind `copy`.
    """

    id: str
    size: int
    sha256: str
    content: bytes | None = None
    path: Path | None = None
    copy: Copy | None = None

    @property
    def _file(self) -> Path | None:
        return self.path if self.copy is None else self.copy.path()

    def read(self) -> bytes:
        """All bytes."""
        if self._file is None:
            return self._checked(self.content or b"")
        with self.open() as file:
            return file.read()

    def open(self) -> BinaryIO:
        """The payload as a seekable file, without the header."""
        file = self._file
        if file is None:
            return io.BytesIO(self.read())
        with self._missing():
            raw = _PayloadFile(file)
        try:
            with self._missing():
                self._check_file(raw.fileno())
        except BaseException:
            raw.close()
            raise
        return io.BufferedReader(raw, CHUNK)

    def place(self) -> tuple[Path, int] | None:
        """The checked file, and the offset at which its payload begins. None when the body is in the row.

        The path is valid as long as this object lives.
        """
        file = self._file
        if file is None:
            return None
        self.open().close()
        return file, len(HEADER)

    def _checked(self, stored: bytes) -> bytes:
        self._check_header(stored[: len(HEADER)])
        payload = stored[len(HEADER):]
        self.check(hashlib.sha256(payload).hexdigest(), len(payload))
        return payload

    def _check_file(self, fd: int) -> None:
        self._check_header(os.pread(fd, len(HEADER), 0))
        digest, size = hashlib.sha256(), 0
        for chunk in read_at(fd, len(HEADER), self.size + 1):
            digest.update(chunk)
            size += len(chunk)
        self.check(digest.hexdigest(), size)

    def _check_header(self, header: bytes) -> None:
        if header != HEADER:
            raise Damaged(f"Inhalt {self.id}: unbekanntes Format oder unbekannter Schlüssel "
                          f"{header.hex() or '(leer)'}")

    def check(self, sha256: str, size: int) -> None:
        """Raises `Damaged` unless these are its digest and size."""
        if (sha256, size) != (self.sha256, self.size):
            raise Damaged(f"Inhalt {self.id}: er hat seine Prüfsumme nicht mehr")

    @contextmanager
    def _missing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise Damaged(f"Inhalt {self.id}: seine Datei fehlt") from error
        except OSError as error:
            if error.errno == errno.EIO:
                raise Damaged(
                    f"Inhalt {self.id}: seine Datei ist nicht lesbar (Ein-/Ausgabefehler)") from error
            raise


class _PayloadFile(io.RawIOBase):
    """The file of a body, without its header."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._fd).st_size - len(HEADER)
        self._at = 0

    def fileno(self) -> int:
        return self._fd

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._fd, [buffer], self._at + len(HEADER))
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()
