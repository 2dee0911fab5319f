"""What the stages of the bare pipeline share: messages in hand, and files that are durable."""

from __future__ import annotations

import ctypes
import os
import queue
from dataclasses import dataclass
from typing import TypeVar

LARGE = 64 * 1024
"""Bytes from which a body is a file beside the database, not a row in it."""
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """A message in hand. `tag` is how its inlet knows it. None: it was found in the store at the start."""

    key: str
    body: bytes
    tag: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """A message that was delivered. `large`: its body is a file."""

    key: str
    large: bool


def syncfs(descriptor: int) -> None:
    """Make everything on a file system durable. Raises `OSError`."""
    if _libc.syncfs(descriptor) != 0:
        raise OSError(ctypes.get_errno(), "syncfs")


def drain(waiting: queue.SimpleQueue[T]) -> list[T]:
    """Everything that waits now."""
    batch: list[T] = []
    while True:
        try:
            batch.append(waiting.get_nowait())
        except queue.Empty:
            return batch


def write(name: str, content: bytes) -> None:
    """A file with this content."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
