"""Work that can wait in the middle. Each piece has a thread of its own, but only one thread runs at a time.

The world says which thread goes on, and that thread says when it waits again. So the hub's own code runs
unchanged, with every order in which its threads can run, and only the world's dice choose the order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

STANDSTILL = 120.0
"""Seconds after which a thread must wait again. Else the simulation is faulty, or the hub has a deadlock."""


class Killed(BaseException):
    """The hub's process is dead: none of its code runs any more."""


class Task:
    """The work of one thread. `resume` lets it go on until it waits again or ends."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self.over = False
        self.not_before = 0.0
        self._work = work
        self._error: BaseException | None = None
        self._thrown: BaseException | None = None
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def resume(self, thrown: BaseException | None = None) -> None:
        """Go on. With `thrown` that error is raised where the work waits. Raises what the work raises."""
        self._thrown = thrown
        self._go.release()
        if not self._back.acquire(timeout=STANDSTILL):
            raise RuntimeError(f"{self.name} does not come back")
        if self.over:
            self.thread.join()
        if self._error is not None and self._error is not thrown:
            raise self._error

    def wait(self) -> None:
        """Called by the work itself: let the world choose who goes on."""
        self._back.release()
        self._await()

    def _await(self) -> None:
        self._go.acquire()
        if self._thrown is not None:
            raise self._thrown

    def _run(self) -> None:
        try:
            self._await()
            self._work()
        except BaseException as error:  # any error: the world must get it
            self._error = error
        self.over = True
        self._back.release()
