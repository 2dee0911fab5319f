"""Content goes, and is gone from the files; proofs go later; the books balance; nothing unfinished is ever
touched."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pysqlite3 import dbapi2

from hub.administration.retention import Report
from hub.config.configuration import Kept
from hub.message import MessageState
from hub.store.blobs.files import FileBlobs
from hub.store.blobs.payload import Payload, Staged
from hub.store.database import sqlite
from hub.store.database.ledger import Use
from hub.store.database.transaction import Transaction
from hub.store.store import Store
from hub.store.transitions import erasure
from hub.store.transitions.deliveries import Settlement
from hub.store.transitions.operator_actions import NotNow
from tests.unit.operator_kit import alone
from tests.unit.retention_kit import DAY, application, found, retention, secret
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
    unbalanced,
)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a place: thousands of rows, and no power cut to survive."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else tmp_path) as folder:
        yield Path(folder)


def test_the_content_is_gone_from_the_files_and_the_proof_stays(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock, inline=2000) as store:
        old = application(store, 1, 1500, upload=tmp_path, reply_to="GEHEIM-000001-KONTO")
        clock.now += 29 * DAY
        young = application(store, 2, 900)
        clock.now += 2 * DAY
        assert found(tmp_path / "s") == {1, 2}
        dry = retention(store, clock).run(dry_run=True)
        assert (dry.messages, dry.proofs, dry.dry_run) == (1, 0, True)
        assert found(tmp_path / "s") == {1, 2}, "counting deletes nothing"
        report = retention(store, clock).run()
        assert (report.messages, report.bodies, report.log_truncated) == (1, 5, True)
        assert found(tmp_path / "s") == {2}
        message, operator = store.get_message(old), alone(store)
        assert message.state is MessageState.COMPLETED
        assert message.payload_deleted_at == clock.now
        assert [(part.name, part.filename) for part in message.parts] == [("received-1", None),
                                                                          ("received-2", None),
                                                                          ("attachment-3", None)]
        assert all(part.sha256 and part.size for part in message.parts)
        [row] = store.deliveries_of(old)
        assert row.receipt == {"reference": RECEIPT.reference, "detail": {}}
        event = store.events_of(old)[-1]
        assert (event.name, event.who) == ("payload_deleted", "retention")
        assert event.detail == f"5 Teile, {report.bytes} Bytes"
        assert "gelöscht" in "\n".join(operator.why(old)["lines"])
        assert operator.show(old)["payload_deleted_at"]
        for act in (lambda: operator.replay(old, "erika"), lambda: operator.resend(row.id, "erika"),
                    lambda: operator.replay(row.id, "erika")):
            with pytest.raises(NotNow, match=r"am 23\.12\.2026 nach Ablauf der Aufbewahrungsfrist gelöscht"):
                act()
        assert store.open_blob(store.get_message(young).parts[0].blob).read().startswith(b"<a>GEHEIM-000002")
        assert retention(store, clock).run() == Report(), "and nothing more"
        assert unbalanced(store) == []
        assert store.check() == []


def crowd(store: Store, chance: random.Random, numbers: range) -> None:
    """Finished applications of twelve municipalities, mixed: two rows of bodies each, of a size that SQLite
    keeps together on pages."""
    rows, bodies = [], []
    for number in numbers:
        tenant = f"town-{chance.randrange(12)}"
        rows.append({"id": f"message-{number:06d}", "tenant": tenant})
        for _ in range(2):
            body = (secret(number) * 90)[: chance.choice([20, 150, 300, 500, 800, 1100, 1500])]
            [staged] = store.blobs.stage([Payload.of(body)])
            bodies.append((staged, f"message-{number:06d}", tenant))

    def write(tx: Transaction) -> None:
        tx.connection.execute(sa.text(
            "INSERT INTO message (id, tenant, ags, service, sender, inlet, test, state, received_at, "
            "accepted_day, finished_at, "
            "content_digest, config_digest) "
            "VALUES (:id, :tenant, '', 'hundesteuer', '', '', 1, 'completed', 1, '2026-11-22', 1, '', '')"),
                              rows)
        store.blobs.insert(tx.connection, bodies)

    store.transact(write)


def emptied(store: Store, folder: Path, seed: int) -> list[set[int]]:
    """Municipality after municipality is emptied while new applications come: what is found of deleted ones
    after each run."""
    chance, left = random.Random(seed), []
    crowd(store, chance, range(1000))
    for municipality in range(11):
        retention(store, Clock(), lambda tenant, service, municipality=municipality: Kept(
            0 if int(tenant.removeprefix("town-")) <= municipality else 365 * 99, 365 * 99)).run()
        crowd(store, chance, range(1000 + 30 * municipality, 1030 + 30 * municipality))
        store.truncate_log()
        with store.reading() as connection:
            kept = connection.execute(
                sa.text("SELECT id FROM message WHERE payload_deleted_at IS NULL")).scalars()
            left.append(found(folder) - {int(name.removeprefix("message-")) for name in kept})
    return left


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow),
                                  pytest.param(2, marks=pytest.mark.slow)])
def test_nothing_is_left_where_neighbours_moved(memory: Path, seed: int) -> None:
    with opened(memory) as store:
        assert [numbers for numbers in emptied(store, memory, seed) if numbers] == []
        assert found(memory), "one municipality keeps everything"
        report = retention(store, Clock(), lambda tenant, service: Kept(0, 365 * 99)).run()
        assert found(memory) == set()
        assert report.rows > 2000, "the space of overwritten rows is given back"
        assert store.check() == []


def leaves_something(folder: Path) -> bool:
    """Whether one of the seeds shows that content is left behind."""
    for seed in range(3):
        with opened(folder / str(seed)) as store:
            if any(emptied(store, folder / str(seed), seed)):
                return True
    return False


@pytest.mark.slow
def test_without_overwriting_something_is_left(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why `FileBlobs.erase` overwrites: deleting rows leaves content behind, under ``secure_delete`` too."""

    def delete_rows(self: FileBlobs, connection: sa.Connection,
                    message_ids: list[str]) -> list[tuple[str, Staged]]:
        ids = [name for message_id in message_ids for name in connection.execute(
            sa.text("SELECT id FROM blob WHERE message_id = :id"), {"id": message_id}).scalars()]
        return [(message_ids[0], body) for body in self.delete(connection, ids)]

    monkeypatch.setattr(FileBlobs, "erase", delete_rows)
    assert leaves_something(memory)


@pytest.mark.slow
def test_burying_among_the_living_is_noticed(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why rows without content stay while a neighbour has some: deleting them moves it, and leaves a copy."""
    monkeypatch.setattr(erasure, "NEIGHBOURS", 0)
    assert leaves_something(memory)


def test_without_secure_delete_the_names_of_uploads_are_left(tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WRITING", tuple(pragma for pragma in sqlite.WRITING
                                                 if not pragma.startswith("secure_delete")))
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        for number in range(12):
            application(store, number)
        clock.now += 31 * DAY
        retention(store, clock).run()
        assert found(tmp_path / "s") != set()


def test_without_truncating_the_log_everything_is_left(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "truncate_log", lambda self: True)
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        application(store, 1)
        clock.now += 31 * DAY
        retention(store, clock).run()
        assert found(tmp_path / "s") == {1}


def test_a_reader_holds_the_log_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        application(store, 1)
        reader = dbapi2.connect(f"{(tmp_path / 's' / 'store.sqlite3').as_uri()}?mode=ro", uri=True,
                                isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchall()
        clock.now += 31 * DAY
        assert store.erase(store.due_for_retention("musterstadt", "hundesteuer", clock.now, 9,
                                                   erased=False)).messages == 1
        assert not store.truncate_log()
        accept(store, incoming(b"<b/>"))
        reader.close()
        assert store.truncate_log()
        assert found(tmp_path / "s") == set()


def test_what_is_not_finished_is_never_touched(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        names = {
            "received": accept(store, incoming(b"<r>" + secret(1) + b"</r>")).id,
            "routed": application(store, 2, end=False),
            "parked": accept(store, incoming(b"<p>" + secret(3) + b"</p>"), park=("invalid", "x")).id,
        }
        names["in doubt"] = routed(store, ["dms"], secret(4))
        claimed = claim_one(store, "dms")
        store.begin_effect(claimed.delivery.id)
        store.settle([Settlement.in_doubt(claimed.delivery.id, "?", None)])
        names["half"] = routed(store, ["ok", "dead"], secret(5))
        deliver(store, "ok")
        claimed = claim_one(store, "dead")
        store.settle([Settlement.parked(claimed.delivery.id, "permanent", "550")])
        clock.now += 3000 * DAY
        report = retention(store, clock, lambda tenant, service: Kept(0, 365)).run()
        assert (report.messages, report.proofs, report.rows) == (0, 0, 0)
        assert store.erase(list(names.values())).messages == 0, "not even when asked to"
        assert store.forget(list(names.values())) == 0
        assert {1, 2, 3, 4, 5} <= found(tmp_path / "s")
        for name in names.values():
            for part in store.get_message(name).parts:
                assert store.open_blob(part.blob).read()
        store.discard(names["parked"], "erika", "Test")
        assert retention(store, clock, lambda tenant, service: Kept(0, 365)).run().messages == 1
        assert unbalanced(store) == []


def test_a_finished_message_with_an_open_delivery_is_noticed(tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule stands twice: even a message that is wrongly called completed keeps what a delivery still
    needs."""
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        name = application(store, 1, end=False)
        store.transact(lambda tx: tx.connection.execute(sa.text(
            "UPDATE message SET state = 'completed', finished_at = 1 WHERE id = :id"), {"id": name}))
        clock.now += 31 * DAY
        assert retention(store, clock).run().messages == 0
        monkeypatch.setattr(erasure, "FINAL_DELIVERY", ("done", "discarded", "due"))
        assert retention(store, clock).run().messages == 1


def test_proofs_go_later_and_the_books_balance(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        old = application(store, 1)
        store.claim_messages(1, MINUTE, only=[accept(store, incoming(b"<x/>")).id])
        gone = store.find_messages(limit=1)[0].id
        store.record([parked(gone)], Output().fd, config_digest="c")
        store.discard(gone, "erika", "Test", action="eins")
        clock.now += 600 * DAY
        young = application(store, 2)
        before = store.balances()
        clock.now += 131 * DAY
        report = retention(store, clock).run()
        # keys: one of an arrival, one of an action
        assert (report.messages, report.proofs, report.keys) == (3, 2, 2)
        assert [message.id for message in store.find_messages()] == [young]
        for name in (old, gone):
            assert store.events_of(name) == []
            assert store.deliveries_of(name) == []
        assert store.balances() == before, "what is forgotten stays counted"
        assert unbalanced(store) == []
        assert {used.count for used in store.usages("2026-11", "2026-11").values()} == {1}
        with store.reading() as connection:
            assert {table: connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()
                    for table in ("message", "delivery", "duplicate", "action")} == {
                        "message": 1, "delivery": 1, "duplicate": 0, "action": 0}


def test_forgetting_without_counting_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        application(store, 1)
        clock.now += 731 * DAY
        monkeypatch.setattr("hub.store.database.ledger.FORGOTTEN", {})
        retention(store, clock).run()
        assert unbalanced(store) != []


def test_a_crash_between_commit_and_file_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.now = datetime.now(UTC)
    with opened(tmp_path / "s", now=clock, inline=100) as store:
        application(store, 1, 5000)
        monkeypatch.setattr(FileBlobs, "abandon", lambda self, staged: None)
        clock.now += 31 * DAY
        retention(store, clock).run()
        files = list(store.blobs.files().values())
        assert files == [], "the same run finds what was left"
        young = store.directory / "blobs" / "aa" / "an-acceptance-under-way-aa"
        young.write_bytes(secret(2))
        clock.now = datetime.now(UTC)
        assert store.remove_leftovers() == 0
        clock.now += 2 * DAY
        assert store.remove_leftovers() == 1
        assert found(tmp_path / "s") == set()


def test_usage_outlives_the_proof_and_counts_each_once(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        name = application(store, 1)
        first = clock.now
        clock.now += timedelta(hours=1)
        [row] = store.deliveries_of(name)
        store.resend_as_new(row.id, "erika")
        claimed = claim_one(store)
        store.settle([Settlement.done(claimed.delivery.id, RECEIPT, kind="mail")])
        application(store, 2, test=True)
        doubtful = routed(store, ["dms"])
        claimed = claim_one(store, "dms")
        store.begin_effect(claimed.delivery.id)
        store.settle([Settlement.in_doubt(claimed.delivery.id, "?", None)])
        store.confirm(store.deliveries_of(doubtful)[0].id, "erika", "Anruf")
        uses = store.usages("2026-01", "2026-12")
        key = Use("musterstadt", "hundesteuer", "2026-11", "", "")
        assert uses[key].count == 2, "sent again as new is still one application, and a test is none"
        assert (uses[key].first_at, uses[key].last_at) == tuple(
            int(moment.timestamp() * 1_000_000) for moment in (first, clock.now))
        assert {(use.destination, use.kind): used.count for use, used in uses.items() if use.destination} == {
            ("mail-musterstadt", ""): 1, ("dms", ""): 1}, "sent again as new is no further use"
        clock.now += 800 * DAY
        assert retention(store, clock).run().proofs == 3
        assert store.usages("2026-01", "2026-12") == uses
        assert store.usages("2027-01", "2027-12") == {}
