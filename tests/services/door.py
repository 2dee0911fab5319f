"""A stand-in for the hub's `accept`. It records what it is handed, and raises what the test asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from hub.errors import HubError
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
    """Recognises duplicates like the hub, and takes spooled files over by renaming them, like the store."""

    def __init__(self, store: Path) -> None:
        super().__init__(self._take_in)
        self.store = store
        self.store.mkdir(parents=True, exist_ok=True)
        self.taken: list[Incoming] = []
        self.bodies: dict[str, list[bytes]] = {}
        self.refuse: HubError | Exception | None = None
        self.asked = 0
        self._ids: dict[str, str] = {}
        self._lock = threading.Lock()

    def _take_in(self, incoming: Incoming) -> Accepted:
        with self._lock:
            self.asked += 1
            if self.refuse is not None:
                raise self.refuse
            key = incoming.duplicate_key()
            if key in self._ids:
                return Accepted(self._ids[key], duplicate=True)
            self._ids[key] = new_message_id()
            self.bodies[self._ids[key]] = [self._take(part.content) for part in incoming.parts]
            self.taken.append(incoming)
            return Accepted(self._ids[key])

    def body(self, no: int = -1) -> list[bytes]:
        """The bodies of the message taken as the `no`-th."""
        return list(self.bodies.values())[no]

    def _take(self, content: bytes | Path) -> bytes:
        if isinstance(content, bytes):
            return content
        place = content.rename(self.store / new_message_id())
        return place.read_bytes()
