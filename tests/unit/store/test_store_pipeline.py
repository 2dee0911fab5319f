"""The pipeline's side: messages are claimed once, and their outcomes become deliveries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub.i18n.sentence import say
from hub.job import Facts, OutPart
from hub.message import IncomingPart, Manifest, MessageState
from hub.store.store import BadOutcome, Store
from tests.unit.store_kit import (
    MINUTE,
    Output,
    abandon,
    accept,
    claim_one,
    incoming,
    open_store,
    opened,
    orphans,
    parked,
    translated,
)

pytestmark = pytest.mark.usefixtures("backend")


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


def test_what_a_worker_notes_stands_in_the_history(store: Store) -> None:
    for answer in (parked, translated):
        message_id = accept(store, incoming(f"<{answer.__name__}/>".encode())).id
        store.claim_messages(1, MINUTE, only=[message_id])
        noted = answer(message_id).model_copy(update={"notes": (say("eins"), say("zwei"))})
        store.record([noted], Output().fd, config_digest="config-1")
        assert (store.events_of(message_id)[1].detail or "").endswith(" [eins] [zwei]")
        assert "[eins]" not in (store.get_message(message_id).reason_text or "")
