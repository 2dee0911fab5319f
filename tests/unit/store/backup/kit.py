"""What the tests of backups share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.store.backup import restore, take
from hub.store.integrity import silent
from hub.store.store import Store

LARGE = b"<a>" + b"x" * 5000 + b"</a>"


def restored(place: Path, state: Path, **options: Any) -> dict[str, Any]:
    return restore.restore(place, state,
                           **{"replace": False, "not_run_since": False, "progress": silent, **options})


def flip(file: Path, at: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def put_back(store: Store, tmp_path: Path, **options: Any) -> Store:
    """Back up now, restore elsewhere, open there."""
    take.take(store, tmp_path / "backup", silent)
    restored(tmp_path / "backup", tmp_path / "new", **options)
    return Store.open(tmp_path / "new", inline=1000)
