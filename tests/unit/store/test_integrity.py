"""The store looked through and mended: each kind of damage is found, what is parked says why, nothing is
deleted or made up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update

from hub.errors import StoreUnavailable
from hub.message import DeliveryState, MessageState, Reason
from hub.store import integrity
from hub.store.blobs.files import FileBlobs
from hub.store.database import ledger, tables
from hub.store.integrity import Fault, Report
from hub.store.store import Store
from hub.store.transitions import repair
from hub.store.transitions.erasure import Erased
from tests.unit.store_kit import (
    MINUTE,
    abandon,
    accept,
    claim_one,
    deliver,
    incoming,
    opened,
    routed,
    unbalanced,
)

LARGE = b"<a>" + b"x" * 5000 + b"</a>"


@pytest.fixture()
def store(tmp_path: Path) -> Iterator[Store]:
    """Bodies over 1000 bytes are files."""
    with opened(tmp_path / "store", inline=1000) as store:
        yield store


def kinds(report: Report) -> list[str]:
    return sorted(fault.kind for fault in report.faults if not fault.known)


def only(store: Store) -> Path:
    """The one file there is."""
    [file] = store.blobs.files().values()
    return file


def look(store: Store, *, deep: bool = False) -> Report:
    return store.examine(deep=deep, alone=True)


def repaired(store: Store, *, deep: bool = False) -> repair.Plan:
    """Repair, and look again: nothing is left that is not known."""
    todo = store.plan_repair(look(store, deep=deep))
    store.repair(todo, "erika")
    assert look(store, deep=deep).sound
    assert unbalanced(store) == []
    assert store.plan_repair(look(store, deep=deep)).empty
    return todo


def test_a_sound_store_is_sound(store: Store) -> None:
    routed(store, content=LARGE)
    accept(store, incoming())
    steps: list[str] = []
    report = store.examine(deep=True, alone=True, progress=lambda step, done, of: steps.append(step))
    assert (report.sound, report.messages, report.files, report.faults) == (True, 2, 1, ())
    assert report.bodies == 4 and report.bytes > len(LARGE)
    assert list(dict.fromkeys(steps)) == ["database", "references", "tallies", "files", "bodies"]
    assert store.plan_repair(report).empty


def test_beside_a_writer_nothing_is_wrong(tmp_path: Path) -> None:
    """Acceptances have their file before their row, deletions their row before their file."""
    done = threading.Event()
    with opened(tmp_path / "store", inline=10) as store:
        def work() -> None:
            while not done.is_set():
                ids = [routed(store, content=os.urandom(50)) for _ in range(3)]
                for _ in ids:
                    deliver(store)
                store.erase(ids)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            with opened(tmp_path / "store", read_only=True, inline=10) as reader:
                found = [fault for _ in range(5) for fault in reader.examine(deep=True).faults
                         if fault.kind != "leftover"]
        finally:
            done.set()
            thread.join()
        assert found == []
        assert look(store, deep=True).sound


def test_a_damaged_database_is_told_and_not_repaired(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        for number in range(60):
            accept(store, incoming(b"<a>%d</a>" % number + b"x" * 2000))
    file = tmp_path / "store" / "store.sqlite3"
    with file.open("r+b") as raw:
        raw.seek(4096 * 5)
        raw.write(os.urandom(4096 * 8))
    with opened(tmp_path / "store", read_only=True) as reader:
        report = reader.examine(deep=True)
    assert not report.sound
    assert "database" in kinds(report)


def test_a_reference_to_nothing_is_told(store: Store) -> None:
    routed(store)
    victim = store.get_message(accept(store, incoming(b"<b/>")).id).parts[0].blob

    def cut(tx: object) -> None:
        tx.connection.execute(delete(tables.blob).where(tables.blob.c.id == victim))

    store.transact(cut)
    report = look(store)
    assert kinds(report) == ["reference"]
    todo = store.plan_repair(report)
    assert todo.empty and len(todo.hopeless) == 1


@pytest.mark.parametrize("spoil", [
    "UPDATE tally SET count = count + 3 WHERE kind = 'message' AND name = 'routed'",
    "UPDATE tally SET count = count - 1 WHERE kind = 'delivery_total' AND name = 'created'",
    "DELETE FROM tally WHERE kind LIKE 'message%'", "DELETE FROM tally",
    "INSERT INTO tally VALUES ('delivery', 'nobody', 'm/x', 'due', 4)",
])
def test_wrong_books_are_set_right(store: Store, spoil: str) -> None:
    routed(store, ["m/a", "m/b"])
    deliver(store, "m/a")
    accept(store, incoming(b"<b/>"))
    store.transact(lambda tx: tx.connection.execute(text(spoil)))
    report = look(store)
    assert set(kinds(report)) == {"tally"}
    repaired(store)
    assert all(balance.holds for balance in store.balances())
    deliver(store, "m/b")
    assert unbalanced(store) == []


def test_books_stay_right_when_proofs_are_gone_and_deliveries_rerouted(store: Store) -> None:
    from hub.store.transitions.deliveries import Settlement

    message = routed(store, ["m/a"])
    claimed = claim_one(store, "m/a")
    store.settle([Settlement.rerouted(claimed.delivery.id, store.now(), "m/b", "zu groß")])
    deliver(store, "m/b")
    assert look(store).sound
    store.erase([message])
    store.forget([message])
    assert look(store).sound
    store.transact(lambda tx: tx.connection.execute(text("DELETE FROM tally WHERE kind IN ('message', "
                                                    "'delivery_total')")))
    repaired(store)


def test_an_orphan_is_moved_and_never_deleted(store: Store) -> None:
    accept(store, incoming(LARGE))
    orphan = store.blobs.path("019a0000-0000-7000-8000-0000000000ab")
    orphan.write_bytes(b"\0\0somebody's")
    assert store.examine().sound, "beside a running hub it may be an acceptance under way"
    os.utime(orphan, (1, 1))
    assert kinds(store.examine()) == ["orphan"]
    repaired(store)
    [moved] = (store.directory / repair.QUARANTINE).glob("*/*")
    assert (moved.name, moved.read_bytes()) == (orphan.name, b"\0\0somebody's")
    assert moved.parent.stat().st_mode & 0o777 == 0o700


def test_a_leftover_of_deleted_content_is_left_to_the_retention(store: Store) -> None:
    message = routed(store, content=LARGE)
    deliver(store)
    file = only(store)
    content = file.read_bytes()
    store.erase([message])
    file.write_bytes(content)
    report = look(store)
    assert kinds(report) == ["leftover"] and report.sound
    assert store.plan_repair(report).empty


SPOILS: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(), "cut": lambda file: os.truncate(file, 100),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_message_without_its_body_is_parked_with_a_reason(store: Store, spoil: str) -> None:
    message = accept(store, incoming(LARGE)).id
    SPOILS[spoil](only(store))
    assert kinds(look(store)) == ["missing" if spoil == "missing" else "damaged"]
    assert repaired(store).park_messages == (message,)
    found = store.get_message(message)
    assert (found.state, found.reason) == (MessageState.PARKED, Reason.DAMAGED)
    assert "beim Absender neu anfordern" in (found.reason_text or "")
    assert [(event.name, event.who) for event in store.events_of(message)][1:] == [("damaged", "erika"),
                                                                                   ("parked", "erika")]
    assert store.claim_messages(1, MINUTE) == []


def test_only_digests_find_changed_bytes(store: Store) -> None:
    message = accept(store, incoming(LARGE)).id
    file = only(store)
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    assert look(store).sound
    assert [fault.message for fault in look(store, deep=True).faults] == [message]
    assert repaired(store, deep=True).park_messages == (message,)


def test_a_changed_row_is_found_too(store: Store) -> None:
    message = routed(store)

    def spoil(tx: object) -> None:
        tx.connection.execute(update(tables.blob).values(content=b"\0\0<x/>"))  # type: ignore[attr-defined]

    store.transact(spoil)
    report = look(store, deep=True)
    assert set(kinds(report)) == {"damaged"} and {fault.message for fault in report.faults} == {message}
    [row] = store.deliveries_of(message)
    assert repaired(store, deep=True).park_deliveries == (row.id,)


def test_only_deliveries_that_need_the_lost_body_are_parked(store: Store) -> None:
    """The received body is lost; the renderings are there."""
    message = routed(store, content=LARGE)
    only(store).unlink()
    todo = repaired(store)
    assert (todo.park_messages, todo.park_deliveries, len(todo.note)) == ((), (), 1)
    assert store.get_message(message).state is MessageState.ROUTED
    assert deliver(store)


def test_what_was_under_way_may_be_there_and_says_so(tmp_path: Path) -> None:
    killed = Store.open(tmp_path / "store", inline=1000)
    message = routed(killed)
    claimed = claim_one(killed)
    killed.transact(lambda tx: tx.connection.execute(update(tables.blob).where(
        tables.blob.c.id == claimed.delivery.manifest.parts[0].blob).values(content=b"\0\0<x/>")))
    abandon(killed)
    with opened(tmp_path / "store", inline=1000) as store:
        assert repaired(store, deep=True).park_deliveries == (claimed.delivery.id,)
        [row] = store.deliveries_of(message)
        assert row.state is DeliveryState.PARKED and "dort nachsehen" in (row.text or "")
        store.recover(lambda _: True)
        assert store.deliveries_of(message)[0].state is DeliveryState.PARKED


def test_what_is_finished_keeps_its_state_and_the_loss_is_known_afterwards(store: Store) -> None:
    message = routed(store, content=LARGE)
    deliver(store)
    only(store).unlink()
    repaired(store)
    assert store.get_message(message).state is MessageState.COMPLETED
    assert [fault.known for fault in look(store).faults] == [True]


def test_the_repair_stands_among_the_actions(store: Store) -> None:
    accept(store, incoming(LARGE))
    only(store).unlink()
    repaired(store)
    with store.reading() as connection:
        [row] = connection.execute(text("SELECT who, verb, result FROM action")).all()
    assert (row.who, row.verb) == ("erika", "store-repair") and '"park_messages": 1' in row.result


def test_a_reader_repairs_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "store"):
        pass
    with opened(tmp_path / "store", read_only=True) as reader, pytest.raises(StoreUnavailable):
        reader.repair(reader.plan_repair(reader.examine()), "erika")


# --- planted ------------------------------------------------------------------------------------------------


def test_planted_rows_before_files_take_acceptances_for_orphans(store: Store,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Shows why the age of a file counts: what is accepted between the two looks has a file and no row
    yet."""
    monkeypatch.setattr(integrity, "YOUNG", -1.0)
    store.blobs.path("019a0000-0000-7000-8000-0000000000ab").write_bytes(b"\0\0")
    assert kinds(store.examine()) == ["orphan"]


def test_planted_a_check_that_asks_once_takes_a_deletion_for_a_loss(store: Store,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    def races(examination: type[integrity.Examination]) -> list[Fault]:
        message = routed(store, content=os.urandom(5000))
        deliver(store)
        real, done = store.blobs.path, list[Erased]()

        def path(name: str) -> Path:
            if not done:
                done.append(Erased())
                store.erase([message])
            return real(name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.blobs, "path", path)
            return [fault for fault in examination(store.reading, store.blobs, alone=True).run().faults
                    if fault.kind == "missing"]

    class Hasty(integrity.Examination):
        def still_there(self, blobs: FileBlobs, name: str) -> bool:
            return True

    assert races(integrity.Examination) == []
    assert len(races(Hasty)) == 1


def test_planted_a_repair_that_deletes_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def deletes(blobs: object, names: tuple[str, ...], folder: Path) -> int:
        for name in names:
            store.blobs.path(name).unlink()
        return len(names)

    monkeypatch.setattr(repair, "quarantine", deletes)
    with pytest.raises(ValueError, match="unpack"):
        test_an_orphan_is_moved_and_never_deleted(store)


def test_planted_books_that_are_not_recounted_are_noticed(store: Store,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "differences", lambda connection: {})
    with pytest.raises(AssertionError):
        test_wrong_books_are_set_right(store, "DELETE FROM tally")
