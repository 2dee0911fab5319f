"""A stand-in for the hub's `accept`. It records what it is handed, and raises what the test asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from hub.errors import HubError, StoreUnavailable
from hub.message import Accepted, Incoming, new_message_id


class OneByOne:
    """Makes a `hub.endpoint.Accept` of a function that accepts one message."""

    def __init__(self, accept: Callable[[Incoming], Accepted]) -> None:
        self._accept = accept

    def __call__(self, incoming: Incoming) -> Accepted:
        return self._accept(incoming)

    def together(self, incomings: Sequence[Incoming]) -> list[Accepted | Exception]:
        """Accept several messages."""
        answers: list[Accepted | Exception] = []
        for incoming in incomings:
            try:
                answers.append(self(incoming))
            except Exception as error:
                answers.append(error)
        return answers


class Door(OneByOne):
    """Knows duplicates like the hub. Takes spooled files over by renaming them, like the store.

    `refuse` is raised instead of an answer. While `open` is not set, nobody gets an answer. `lose_answers`
    counts the answers that get lost after the message was taken, as when the hub dies between its commit and
    the acknowledgement.
    """

    def __init__(self, store: Path) -> None:
        super().__init__(self._take_in)
        self.store = store
        self.store.mkdir(parents=True, exist_ok=True)
        self.taken: list[Incoming] = []
        self.bodies: dict[str, list[bytes]] = {}
        self.refuse: HubError | Exception | None = None
        self.lose_answers = 0
        self.open = threading.Event()
        self.open.set()
        self.asked = 0
        self._ids: dict[str, str] = {}
        self._lock = threading.Lock()

    def _take_in(self, incoming: Incoming) -> Accepted:
        with self._lock:
            self.asked += 1
        self.open.wait()
        with self._lock:
            if self.refuse is not None:
                raise self.refuse
            key = incoming.duplicate_key()
            if key in self._ids:
                return Accepted(self._ids[key], duplicate=True)
            self._ids[key] = new_message_id()
            self.bodies[self._ids[key]] = [self._take(part.content) for part in incoming.parts]
            self.taken.append(incoming)
            if self.lose_answers:
                self.lose_answers -= 1
                raise StoreUnavailable("the answer is lost", retry_after=0.05)
            return Accepted(self._ids[key])

    def body(self, no: int = -1) -> list[bytes]:
        """The bodies of the message taken as the `no`-th."""
        return list(self.bodies.values())[no]

    def _take(self, content: bytes | Path) -> bytes:
        if isinstance(content, bytes):
            return content
        place = content.rename(self.store / new_message_id())
        return place.read_bytes()
