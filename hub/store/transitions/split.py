"""A hand-over with several applications becomes messages of their own.

Each gets an id that follows from the hand-over's and its number (`hub.message.split_id`), a duplicate key of
its own, its own copies of the bodies, and the correlation that all of them share. They are accepted in the
transaction that ends the hand-over (`hub.store.transitions.messages.record`): whenever the hub dies, either
the hand-over is still waiting and nothing else is there, or all of them are there, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from hub.job import SplitGroup
from hub.message import Incoming, IncomingPart, StoredMessage, StoredPart, split_id
from hub.store.blobs.payload import Damaged, Payload, Slice, Staged
from hub.store.blobs.protocol import Blobs
from hub.store.blobs.stored import StoredBody
from hub.store.transitions.messages import Arrival

SHARED = "attachment"
"""The name of a part of which no document says whose it is: one application's printout must not become
another's."""


def arrivals(message: StoredMessage, groups: Sequence[SplitGroup], bodies: Mapping[str, StoredBody],
             stage: Callable[[Sequence[Payload]], list[Staged]], blobs: Blobs, config_digest: str,
             files: ExitStack) -> Iterator[Arrival]:
    """The messages that a hand-over is split into, with their bodies staged one by one.

    `files` keeps open what the transaction may still read. Raises `IndexError` for a part that the hand-over
    does not have, `Damaged`, and what `stage` raises.
    """
    received = [part for part in message.parts if part.role == "received"]
    for number, group in enumerate(groups, 1):
        chosen = sorted([*((place, False) for place in group.parts),
                         *((place, True) for place in group.shared)])
        parts = [received[place] for place, _ in chosen]
        incoming = _incoming(message, number, len(groups), group,
                             [_part(received[place], shared=shared) for place, shared in chosen])
        staged = stage([_payload(part, bodies, files) for part in parts])
        content = incoming.content_digest()
        yield Arrival(incoming, message.tenant, message.accepted_day, config_digest,
                      incoming.duplicate_key(content), content, tuple(staged), blobs, None,
                      partial(split_id, message.id, number))


def _incoming(message: StoredMessage, number: int, count: int, group: SplitGroup,
              parts: Sequence[IncomingPart]) -> Incoming:
    notes = [f"Antrag {number} von {count} aus der Übergabe {message.id}."]
    if group.shared:
        notes.append(f"{len(group.shared)} Anlage(n) nennt keiner der Anträge; sie gehen mit jedem.")
    return Incoming(inlet=message.inlet, sender=message.sender, ags=message.ags, service=message.service,
                    parts=tuple(parts), test=message.test, key=f"{message.id}/{number}", case=message.case,
                    notes=tuple(notes))


def _part(part: StoredPart, *, shared: bool) -> IncomingPart:
    """The same part; its bytes come from the store."""
    return IncomingPart(SHARED if shared else part.name, part.media_type, b"", part.size, part.sha256,
                        part.filename or part.name if shared else part.filename)


def _payload(part: StoredPart, bodies: Mapping[str, StoredBody], files: ExitStack) -> Payload:
    """The body of a part, to be stored once more. Raises `Damaged`."""
    body = bodies.get(part.blob)
    if body is None:
        raise Damaged(f"Inhalt {part.blob}: er fehlt")
    place = body.place()
    if place is None:
        return Payload(body.read(), part.size, part.sha256)
    fd = os.open(place[0], os.O_RDONLY | os.O_CLOEXEC)
    files.callback(os.close, fd)
    return Payload(Slice(fd, place[1]), part.size, part.sha256)
