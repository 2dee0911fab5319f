"""The operator's side: what is replayed happens once, and what is final stays so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub.message import DeliveryState, MessageState, Reason
from hub.store.store import Store
from hub.store.transitions.deliveries import Settlement
from hub.store.transitions.operator_actions import NotFound, NotNow
from tests.unit.store_kit import (
    MINUTE,
    RECEIPT,
    Clock,
    accept,
    claim_one,
    deliver,
    incoming,
    routed,
)

pytestmark = pytest.mark.usefixtures("backend")


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


@pytest.mark.parametrize("original", ["done", "confirmed later", "done later", "discarded", "together"])
def test_each_recipient_is_charged_once_however_often_it_was_sent_again(store: Store, clock: Clock,
                                                                        original: str) -> None:
    """358 of 357 stood on a bill, because one had been sent again."""
    routed(store)
    if original == "done":
        first = deliver(store)
    else:
        first = claim_one(store).delivery.id
        store.settle([Settlement.parked(first, Reason.PERMANENT, "550")])
    clock.now += timedelta(minutes=1)
    store.resend_as_new(first, "erika")
    if original == "discarded":
        store.discard(first, "erika", "neu gesendet")
    if original == "together":
        store.replay_delivery(first, "erika")
        claimed = store.claim_deliveries("mail-musterstadt", 2, MINUTE)
        assert store.settle([Settlement.done(each.delivery.id, RECEIPT) for each in claimed]) == 2
    else:
        deliver(store)
    if original == "confirmed later":
        store.confirm(first, "erika", "Anruf")
    if original == "done later":
        store.replay_delivery(first, "erika")
        deliver(store)
    month = f"{store.now():%Y-%m}"
    counted = {use.destination: used.count for use, used in store.usages(month, month).items()}
    assert counted == {"": 1, "mail-musterstadt": 1}


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


def test_what_cannot_be_done_now_is_said_with_the_german_state(store: Store) -> None:
    message_id = routed(store)
    delivery = deliver(store)
    for act in (lambda: store.replay(message_id, "erika"),
                lambda: store.discard(message_id, "erika", "weg")):
        with pytest.raises(NotNow, match=f"Nachricht {message_id} ist fertig: nur geparkte"):
            act()
    with pytest.raises(NotNow, match="ist zugestellt: das geht nur bei unklar, geparkt"):
        store.confirm(delivery, "erika", "Anruf")
