"""The watched folder on a real file system."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import inbox
from connectors._framing import IN_MEMORY
from hub.errors import NotAllowed, StoreUnavailable
from tests.integration.inbox_site import PLACE, InboxSite
from tests.integration.inlet_contract import MAX_BYTES, SMALL, Fault, InletContract
from tests.integration.planted_inlets import PlantedInlets
from tests.services import wait_until


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Folder(InboxSite):
    """Its inlet looks when the test says so, unless the site is entered."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.clock: Callable[[], float] = time.monotonic

    def build(self, kind: Any) -> inbox.Inlet:
        built: inbox.Inlet = kind(self.options(), self.fault.context(self.context()), clock=self.clock)
        return built

    def put(self, name: str, content: bytes = SMALL, place: str = PLACE) -> Path:
        path = self.root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def look(self, times: int = 2) -> None:
        for _ in range(times):
            self.inlet.scan(self.door, threading.Event())


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Folder]:
    hub = Folder(tmp_path)
    yield hub
    assert hub.spooled() == []


@pytest.fixture
def timed(tmp_path: Path) -> Callable[..., tuple[Folder, Clock]]:
    """A folder whose time the test sets."""
    def build(**options: Any) -> tuple[Folder, Clock]:
        hub, clock = Folder(tmp_path, **({"stable_seconds": 1000} | options)), Clock()
        hub.clock = clock
        return hub, clock
    return build


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


# watchdog's own thread may die in a race with the removal of its folder. That the inlet goes on is tested.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
class TestContract(InletContract, PlantedInlets):
    """What every inlet promises."""

    @pytest.fixture(params=[True, False], ids=["events", "no-events"])
    def site(self, request: pytest.FixtureRequest, tmp_path: Path) -> InboxSite:
        return InboxSite(tmp_path, events=request.param)


# --- taken --------------------------------------------------------------------------------------------------


def test_a_file_is_one_application(hub: Folder) -> None:
    hub.put("antrag.xml")
    hub.look()
    taken = hub.door.taken[0]
    assert (taken.inlet, taken.sender, taken.ags, taken.service, taken.test, taken.key, taken.conflict) == (
        "inlet", "town", "14999010", "hundesteuer", False, None, "park")
    assert (taken.parts[0].name, taken.parts[0].media_type) == ("antrag.xml", "application/xml")
    assert hub.door.body() == [SMALL]
    assert (tree(hub.root), tree(hub.done)) == (set(), {f"{PLACE}/antrag.xml"})


def test_a_folder_is_one_application_in_the_order_of_its_names(hub: Folder) -> None:
    hub.put("fall-1/antrag.xml")
    hub.put("fall-1/anlagen/foto.png", b"\x89PNG" * IN_MEMORY)
    hub.look()
    assert [part.name for part in hub.door.taken[0].parts] == ["foto.png", "antrag.xml"]
    assert hub.door.body() == [b"\x89PNG" * IN_MEMORY, SMALL]
    assert len(hub.door.taken) == 1
    assert f"{PLACE}/fall-1/antrag.xml" in tree(hub.done)


@pytest.mark.parametrize(("place", "expected"), [
    ("test/14999010/hundesteuer", ("14999010", "hundesteuer", True)),
    ("Test/14999010/hundesteuer", ("14999010", "hundesteuer", True)),
    ("TEST/14999010/hundesteuer", ("14999010", "hundesteuer", True)), ("14999010", ("14999010", "", False)),
    (".", ("", "", False)), ("test", ("", "", True)), ("unbekannt/x", ("unbekannt", "x", False)),
])
def test_the_place_is_handed_on_as_far_as_it_is_known(hub: Folder, place: str,
                                                      expected: tuple[str, str, bool]) -> None:
    hub.put("a.xml", place=place)
    hub.look()
    taken = hub.door.taken[0]
    assert (taken.ags, taken.service, taken.test) == expected
    assert tree(hub.root) == set()


# --- complete -----------------------------------------------------------------------------------------------


STILL_WRITTEN = (".a.xml", "~a.xml", "a.xml.part", "A.TMP", "scan.pdf.filepart", "x.CRDOWNLOAD", "x.partial",
                 "~$brief.docx", ".~lock.brief.odt#", ".brief.odt.swp", "foto.jpg.crdownload", "x.temp")


@pytest.mark.parametrize("name", STILL_WRITTEN)
def test_what_is_still_written_is_not_taken(hub: Folder, name: str) -> None:
    hub.put(name)
    hub.look(3)
    assert hub.door.asked == 0


@pytest.mark.parametrize("name", [*STILL_WRITTEN, ".rsync-partial/foto.jpg", "anlagen/tief/x.pdf.part",
                                  "anlagen/.hidden/tief/x.pdf", "anlagen.part/x.pdf"])
@pytest.mark.parametrize("marker", [None, ".fertig"])
def test_a_folder_waits_for_what_is_still_written_in_it(tmp_path: Path, name: str,
                                                        marker: str | None) -> None:
    """It is never taken without it, at whatever depth, marker or not."""
    hub = Folder(tmp_path, marker=marker)
    hub.put("fall/antrag.xml")
    hub.put("fall/.fertig") if marker else None
    part = hub.put(f"fall/{name}", b"half")
    hub.look(3)
    assert hub.door.asked == 0, "taken without a file that is still written"
    part.rename(hub.root / PLACE / "fall" / "z.pdf")
    while part.parent.name not in ("fall", "hundesteuer"):
        part = part.parent
        part.rmdir()
    hub.look(3)
    assert [part.filename for part in hub.door.taken[0].parts] == ["antrag.xml", "z.pdf"]
    assert hub.door.taken[0].notes == ()


def test_which_names_are_still_written_is_an_option(tmp_path: Path) -> None:
    hub = Folder(tmp_path, unfinished=("*.unfertig",))
    hub.put("fall/a.xml")
    hub.put("fall/x.Unfertig")
    hub.put("b.xml.part")
    hub.look(3)
    assert [[part.filename for part in taken.parts] for taken in hub.door.taken] == [["b.xml.part"]]


@pytest.mark.parametrize("name", ["a.xml.part", "fall/x.pdf.filepart", "fall/a.xml"])
def test_an_upload_without_progress_is_an_alarm_and_never_taken(timed: Callable[..., Any], name: str) -> None:
    hub, clock = timed(overdue_seconds=3600, stable_seconds=10, marker="fertig")
    path = hub.put(name)
    hub.look()
    clock.now += 3000
    path.write_bytes(b"goes on")
    hub.look()
    clock.now += 3000
    hub.look()
    assert hub.gate.not_taken.get("unfinished", 0) == 0, "it made progress less than an hour ago"
    clock.now += 700
    hub.look()
    assert (hub.gate.not_taken["unfinished"], hub.door.asked) == (1, 0)
    shutil.rmtree(hub.root / PLACE)
    hub.look()
    assert hub.gate.not_taken.get("unfinished", 0) == 0, "the alarm ends with the upload"


def test_what_is_left_out_for_good_is_said(hub: Folder, tmp_path: Path) -> None:
    hub.put("fall/antrag.xml")
    for name in ("Thumbs.db", "anlagen/THUMBS.DB", "desktop.ini", "__MACOSX/._antrag.xml", ".DS_Store"):
        hub.put(f"fall/{name}", b"rubbish")
    hub.put("fall/anlagen/foto.png")
    (hub.root / PLACE / "fall" / "link.pdf").symlink_to(tmp_path)
    hub.put("desktop.ini", place="14999010")
    hub.put(".DS_Store", place=".")
    (hub.root / PLACE / "link").symlink_to(tmp_path)
    hub.look(3)
    [taken] = hub.door.taken
    assert [part.filename for part in taken.parts] == ["foto.png", "antrag.xml"]
    assert taken.notes == (
        "Nicht übernommen: 5 Datei(en) mit Namen aus left_out (.DS_Store, Thumbs.db, __MACOSX, desktop.ini).",
        "Nicht übernommen: 1 Verweis(e) oder Sonderdatei(en); sie werden nie gelesen.")
    assert hub.gate.not_taken == {"left-out": 2, "special": 1}


def test_a_folder_that_grows_while_it_is_read_is_taken_whole_later(hub: Folder) -> None:
    """What comes between the look and the answer would be moved away unseen."""
    hub.put("fall/antrag.xml")
    late = ["fall/nachzuegler.pdf"]

    def put_late(size: int) -> None:
        if late:
            hub.put(late.pop())

    hub.fault = Fault(context=lambda context: dataclasses.replace(context, admit=put_late))
    hub.look(2)
    assert (hub.door.asked, late) == (0, [])
    hub.look(2)
    assert [part.filename for part in hub.door.taken[0].parts] == ["antrag.xml", "nachzuegler.pdf"]


def test_a_growing_file_is_left_alone_until_it_is_stable(timed: Callable[..., Any]) -> None:
    hub, clock = timed()
    path = hub.put("a.xml", b"<half")
    hub.look()
    assert hub.door.asked == 0
    clock.now += 2000
    path.write_bytes(b"<half><other half/>")
    hub.look(1)
    assert hub.door.asked == 0, "it changed between two looks, so its time begins anew"
    clock.now += 999
    hub.look(1)
    assert hub.door.asked == 0
    clock.now += 2
    hub.look(1)
    assert hub.door.body() == [b"<half><other half/>"]


def test_a_folder_is_stable_only_when_everything_in_it_is(timed: Callable[..., Any]) -> None:
    hub, clock = timed()
    hub.put("fall/a.xml")
    hub.put("fall/b/c.xml")
    hub.look()
    clock.now += 2000
    hub.put("fall/b/c.xml", b"longer than before")
    hub.look(1)
    assert hub.door.asked == 0
    clock.now += 2000
    hub.look(1)
    assert hub.door.body() == [SMALL, b"longer than before"]


def test_with_a_marker_a_folder_waits_for_it(tmp_path: Path) -> None:
    hub = Folder(tmp_path, marker="fertig", stable_seconds=1000)
    hub.put("fall/a.xml")
    hub.look(3)
    assert hub.door.asked == 0
    hub.put("fall/fertig", b"")
    hub.look(1)
    assert [part.name for part in hub.door.taken[0].parts] == ["a.xml"]


def test_a_file_renamed_to_its_place_is_taken_at_once(tmp_path: Path) -> None:
    with Folder(tmp_path, scan_seconds=1000, stable_seconds=1000) as hub:
        part = hub.put("a.xml.part")
        wait_until(hub.inlet.ready, "the inlet")
        count = 0

        def renamed() -> bool:  # the watch on a folder made a moment ago may come too late for the first ones
            nonlocal count
            count += 1
            part.write_bytes(f"{count}".encode())
            part.rename(part.with_name(f"{count}.xml"))
            return len(hub.door.taken) > 0

        wait_until(renamed, "a file without waiting for the scan")


def test_links_and_special_files_are_never_read(hub: Folder, tmp_path: Path) -> None:
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


def test_a_link_put_in_at_the_last_moment_is_not_followed(tmp_path: Path) -> None:
    """After all looks at the file, and before it is opened: opening itself must refuse."""
    hub = Folder(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    path = hub.put("a.xml")

    def swap(size: int) -> None:
        path.unlink()
        path.symlink_to(secret)

    hub.fault = Fault(context=lambda context: dataclasses.replace(context, admit=swap))
    with pytest.raises(PermissionError, match="1 entries"):
        hub.look()
    assert hub.door.asked == 0
    assert hub.spooled() == []


# --- acknowledged -------------------------------------------------------------------------------------------


def test_while_the_store_is_unavailable_the_others_are_not_even_tried(timed: Callable[..., Any]) -> None:
    hub, clock = timed(stable_seconds=1)
    for name in ("a.xml", "b.xml"):
        hub.put(name)
    hub.look()
    clock.now = 2
    hub.door.refuse = StoreUnavailable("disk", retry_after=1000)
    hub.look(3)
    assert (hub.door.asked, len(tree(hub.root))) == (1, 2)
    hub.door.refuse = None
    clock.now += 299
    hub.look()
    assert hub.door.asked == 1
    clock.now += 2
    hub.look()
    assert len(hub.door.taken) == 2, "five minutes are the longest pause, whatever the store asks for"


def test_a_folder_is_too_large_by_all_its_files_together(hub: Folder) -> None:
    for no in range(3):
        hub.put(f"fall/{no}", b"x" * (MAX_BYTES // 2))
    hub.look()
    assert hub.door.taken == []
    assert tree(hub.rejected) == {
        f"{PLACE}/{name}" for name in ("fall/0", "fall/1", "fall/2", "fall.grund.txt")}
    assert hub.gate.told == ["too-large"]


def test_the_same_name_again_gets_a_number(hub: Folder) -> None:
    for no in range(3):
        hub.put("a.xml", f"{no}".encode())
        hub.look()
    assert tree(hub.done) == {f"{PLACE}/a.xml", f"{PLACE}/a-2.xml", f"{PLACE}/a-3.xml"}
    assert (hub.done / PLACE / "a.xml").read_bytes() == b"0"


@pytest.mark.parametrize("name", ["x" * 251 + ".xml", "ä" * 125 + ".xml", "x" * 255, "a." + "b" * 253,
                                  "\U0001f4c4" * 62 + ".docx.xml"[-7:]])
def test_a_taken_name_of_255_bytes_does_not_stop_the_inlet(hub: Folder, name: str) -> None:
    for no in range(3):
        hub.put(name, f"{no}".encode())
        hub.look()
    assert len(hub.door.taken) == 3
    assert sorted((hub.done / path).read_bytes() for path in tree(hub.done)) == [b"0", b"1", b"2"]
    hub.door.refuse = NotAllowed("no")
    hub.put(name)
    hub.look()
    assert len(tree(hub.rejected)) == 2, "the file and its note"


def test_what_is_refused_has_a_note_beside_it(hub: Folder) -> None:
    hub.door.refuse = NotAllowed("no")
    hub.put("antrag.xml")
    hub.put("fall/antrag.xml")
    hub.look()
    assert tree(hub.rejected) == {f"{PLACE}/{name}" for name in (
        "antrag.xml", "antrag.xml.grund.txt", "fall/antrag.xml", "fall.grund.txt")}
    note = (hub.rejected / PLACE / "antrag.xml.grund.txt").read_text()
    assert "„town“" in note and "Freischaltung" in note


def test_what_cannot_be_moved_does_not_hold_up_the_others(hub: Folder) -> None:
    (hub.done / "14999010").write_bytes(b"a file where a folder should be")
    hub.put("a.xml")
    hub.put("b.xml", place="14999020/hundesteuer")
    with pytest.raises(PermissionError, match="1 entries"):
        hub.look()
    assert tree(hub.done) == {"14999010", "14999020/hundesteuer/b.xml"}
    assert tree(hub.root) == {f"{PLACE}/a.xml"}


# --- running ------------------------------------------------------------------------------------------------


def test_a_root_that_is_missing_is_not_ready_and_noticed_once_it_is_there(tmp_path: Path) -> None:
    hub = Folder(tmp_path)
    hub.root.rmdir()
    with hub:
        assert not hub.inlet.ready()
        hub.put("a.xml")
        wait_until(hub.inlet.ready, "the folder to be seen")
        wait_until(lambda: len(hub.door.taken) == 1, "the file in it")


def test_done_below_the_root_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="outside"):
        inbox.Options(root=tmp_path, sender={"name": "x"}, done=tmp_path / "done", rejected=tmp_path.parent)


def test_check_names_the_missing_folder(hub: Folder) -> None:
    assert {finding.severity for finding in hub.inlet.check()} == {"ok"}
    hub.rejected.rmdir()
    assert [finding.text for finding in hub.inlet.check() if finding.severity == "error"] == [
        f"Abgelehnt: Ordner {hub.rejected} fehlt"]
