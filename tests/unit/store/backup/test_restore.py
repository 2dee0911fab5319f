"""A restore puts a store into its place, and what may have happened since is asked about."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.errors import ConfigError, HubError
from hub.message import RESTORED, DeliveryState, MessageState, Reason
from hub.store import store as store_module
from hub.store.backup import restore, take
from hub.store.backup.archive import BadBackup
from hub.store.database import sqlite
from hub.store.database.sqlite import StoreInUse
from hub.store.integrity import silent
from hub.store.store import Store
from hub.store.transitions import restored as restored_transition
from hub.store.transitions.deliveries import Settlement
from tests.unit.store.backup.kit import LARGE, put_back, restored
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


def test_a_parked_delivery_is_asked_about_when_it_is_replayed(tmp_path: Path, store: Store) -> None:
    second = routed(store, ["m/y"], b"<b/>")
    delivery = claim_one(store, "m/y").delivery.id
    store.settle([Settlement.parked(delivery, Reason.EXPIRED, "aufgegeben.")])
    again = put_back(store, tmp_path)
    assert "Aus der Sicherung vom" in (again.get_delivery(delivery).text or "")
    assert again.replay(second, "erika") == 1
    assert claim_one(again, "m/y").restored
    again.settle([Settlement.parked(delivery, Reason.IN_DOUBT, "unbekannt")])
    again.replay_delivery(delivery, "erika")
    claimed = claim_one(again, "m/y")
    assert not claimed.probe and claimed.delivery.repeat_marked, "a person has decided"
    assert unbalanced(again) == []
    again.close()


def test_a_parked_message_was_never_sent_and_a_restore_makes_it_no_doubtful_one(tmp_path: Path,
                                                                               store: Store) -> None:
    plain, asked = (accept(store, incoming(content)).id for content in (b"<a/>", b"<b/>"))
    store.claim_messages(2, MINUTE)
    store.record([parked(plain), parked(asked)], -1, config_digest="c")
    again = put_back(store, tmp_path)
    assert again.get_message(plain).state is MessageState.PARKED
    assert "restored" in [event.name for event in again.events_of(plain)]
    assert again.replay(plain, "erika") == 1
    recorded(again, plain)
    claimed = claim_one(again, "m/x")
    assert not claimed.probe and not claimed.delivery.repeat_marked
    assert again.replay(asked, "erika", ask_first=True) == 1, "it was replayed after the backup"
    recorded(again, asked)
    assert claim_one(again, "m/x").restored
    assert unbalanced(again) == []
    again.close()


def test_what_waited_in_the_backup_stays_doubtful_however_often_it_is_replayed(tmp_path: Path,
                                                                              store: Store) -> None:
    """It was not translated there, but it was about to be: it may have arrived since."""
    message = accept(store, incoming(b"<a/>")).id
    again = put_back(store, tmp_path)
    again.claim_messages(1, MINUTE)
    again.record([parked(message)], -1, config_digest="c")
    again.replay(message, "erika")
    recorded(again, message)
    assert claim_one(again, "m/x").restored
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
