"""An upload in a folder: what of it is whole, left out, changed; and names that still fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._upload import LEFT_OUT, UNFINISHED, Names, Patterns, Snapshot, move, numbered

NAMES = Names(Patterns(UNFINISHED), Patterns(LEFT_OUT), "fertig")


@pytest.mark.parametrize("name", [
    "antrag.xml", "part.pdf", "Teil.partiell.pdf", "antrag.part-2.pdf", "tmp", "download.pdf", "a.xml~",
    "thumbs.db.xml"])
def test_ordinary_names_are_neither_unfinished_nor_left_out(name: str) -> None:
    assert (NAMES.unfinished.find(name), NAMES.left_out.find(name)) == (None, None)


def test_small_and_capital_letters_are_the_same() -> None:
    assert Patterns(["*.Part", "Thumbs.db"]).find("THUMBS.DB") == "Thumbs.db"
    assert Patterns(["*.Part"]).find("x.pART") == "*.Part"


def test_a_folder_is_divided(tmp_path: Path) -> None:
    for name in ("b.xml", "a/c.pdf", "a/Thumbs.db", "__MACOSX/x.part", "fertig"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    contents = Snapshot.take(tmp_path).contents(NAMES)
    assert [str(file.relative_to(tmp_path)) for file in contents.files] == ["a/c.pdf", "b.xml"]
    assert (contents.unfinished, contents.marked, contents.special) == (False, True, 2)
    assert contents.left == {"Thumbs.db": 1, "__MACOSX": 1}
    assert len(contents.notes()) == 2
    (tmp_path / "a" / "d.part").write_bytes(b"")
    assert Snapshot.take(tmp_path).contents(NAMES).unfinished


@pytest.mark.parametrize("change", [
    lambda root: (root / "a").write_bytes(b"other"), lambda root: (root / "b").write_bytes(b""),
    lambda root: (root / "a").unlink(), lambda root: (root / "a").rename(root / "c"),
    lambda root: ((root / "a").unlink(), (root / "a").symlink_to("/")), lambda root: (root / "d").mkdir()])
def test_whatever_is_written_makes_another_snapshot(tmp_path: Path, change: Callable[[Path], object]) -> None:
    (tmp_path / "a").write_bytes(b"x")
    before = Snapshot.take(tmp_path)
    assert Snapshot.take(tmp_path) == before
    change(tmp_path)
    assert Snapshot.take(tmp_path) != before


def test_a_folder_within_that_cannot_be_read_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: left out, its files would be missing and nobody would know."""
    (tmp_path / "a").mkdir()
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith("/a"):
            raise PermissionError(13, "denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(PermissionError):
        Snapshot.take(tmp_path)


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=255)
       .filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255), st.integers(1, 12345))
def test_a_number_never_makes_a_name_too_long(name: str, count: int) -> None:
    made = numbered(name, count, ".grund.txt")
    assert len(os.fsencode(made)) <= 255
    assert made.endswith(".grund.txt")
    assert numbered(name, 1) == name


def test_moved_to_a_taken_name_it_gets_a_number(tmp_path: Path) -> None:
    for no in range(3):
        (tmp_path / "a.tar.gz").write_bytes(b"%d" % no)
        move(tmp_path / "a.tar.gz", tmp_path / "done" / "x")
    assert {path.name for path in (tmp_path / "done" / "x").iterdir()} == {
        "a.tar.gz", "a.tar-2.gz", "a.tar-3.gz"}
