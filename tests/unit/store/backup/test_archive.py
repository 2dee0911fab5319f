"""A backup that is spoilt is told from one that is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.errors import HubError
from hub.store.backup import restore, take
from hub.store.backup.archive import BadBackup
from hub.store.database import sqlite
from hub.store.integrity import silent
from hub.store.store import Store
from tests.unit.store.backup.kit import LARGE, flip, restored
from tests.unit.store_kit import (
    accept,
    incoming,
    opened,
)


def body_of(place: Path) -> Path:
    return next(place.glob("blobs/*/*"))
SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda place: (place / "manifest.json").unlink(), "was not finished"),
    "another count": (lambda place: (place / "manifest.json").write_text(
        (place / "manifest.json").read_text().replace('"messages": 2', '"messages": 3')),
                      "does not have its digest"),
    "a later format":
    (lambda place: (place / "manifest.json").write_text(json.dumps({"format": 9})), "format 9"),
    "no json": (lambda place: (place / "manifest.json").write_text("{"), "cannot be read"),
    "other sums": (lambda place: flip(place / "SHA256SUMS", 3), "SHA256SUMS: does not have its digest"),
    "a flipped body": (lambda place: flip(body_of(place)), "does not have its digest"),
    "a lost body": (lambda place: body_of(place).unlink(), "No such file"),
    "a body more": (lambda place: (place / "blobs" / "more").write_bytes(b"x"), "does not belong"),
    "a flipped table":
    (lambda place: flip(place / "store.sqlite3", 5000), "store.sqlite3: does not have its digest"),
    "a link": (lambda place: (body := body_of(place)).rename(body.with_name("x")) and body.symlink_to("x"),
               "does not belong"),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoilt_backup_is_not_restored(tmp_path: Path, store: Store, spoil: str) -> None:
    accept(store, incoming(LARGE))
    accept(store, incoming())
    take.take(store, tmp_path / "backup", silent)
    act, told = SPOILS[spoil]
    act(tmp_path / "backup")
    with pytest.raises(BadBackup, match=told):
        restore.verify(tmp_path / "backup", silent)
    with pytest.raises(BadBackup, match=told):
        restored(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new" / "store.sqlite3").exists()
    with opened(tmp_path / "new") as empty:
        assert empty.find_messages() == []


def test_tables_that_are_damaged_before_the_backup_are_found(tmp_path: Path, store: Store) -> None:
    """The digest fits; SQLite's own check does not."""
    accept(store, incoming())
    real = sqlite.copy

    def spoilt(connection: Any, file: Path, *rest: Any) -> None:
        real(connection, file, *rest)
        with file.open("r+b") as raw:
            raw.seek(4096 * 3)
            raw.write(os.urandom(4096 * 4))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "copy", spoilt)
        take.take(store, tmp_path / "backup", silent)
    with pytest.raises((BadBackup, HubError, Exception), match=r"store\.sqlite3|malformed|disk image"):
        restore.verify(tmp_path / "backup", silent)


def test_no_tar_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(BadBackup, match="neither a folder nor a tar"):
        restore.verify(tmp_path / "x.tar", silent)
    with pytest.raises(BadBackup, match="is not there"):
        restore.verify(tmp_path / "nothing", silent)
