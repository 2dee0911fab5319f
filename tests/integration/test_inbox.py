"""The watched folder on a real file system."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import inbox
from connectors._framing import IN_MEMORY
from hub.errors import NotAllowed, StoreUnavailable
from hub.message import Accepted, Incoming
from tests.services import wait_until
from tests.services.door import Door

FORM = b"<serviceportal-fields/>"
PLACE = "14999010/hundesteuer"
MAX_BYTES = 1_000_000


class Hub:
    """An inlet over three fresh folders; `look` scans once, entering it runs the inlet in a thread."""

    def __init__(self, folder: Path, kind: type[inbox.Inlet] = inbox.Inlet, **options: Any) -> None:
        self.root, self.done, self.rejected, self.spool = (
            folder / name for name in ("in", "done", "rejected", "spool"))
        for place in (self.root, self.done, self.rejected, self.spool):
            place.mkdir()
        self.door = Door(folder / "store")
        given = {"root": self.root, "done": self.done, "rejected": self.rejected, "sender": {"name": "town"},
                 "scan_seconds": 0.05, "stable_seconds": 0.000001}
        self.inlet = kind(inbox.Options(**(given | options)), "inbox", self.spool, MAX_BYTES)
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.inlet.run(self.door, self.stop)
        except BaseException as error:
            self.failures.append(error)

    def __enter__(self) -> Hub:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        assert self.failures == []

    def put(self, name: str, content: bytes = FORM, place: str = PLACE) -> Path:
        path = self.root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def look(self, times: int = 2) -> None:
        for _ in range(times):
            self.inlet.scan(self.door, threading.Event())


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    yield hub
    assert list(hub.spool.iterdir()) == []


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


# --- taken ------------------------------------------------------------------------------------------------------------


def test_a_file_is_one_application(hub: Hub) -> None:
    hub.put("antrag.xml")
    hub.look()
    taken = hub.door.taken[0]
    assert (taken.inlet, taken.sender, taken.ags, taken.service, taken.test, taken.key, taken.conflict) == (
        "inbox", "town", "14999010", "hundesteuer", False, None, "park")
    assert (taken.parts[0].name, taken.parts[0].media_type) == ("antrag.xml", "application/xml")
    assert hub.door.body() == [FORM]
    assert (tree(hub.root), tree(hub.done)) == (set(), {f"{PLACE}/antrag.xml"})


def test_a_folder_is_one_application_in_the_order_of_its_names(hub: Hub) -> None:
    hub.put("fall-1/antrag.xml")
    hub.put("fall-1/anlagen/foto.png", b"\x89PNG" * IN_MEMORY)
    hub.put("fall-1/.verborgen", b"x")
    hub.look()
    assert [part.name for part in hub.door.taken[0].parts] == ["foto.png", "antrag.xml"]
    assert hub.door.body() == [b"\x89PNG" * IN_MEMORY, FORM]
    assert len(hub.door.taken) == 1
    assert f"{PLACE}/fall-1/antrag.xml" in tree(hub.done)


@pytest.mark.parametrize(("place", "expected"), [
    ("test/14999010/hundesteuer", ("14999010", "hundesteuer", True)), ("14999010", ("14999010", "", False)),
    (".", ("", "", False)), ("test", ("", "", True)), ("unbekannt/x", ("unbekannt", "x", False)),
])
def test_the_place_is_handed_on_as_far_as_it_is_known(hub: Hub, place: str, expected: tuple[str, str, bool]) -> None:
    hub.put("a.xml", place=place)
    hub.look()
    taken = hub.door.taken[0]
    assert (taken.ags, taken.service, taken.test) == expected
    assert tree(hub.root) == set()


# --- complete ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".a.xml", "~a.xml", "a.xml.part", "A.TMP"])
def test_temporary_names_are_not_looked_at(hub: Hub, name: str) -> None:
    hub.put(name)
    hub.look(3)
    assert hub.door.asked == 0


def test_a_growing_file_is_left_alone_until_it_is_stable(tmp_path: Path) -> None:
    hub = Hub(tmp_path, stable_seconds=1000)
    path = hub.put("a.xml", b"<half")
    hub.look()
    assert hub.door.asked == 0
    hub.inlet._seen[path].since -= 2000
    path.write_bytes(b"<half><other half/>")
    hub.look(1)
    assert hub.door.asked == 0, "it changed between two looks, so its time begins anew"
    hub.inlet._seen[path].since -= 2000
    hub.look(1)
    assert hub.door.body() == [b"<half><other half/>"]


def test_a_folder_is_stable_only_when_everything_in_it_is(tmp_path: Path) -> None:
    hub = Hub(tmp_path, stable_seconds=1000)
    hub.put("fall/a.xml")
    hub.look()
    hub.inlet._seen[hub.root / PLACE / "fall"].since -= 2000
    hub.put("fall/b/c.xml")
    hub.look(1)
    assert hub.door.asked == 0


def test_with_a_marker_a_folder_waits_for_it(tmp_path: Path) -> None:
    hub = Hub(tmp_path, marker="fertig", stable_seconds=1000)
    hub.put("fall/a.xml")
    hub.look(3)
    assert hub.door.asked == 0
    hub.put("fall/fertig", b"")
    hub.look(1)
    assert [part.name for part in hub.door.taken[0].parts] == ["a.xml"]


def test_a_file_renamed_to_its_place_is_taken_at_once(tmp_path: Path) -> None:
    with Hub(tmp_path, scan_seconds=1000, stable_seconds=1000) as hub:
        part = hub.put("a.xml.part")
        wait_until(lambda: hub.inlet.wake.is_set() or hub.thread.is_alive(), "the inlet")
        count = 0

        def renamed() -> bool:  # the watch on a folder made a moment ago may come too late for the first ones
            nonlocal count
            count += 1
            part.write_bytes(f"{count}".encode())
            part.rename(part.with_name(f"{count}.xml"))
            return len(hub.door.taken) > 0

        wait_until(renamed, "a file without waiting for the scan")


def test_links_and_special_files_are_never_read(hub: Hub, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.xml").write_bytes(b"secret")
    hub.put("fall/a.xml")
    (hub.root / PLACE / "link.xml").symlink_to(secret)
    (hub.root / PLACE / "linked").symlink_to(tmp_path / "elsewhere")
    (hub.root / PLACE / "fall" / "link.xml").symlink_to(secret)
    (hub.root / PLACE / "fall" / "linked").symlink_to(tmp_path / "elsewhere")
    (hub.root / "14999020").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(hub.root / PLACE / "pipe")
    hub.look(3)
    assert [[part.name for part in taken.parts] for taken in hub.door.taken] == [["a.xml"]]


def test_a_link_put_in_at_the_last_moment_is_not_followed(hub: Hub, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: the checks before are blinded; opening itself must refuse."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    hub.put("a.xml")
    hub.look(1)
    (hub.root / PLACE / "a.xml").unlink()
    (hub.root / PLACE / "a.xml").symlink_to(secret)
    monkeypatch.setattr(inbox, "_mode", lambda path: path.stat().st_mode)
    with pytest.raises(PermissionError, match="1 entries"):
        hub.look(3)
    assert hub.door.taken == []


# --- acknowledged -----------------------------------------------------------------------------------------------------


def test_while_the_store_is_unavailable_everything_stays(hub: Hub) -> None:
    hub.put("a.xml")
    hub.put("b.xml", b"x" * (IN_MEMORY + 1))
    hub.door.refuse = StoreUnavailable("disk", retry_after=0)
    hub.look(3)
    assert hub.door.asked >= 1
    assert (tree(hub.done), tree(hub.rejected)) == (set(), set())
    assert tree(hub.root) == {f"{PLACE}/a.xml", f"{PLACE}/b.xml"}
    hub.door.refuse = None
    hub.look()
    assert tree(hub.done) == {f"{PLACE}/a.xml", f"{PLACE}/b.xml"}


def test_without_room_everything_stays_and_nothing_is_read(hub: Hub) -> None:
    asked: list[int] = []

    def full(size: int) -> None:
        asked.append(size)
        raise StoreUnavailable("the disk fills", retry_after=0)

    hub.inlet.admit = full
    hub.put("a.xml", b"x" * (IN_MEMORY + 1))
    hub.look(3)
    assert set(asked) == {IN_MEMORY + 1} and hub.door.asked == 0
    assert tree(hub.root) == {f"{PLACE}/a.xml"}
    hub.inlet.admit = lambda size: None
    hub.look()
    assert tree(hub.done) == {f"{PLACE}/a.xml"}


class Hasty(inbox.Inlet):
    """Planted fault: moves before `accept` returned."""

    def _hand_over(self, entry: Path, accept: Any) -> None:
        def hasty(incoming: Incoming) -> Accepted:
            try:
                return accept(incoming)
            except StoreUnavailable:
                return Accepted("too-early")
        super()._hand_over(entry, hasty)


def test_an_inlet_that_moves_too_early_is_noticed(tmp_path: Path) -> None:
    hub = Hub(tmp_path, Hasty)
    hub.put("a.xml")
    hub.door.refuse = StoreUnavailable("disk", retry_after=0)
    hub.look(3)
    assert tree(hub.root) == set()
    assert hub.door.taken == []


def test_refused_and_too_large_files_are_put_aside(hub: Hub) -> None:
    told: list[str] = []
    hub.inlet.turned_away = told.append
    hub.door.refuse = NotAllowed("no")
    hub.put("a.xml")
    hub.look()
    hub.door.refuse = None
    hub.put("large.xml", b"x" * (MAX_BYTES + 1))
    for no in range(3):
        hub.put(f"fall/{no}", b"x" * (MAX_BYTES // 2))
    hub.look()
    assert hub.door.taken == []
    assert tree(hub.rejected) == {f"{PLACE}/{name}" for name in ("a.xml", "large.xml", "fall/0", "fall/1", "fall/2")}
    assert told == ["too-large", "too-large"], "the hub's own refusals are counted at its door"


def test_after_a_death_between_accept_and_move_it_is_moved_without_a_second_message(hub: Hub) -> None:
    path = hub.put("a.xml", b"x" * (IN_MEMORY + 1))
    hub.look()
    shutil.move(hub.done / PLACE / "a.xml", path)
    hub.look()
    assert len(hub.door.taken) == 1
    assert tree(hub.root) == set()


def test_the_same_name_again_gets_a_number(hub: Hub) -> None:
    for no in range(3):
        hub.put("a.xml", f"{no}".encode())
        hub.look()
    assert tree(hub.done) == {f"{PLACE}/a.xml", f"{PLACE}/a-2.xml", f"{PLACE}/a-3.xml"}
    assert (hub.done / PLACE / "a.xml").read_bytes() == b"0"


def test_what_cannot_be_moved_does_not_hold_up_the_others(hub: Hub) -> None:
    (hub.done / "14999010").write_bytes(b"a file where a folder should be")
    hub.put("a.xml")
    hub.put("b.xml", place="14999020/hundesteuer")
    with pytest.raises(PermissionError, match="1 entries"):
        hub.look()
    assert tree(hub.done) == {"14999010", "14999020/hundesteuer/b.xml"}
    assert tree(hub.root) == {f"{PLACE}/a.xml"}


# --- running ----------------------------------------------------------------------------------------------------------


# watchdog's own thread may die in a race with the removal of its folder; that the inlet goes on is what is tested.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("events", [True, False])
def test_a_folder_made_again_is_noticed_with_and_without_events(tmp_path: Path, events: bool) -> None:
    with Hub(tmp_path, events=events) as hub:
        hub.put("a.xml", b"1")
        wait_until(lambda: len(hub.door.taken) == 1, "the first")
        wait_until(lambda: tree(hub.done) == {f"{PLACE}/a.xml"}, "its move")
        shutil.rmtree(hub.root)
        hub.put("b.xml", b"2")
        wait_until(lambda: len(hub.door.taken) == 2, "the second, in the new folder")


def test_after_a_renewed_root_events_work_again(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    first = hub.inlet._watched(None)
    assert first
    shutil.rmtree(hub.root)
    hub.root.mkdir()
    second = hub.inlet._watched(first)
    try:
        assert second and second is not first and second.holds()
        hub.inlet.wake.clear()
        (hub.root / "a.part").write_bytes(b"")
        (hub.root / "a.part").rename(hub.root / "a")
        assert hub.inlet.wake.wait(20)
    finally:
        if second:
            second.end()


def test_done_below_the_root_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="outside"):
        inbox.Options(root=tmp_path, sender={"name": "x"}, done=tmp_path / "done", rejected=tmp_path.parent)


def test_check_names_the_missing_folder(hub: Hub) -> None:
    assert {finding.severity for finding in hub.inlet.check()} == {"ok"}
    hub.rejected.rmdir()
    assert [finding.text for finding in hub.inlet.check() if finding.severity == "error"] == [
        f"Abgelehnt: Ordner {hub.rejected} fehlt"]
