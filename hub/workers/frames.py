"""What crosses the socket between the hub and a worker: frames of JSON with a limit, descriptors beside
them."""

from __future__ import annotations

import socket
import struct
from typing import Literal

from pydantic import BaseModel, ConfigDict

MAX_FRAME = 32 * 1024 * 1024
MAX_FDS = 250
HEADER = struct.Struct(">I")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Confinement(_Model):
    """What a worker may use; bytes and seconds."""

    runner: str
    parent: int
    data_bytes: int
    cpu_seconds: int
    out_bytes: int
    open_files: int


class Hello(_Model):
    """The worker is ready."""

    kind: Literal["hello"] = "hello"
    network_dropped: bool


class Failure(_Model):
    """A bug in the engine (``failed``), or an engine that cannot be loaded, even in part (``broken``)."""

    kind: Literal["failed", "broken"]
    error: str
    place: str


def send(channel: socket.socket, frame: bytes) -> None:
    """One frame."""
    channel.sendall(HEADER.pack(len(frame)) + frame)


def receive(channel: socket.socket) -> tuple[bytes, list[int]] | None:
    """One frame and the descriptors beside it, or None at the end."""
    header, fds, _flags, _address = socket.recv_fds(channel, HEADER.size, MAX_FDS + 1,
                                                    socket.MSG_CMSG_CLOEXEC)
    if not header:
        return None
    header += _exactly(channel, HEADER.size - len(header))
    (length,) = HEADER.unpack(header)
    return _exactly(channel, length), list(fds)


def _exactly(channel: socket.socket, length: int) -> bytes:
    buffer = bytearray(length)
    view = memoryview(buffer)
    while view:
        count = channel.recv_into(view)
        if not count:
            raise EOFError("the parent is gone")
        view = view[count:]
    return bytes(buffer)
