"""A backup is of one moment, beside a hub that writes, and for its owner alone."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from hub.administration.retention import Retention
from hub.errors import HubError
from hub.message import MessageState
from hub.operations.operator import Operator
from hub.store.backup import restore, take
from hub.store.integrity import silent
from hub.store.store import Store
from tests.unit.store.backup.kit import LARGE, restored
from tests.unit.store_kit import (
    accept,
    deliver,
    incoming,
    opened,
    routed,
    unbalanced,
)


def modes(folder: Path) -> set[int]:
    return {file.stat().st_mode & 0o777 for file in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_what_was_backed_up_comes_back(tmp_path: Path, store: Store, name: str) -> None:
    finished, waits = routed(store, content=LARGE), accept(store, incoming(b"<b/>" + LARGE)).id
    deliver(store)
    steps: list[str] = []
    answer = take.take(store, tmp_path / name, lambda step, done, of: steps.append(step))
    assert (answer["messages"], answer["files"], answer["open_deliveries"]) == (2, 2, 0)
    assert set(steps) == {"tables", "files"}
    assert restore.verify(tmp_path / name, silent).messages == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {"store", name}, "nothing is left beside it"
    result = restored(tmp_path / name, tmp_path / "new")
    assert result["fencing"] > store.fencing
    assert {entry.name for entry in (tmp_path / "new").iterdir()} == {"store.sqlite3", "blobs", "lock"}
    with opened(tmp_path / "new", inline=1000) as again:
        assert again.fencing == result["fencing"] + 1
        assert not again.unclean and again.after_restore is None, "the restore has opened it once"
        assert again.examine(deep=True).sound and unbalanced(again) == []
        assert again.get_message(finished).state is MessageState.COMPLETED
        part = again.get_message(waits).parts[0]
        assert again.open_blob(part.blob).read() == b"<b/>" + LARGE


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_it_is_for_its_owner_alone_and_others_can_check_it(tmp_path: Path, store: Store, name: str) -> None:
    accept(store, incoming(LARGE))
    take.take(store, tmp_path / name, silent)
    if name.endswith(".tar"):
        assert modes(tmp_path / name) == {0o600}
        (tmp_path / "out").mkdir()
        subprocess.run(["tar", "--extract", "--file", name, "--directory", "out"], cwd=tmp_path, check=True)
        name = "out"
    else:
        assert modes(tmp_path / name) == {0o600, 0o700}
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path / name,
                   check=True)


def test_an_existing_target_is_not_touched(tmp_path: Path, store: Store) -> None:
    (tmp_path / "backup").mkdir()
    with pytest.raises(HubError, match="is there already"):
        take.take(store, tmp_path / "backup", silent)
    with pytest.raises(HubError, match="is no folder"):
        take.take(store, tmp_path / "nowhere" / "backup", silent)
    for name in ("store/backup", "store/blobs/backup.tar"):
        with pytest.raises(HubError, match="lies in the state folder"):
            take.take(store, tmp_path / name, silent)


def test_no_room_is_said_before(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = os.statvfs(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100, "of": usage})())
    with pytest.raises(HubError, match="the backup needs"):
        take.take(store, tmp_path / "backup", silent)
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_an_interrupted_one_is_none_and_leaves_nothing(tmp_path: Path, store: Store, name: str) -> None:
    accept(store, incoming(LARGE))

    def interrupt(step: str, done: int, of: int) -> None:
        if step == "files":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take.take(store, tmp_path / name, interrupt)
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_beside_a_busy_writer_it_is_of_one_moment(tmp_path: Path) -> None:
    done = threading.Event()
    with opened(tmp_path / "store", inline=100) as store:
        def work() -> None:
            while not done.is_set():
                for _ in range(3):
                    routed(store, content=os.urandom(500))
                deliver(store)
                deliver(store)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for number in range(4):
                take.take(store, tmp_path / f"backup-{number}", silent)
        finally:
            done.set()
            thread.join()
    for number in range(4):
        restored(tmp_path / f"backup-{number}", tmp_path / f"new-{number}")
        with opened(tmp_path / f"new-{number}", inline=100) as again:
            assert again.examine(deep=True).sound
            assert unbalanced(again) == []


def test_what_retention_deletes_meanwhile_is_deleted_in_the_restored_store_too(tmp_path: Path,
                                                                               store: Store) -> None:
    message = routed(store, content=LARGE)
    deliver(store)

    def meanwhile(step: str, done: int, of: int) -> None:
        if step == "tables" and done == of:
            store.erase([message])

    answer = take.take(store, tmp_path / "backup", meanwhile)
    assert (list(answer["deleted_meanwhile"]), answer["files"]) == ([message], 0)
    assert restored(tmp_path / "backup", tmp_path / "new")["deleted_meanwhile"] == 1
    with opened(tmp_path / "new", inline=1000) as again:
        assert again.get_message(message).payload_deleted_at is not None
        assert again.examine(deep=True).sound


def test_the_running_hub_deletes_nothing_meanwhile(tmp_path: Path, store: Store,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    retention = Retention(store, lambda: None)  # type: ignore[arg-type, return-value]
    real, runs = take.take, list[object]()
    run = threading.Thread(target=lambda: runs.append(retention.run(dry_run=True)))

    def slow(*arguments: Any) -> dict[str, Any]:
        run.start()
        run.join(0.2)
        assert runs == []
        return real(*arguments)

    monkeypatch.setattr(take, "take", slow)
    assert Operator(store, retention, running=None).backup(silent, str(tmp_path / "backup"))["messages"] == 0
    run.join(30)
    assert len(runs) == 1


def test_what_is_damaged_or_missing_at_the_source_is_told(tmp_path: Path, store: Store) -> None:
    first, second = (accept(store, incoming(LARGE + bytes([65 + number]))).id for number in range(2))
    damaged, missing = (store.blobs.path(store.get_message(name).parts[0].blob) for name in (first, second))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    missing.unlink()
    answer = take.take(store, tmp_path / "backup", silent)
    assert (list(answer["damaged"]), list(answer["missing"])) == ([damaged.name], [missing.name])
    assert restore.verify(tmp_path / "backup", silent)
