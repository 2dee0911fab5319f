"""A stand-in for the hub's `accept`: records what it is handed, and raises what the test asks for."""

from __future__ import annotations

import threading
from pathlib import Path

from hub.errors import HubError
from hub.message import Accepted, Incoming, new_message_id


class Door:
    """Knows duplicates like the hub; takes spooled files over by renaming them, like the store."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.store.mkdir(parents=True, exist_ok=True)
        self.taken: list[Incoming] = []
        self.bodies: dict[str, list[bytes]] = {}
        self.refuse: HubError | Exception | None = None
        self.asked = 0
        self._ids: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, incoming: Incoming) -> Accepted:
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
