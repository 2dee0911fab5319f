"""Threads for deliveries, of which one may be written off.

A try that hangs, because a library below ignores its time-outs, must not cost a thread for ever: whoever
gives it up writes its thread off, and another one takes its place. The lost one ends when its work lets it;
being a daemon it holds nobody up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol


class Threads(Protocol):
    """Who does the work that is submitted."""

    def submit(self, work: Callable[[], None]) -> None:
        """Have it done."""

    def write_off(self, thread: threading.Thread) -> None:
        """Expect nothing more of this one."""

    def dismiss(self) -> None:
        """There is nothing more to do."""


class ThreadPool:
    """Up to `size` threads that work off what is submitted, in order. Work must not raise."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._hands: set[threading.Thread] = set()
        self._hired = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Have it done as soon as a thread is free."""
        with self._lock:
            if len(self._hands) < self._size:
                self._hire()
        self._work.put(work)

    def write_off(self, thread: threading.Thread) -> None:
        """Expect nothing more of this one."""
        with self._lock:
            if thread in self._hands:
                self._hands.discard(thread)
                self._hire()

    def dismiss(self) -> None:
        """Let every thread end once there is nothing left to do."""
        with self._lock:
            for _ in self._hands:
                self._work.put(None)

    def _hire(self) -> None:
        self._hired += 1
        thread = threading.Thread(target=self._serve, name=f"{self._name}-{self._hired}", daemon=True)
        self._hands.add(thread)
        thread.start()

    def _serve(self) -> None:
        own = threading.current_thread()
        while own in self._hands:
            work = self._work.get()
            if work is None:
                break
            work()
