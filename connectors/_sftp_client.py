"""An SFTP session as paramiko has it, with what paramiko leaves out: codes, extensions, names as bytes.

paramiko keeps two of the status codes and turns all others into the server's text, which every server words
as it likes, in any encoding or not at all. It skips the list of extensions that a server announces, reads
names in a folder as UTF-8 or breaks, and ignores what the server says when a file is closed.

Sources: draft-ietf-secsh-filexfer-02 (version 3, which everybody speaks); -13, 9.1 (codes of later versions,
which some servers send in version 3 as well); OpenSSH, PROTOCOL, 4.3 to 4.6 (posix-rename, statvfs, fsync).
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import paramiko
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_DATA,
    CMD_EXTENDED,
    CMD_EXTENDED_REPLY,
    CMD_HANDLE,
    CMD_INIT,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_READLINK,
    CMD_VERSION,
    CMD_WRITE,
    int64,
)
from paramiko.sftp_attr import SFTPAttributes

POSIX_RENAME, FSYNC, STATVFS = b"posix-rename@openssh.com", b"fsync@openssh.com", b"statvfs@openssh.com"
_VERSION = 3
_READ = 0x01  # SSH_FXF_READ
_NEW_FILE = 0x02 | 0x08 | 0x20  # SSH_FXF_WRITE, _CREAT, _EXCL
_UNDER_WAY = 64  # pieces that were sent and are not answered yet
_SLOWEST = 4096  # bytes a second; a line that takes less for long is as good as none
_LARGEST_PACKET = 262_144  # bytes; OpenSSH's own limit
_MOST_NAMES = 1_000_000  # in one folder


class Code(IntEnum):
    """What a server may say; from `INVALID_HANDLE` on by later versions than 3."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8
    INVALID_HANDLE = 9
    NO_SUCH_PATH = 10
    FILE_ALREADY_EXISTS = 11
    WRITE_PROTECT = 12
    NO_MEDIA = 13
    NO_SPACE = 14
    QUOTA_EXCEEDED = 15
    UNKNOWN_PRINCIPAL = 16
    LOCK_CONFLICT = 17
    DIR_NOT_EMPTY = 18
    NOT_A_DIRECTORY = 19
    INVALID_FILENAME = 20
    LINK_LOOP = 21


_ERRNO = {Code.NO_SUCH_FILE: errno.ENOENT, Code.NO_SUCH_PATH: errno.ENOENT,
          Code.PERMISSION_DENIED: errno.EACCES}


class StatusError(OSError):
    """A server's own answer that is no success, told by its code. Its text is never looked at."""

    def __init__(self, code: int) -> None:
        super().__init__(_ERRNO.get(code, errno.EIO), f"SFTP status {code}")  # type: ignore[call-overload]
        self.code = code


@dataclass(frozen=True, slots=True)
class Room:
    """What statvfs tells of a server's file system: free bytes, whether names are left, whether it is
    read-only."""

    free: int
    has_names: bool
    read_only: bool


class Patience:
    """A channel with a time-out for a whole request and its answer, not for each byte of it."""

    def __init__(self, channel: Any, seconds: float) -> None:
        self.channel = channel
        self._seconds = seconds
        self._until = 0.0

    def begin(self) -> None:
        """A request begins."""
        self._until = time.monotonic() + self._seconds

    def more(self, size: int) -> None:
        """So many bytes more belong to it."""
        self._until += size / _SLOWEST

    def recv(self, count: int) -> bytes:
        """Some bytes. Raises TimeoutError."""
        self._look()
        return bytes(self.channel.recv(count))

    def send(self, data: bytes) -> int:
        """How many bytes were sent. Raises TimeoutError."""
        self._look()
        return int(self.channel.send(data))

    def __getattr__(self, name: str) -> Any:
        """All else is the channel's."""
        return getattr(self.channel, name)

    def _look(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the server takes too long")
        self.channel.settimeout(left)


class Client(paramiko.SFTPClient):  # type: ignore[misc]
    """A session. Paths are bytes. Everything raises `StatusError`, TimeoutError, and what paramiko raises of
    lost lines.

    paramiko waits for each byte anew, and for an answer of this number however many others come: a server
    that drips would hold the thread for ever. Here a request with its answer has its total (`Patience`).
    """

    announced: frozenset[bytes] = frozenset()
    """The extensions that the server says it has."""

    def _send_version(self) -> int:
        """paramiko calls it once, and would skip the extensions."""
        self.sock.begin()
        hello = paramiko.Message()
        hello.add_int(_VERSION)
        self._send_packet(CMD_INIT, hello)
        kind, data = self._read_packet()
        if kind != CMD_VERSION:
            raise paramiko.SFTPError("no SFTP")
        answer = paramiko.Message(data)
        version = int(answer.get_int())
        names = []
        while answer.get_remainder():
            names.append(answer.get_binary())
            answer.get_binary()  # its version or data
        self.announced = frozenset(names)
        return version

    def _request(self, kind: int, *arguments: Any) -> Any:
        """paramiko's way of asking, for every request but the pieces of a file."""
        self.sock.begin()
        return super()._request(kind, *arguments)

    def _read_all(self, count: int) -> bytes:
        """paramiko reads a packet's length by it, and then the packet."""
        if count > _LARGEST_PACKET:
            raise paramiko.SFTPError("a packet that is too large")
        return bytes(super()._read_all(count))

    def _convert_status(self, msg: Any) -> None:
        """paramiko calls it for every status; the text behind the code stays unread."""
        code = msg.get_int()
        if code == Code.EOF:
            raise EOFError
        if code != Code.OK:
            raise StatusError(code)

    def create(self, path: bytes) -> bytes:
        """The handle of a new file; whatever has that name stays as it is."""
        return _handle(*self._request(CMD_OPEN, path, _NEW_FILE, SFTPAttributes()))

    def fill(self, handle: bytes, pieces: Iterable[bytes]) -> None:
        """Write a file's pieces one after the other; every one is answered for."""
        Writing(self, handle).all(pieces)

    def sync(self, handle: bytes) -> None:
        """On the server's disk before this returns."""
        self._request(CMD_EXTENDED, FSYNC, handle)

    def end(self, handle: bytes) -> None:
        """Close. A quota, or a share behind the server, may speak only now."""
        self._request(CMD_CLOSE, handle)

    def forget(self, handle: bytes) -> None:
        """Close in vain: an error was told already."""
        try:
            self.end(handle)
        except StatusError:
            return

    def list_names(self, path: bytes) -> list[bytes]:
        """The names in a folder, as the server has them."""
        handle = _handle(*self._request(CMD_OPENDIR, path))
        found: list[bytes] = []
        self.sock.begin()
        try:
            while True:
                kind, answer = super()._request(CMD_READDIR, handle)
                if kind != CMD_NAME:
                    raise paramiko.SFTPError("no names")
                self.sock.more(len(answer.get_remainder()))
                for _ in range(answer.get_int()):
                    if not answer.get_remainder():
                        raise paramiko.SFTPError("fewer names than told")
                    found.append(answer.get_binary())
                    answer.get_binary()  # as `ls -l` shows it
                    SFTPAttributes._from_msg(answer)
                if len(found) > _MOST_NAMES:
                    raise paramiko.SFTPError("a folder that has no end")
        except EOFError:
            self.forget(handle)
            return [name for name in found if name not in (b".", b"..")]
        except StatusError:
            self.forget(handle)
            raise

    def content(self, path: bytes, piece: int) -> Iterator[bytes]:
        """A file from its beginning, in pieces of so many bytes. paramiko's own way leaves a thread behind
        where the server falls silent."""
        handle = _handle(*self._request(CMD_OPEN, path, _READ, SFTPAttributes()))
        offset = 0
        self.sock.begin()
        try:
            while True:
                kind, answer = super()._request(CMD_READ, handle, int64(offset), piece)
                if kind != CMD_DATA:
                    raise paramiko.SFTPError("no data")
                data = bytes(answer.get_binary())
                if not data:
                    raise paramiko.SFTPError("an empty piece")
                offset += len(data)
                self.sock.more(len(data))
                yield data
        except EOFError:
            self.forget(handle)
        except StatusError:
            self.forget(handle)
            raise

    def require_link(self, path: bytes) -> None:
        """Raises `StatusError` where there is no link; where it leads does not matter."""
        self._request(CMD_READLINK, path)

    def room(self, path: bytes) -> Room | None:
        """What is left on the server's file system; None where the server does not tell."""
        if STATVFS not in self.announced:
            return None
        try:
            kind, answer = self._request(CMD_EXTENDED, STATVFS, path)
        except StatusError:
            return None
        if kind != CMD_EXTENDED_REPLY:
            return None
        _, unit, _, _, free, files, _, names, _, flags, _ = (answer.get_int64() for _ in range(11))
        return Room(free * unit, not files or names > 0, bool(flags & 1))


def _handle(kind: int, answer: Any) -> bytes:
    if kind != CMD_HANDLE:
        raise paramiko.SFTPError("no handle")
    return bytes(answer.get_binary())


class Writing:
    """Sends a file's pieces without waiting for each answer, and looks at every answer, in whatever order."""

    def __init__(self, client: Client, handle: bytes) -> None:
        self._client = client
        self._handle = handle
        self._open = 0
        self._errors: deque[StatusError] = deque()

    def all(self, pieces: Iterable[bytes]) -> None:
        """Raises `StatusError`, the first that the server told."""
        offset = 0
        self._client.sock.begin()
        for piece in pieces:
            self._open += 1
            self._client.sock.more(len(piece))
            self._client._async_request(self, CMD_WRITE, self._handle, int64(offset), piece)
            offset += len(piece)
            while self._open >= _UNDER_WAY:
                self._client._read_response()
            self.require_success()
        while self._open:
            self._client._read_response()
        self.require_success()

    def _async_response(self, kind: int, answer: Any, number: int) -> None:  # noqa: ARG002
        """paramiko hands over an answer."""
        self._open -= 1
        try:
            self._client._convert_status(answer)
        except StatusError as error:
            self._errors.append(error)
        except EOFError:
            self._errors.append(StatusError(Code.EOF))

    def require_success(self) -> None:
        """Raises `StatusError` where an answer was no success."""
        if self._errors:
            raise self._errors[0]
