"""Work that waits in the middle: each piece in a thread of its own, of which only one ever runs.

The world says who goes on, and whoever goes on says when it waits again. So the hub's own
code runs as it is, with all the ways in which its threads can come between each other, and
the world's dice alone decide which of them it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

STANDSTILL = 120.0
"""Seconds after which a piece of work that does not wait again is a fault of
the simulation, or a deadlock of the hub."""


class Killed(BaseException):
    """The hub's process is dead: nothing of it runs any more."""


class Task:
    """One thread's work. `resume` lets it go on until it waits again, or to its end."""

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
        """Go on, with `thrown` raised where it waits. Raises what the work raises."""
        self._thrown = thrown
        self._go.release()
        if not self._back.acquire(timeout=STANDSTILL):
            raise RuntimeError(f"{self.name} does not come back")
        if self.over:
            self.thread.join()
        if self._error is not None and self._error is not thrown:
            raise self._error

    def wait(self) -> None:
        """Called by the work itself: the world is asked who goes on."""
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
        except BaseException as error:  # whatever it is: the world hears of it
            self._error = error
        self.over = True
        self._back.release()
