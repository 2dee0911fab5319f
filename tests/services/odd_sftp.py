"""A simulator, no real server: SFTP as servers other than OpenSSH answer it, each by its `Manners`.

What real OpenSSH answers is tried against OpenSSH (`tests.services.openssh`). This one words its answers as
it is told: other codes, other texts or none, no extensions, names of one case only. Transport and framing are
paramiko's.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_DATA,
    CMD_EXTENDED,
    CMD_HANDLE,
    CMD_INIT,
    CMD_NAME,
    CMD_NAMES,
    CMD_STATUS,
    CMD_VERSION,
)

USER, PASSWORD = "hub", "geheim"
_OK, _EOF, _FAILURE, _UNSUPPORTED = 0, 1, 4, 8


@dataclass
class Manners:
    """How the server answers.

    `codes` says which code an error of the disk becomes. `answers` says what a request of that name is
    answered with, whatever it asks for (set it while the server runs), `text` what stands behind a code
    (None: nothing at all). `asked` is every request that came; `before` is called with each one's name.

    Answers to the requests in `drips` come byte by byte, `pace` seconds apart; ``version`` is the first one.
    Before those to requests in `babbles` come answers that nobody asked for, without end. A folder named
    ``endless`` is one, with names or, `of_nothing`, none. `silent` keeps the answer to the subsystem request
    back until it is set.
    """

    announced: tuple[bytes, ...] = ()
    codes: Mapping[int, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    text: bytes | None = b"Failure"
    shows_modes: bool = True
    one_case: bool = False
    longest: int = 255
    overwrites: bool = False
    asked: list[str] = field(default_factory=list)
    before: Callable[[str], object] = lambda name: None
    drips: set[str] = field(default_factory=set)
    babbles: set[str] = field(default_factory=set)
    pace: float = 0.05
    of_nothing: bool = False
    silent: threading.Event | None = None


@dataclass
class Attributes:
    """What is told of a thing; None: nothing."""

    size: int | None = None
    mode: int | None = None

    def add_to(self, answer: Any) -> None:
        """As version 3 has it."""
        answer.add_int((self.size is not None) | (self.mode is not None) << 2)
        if self.size is not None:
            answer.add_int64(self.size)
        if self.mode is not None:
            answer.add_int(self.mode)


class OddSftp:
    """The server on loopback; `host_key` is the line to pin, `files` the folder that it serves."""

    def __init__(self, files: Path, manners: Manners) -> None:
        self.files = files
        self.manners = manners
        self._key = paramiko.ECDSAKey.generate()
        self.host_key = f"{self._key.get_name()} {self._key.get_base64()}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._transports: list[Any] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(line)
            transport.add_server_key(self._key)
            transport.set_subsystem_handler("sftp", _Session, manners=self.manners)
            self._transports.append(transport)
            transport.start_server(event=threading.Event(), server=_Login(self.manners))

    def close(self) -> None:
        """Stop it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()
        self._thread.join(5)


class _Login(paramiko.ServerInterface):  # type: ignore[misc]
    def __init__(self, manners: Manners) -> None:
        self.manners = manners

    def check_channel_subsystem_request(self, channel: Any, name: str) -> bool:
        if self.manners.silent is not None:
            self.manners.silent.wait(60)
        return bool(super().check_channel_subsystem_request(channel, name))

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        known = (username, password) == (USER, PASSWORD)
        return int(paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class _Slow:
    """A channel on which some answers come byte by byte."""

    def __init__(self, channel: Any, session: _Session) -> None:
        self.channel = channel
        self.session = session

    def send(self, data: bytes) -> int:
        manners = self.session.manners
        if self.session.asked not in manners.drips:
            return int(self.channel.send(data))
        time.sleep(manners.pace)
        return int(self.channel.send(data[:1]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)


class _Session(paramiko.SFTPServer):  # type: ignore[misc]
    """One session: paths are bytes, errors of the disk become codes by the manners."""

    def __init__(self, channel: Any, name: str, server: Any, *, manners: Manners) -> None:
        super().__init__(channel, name, server)
        self.manners = manners
        self._files: dict[bytes, int] = {}
        self._listings: dict[bytes, list[bytes]] = {}
        self._numbers = iter(range(1 << 30))
        self.asked = "version"

    def start_subsystem(self, name: str, transport: Any, channel: Any) -> None:
        super().start_subsystem(name, transport, _Slow(channel, self))

    def finish_subsystem(self) -> None:
        super().finish_subsystem()
        for descriptor in self._files.values():
            os.close(descriptor)

    def _send_server_version(self) -> int:
        kind, _ = self._read_packet()
        assert kind == CMD_INIT
        answer = paramiko.Message()
        answer.add_int(3)
        for name in self.manners.announced:
            answer.add_string(name)
            answer.add_string(b"1")
        self._send_packet(CMD_VERSION, answer)
        return 3

    def _process(self, kind: int, number: int, msg: Any) -> None:
        name = msg.get_binary().decode() if kind == CMD_EXTENDED else CMD_NAMES[kind]
        self.manners.asked.append(name)
        self.asked = name
        while name in self.manners.babbles:
            self._status((1 << 31) + number)
            time.sleep(self.manners.pace)
        self.manners.before(name)
        act = getattr(self, f"_{name.partition('@')[0].replace('-', '_')}_", None)
        code = self.manners.answers.get(name, None if act else _UNSUPPORTED)
        if act is None or code is not None:
            self._status(number, code or _UNSUPPORTED)
            return
        try:
            act(number, msg)
        except OSError as error:
            self._status(number, self.manners.codes.get(error.errno or 0, _FAILURE))

    def _status(self, number: int, code: int = _OK) -> None:
        answer = paramiko.Message()
        answer.add_int(number)
        answer.add_int(code)
        if self.manners.text is not None:
            answer.add_string(self.manners.text)
            answer.add_string(b"")
        self._send_packet(CMD_STATUS, answer)

    def _answer(self, kind: int, number: int, *things: Any) -> None:
        answer = paramiko.Message()
        answer.add_int(number)
        for thing in things:
            if isinstance(thing, int):
                answer.add_int(thing)
            elif isinstance(thing, bytes):
                answer.add_string(thing)
            else:
                thing.add_to(answer)
        self._send_packet(kind, answer)

    def _path(self, msg: Any) -> bytes:
        """A path as the disk has it; raises OSError for a name that is too long here."""
        path = bytes(msg.get_binary())
        if any(len(step) > self.manners.longest for step in path.split(b"/")):
            raise OSError(errno.ENAMETOOLONG, "too long")
        return _of_one_case(path) if self.manners.one_case else path

    def _attributes(self, status: os.stat_result) -> Attributes:
        return Attributes(status.st_size, status.st_mode if self.manners.shows_modes else None)

    def _handle(self) -> bytes:
        return f"{next(self._numbers)}".encode()

    # -- requests, each by the name that paramiko gives it ------------------------------------------------

    def _open_(self, number: int, msg: Any) -> None:
        path, flags, handle = self._path(msg), msg.get_int(), self._handle()
        mode = os.O_RDONLY if not flags & 2 else os.O_WRONLY | os.O_CREAT | (os.O_EXCL if flags & 0x20 else 0)
        self._files[handle] = os.open(path, mode, 0o640)
        self._answer(CMD_HANDLE, number, handle)

    def _close_(self, number: int, msg: Any) -> None:
        handle = msg.get_binary()
        self._listings.pop(handle, None)
        descriptor = self._files.pop(handle, None)
        if descriptor is not None:
            os.close(descriptor)
        self._status(number)

    def _write_(self, number: int, msg: Any) -> None:
        descriptor, offset, data = self._files[msg.get_binary()], msg.get_int64(), msg.get_binary()
        while data:
            count = os.pwrite(descriptor, data, offset)
            data, offset = data[count:], offset + count
        self._status(number)

    def _read_(self, number: int, msg: Any) -> None:
        data = os.pread(self._files[msg.get_binary()], *reversed((msg.get_int64(), msg.get_int())))
        if data:
            self._answer(CMD_DATA, number, data)
        else:
            self._status(number, _EOF)

    def _stat_(self, number: int, msg: Any) -> None:
        self._answer(CMD_ATTRS, number, self._attributes(os.stat(self._path(msg))))

    def _lstat_(self, number: int, msg: Any) -> None:
        self._answer(CMD_ATTRS, number, self._attributes(os.lstat(self._path(msg))))

    def _fstat_(self, number: int, msg: Any) -> None:
        self._answer(CMD_ATTRS, number, self._attributes(os.fstat(self._files[msg.get_binary()])))

    def _opendir_(self, number: int, msg: Any) -> None:
        handle = self._handle()
        self._listings[handle] = os.listdir(self._path(msg))
        self._answer(CMD_HANDLE, number, handle)

    def _readdir_(self, number: int, msg: Any) -> None:
        handle = msg.get_binary()
        names, self._listings[handle] = self._listings[handle], []
        if b"endless" in names:
            self._listings[handle] = names
            time.sleep(self.manners.pace)
            names = [] if self.manners.of_nothing else names
            rows = [part for name in names for part in (name, b"", Attributes())]
            self._answer(CMD_NAME, number, len(names), *rows)
            return
        if not names:
            self._status(number, _EOF)
            return
        rows = [part for name in names for part in (name, b"\xff ls -l \xe4", Attributes())]
        self._answer(CMD_NAME, number, len(names), *rows)

    def _readlink_(self, number: int, msg: Any) -> None:
        self._answer(CMD_NAME, number, 1, os.readlink(self._path(msg)), b"", Attributes())

    def _mkdir_(self, number: int, msg: Any) -> None:
        os.mkdir(self._path(msg))
        self._status(number)

    def _rmdir_(self, number: int, msg: Any) -> None:
        os.rmdir(self._path(msg))
        self._status(number)

    def _remove_(self, number: int, msg: Any) -> None:
        os.unlink(self._path(msg))
        self._status(number)

    def _rename_(self, number: int, msg: Any) -> None:
        old, new = self._path(msg), self._path(msg)
        if os.path.lexists(new) and not self.manners.overwrites:
            raise FileExistsError(errno.EEXIST, "exists")
        os.rename(old, new)
        self._status(number)

    def _posix_rename_(self, number: int, msg: Any) -> None:
        os.rename(self._path(msg), self._path(msg))
        self._status(number)

    def _fsync_(self, number: int, msg: Any) -> None:
        os.fsync(self._files[msg.get_binary()])
        self._status(number)


def _of_one_case(path: bytes) -> bytes:
    """The path of what is there already, if its steps are there in another case."""
    found = b""
    for step in path.split(b"/")[1:]:
        folder, found = found or b"/", found + b"/" + step
        if not os.path.lexists(found) and stat.S_ISDIR(os.stat(folder).st_mode):
            for name in os.listdir(folder):
                if name.lower() == step.lower():
                    found = folder.rstrip(b"/") + b"/" + name
    return found
