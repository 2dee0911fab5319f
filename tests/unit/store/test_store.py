"""The store's promises, one by one: what is accepted stays, what is settled counts, what is replayed happens
once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from hub.errors import ConfigError, Conflict, StoreUnavailable
from hub.i18n.sentence import say
from hub.job import Facts, OutPart
from hub.message import DeliveryState, Incoming, IncomingPart, Manifest, MessageState, Reason
from hub.store.blobs.files import FileBlobs
from hub.store.blobs.payload import Damaged
from hub.store.database import sqlite, tables
from hub.store.database.sqlite import StoreInUse
from hub.store.store import BadOutcome, Store
from hub.store.transitions import deliveries, messages
from hub.store.transitions.deliveries import LostLease, Settlement
from hub.store.transitions.operator_actions import NotFound, NotNow
from hub.store.writer import Writer
from tests.unit.store_kit import (
    MINUTE,
    RECEIPT,
    Clock,
    Output,
    abandon,
    accept,
    claim_one,
    deliver,
    incoming,
    open_store,
    opened,
    parked,
    routed,
    spooled,
    translated,
    unbalanced,
)

pytestmark = pytest.mark.usefixtures("backend")
only_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture()
def clock() -> Clock:
    return Clock()


@pytest.fixture()
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with opened(tmp_path / "store", now=clock) as store:
        yield store
        assert unbalanced(store) == []
        assert store.check() == []


# -------------------------------------------------------------------- opening


@only_sqlite
def test_an_old_sqlite_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"3\.40\.1 can lose committed transactions"):
        sqlite.check_sqlite((3, 40, 1))
    sqlite.check_sqlite()


@only_sqlite
def test_commits_reach_the_disk(store: Store) -> None:
    pragmas = store._do(lambda tx: [tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in (
        "journal_mode", "synchronous", "foreign_keys")])
    assert pragmas == ["wal", 2, 1]


def test_the_migrations_make_the_tables(store: Store) -> None:
    def compare(tx: object) -> list[object]:
        context = MigrationContext.configure(tx.connection)  # type: ignore[attr-defined]
        return list(compare_metadata(context, tables.metadata))

    assert store._do(compare) == []


def test_the_first_migration_has_what_is_expensive_to_add_later() -> None:
    message, delivery = tables.message.c, tables.delivery.c
    assert {"tenant", "sender", "case", "correlation", "reply_to", "order_key", "lease_owner", "lease_until",
            "lease_fencing",
            "config_digest", "mapping_digest", "deaths"} <= set(message.keys())
    assert {"tenant", "order_key", "lease_owner", "lease_until", "lease_fencing", "generation",
            "config_digest",
            "mapping_digest"} <= set(delivery.keys())
    assert "tenant" in tables.blob.c


def test_an_old_program_refuses_a_newer_store(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        store._do(lambda tx: tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    for read_only in (False, True):
        with pytest.raises(ConfigError, match="9999"):
            open_store(tmp_path / "store", read_only=read_only)


@pytest.mark.slow
def test_only_one_process_writes(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreInUse):
        open_store(tmp_path / "store")
    with opened(tmp_path / "store", read_only=True) as reader:
        assert reader.find_messages() == []
        with pytest.raises(StoreUnavailable):
            accept(reader, incoming())


@only_sqlite
def test_a_thawed_process_writes_nothing(tmp_path: Path) -> None:
    frozen = open_store(tmp_path / "store")
    routed(frozen)
    claimed = claim_one(frozen)
    (tmp_path / "store" / "lock").unlink()  # as if the lock had been lost: another node, a restored folder
    with opened(tmp_path / "store") as second:
        assert second.fencing == frozen.fencing + 1
        with pytest.raises(StoreUnavailable, match="another process"):
            frozen.begin_effect(claimed.delivery.id)
        with pytest.raises(StoreUnavailable, match="broken"):
            accept(frozen, incoming(b"late"))
        assert frozen.broken
        assert [event.name for event in second.events_of(claimed.delivery.message_id)][-1] == "claimed"
        frozen.close()
    with opened(tmp_path / "store") as third:
        assert not third.unclean


@only_sqlite
def test_planted_without_the_fencing_check_a_thawed_process_writes(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Shows that it is the fencing number that stops it, and nothing else."""
    from hub.store.database.transaction import Transaction

    monkeypatch.setattr(Store, "_transaction", lambda self,
                        connection: Transaction(connection, 0, self.fencing))
    frozen = open_store(tmp_path / "store")
    (tmp_path / "store" / "lock").unlink()
    with opened(tmp_path / "store") as second:
        accept(frozen, incoming(b"late"))
        assert len(second.find_messages()) == 1
    frozen.close()


def test_an_unclean_end_is_noticed_and_a_clean_one_too(tmp_path: Path) -> None:
    first = open_store(tmp_path / "store")
    assert not first.unclean
    abandon(first)
    with opened(tmp_path / "store") as second:
        assert second.unclean
        second.recover()
    with opened(tmp_path / "store") as third:
        assert not third.unclean


def test_a_closed_store_takes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable):
        accept(store, incoming())


# -------------------------------------------------------------------- accepting


def test_what_was_accepted_is_there_after_a_crash(tmp_path: Path) -> None:
    first = open_store(tmp_path / "store")
    large = os.urandom(300_000)
    message = incoming(parts=(IncomingPart.of(b"<a/>"), spooled(first.spool, large)), case="V-1",
                       correlation="c", reply_to="q")
    accepted = accept(first, message)
    abandon(first)
    with opened(tmp_path / "store") as second:
        stored = second.get_message(accepted.id)
        assert (stored.state, stored.tenant, stored.case) == (MessageState.RECEIVED, "musterstadt", "V-1")
        bodies = second.bodies([part.blob for part in stored.parts])
        assert [bodies[part.blob].read() for part in stored.parts] == [b"<a/>", large]


def test_a_spooled_file_is_taken_over_only_with_the_commit(store: Store) -> None:
    part = spooled(store.spool, bytes(100_000))
    lying = IncomingPart(part.name, part.media_type, part.content, part.size, "0" * 64)
    with pytest.raises(StoreUnavailable):
        accept(store, incoming(parts=(lying,)))
    assert isinstance(part.content, Path)
    assert part.content.exists()
    accept(store, incoming(parts=(part,)))
    assert not part.content.exists()


def test_the_same_again_is_the_same_message(store: Store) -> None:
    first = accept(store, incoming())
    again = accept(store, incoming())
    assert (again.id, again.duplicate) == (first.id, True)
    assert len(store.find_messages()) == 1
    assert {key.name: count for key, count in store.tallies().items() if key.kind == "message_total"} == {
        "accepted": 1, "duplicate": 1}


@only_sqlite
def test_a_duplicate_leaves_no_file(store: Store) -> None:
    for name in ("one", "two"):
        part = IncomingPart.of(bytes(100_000))
        assert accept(store, incoming(parts=(part,))).duplicate == (name == "two")
    assert orphans(store) == []


def orphans(store: Store) -> list[Path]:
    """Files that no row names; there are none where bodies are rows."""
    with store._read() as connection:
        return store.blobs.orphans(connection) if isinstance(store.blobs, FileBlobs) else []


def missing_in_key(message: type[Incoming]) -> list[str]:
    """Which differences between two messages the duplicate key does not see."""
    base = {"inlet": "https", "sender": "portal", "ags": "14999010", "service": "hundesteuer", "test": False,
            "key": "k",
            "parts": (IncomingPart.of(b"<a/>"),)}
    other = {"sender": "another", "ags": "14999020", "service": "gewerbemeldung", "test": True, "key": "l"}
    return [name for name, value in other.items()
            if message(**base).duplicate_key() == message(**{**base, name: value}).duplicate_key()]


def test_the_duplicate_key_has_sender_municipality_service_test_and_key() -> None:
    assert missing_in_key(Incoming) == []


def test_planted_a_duplicate_key_without_municipality_is_noticed() -> None:
    class Careless(Incoming):
        def duplicate_key(self) -> str:
            return f"{self.sender} {self.service} {self.test} {self.key}"

    assert missing_in_key(Careless) == ["ags"]


def test_a_key_is_forgotten_after_thirty_days(store: Store, clock: Clock) -> None:
    first = accept(store, incoming(key="k"))
    clock.now += timedelta(days=29)
    assert accept(store, incoming(key="k")).duplicate
    clock.now += timedelta(days=2)
    again = accept(store, incoming(key="k"))
    assert not again.duplicate
    assert again.id != first.id
    assert accept(store, incoming(key="k")).id == again.id


def test_same_key_with_other_content_is_refused_or_parked(store: Store) -> None:
    first = accept(store, incoming(b"<a/>", key="k"))
    with pytest.raises(Conflict) as conflict:
        accept(store, incoming(b"<b/>", key="k", conflict="refuse"))
    assert conflict.value.message_id == first.id
    other = store.get_message(accept(store, incoming(b"<b/>", key="k", conflict="park")).id)
    assert (other.state, other.reason) == (MessageState.PARKED, Reason.CONFLICT)
    assert first.id in (other.reason_text or "")
    assert accept(store, incoming(b"<a/>", key="k")).id == first.id


def test_what_cannot_be_read_or_attributed_is_stored_parked(store: Store) -> None:
    unreadable = store.get_message(accept(store, incoming(b"\xff", unreadable="Kein Multipart")).id)
    assert (unreadable.state, unreadable.reason, unreadable.reason_text) == (
        MessageState.PARKED, Reason.UNREADABLE, "Kein Multipart")
    unknown = accept(store, incoming(b"<b/>"), park=(Reason.UNKNOWN_SERVICE, "Dienst unbekannt"))
    assert store.get_message(unknown.id).reason == Reason.UNKNOWN_SERVICE
    assert store.claim_messages(10, MINUTE) == []


def test_what_an_inlet_notes_stands_in_the_history(store: Store) -> None:
    noted = accept(store, incoming(notes=("Nicht übernommen: 1 Datei.", "Zwei.")))
    parked = accept(store, incoming(b"\xff", unreadable="Kein Multipart.", notes=("Zwei.",)))
    plain = accept(store, incoming(b"<c/>"))
    assert [store.events_of(message.id)[0].detail for message in (noted, parked, plain)] == [
        "Nicht übernommen: 1 Datei. Zwei.", "Kein Multipart. Zwei.", None]
    assert store.get_message(parked.id).reason_text == "Kein Multipart."


def test_what_a_worker_notes_stands_in_the_history(store: Store) -> None:
    for answer in (parked, translated):
        message_id = accept(store, incoming(f"<{answer.__name__}/>".encode())).id
        store.claim_messages(1, MINUTE, only=[message_id])
        noted = answer(message_id).model_copy(update={"notes": (say("eins"), say("zwei"))})
        store.record([noted], Output().fd, config_digest="config-1")
        assert (store.events_of(message_id)[1].detail or "").endswith(" [eins] [zwei]")
        assert "[eins]" not in (store.get_message(message_id).reason_text or "")


def test_many_threads_accept_at_once(store: Store) -> None:
    answers: list[str] = []

    def work(worker: int) -> None:
        answers.extend(accept(store, incoming(b"%d" % (number % 20), sender=f"s{worker % 2}")).id
                       for number in range(40))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 320
    assert len(set(answers)) == 40 == len(store.find_messages(limit=1000))


# -------------------------------------------------------------------- the pipeline's side


def test_messages_are_claimed_oldest_first_and_once(store: Store) -> None:
    ids = [accept(store, incoming(b"%d" % number)).id for number in range(5)]
    assert [message.id for message in store.claim_messages(3, MINUTE)] == ids[:3]
    assert [message.id for message in store.claim_messages(3, MINUTE)] == ids[3:]
    assert store.claim_messages(3, MINUTE) == []
    store.release_messages(ids[1:2])
    assert [message.id for message in store.claim_messages(3, MINUTE)] == ids[1:2]


def test_an_outcome_becomes_deliveries(store: Store) -> None:
    original = IncomingPart.of(b"<a/>")
    message_id = accept(store, incoming(parts=(original,), case="V-7")).id
    store.claim_messages(1, MINUTE)
    output = Output()
    upload = output.attachment(os.urandom(200_000))
    attached = OutPart(role="attachment", name="u.pdf", media_type="application/pdf", size=upload.size,
                       sha256=upload.sha256,
                       attachment=0)
    received = OutPart(role="original", name="o.xml", media_type="application/xml", size=original.size,
                       sha256=original.sha256,
                       received=0)
    outcome = translated(message_id, output.delivery(b"<mail/>", parts=(attached, received)),
                         output.delivery(b"<dms/>", "dms", "dms"), attachments=[upload])
    assert store.record([outcome], output.fd, config_digest="config-2") == ["dms", "mail-musterstadt"]
    message = store.get_message(message_id)
    assert (message.state, message.form_version) == (MessageState.ROUTED, "1.0")
    assert [(part.no, part.role) for part in message.parts] == [(1, "received"), (2, "attachment")]
    claimed = claim_one(store)
    delivery = claimed.delivery
    assert (delivery.case, delivery.attempt, delivery.tenant, claimed.probe) == ("V-7", 1, "musterstadt",
                                                                                 False)
    assert [delivery.read(part) for part in delivery.manifest.parts] == [
        b"<mail/>", os.pread(output.fd, upload.size, upload.body.offset), b"<a/>"]
    assert Manifest.from_json(delivery.manifest.to_json()) == delivery.manifest
    [row, _] = store.deliveries_of(message_id)
    assert (row.config_digest, row.mapping_digest) == ("config-2", "mapping-1")


def test_a_message_without_deliveries_is_complete_and_a_test_stays_a_test(store: Store) -> None:
    message_id = accept(store, incoming()).id
    store.claim_messages(1, MINUTE)
    store.record([translated(message_id, facts=Facts(test=True))], 0, config_digest="c")
    message = store.get_message(message_id)
    assert (message.state, message.test) == (MessageState.COMPLETED, True)


def test_a_parked_outcome_keeps_reason_and_trace_and_can_be_replayed(store: Store) -> None:
    message_id = accept(store, incoming()).id
    store.claim_messages(1, MINUTE)
    store.record([parked(message_id)], 0, config_digest="c")
    assert (store.get_message(message_id).reason, store.trace_of(message_id)) == ("invalid", ("rule 1: no",))
    assert store.replay(message_id, "erika") == 1
    assert store.get_message(message_id).reason is None
    assert [message.id for message in store.claim_messages(1, MINUTE)] == [message_id]


def test_an_outcome_for_what_is_not_in_hand_is_ignored(store: Store) -> None:
    message_id = accept(store, incoming()).id
    output = Output()
    outcome = translated(message_id, output.delivery(os.urandom(100_000)))
    assert store.record([outcome], output.fd, config_digest="c") == []
    store.claim_messages(1, MINUTE)
    assert store.record([outcome, outcome], output.fd, config_digest="c") == ["mail-musterstadt"]
    assert store.record([outcome], output.fd, config_digest="c") == []
    assert len(store.deliveries_of(message_id)) == 1
    assert orphans(store) == []


def test_an_answer_that_does_not_fit_records_nothing(store: Store) -> None:
    good, bad = (accept(store, incoming(name)).id for name in (b"1", b"2"))
    store.claim_messages(2, MINUTE)
    output = Output()
    wrong = output.delivery(b"<r/>")
    lies = [wrong.model_copy(update={"parts": (wrong.parts[0].model_copy(update=change),)}) for change in (
        {"sha256": "0" * 64}, {"size": 3}, {"body": None, "attachment": 0}, {"body": None, "received": 5},
        {"body": None},
        {"body": None, "received": 0})]
    for lie in lies:
        with pytest.raises(BadOutcome) as error:
            store.record([translated(good, output.delivery(os.urandom(100_000))), translated(bad, lie)],
                         output.fd,
                         config_digest="c")
        assert error.value.message_id == bad
    assert store.deliveries_of(good) == []
    assert orphans(store) == []


def test_what_was_in_flight_at_an_unclean_end_is_suspect(tmp_path: Path) -> None:
    first = open_store(tmp_path / "store")
    ids = [accept(first, incoming(b"%d" % number)).id for number in range(3)]
    first.claim_messages(2, MINUTE)
    abandon(first)
    second = open_store(tmp_path / "store")
    assert (second.recover().suspects, second.suspects()) == (2, ids[:2])
    assert [message.id for message in second.claim_messages(10, MINUTE)] == ids[2:]
    second.release_messages(ids[2:])
    assert [message.id for message in second.claim_messages(10, MINUTE, only=ids[:1])] == ids[:1]
    abandon(second)
    with opened(tmp_path / "store") as third:
        recovered = third.recover()
        assert recovered.alone == ids[0]
        assert third.count_death(ids[0]) == 1
        assert third.suspects() == ids[:2]
        third.claim_messages(1, MINUTE, only=ids[:1])
        third.record([translated(ids[0])], 0, config_digest="c")
        assert third.suspects() == ids[1:2]
        assert third.get_message(ids[0]).deaths == 1


def test_a_clean_end_makes_nobody_suspect(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as first:
        message_id = accept(first, incoming()).id
        first.claim_messages(1, MINUTE)
    with opened(tmp_path / "store") as second:
        assert (second.recover().suspects, second.suspects()) == (0, [])
        assert [message.id for message in second.claim_messages(1, MINUTE)] == [message_id]


# -------------------------------------------------------------------- deliveries


def test_done_everywhere_completes_the_message(store: Store) -> None:
    message_id = routed(store, ["mail", "dms"])
    deliver(store, "mail")
    assert store.get_message(message_id).state == MessageState.ROUTED
    deliver(store, "dms")
    assert store.get_message(message_id).state == MessageState.COMPLETED
    [row, _] = store.deliveries_of(message_id)
    assert (row.state, row.receipt) == (DeliveryState.DONE, {"reference": "INBOX/1", "detail": {}})
    assert store.oldest_undelivered() is None


def test_later_waits_for_its_time_and_counts_attempts(store: Store, clock: Clock) -> None:
    routed(store)
    claimed = claim_one(store)
    store.settle([Settlement.later(claimed.delivery.id, clock.now + MINUTE, "Temporary", "451")])
    assert store.claim_deliveries("mail-musterstadt", 1, MINUTE) == []
    assert store.due_destinations() == [("mail-musterstadt", clock.now + MINUTE)]
    assert store.due_destinations(clock.now) == []
    clock.now += MINUTE
    again = claim_one(store)
    assert (again.attempts, again.first_due_at) == (2, claimed.first_due_at)
    store.settle([Settlement.later(again.delivery.id, clock.now, "held", "Zustellfenster zu", counted=False)])
    assert claim_one(store).attempts == 2


def test_a_release_is_no_attempt(store: Store) -> None:
    routed(store)
    store.release_deliveries([claim_one(store).delivery.id])
    claimed = claim_one(store)
    assert claimed.attempts == 1
    store.begin_effect(claimed.delivery.id)
    store.release_deliveries([claimed.delivery.id])
    assert store.claim_deliveries("mail-musterstadt", 1, MINUTE) == []


def test_fresh_and_deferred_alternate(store: Store, clock: Clock) -> None:
    old = [routed(store, content=b"old %d" % number) for number in range(3)]
    for claimed in store.claim_deliveries("mail-musterstadt", 3, MINUTE):
        store.settle([Settlement.later(claimed.delivery.id, clock.now, "Temporary", "451")])
    new = [routed(store, content=b"new %d" % number) for number in range(3)]
    claimed_ids = [claimed.delivery.message_id
                   for claimed in store.claim_deliveries("mail-musterstadt", 4, MINUTE)]
    assert claimed_ids == [new[0], old[0], new[1], old[1]]


def test_in_doubt_is_probed_without_counting_and_decided(store: Store, clock: Clock) -> None:
    message_id = routed(store)
    claimed = claim_one(store)
    store.begin_effect(claimed.delivery.id)
    store.settle([Settlement.in_doubt(claimed.delivery.id, "Zeitüberschreitung", clock.now)])
    probing = claim_one(store)
    assert (probing.probe, probing.attempts) == (True, 1)
    assert store.deliveries_of(message_id)[0].state == DeliveryState.IN_DOUBT
    store.settle([Settlement.again(probing.delivery.id, clock.now, repeat_marked=True)])
    again = claim_one(store)
    assert (again.probe, again.attempts, again.delivery.repeat_marked) == (False, 2, True)
    store.settle([Settlement.in_doubt(again.delivery.id, "wieder", None)])
    assert store.due_destinations() == []
    store.confirm(again.delivery.id, "erika", "Anruf im Rathaus")
    assert store.get_message(message_id).state == MessageState.COMPLETED


def test_what_is_not_in_hand_is_neither_begun_nor_settled(store: Store) -> None:
    message_id = routed(store)
    [row] = store.deliveries_of(message_id)
    with pytest.raises(LostLease):
        store.begin_effect(row.id)
    assert store.settle([Settlement.done(row.id, RECEIPT)]) == 0
    deliver(store)
    assert store.settle([Settlement.parked(row.id, Reason.PERMANENT, "zu spät")]) == 0
    assert store.get_message(message_id).state == MessageState.COMPLETED


def test_after_a_crash_only_what_began_is_in_doubt(tmp_path: Path) -> None:
    first = open_store(tmp_path / "store")
    ids = {name: routed(first, [name], name.encode())
           for name in ("begun", "claimed", "assumed", "waiting", "probed")}
    for name in ("begun", "claimed", "assumed", "probed"):
        claimed = claim_one(first, name)
        if name in {"begun", "probed"}:
            first.begin_effect(claimed.delivery.id)
    first.settle([Settlement.in_doubt(claimed.delivery.id, "?", first._now())])
    claim_one(first, "probed")
    abandon(first)
    with opened(tmp_path / "store") as second:
        recovered = second.recover(lambda destination: destination == "assumed")
        assert (recovered.due, recovered.in_doubt) == (1, 3)
        states = {name: second.deliveries_of(message_id)[0].state.value for name, message_id in ids.items()}
        assert states == {"begun": "in_doubt", "claimed": "due", "assumed": "in_doubt", "waiting": "due",
                          "probed": "in_doubt"}
        assert [name for name, _ in second.due_destinations()] == sorted(ids)
        assert claim_one(second, "begun").probe
        assert claim_one(second, "claimed").attempts == 2
        assert unbalanced(second) == []


def test_a_damaged_body_is_never_delivered(store: Store) -> None:
    message_id = routed(store)
    damage = update(tables.blob).where(tables.blob.c.message_id == message_id).values(content=b"\0\0wrong")
    store._do(lambda tx: tx.connection.execute(damage))
    assert store.claim_deliveries("mail-musterstadt", 1, MINUTE) == []
    [row] = store.deliveries_of(message_id)
    assert (row.state, row.reason) == (DeliveryState.PARKED, Reason.DAMAGED)
    with pytest.raises(Damaged):
        store.open_blob(store.get_message(message_id).parts[0].blob)
    with pytest.raises(Damaged, match="gone"):
        store.open_blob("nowhere")


def test_a_claim_goes_on_behind_damaged_ones(store: Store) -> None:
    """Or what stands behind them would wait until somebody happens to look again."""
    first, second = routed(store), routed(store, content=b"<b/>")
    damage = update(tables.blob).where(tables.blob.c.message_id == first).values(content=b"\0\0wrong")
    store._do(lambda tx: tx.connection.execute(damage))
    assert claim_one(store).delivery.message_id == second


# -------------------------------------------------------------------- the operator's side


def test_replay_sends_the_same_bytes_once_per_action(store: Store, clock: Clock) -> None:
    message_id = routed(store, ["mail", "dms"])
    first = claim_one(store, "mail")
    store.settle([Settlement.parked(first.delivery.id, Reason.PERMANENT, "550")])
    assert store.replay(message_id, "erika", action="click-1") == 1
    again = claim_one(store, "mail")
    assert again.delivery.manifest == first.delivery.manifest
    assert again.delivery.id == first.delivery.id
    store.settle([Settlement.parked(first.delivery.id, Reason.PERMANENT, "550")])
    # the double click: the first answer, nothing done
    assert store.replay(message_id, "erika", action="click-1") == 1
    assert store.get_delivery(first.delivery.id).state == DeliveryState.PARKED
    with pytest.raises(NotNow):
        store.discard(message_id, "erika", "weg", action="click-1")
    clock.now += timedelta(days=3)
    assert store.replay_delivery(first.delivery.id, "erika", action="click-2") == 1
    assert claim_one(store, "mail").first_due_at == clock.now


def test_replaying_doubt_marks_the_repetition(store: Store) -> None:
    routed(store)
    claimed = claim_one(store)
    store.settle([Settlement.in_doubt(claimed.delivery.id, "?", None)])
    store.replay_delivery(claimed.delivery.id, "erika")
    assert claim_one(store).delivery.repeat_marked


def test_send_again_as_new_has_a_new_name(store: Store) -> None:
    message_id = routed(store)
    old = deliver(store)
    new = store.resend_as_new(old, "erika", action="a")
    assert store.resend_as_new(old, "erika", action="a") == new != old
    assert store.get_message(message_id).state == MessageState.ROUTED
    assert [row.generation for row in store.deliveries_of(message_id)] == [0, 1]
    assert deliver(store) == new
    assert store.get_message(message_id).state == MessageState.COMPLETED
    assert store.resend_as_new(old, "erika") not in {old, new}


def test_discarded_is_final_and_has_a_person_and_a_reason(store: Store) -> None:
    message_id = routed(store, ["mail", "dms"])
    [mail, dms] = store.deliveries_of(message_id)
    store.discard(mail.id, "erika", "doppelt gestellt")
    assert store.get_message(message_id).state == MessageState.ROUTED
    store.discard(dms.id, "erika", "doppelt gestellt")
    assert store.get_message(message_id).state == MessageState.DISCARDED
    assert [(event.who, event.detail) for event in store.events_of(message_id) if event.name == "discarded"
            and event.who] == [
("erika", "doppelt gestellt")] * 2
    with pytest.raises(NotNow):
        store.replay(message_id, "erika")
    with pytest.raises(NotNow):
        store.replay_delivery(mail.id, "erika")


def test_whole_messages_are_discarded_too(store: Store) -> None:
    partly = routed(store, ["mail", "dms"], b"1")
    deliver(store, "mail")
    assert store.discard(partly, "erika", "zurückgezogen") == 1
    assert store.get_message(partly).state == MessageState.COMPLETED  # one recipient has it
    held = accept(store, incoming(b"2"), park=("invalid", "x")).id
    assert store.discard(held, "erika", "Test") == 1
    assert store.get_message(held).state == MessageState.DISCARDED


def test_what_is_under_way_is_nobodys_to_change(store: Store) -> None:
    message_id = routed(store)
    claimed = claim_one(store)
    for act in (lambda: store.discard(message_id, "e", "r"),
                lambda: store.discard(claimed.delivery.id, "e", "r"),
                lambda: store.replay_delivery(claimed.delivery.id, "e"),
                lambda: store.confirm(claimed.delivery.id, "e", "r"),
                lambda: store.resend_as_new(claimed.delivery.id, "e")):
        with pytest.raises(NotNow):
            act()
    assert store.get_delivery(claimed.delivery.id).state == DeliveryState.DELIVERING


def test_looking_up(store: Store) -> None:
    ids = [accept(store, incoming(b"%d" % number, ags=ags)).id
           for number, ags in enumerate(["14999010", "14999020"])]
    assert store.get_message(ids[0]).id == ids[0]
    assert store.get_message(ids[1][:-2]).id == ids[1] or ids[0][:-2] == ids[1][:-2]
    for name in ("", "zzz", ids[0][:6]):
        with pytest.raises(NotFound):
            store.get_message(name)
    assert [message.id for message in store.find_messages()] == ids[::-1]
    assert [message.id
            for message in store.find_messages(ags="14999020", state=MessageState.RECEIVED)] == ids[1:]
    assert store.find_messages(service="unbekannt") == []


def test_the_queue_by_destination(store: Store, clock: Clock) -> None:
    routed(store, ["mail", "dms"], b"1")
    clock.now += MINUTE
    routed(store, ["mail"], b"2")
    deliver(store, "mail")
    rows = {row.destination: row for row in store.queue()}
    assert (rows["mail"].states["due"], rows["mail"].states["done"], rows["dms"].states["due"]) == (1, 1, 1)
    assert rows["mail"].oldest == clock.now
    assert rows["dms"].oldest == clock.now - MINUTE
    assert store.oldest_undelivered() == clock.now - MINUTE


def test_history_is_final(store: Store) -> None:
    accept(store, incoming())
    with pytest.raises(DBAPIError, match="final"):
        store._do(lambda tx: tx.connection.execute(text("UPDATE event SET name = 'x'")))


# -------------------------------------------------------------------- cost


def plan(store: Store, statement: object, **values: object) -> str:
    """SQLite's plan, in one text."""
    def explain(tx: object) -> str:
        connection = tx.connection  # type: ignore[attr-defined]
        compiled = getattr(statement, "statement", statement).compile(dialect=connection.dialect)
        parameters = tuple({**compiled.params, **values}[name] for name in compiled.positiontup or ())
        return "\n".join(row[3]
                         for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", parameters))

    return store._do(explain)


@only_sqlite
@pytest.mark.parametrize(("statement", "values", "index"), [
    (messages._WAITING, {"now": 0, "limit": 1}, "message_waiting"),
    (deliveries._DUE, {"d": "x", "fresh": 1, "now": 0, "limit": 1}, "delivery_waiting"),
    (deliveries._FIRST_DUE, {"d": "x"}, "delivery_waiting"),
    (deliveries._NEXT_DESTINATION, {}, "delivery_waiting"),
    (deliveries._OLDEST, {}, "delivery_open"),
])
def test_waiting_work_is_found_by_index(store: Store, statement: object, values: dict[str, object],
                                        index: str) -> None:
    steps = plan(store, statement, **values)
    assert index in steps
    assert [line for line in steps.splitlines() if line.startswith("SCAN")
            and line.split()[1] in {"message", "delivery"}
            and "USING" not in line] == []
    assert "TEMP B-TREE" not in steps


@only_sqlite
def test_planted_a_lost_index_is_noticed(store: Store) -> None:
    store._do(lambda tx: tx.connection.execute(text("DROP INDEX delivery_waiting")))
    assert "TEMP B-TREE" in plan(store, deliveries._DUE, d="x", fresh=1, now=0, limit=1)


@only_sqlite
def test_other_plans(store: Store) -> None:
    from hub.store.store import _OLDEST_MESSAGE, _SUSPECTS

    assert "message_open" in plan(store, _OLDEST_MESSAGE)
    assert "message_waiting" in plan(store, _SUSPECTS)


def broken_by(store: Store, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Let one fsync of a body fail: why the store takes nothing more."""
    real, failed = os.fsync, []

    def fail_once(fd: int) -> None:
        if not failed:
            failed.append(fd)
            raise OSError(5, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(StoreUnavailable):
        accept(store, incoming(os.urandom(100_000)))
    with pytest.raises(StoreUnavailable, match="broken"):
        accept(store, incoming(b"<small/>"))
    return store.broken


@only_sqlite
def test_after_a_failed_fsync_nothing_is_accepted_and_the_end_is_not_clean(tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "store")
    assert "fsync" in (broken_by(store, monkeypatch) or "")
    store.close()
    with opened(tmp_path / "store") as second:
        assert second.unclean
        assert second.find_messages() == []
        assert accept(second, incoming()).id


def test_a_forgotten_claim_is_given_back_also_when_the_next_commit_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [accept(store, incoming(content)).id for content in (b"<a/>", b"<b/>")]
    claim = store.new_claim()
    assert len(store.claim_messages(1, MINUTE, claim=claim)) == 1
    store.forget_claim(claim)

    def full(_: object) -> None:
        error = sqlite.dbapi2.OperationalError("no room")
        error.sqlite_errorname = "SQLITE_FULL"
        raise DBAPIError("COMMIT", {}, error)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_commit", staticmethod(full))
        with pytest.raises(StoreUnavailable):
            store.claim_messages(1, MINUTE)
    assert sorted(message.id for message in store.claim_messages(10, MINUTE)) == sorted(ids)


def test_an_outcome_that_is_written_late_does_not_touch_what_another_claim_has_in_hand(store: Store) -> None:
    routed(store)
    first, second = store.new_claim(), store.new_claim()
    [claimed] = store.claim_deliveries("mail-musterstadt", 1, MINUTE, claim=first)
    late = replace(Settlement.later(claimed.delivery.id, store._now(), "held", "?", counted=False),
                   claim=first)
    assert store.settle([late]) == 1
    [claimed] = store.claim_deliveries("mail-musterstadt", 1, MINUTE, claim=second)
    assert store.settle([late]) == 0
    assert store.get_delivery(claimed.delivery.id).state is DeliveryState.DELIVERING
    assert store.settle([replace(late, claim=second)]) == 1
