"""The methods that both keepers of bodies have.

`hub.store.blobs.files.FileBlobs` keeps bodies beside SQLite, `hub.store.blobs.rows.RowBlobs` in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from hub.store.blobs.payload import Payload, Staged
from hub.store.blobs.stored import StoredBody


class Blobs(Protocol):
    """A keeper of bodies. Call `stage`, then `insert` inside the transaction, or `abandon` if it fails."""

    def stage(self, payloads: Sequence[Payload]) -> list[Staged]:
        """Make durable what does not go into the row. The sources must stay until `insert`.

        Raises `StoreUnavailable` and `SyncFailed`, and `ValueError` when a payload does not have its size or
        digest.
        """
        ...

    def insert(self, connection: Connection, blobs: Sequence[tuple[Staged, str, str]]) -> None:
        """Insert the rows, given as (staged, message id, tenant)."""
        ...

    def abandon(self, staged: Iterable[Staged]) -> None:
        """Throw staged bodies away that no row will ever name."""
        ...

    def fetch(self, connection: Connection, ids: Sequence[str]) -> dict[str, StoredBody]:
        """The bodies with these ids. Unknown ids are missing in the answer."""
        ...

    def delete(self, connection: Connection, ids: Sequence[str]) -> list[Staged]:
        """Delete the rows. `abandon` the result after the commit."""
        ...

    def erase(self, connection: Connection, message_ids: Sequence[str]) -> list[tuple[str, Staged]]:
        """Make the bodies of these messages unreadable for good. `abandon` the bodies after the commit.

        Returns pairs of message id and body.
        """
        ...

    def files(self) -> dict[str, Path]:
        """Every file, by the id of its body. Slow."""
        ...

    def prepare(self) -> None:
        """Prepare the place. Call it once, before anything else."""
        ...
