"""A message that a broker has laid aside because nobody took it, and what can be done with it.

Connectors take it from `hub.endpoint`, whose contract it is a part of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Returned = Literal["returned", "not-ours", "no-queue", "refused", "unreadable"]
"""What came of giving a dead letter back to its queue. All but ``returned``: it still lies where it was.
``not-ours``: it did not come from a queue of this inlet; ``no-queue``: its queue is gone; ``refused``: its
queue is full; ``unreadable``: its properties cannot be read, so they would be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter, without its body. It holds nothing that a sender may have taken from an application.
    """

    id: str
    """Made of body and properties: the same at each look. Two letters that are alike have the same."""
    at: datetime | None
    """When it was laid aside (aware)."""
    queue: str | None
    """In which queue it lay before."""
    reason: str
    """The broker's word for why: ``rejected``, ``expired``, ``delivery_limit``, ``maxlen``; else
    ``unknown``."""
    size: int
    """Bytes of its body."""
    message_id: str | None
    """Its sender's own id for it, cut and cleaned."""
    properties: Mapping[str, str]
    """What else may be shown of it, by name."""


class DeadLetters(Protocol):
    """The dead letters at one broker. Raises `Busy` when the line is lost, `ConfigError` when the broker says
    no."""

    def count(self) -> int:
        """How many there are now."""

    def first(self, limit: int | None = None) -> list[DeadLetter]:
        """The oldest, at most so many. All stay where they are."""

    def body(self, id: str) -> bytes | None:
        """The body of the one with this id; None when it is gone."""

    def give_back(self, ids: Collection[str]) -> Iterator[tuple[DeadLetter, Returned]]:
        """Give those with these ids back to the queues they came from.

        Each is taken away only after its queue has it for certain. Whatever breaks off in between, it is
        there at least once.
        """
