"""The drop folder on a real file system."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import _disk, _layout
from connectors.directory import Options, Outlet
from hub.errors import Misconfigured, Permanent, Temporary, TooLarge
from tests.integration.contract import Effect, OutletContract, make_delivery
from tests.integration.drop_contract import DropContract
from tests.integration.drop_folder import NAME, DropFolder
from tests.services import wait_until


class Drop(DropFolder):
    """A target folder."""

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__(root)
        self.options = options

    def outlet(self, **options: Any) -> Outlet:
        return Outlet(Options(**({"path": self.root} | self.options | options)))

    def below(self, name: str) -> dict[str, Any]:
        return {"path": self.root / name}


@pytest.fixture
def receiver(tmp_path: Path) -> Drop:
    (tmp_path / "ziel").mkdir()
    return Drop(tmp_path / "ziel")


class TestDirectory(OutletContract):
    """Everything every outlet promises."""


class TestDirectoryDrop(DropContract):
    """Everything every drop promises."""

    place = _disk.Disk


class TestRights:
    """Of what is made."""

    def test_rights(self, receiver: Drop) -> None:
        receiver.outlet(mode="0640").deliver(make_delivery(), Effect())
        assert (receiver.root / NAME).stat().st_mode & 0o777 == 0o750
        assert (receiver.root / NAME / "antrag.pdf").stat().st_mode & 0o777 == 0o640


class TestTarget:
    """Where nothing may be written."""

    def test_not_mounted(self, receiver: Drop) -> None:
        effect = Effect()
        outlet = receiver.outlet(mount=True)
        with pytest.raises(Temporary, match="nicht eingehängt"):
            outlet.deliver(make_delivery(), effect)
        with pytest.raises(Temporary, match="nicht eingehängt"):
            outlet.probe(make_delivery())
        assert [finding.severity for finding in outlet.check()] == ["error"]
        assert receiver.inventory() == []
        assert effect.begun == 0

    def test_no_right_to_write(self, receiver: Drop) -> None:
        effect = Effect()
        receiver.root.chmod(0o500)
        as_nobody(lambda: fails_with(receiver, Misconfigured, "darf im Ziel nicht schreiben", effect))
        receiver.root.chmod(0o700)
        assert effect.begun == 0

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_check_leaves_nothing_where_renaming_is_refused(
            self, receiver: Drop, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
        def refused(folder: int, old: str, new: str) -> None:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(_disk, "rename_new", refused)
        (finding,) = receiver.outlet(layout=layout).check()
        assert finding.severity == "error"
        assert "darf im Ziel nicht schreiben" in finding.text
        assert receiver.names() == []

    @pytest.mark.parametrize(("code", "kind"), [
        (errno.ENOSPC, Temporary), (errno.EDQUOT, Temporary), (errno.EIO, Temporary),
        (errno.ESTALE, Temporary),
        (errno.EACCES, Misconfigured), (errno.EROFS, Misconfigured), (errno.EXDEV, Temporary),
        (errno.ENAMETOOLONG, Permanent), (errno.EILSEQ, Permanent), (errno.EFBIG, TooLarge)])
    def test_what_the_disk_says(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch, code: int,
                                kind: type[Exception]) -> None:
        def fail(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(_disk, "write_all", fail)
        fails_with(receiver, kind, "Ziel|Freigabe|Benutzer", effect := Effect())
        assert effect.begun == 0
        assert receiver.inventory() == []

    def test_a_full_disk(self, tmp_path: Path) -> None:
        """A real one: /dev/full takes no byte."""
        with pytest.raises(OSError, match="No space"), Path("/dev/full").open("wb", buffering=0) as full:
            _disk.write_all(full.fileno(), b"x")


def fails_with(receiver: Drop, kind: type[Exception], text: str, effect: Effect) -> None:
    with pytest.raises(kind, match=text):
        receiver.outlet().deliver(make_delivery(), effect)


def as_nobody(action: Callable[[], None]) -> None:
    """Rights mean nothing to root: act as nobody while it lasts."""
    if os.geteuid() != 0:
        return action()
    os.seteuid(65534)
    try:
        return action()
    finally:
        os.seteuid(0)


class Ledger:
    """Writes down the order of system calls that make a drop safe."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        real_sync, real_rename = _disk.sync, _disk.rename_new

        def sync(descriptor: int) -> None:
            self.calls.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
            real_sync(descriptor)

        def rename(folder: int, old: str, new: str) -> None:
            self.calls.append(f"rename {old} {new}")
            real_rename(folder, old, new)

        real_sync_all = _disk.sync_all

        def sync_all(descriptor: int) -> None:
            self.calls.append("all " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
            real_sync_all(descriptor)

        monkeypatch.setattr(_disk, "sync", sync)
        monkeypatch.setattr(_disk, "sync_all", sync_all)
        monkeypatch.setattr(_disk, "rename_new", rename)


def everything_is_durable_before_it_is_visible(calls: list[str], root: Path, files: list[str]) -> None:
    """Files, then the hidden folder, then the rename, then the folder above."""
    (rename,) = [call for call in calls if call.startswith("rename ")]
    _, source, _target = rename.split()
    assert source.startswith("."), "not written below a hidden name"
    assert source.endswith(".part"), "not written below a hidden name"
    before, after = calls[: calls.index(rename)], calls[calls.index(rename) + 1:]
    assert {f"sync {file}" for file in files} <= set(before), "a file is not durable"
    assert before[-1] == f"sync {source}", "the hidden folder is not durable"
    assert after == [f"sync {root.name}"], "the rename is not durable"


class TestWithoutNoReplace:
    """File systems that cannot refuse to overwrite by themselves (NFS) are asked first."""

    @pytest.fixture(autouse=True)
    def _nfs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_disk, "rename_exclusively", lambda folder, old, new: errno.EINVAL)

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_it_delivers(self, receiver: Drop, layout: str) -> None:
        receipt = receiver.outlet(layout=layout).deliver(make_delivery(), Effect())
        assert receiver.names() == [receipt.reference]

    @pytest.mark.parametrize("taken", ["file", "link"])
    def test_what_appears_in_the_last_moment_is_not_overwritten(self, receiver: Drop, taken: str) -> None:
        name = receiver.root / f"{NAME}.xml"

        def appear() -> None:
            name.write_bytes(b"fremd") if taken == "file" else name.symlink_to("nirgends")

        with pytest.raises(Temporary, match="im letzten Augenblick"):
            receiver.outlet(layout="single").deliver(make_delivery(), Effect(appear))
        assert receiver.names() == [name.name]
        assert name.is_symlink() == (taken == "link")


class TestDurability:
    """Temporary name, fsync, rename, fsync of the folder."""

    FILES = ("Impfpass_Bello.pdf", "antrag.html", "antrag.pdf", "antrag.txt", "hundesteuer.xml")

    def test_the_order(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        ledger = Ledger(monkeypatch)
        receiver.outlet().deliver(make_delivery(), Effect(lambda: ledger.calls.append("effect")))
        assert ledger.calls.index("effect") == len(ledger.calls) - 3
        ledger.calls.remove("effect")
        everything_is_durable_before_it_is_visible(ledger.calls, receiver.root, list(self.FILES))

    @pytest.mark.parametrize(("fault", "complaint"), [
        ("files", "a file is not"), ("folder", "hidden folder is not"), ("hidden", "hidden name")])
    def test_the_suite_notices(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch, fault: str,
                               complaint: str) -> None:
        ledger = Ledger(monkeypatch)
        if fault == "files":
            real = _disk.sync
            folders_only = lambda fd: real(fd) if Path(f"/proc/self/fd/{fd}").is_dir() else None  # noqa: E731
            monkeypatch.setattr(_disk, "sync", folders_only)
        elif fault == "folder":
            monkeypatch.setattr(_disk.Disk, "sync_folder", lambda *_: None)
        else:
            monkeypatch.setattr(_layout.Plan, "hidden", lambda self, slot=1: self.final() + "x")
        receiver.outlet().deliver(make_delivery(), Effect())
        with pytest.raises(AssertionError, match=complaint):
            everything_is_durable_before_it_is_visible(ledger.calls, receiver.root, list(self.FILES))


class TestGathered:
    """Several deliveries between `prepare` and `conclude`."""

    def test_one_sync_for_all_files_before_any_rename_and_one_for_the_folder_after_them(
            self, receiver: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        ledger = Ledger(monkeypatch)
        outlet = receiver.outlet()
        deliveries = [make_delivery(number=number) for number in range(1, 4)]
        outlet.prepare(deliveries)
        assert receiver.arrivals() == []
        for delivery in deliveries:
            outlet.deliver(delivery, Effect(lambda: ledger.calls.append("effect")))
        assert len(receiver.arrivals()) == 3
        kinds = [call.partition(" ")[0] for call in ledger.calls]
        assert kinds == ["all", *["effect", "rename"] * 3]
        outlet.conclude()
        assert ledger.calls[len(kinds):] == [f"sync {receiver.root.name}"]

    def test_what_was_prepared_in_vain_goes(self, receiver: Drop) -> None:
        outlet = receiver.outlet()
        deliveries = [make_delivery(number=number) for number in range(1, 4)]
        outlet.prepare(deliveries)
        outlet.deliver(deliveries[0], Effect())
        assert len(list(receiver.root.iterdir())) == 3
        outlet.conclude()
        assert receiver.names() == [arrival.name for arrival in receiver.arrivals()]
        assert len(receiver.arrivals()) == 1

    def test_a_second_delivery_finds_its_own_name(self, receiver: Drop) -> None:
        outlet, deliveries = receiver.outlet(), [make_delivery(number=number) for number in (1, 2)]
        for _ in range(2):
            outlet.prepare(deliveries)
            effects = [Effect(), Effect()]
            for delivery, effect in zip(deliveries, effects, strict=True):
                outlet.deliver(delivery, effect)
            outlet.conclude()
        assert [effect.begun for effect in effects] == [0, 0]
        assert len(list(receiver.root.iterdir())) == 2

    def test_what_cannot_be_synced_together_goes_alone(self, receiver: Drop,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(descriptor: int) -> None:
            raise OSError(errno.EIO, "broken")

        monkeypatch.setattr(_disk, "sync_all", broken)
        outlet, deliveries = receiver.outlet(), [make_delivery(number=number) for number in (1, 2)]
        outlet.prepare(deliveries)
        assert list(receiver.root.iterdir()) == []
        for delivery in deliveries:
            outlet.deliver(delivery, Effect())
        outlet.conclude()
        assert len(receiver.arrivals()) == 2

    def test_a_folder_that_cannot_be_synced_is_told(self, receiver: Drop,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
        outlet, deliveries = receiver.outlet(), [make_delivery(number=number) for number in (1, 2)]
        outlet.prepare(deliveries)
        for delivery in deliveries:
            outlet.deliver(delivery, Effect())

        def broken(descriptor: int) -> None:
            raise OSError(errno.EIO, "broken")

        monkeypatch.setattr(_disk, "sync", broken)
        with pytest.raises(Temporary):
            outlet.conclude()
        outlet.conclude()  # there is nothing left that it could tell of

    def test_on_a_share_nothing_is_prepared(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_disk, "can_sync_all", lambda path: False)
        outlet = receiver.outlet()
        outlet.prepare([make_delivery(number=number) for number in (1, 2)])
        assert list(receiver.root.iterdir()) == []
        outlet.conclude()

    def test_only_local_file_systems_are_synced_as_a_whole(self, tmp_path: Path) -> None:
        assert not _disk.can_sync_all(Path("/proc"))
        assert not _disk.can_sync_all(tmp_path / "fehlt")

    def test_what_is_prepared_never_takes_a_name_that_is_taken(self, receiver: Drop) -> None:
        """A thread that was lost had prepared the same delivery, and may still be at work."""
        lost, outlet = receiver.outlet(), receiver.outlet()
        deliveries = [make_delivery(number=number) for number in (1, 2)]
        lost.prepare(deliveries)
        outlet.prepare(deliveries)
        assert len(receiver.names()) == 4
        lost.conclude()
        assert len(receiver.names()) == 2
        for delivery in deliveries:
            outlet.deliver(delivery, Effect())
        outlet.conclude()
        assert receiver.names() == [arrival.name for arrival in receiver.arrivals()]
        assert len(receiver.arrivals()) == 2

    def test_a_target_that_is_not_mounted_is_left_alone(self, receiver: Drop) -> None:
        outlet = receiver.outlet(must_contain=".drehscheibe")
        outlet.prepare([make_delivery(number=number) for number in (1, 2)])
        assert list(receiver.root.iterdir()) == []
        with pytest.raises(Temporary):
            outlet.deliver(make_delivery(), Effect())


class TestTogether:
    """Threads that want the same folder on disk share an fsync; never one that began before they asked."""

    @pytest.fixture
    def slow(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowSync]:
        slow = SlowSync()
        monkeypatch.setattr(_disk, "sync", slow)
        yield slow
        slow.go.set()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Iterator[int]:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        yield descriptor
        os.close(descriptor)

    def test_those_who_asked_while_one_was_under_way_share_the_next(self, slow: SlowSync,
                                                                    folder: int) -> None:
        syncs = _disk.FolderSyncs()
        with ThreadPoolExecutor(9) as pool:
            first = pool.submit(syncs.sync, folder)
            assert slow.began.acquire(timeout=10)
            others = [pool.submit(syncs.sync, folder) for _ in range(8)]
            wait_until(lambda: syncs.asked(folder) == 9, "all to have asked")
            slow.go.set()
            for future in (first, *others):
                future.result(10)
        assert slow.count == 2, "one for the first, one for all others"
        assert syncs.asked(folder) == 0

    def test_a_failure_is_everybodys(self, slow: SlowSync, folder: int) -> None:
        syncs = _disk.FolderSyncs()
        slow.fails = [False, True]
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(syncs.sync, folder)
            assert slow.began.acquire(timeout=10)
            others = [pool.submit(syncs.sync, folder) for _ in range(3)]
            wait_until(lambda: syncs.asked(folder) == 4, "all to have asked")
            slow.go.set()
            assert first.exception(10) is None
            assert [type(other.exception(10)) for other in others] == [OSError] * 3
        assert slow.count == 2


class SlowSync:
    """An fsync that waits for `go`, and fails where `fails` says so."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go = threading.Event()
        self.count = 0
        self.fails: list[bool] = []

    def __call__(self, descriptor: int) -> None:
        self.count += 1
        self.began.release()
        assert self.go.wait(10)
        if self.fails and self.fails[self.count - 1]:
            raise OSError(errno.EIO, "Input/output error")


class TestOptions:
    """What `check` says about a configuration before anything runs."""

    @pytest.mark.parametrize(("key", "value", "complaint"), [
        ("name", "{day}_{id}_{dog}", "unknown placeholder"), ("name", "{day}", "needs {id}"),
        ("name", "../{id}", "letters"), ("name", "{id}/x", "letters"), ("name", ".{id}", "dot"),
        ("name", "{id", "no template"), ("name", "{id!r}", "unknown"),
        ("name", "{id.__class__}", "unknown"), ("name", "{id}" * 5, "longer"),
        ("path", "relativ", "relative"),
        ("must_contain", "../x", "not a path"),
        ("must_contain", "ä" * 128, "longer than 255 bytes"),
        ("mode", "640", "pattern"), ("pfad", "x", "Extra")])
    def test_refused(self, key: str, value: str, complaint: str) -> None:
        with pytest.raises(ValidationError, match=complaint):
            Options(**{"path": "/srv/ziel", key: value})

    def test_every_option_is_described(self) -> None:
        assert [name for name, field in Options.model_fields.items() if not field.description] == []

    def test_names_never_cut_the_id(self) -> None:
        parts = {"case": "Az. 12/2026 ü", "id": "fremd"}
        delivery = make_delivery(service="x" * 200, manifest={"name_parts": parts})
        options = Options(path="/srv", name="{case}_{service}_{id}")
        assert _layout.plan(options, delivery).name == f"Az._12_2026_ue_{'x' * 39}_{delivery.id}"
