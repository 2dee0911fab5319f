"""What both kinds of bodies' stores can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from hub.store.blobs.payload import Payload, Staged
from hub.store.blobs.stored import StoredBody


class Blobs(Protocol):
    """Where bodies are kept. Order of use: `stage`, then `insert` inside the
    transaction; `abandon` if it never commits."""

    def stage(self, payloads: Sequence[Payload]) -> list[Staged]:
        """Make everything durable that does not go into the row; a source must stay until `insert`.

        Raises `StoreUnavailable`, `SyncFailed`, and `ValueError` when a payload is not what it says it is.
        """
        ...

    def insert(self, connection: Connection, blobs: Sequence[tuple[Staged, str, str]]) -> None:
        """The rows: (staged, message id, tenant)."""
        ...

    def abandon(self, staged: Iterable[Staged]) -> None:
        """What was staged will certainly never be named by a row."""
        ...

    def fetch(self, connection: Connection, ids: Sequence[str]) -> dict[str, StoredBody]:
        """The bodies with these ids; unknown ids are missing in the answer."""
        ...

    def delete(self, connection: Connection, ids: Sequence[str]) -> list[Staged]:
        """Delete the rows; `abandon` the result after the commit."""
        ...

    def erase(self, connection: Connection, message_ids: Sequence[str]) -> list[tuple[str, Staged]]:
        """Make these messages' bodies unreadable for good: (message, body);
        `abandon` the bodies after the commit."""
        ...

    def files(self) -> dict[str, Path]:
        """Every file there is, by its blob's id. Slow."""
        ...

    def prepare(self) -> None:
        """Called once, before anything else."""
        ...
