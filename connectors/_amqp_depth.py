"""How many messages lie in a queue, asked beside the consumers and without waiting for the answer.

A queue without a leader may not answer for long, and a queue that is gone is an error of its channel. Neither
must hold up or end what goes on over the same connection. py-amqp's own `queue_declare` does both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from amqp import spec
from amqp.channel import Channel
from amqp.serialization import loads

UNANSWERED = 3
"""After so many times of `seconds` without an answer nobody knows any more."""


class Depth:
    """Asks now and then. For the connection's own thread."""

    def __init__(self, link: Any, queue: str, seconds: float, told: Callable[[int | None], None],
                 now: Callable[[], float] = time.monotonic) -> None:
        """`told` hears how many there are, or None when the broker does not say."""
        self._link = link
        self._queue = queue
        self._seconds = seconds
        self._told = told
        self._now = now
        self._channel: _Asking | None = None
        self._asked: float | None = None
        self._next = now()

    def tick(self) -> None:
        """Ask, when it is time. Raises py-amqp's errors and `OSError` when the connection is lost."""
        now = self._now()
        if self._asked is not None:
            if now - self._asked > UNANSWERED * self._seconds:
                self._asked = now  # its answer may still come
                self._told(None)
        elif now >= self._next:
            self._ask(now)

    def _ask(self, now: float) -> None:
        self._asked, self._next = now, now + self._seconds
        if self._channel is None:
            self._channel = _Asking(self._link, self._answered)
            self._channel.open()
        self._channel.ask(self._queue)

    def _answered(self, count: int | None) -> None:
        self._asked = None
        if count is None:
            self._channel = None  # the broker has closed it
        self._told(count)


class _Asking(Channel):  # type: ignore[misc]
    """A channel that only asks for the depth of queues."""

    def __init__(self, link: Any, answered: Callable[[int | None], None]) -> None:
        self.answered = answered
        super().__init__(link)

    def ask(self, queue: str) -> None:
        """Passive, so that nothing is declared; with an answer, but it is not waited for."""
        self.send_method(spec.Queue.Declare, "BsbbbbbF", (0, queue, True, False, False, False, False, {}))

    def dispatch_method(self, method_sig: tuple[int, int], payload: bytes, content: Any) -> None:
        """What the broker says. Its no is an answer here, never an error."""
        if method_sig == spec.Queue.DeclareOk:
            (_, count, _), _ = loads("sll", payload, 4)
            self.answered(count)
        elif method_sig == spec.Channel.Close:
            self.send_method(spec.Channel.CloseOk)
            self.collect()
            self.answered(None)
        else:
            super().dispatch_method(method_sig, payload, content)
