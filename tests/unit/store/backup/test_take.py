"""A backup is whole or none, and what comes out of it is asked about before it is sent again."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from hub.administration.retention import Retention
from hub.errors import ConfigError, HubError
from hub.message import RESTORED, DeliveryState, MessageState, Reason
from hub.operations.operator import Operator
from hub.store import store as store_module
from hub.store.backup import restore, take
from hub.store.backup.archive import BadBackup
from hub.store.database import sqlite
from hub.store.database.sqlite import StoreInUse
from hub.store.integrity import silent
from hub.store.store import Store
from hub.store.transitions import restored as restored_transition
from hub.store.transitions.deliveries import Settlement
from tests.unit.store_kit import (
    MINUTE,
    RECEIPT,
    Clock,
    Output,
    accept,
    claim_one,
    deliver,
    incoming,
    opened,
    parked,
    routed,
    translated,
    unbalanced,
)

LARGE = b"<a>" + b"x" * 5000 + b"</a>"


@pytest.fixture()
def store(tmp_path: Path) -> Iterator[Store]:
    """Bodies over 1000 bytes are files."""
    with opened(tmp_path / "store", inline=1000) as store:
        yield store


def restored(place: Path, state: Path, **options: Any) -> dict[str, Any]:
    return restore.restore(place, state,
                           **{"replace": False, "not_run_since": False, "progress": silent, **options})


def modes(folder: Path) -> set[int]:
    return {file.stat().st_mode & 0o777 for file in (folder, *folder.rglob("*"))}


# --- taking one and putting it back -------------------------------------------------------------------------


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
    assert Operator(store, retention=retention).backup(silent, str(tmp_path / "backup"))["messages"] == 0
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


# --- verifying ----------------------------------------------------------------------------------------------


def body_of(place: Path) -> Path:
    return next(place.glob("blobs/*/*"))


def flip(file: Path, at: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


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


# --- into a state -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_store_that_is_there_is_moved_aside_only_when_told(tmp_path: Path) -> None:
    with opened(tmp_path / "store", inline=1000) as store:
        accept(store, incoming(LARGE))
        take.take(store, tmp_path / "backup", silent)
        late = accept(store, incoming(LARGE + b"late")).id
        with pytest.raises(StoreInUse):
            restored(tmp_path / "backup", tmp_path / "store", replace=True)
    for _ in range(5):  # the old store is far ahead of the backup's number
        with opened(tmp_path / "store") as again:
            last = again.fencing
    with pytest.raises(HubError, match="--replace"):
        restored(tmp_path / "backup", tmp_path / "store")
    answer = restored(tmp_path / "backup", tmp_path / "store", replace=True)
    assert answer["fencing"] > last
    with opened(tmp_path / "store", inline=1000) as now:
        assert len(now.find_messages()) == 1 and now.examine(deep=True).sound
    with opened(Path(answer["moved_aside"]), inline=1000) as before:
        assert before.get_message(late)
        assert before.examine(deep=True).sound


@pytest.mark.parametrize("step", ["rename-blobs", "rename-store", "before"])
def test_an_interrupted_restore_is_not_opened_and_can_be_repeated(tmp_path: Path, step: str,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "store", inline=1000) as store:
        accept(store, incoming(LARGE))
        take.take(store, tmp_path / "backup", silent)
    rename, hits = Path.rename, []

    def dies(self: Path, target: Path) -> Path:
        inside = self.parent.name == sqlite.RESTORING
        if step == ("rename-blobs" if self.name == "blobs"
                    else "rename-store") if inside else step == "before":
            hits.append(self)
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dies)
        with pytest.raises(KeyboardInterrupt):
            restored(tmp_path / "backup", tmp_path / "store", replace=True)
    assert hits
    with pytest.raises(ConfigError, match="a restore was interrupted"):
        Store.open(tmp_path / "store")
    restored(tmp_path / "backup", tmp_path / "store")
    with opened(tmp_path / "store", inline=1000) as now:
        assert len(now.find_messages()) == 1 and now.examine(deep=True).sound


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can restore for another user")
def test_what_root_restores_belongs_to_the_hubs_user(tmp_path: Path, store: Store) -> None:
    accept(store, incoming(LARGE))
    take.take(store, tmp_path / "backup", silent)
    state = tmp_path / "new"
    state.mkdir()
    os.chown(state, 65534, 65534)
    restored(tmp_path / "backup", state)
    assert {file.stat().st_uid for file in state.rglob("*")} == {65534}


# --- what was due is asked about ----------------------------------------------------------------------------


def put_back(store: Store, tmp_path: Path, **options: Any) -> Store:
    """Back up now, restore elsewhere, open there."""
    take.take(store, tmp_path / "backup", silent)
    restored(tmp_path / "backup", tmp_path / "new", **options)
    return Store.open(tmp_path / "new", inline=1000)


def test_nothing_that_was_due_or_under_way_is_plainly_due_again(tmp_path: Path, store: Store) -> None:
    message = routed(store, ["m/due", "m/under-way", "m/doubt", "m/done", "m/later"])
    deliver(store, "m/done")
    claim_one(store, "m/under-way")
    doubtful = claim_one(store, "m/doubt").delivery.id
    store.settle([Settlement.in_doubt(doubtful, "?", None)])
    later = claim_one(store, "m/later").delivery.id
    store.settle([Settlement.later(later, store.now() + timedelta(days=1), "temporary", "zu")])
    again = put_back(store, tmp_path)
    states = {row.destination: row.state for row in again.deliveries_of(message)}
    assert states == {"m/done": DeliveryState.DONE, **dict.fromkeys(
        ("m/due", "m/under-way", "m/doubt", "m/later"), DeliveryState.IN_DOUBT)}
    for name in ("m/due", "m/under-way", "m/doubt", "m/later"):
        claimed = claim_one(again, name)
        assert claimed.probe and claimed.restored, "asked at once, and not as after a crash"
    events = [event for event in again.events_of(message) if event.name == RESTORED]
    assert len(events) == 5 and sum(event.delivery_id is None for event in events) == 1
    assert unbalanced(again) == []
    again.close()


def test_the_mark_stays_while_the_receiver_cannot_be_asked(tmp_path: Path, store: Store) -> None:
    routed(store)
    again = put_back(store, tmp_path)
    for settle in ("in doubt", "released", "crashed"):
        claimed = claim_one(again)
        assert claimed.probe and claimed.restored, settle
        if settle == "in doubt":
            again.settle([Settlement.in_doubt(claimed.delivery.id, "nicht erreichbar", again.now())])
        elif settle == "released":
            again.release_deliveries([claimed.delivery.id])
        else:
            again.close()
            again = Store.open(tmp_path / "new")
            again.recover(lambda _: False)
    claimed = claim_one(again)
    again.settle([Settlement.again(claimed.delivery.id, again.now(), repeat_marked=True)])
    assert not claim_one(again).restored
    again.close()


def recorded(store: Store, message_id: str) -> None:
    [message] = store.claim_messages(1, MINUTE, only=[message_id])
    output = Output()
    store.record([translated(message.id, output.delivery(b"<r/>", "m/x", "x"))], output.fd, config_digest="c")


def test_what_was_not_translated_yet_is_asked_about_too(tmp_path: Path, store: Store) -> None:
    waits, in_hand = accept(store, incoming(b"<a/>")).id, accept(store, incoming(b"<b/>")).id
    assert [message.id for message in store.claim_messages(1, MINUTE, only=[in_hand])] == [in_hand]
    again = put_back(store, tmp_path)
    for message_id in (waits, in_hand):
        assert again.get_message(message_id).reason == RESTORED
        recorded(again, message_id)
        assert claim_one(again, "m/x").restored
        assert again.get_message(message_id).reason is None
    fresh = accept(again, incoming(b"<c/>")).id
    recorded(again, fresh)
    assert not claim_one(again, "m/x").probe
    assert unbalanced(again) == []
    again.close()


def test_what_was_parked_is_asked_about_when_it_is_replayed(tmp_path: Path, store: Store) -> None:
    first = accept(store, incoming(b"<a/>")).id
    store.claim_messages(1, MINUTE)
    store.record([parked(first)], -1, config_digest="c")
    second = routed(store, ["m/y"], b"<b/>")
    delivery = claim_one(store, "m/y").delivery.id
    store.settle([Settlement.parked(delivery, Reason.EXPIRED, "aufgegeben.")])
    again = put_back(store, tmp_path)
    assert again.get_message(first).state is MessageState.PARKED
    assert "Aus der Sicherung vom" in (again.get_delivery(delivery).text or "")
    assert (again.replay(first, "erika"), again.replay(second, "erika")) == (1, 1)
    recorded(again, first)
    for destination in ("m/x", "m/y"):
        assert claim_one(again, destination).restored
    again.settle([Settlement.parked(delivery, Reason.IN_DOUBT, "unbekannt")])
    again.replay_delivery(delivery, "erika")
    claimed = claim_one(again, "m/y")
    assert not claimed.probe and claimed.delivery.repeat_marked, "a person has decided"
    assert unbalanced(again) == []
    again.close()


def test_a_copy_put_into_place_by_hand_is_asked_about_too(tmp_path: Path, store: Store) -> None:
    routed(store, content=LARGE)
    take.take(store, tmp_path / "backup", silent)
    with opened(tmp_path / "backup", inline=1000) as again:
        assert again.after_restore == restored_transition.AfterRestore(1, 0, 0)
        assert claim_one(again).restored
    with opened(tmp_path / "backup", inline=1000) as third:
        assert third.after_restore is None


def test_who_knows_that_nothing_ran_since_may_keep_it_as_it_was(tmp_path: Path, store: Store) -> None:
    routed(store)
    again = put_back(store, tmp_path, not_run_since=True)
    assert not claim_one(again).probe
    again.close()


# --- a duplicate at the sink --------------------------------------------------------------------------------


def doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch | None = None) -> bool:
    """Whether a receiver that takes things away gets twice what was pending in the backup and delivered
    afterwards."""
    sink: list[str] = []

    def work_off(store: Store) -> None:
        for claimed in store.claim_deliveries("mail-musterstadt", 10, MINUTE):
            if not claimed.probe:  # a receiver that takes things away knows nothing when it is asked
                sink.append(claimed.delivery.id)
                store.settle([Settlement.done(claimed.delivery.id, RECEIPT)])

    with opened(tmp_path / "store", now=Clock()) as store:
        routed(store)
        accept(store, incoming(b"<late/>"))
        take.take(store, tmp_path / "backup", silent)
        work_off(store)
    if monkeypatch is not None:
        monkeypatch.setattr(restored_transition, "put_in_doubt", lambda tx, made_at: None)
    restored(tmp_path / "backup", tmp_path / "new")
    with opened(tmp_path / "new", now=Clock()) as again:
        work_off(again)
    return len(sink) != len(set(sink))


def test_nothing_is_sent_twice_silently_after_a_restore(tmp_path: Path) -> None:
    assert not doubled(tmp_path)


def test_planted_a_restore_that_leaves_them_plainly_due_is_noticed(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    assert doubled(tmp_path, monkeypatch)


def test_planted_a_copy_that_does_not_know_what_it_is_is_refused(tmp_path: Path, store: Store,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "COPY", 1)
    take.take(store, tmp_path / "backup", silent)
    monkeypatch.undo()
    with pytest.raises(BadBackup, match="does not say that it is a copy"):
        restore.verify(tmp_path / "backup", silent)


def test_the_restore_stands_among_the_actions(tmp_path: Path, store: Store) -> None:
    routed(store)
    again = put_back(store, tmp_path)
    with again.reading() as connection:
        assert connection.execute(text("SELECT verb, result FROM action")).all() == [
            ("restore", '{"in_doubt": 1, "messages": 0, "parked": 0}')]
    again.close()
