"""An SFTP session as paramiko has it, with what paramiko leaves out: codes, extensions, names as bytes.

paramiko keeps two of the status codes and turns all others into the server's text, which every server words
as it likes, in any encoding or not at all. It skips the list of extensions that a server announces, reads
names in a folder as UTF-8 or breaks, and ignores what the server says when a file is closed.

Sources: draft-ietf-secsh-filexfer-02 (version 3, which everybody speaks); -13, 9.1 (codes of later versions,
which some servers send in version 3 as well); OpenSSH, PROTOCOL, 4.3 to 4.6 (posix-rename, statvfs, fsync).
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import paramiko
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_EXTENDED,
    CMD_EXTENDED_REPLY,
    CMD_HANDLE,
    CMD_INIT,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READDIR,
    CMD_READLINK,
    CMD_VERSION,
    CMD_WRITE,
    int64,
)
from paramiko.sftp_attr import SFTPAttributes

POSIX_RENAME, FSYNC, STATVFS = b"posix-rename@openssh.com", b"fsync@openssh.com", b"statvfs@openssh.com"
_VERSION = 3
_NEW_FILE = 0x02 | 0x08 | 0x20  # SSH_FXF_WRITE, _CREAT, _EXCL
_UNDER_WAY = 64  # pieces that were sent and are not answered yet


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


class Client(paramiko.SFTPClient):  # type: ignore[misc]
    """A session. Paths are bytes. Everything raises `StatusError` and what paramiko raises of lost lines."""

    announced: frozenset[bytes] = frozenset()
    """The extensions that the server says it has."""

    def _send_version(self) -> int:
        """paramiko calls it once, and would skip the extensions."""
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
        try:
            while True:
                kind, answer = self._request(CMD_READDIR, handle)
                if kind != CMD_NAME:
                    raise paramiko.SFTPError("no names")
                for _ in range(answer.get_int()):
                    if not answer.get_remainder():
                        raise paramiko.SFTPError("fewer names than told")
                    found.append(answer.get_binary())
                    answer.get_binary()  # as `ls -l` shows it
                    SFTPAttributes._from_msg(answer)
        except EOFError:
            return [name for name in found if name not in (b".", b"..")]
        finally:
            self.forget(handle)

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
        for piece in pieces:
            self._open += 1
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
