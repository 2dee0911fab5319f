"""The store's files are the hub's alone, whatever the umask, and what is too open is closed at the start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hub.store import rights
from hub.store.backup.take import take
from hub.store.integrity import silent
from hub.store.store import Store
from tests.unit.store_kit import accept, incoming, spooled


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def too_open(folder: Path) -> list[str]:
    """What somebody else could read, as far as the way there goes."""
    found = []
    for place in folder.iterdir():
        mode = place.lstat().st_mode & 0o777
        if mode & 0o077:
            found.append(f"{place.name} {mode:o}")
    return found


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077])
def test_new_files_are_the_hubs_alone(tmp_path: Path, mask: int) -> None:
    with umask(mask), closing(Store.open(tmp_path / "state")) as store:
        accept(store, incoming())
        accept(store, incoming(parts=(spooled(tmp_path, b"x" * (1 << 20)),), key="k"))
        names = {place.name for place in (tmp_path / "state").iterdir()}
        assert {"store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm", "blobs"} <= names
        assert too_open(tmp_path / "state") == []
        take(store, tmp_path / "backup", silent)
        take(store, tmp_path / "backup.tar", silent)
    assert too_open(tmp_path / "backup") == []
    assert [each for each in too_open(tmp_path) if each.startswith("backup")] == []


def test_what_is_too_open_is_closed_at_the_start_and_said(tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    with closing(Store.open(state)) as store:
        message = accept(store, incoming())
        store.let_go()
    for name, mode in (("store.sqlite3", 0o664), ("blobs", 0o755), ("spool", 0o777)):
        (state / name).chmod(mode)
    (state / "before-restore-20260101T000000Z").mkdir(mode=0o755)
    capsys.readouterr()
    with closing(Store.open(state)) as store:
        assert store.get_message(message.id).id == message.id
        assert too_open(state) == []
    said = capsys.readouterr().out
    for name in ("store.sqlite3", "blobs", "spool", "before-restore-20260101T000000Z"):
        assert f"{state / name}" in said
    with closing(Store.open(state)):
        assert capsys.readouterr().out == "", "it is said once"


def test_what_cannot_be_closed_is_said_and_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lock").touch(mode=0o644)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refused)
    assert rights.tighten(tmp_path) == []
    assert "not the hub's to close" in capsys.readouterr().out


def test_a_file_that_is_there_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a descriptor would take SQLite's locks away."""
    rights.create(tmp_path / "store.sqlite3")
    closed: list[int] = []
    monkeypatch.setattr(os, "close", closed.append)
    rights.create(tmp_path / "store.sqlite3")
    assert closed == []
