"""The watch on a folder: it wakes, it names what was renamed, and it notices another folder of the same name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors._watch import Events, Watch


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def watch(tmp_path: Path, events: Events) -> Iterator[Watch]:
    (tmp_path / "in").mkdir()
    watch = Watch(tmp_path / "in", events)
    yield watch
    watch.end()


def rename_something(root: Path, events: Events) -> Path:
    events.wake.clear()
    (root / "a.part").write_bytes(b"")
    return (root / "a.part").rename(root / "a")


def test_what_is_renamed_to_its_place_is_named_once(tmp_path: Path, watch: Watch, events: Events) -> None:
    watch.renew()
    renamed = rename_something(tmp_path / "in", events)
    found: set[str] = set()
    while not found:
        assert events.wake.wait(20)
        events.wake.clear()
        found = events.take_renamed()
    assert found == {str(renamed)}
    assert events.take_renamed() == set()


# watchdog's own thread may die in a race with the removal of its folder
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_folder_made_again_is_watched_after_the_next_look(tmp_path: Path, watch: Watch,
                                                            events: Events) -> None:
    watch.renew()
    assert watch.holds()
    shutil.rmtree(tmp_path / "in")
    assert not watch.holds()
    (tmp_path / "in").mkdir()
    assert not watch.holds(), "another folder, though of the same name"
    watch.renew()
    assert watch.holds()
    rename_something(tmp_path / "in", events)
    assert events.wake.wait(20)


def test_without_a_folder_there_are_no_events_and_no_error(tmp_path: Path, watch: Watch) -> None:
    (tmp_path / "in").rmdir()
    watch.renew()
    assert not watch.holds()
    watch.end()


def test_after_its_end_nothing_wakes(tmp_path: Path, watch: Watch, events: Events) -> None:
    watch.renew()
    watch.end()
    rename_something(tmp_path / "in", events)
    assert not events.wake.wait(0.5)
    watch.renew()
    assert watch.holds()
