"""Accepting: what is accepted stays, and the same again is the same message."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from hub.errors import Conflict, StoreUnavailable
from hub.message import Incoming, IncomingPart, MessageState, Reason
from hub.store.store import Store
from tests.unit.store_kit import (
    MINUTE,
    Clock,
    abandon,
    accept,
    incoming,
    open_store,
    opened,
    orphans,
    spooled,
)

pytestmark = pytest.mark.usefixtures("backend")
only_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


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
