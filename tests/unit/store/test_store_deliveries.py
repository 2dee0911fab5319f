"""The deliverer's side: what is settled counts, and only what began is in doubt after a crash."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from hub.message import DeliveryState, MessageState, Reason
from hub.store.blobs.payload import Damaged
from hub.store.database import tables
from hub.store.store import Store
from hub.store.transitions.deliveries import LostLease, Settlement
from tests.unit.store_kit import (
    MINUTE,
    RECEIPT,
    Clock,
    abandon,
    claim_one,
    deliver,
    open_store,
    opened,
    routed,
    unbalanced,
)

pytestmark = pytest.mark.usefixtures("backend")


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
    first.settle([Settlement.in_doubt(claimed.delivery.id, "?", first.now())])
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
    store.transact(lambda tx: tx.connection.execute(damage))
    assert store.claim_deliveries("mail-musterstadt", 1, MINUTE) == []
    [row] = store.deliveries_of(message_id)
    assert (row.state, row.reason) == (DeliveryState.PARKED, Reason.DAMAGED)
    with pytest.raises(Damaged):
        store.open_blob(store.get_message(message_id).parts[0].blob)
    with pytest.raises(Damaged, match="er fehlt"):
        store.open_blob("nowhere")


def test_a_claim_goes_on_behind_damaged_ones(store: Store) -> None:
    """Or what stands behind them would wait until somebody happens to look again."""
    first, second = routed(store), routed(store, content=b"<b/>")
    damage = update(tables.blob).where(tables.blob.c.message_id == first).values(content=b"\0\0wrong")
    store.transact(lambda tx: tx.connection.execute(damage))
    assert claim_one(store).delivery.message_id == second


def test_an_outcome_that_is_written_late_does_not_touch_what_another_claim_has_in_hand(store: Store) -> None:
    routed(store)
    first, second = store.new_claim(), store.new_claim()
    [claimed] = store.claim_deliveries("mail-musterstadt", 1, MINUTE, claim=first)
    late = replace(Settlement.later(claimed.delivery.id, store.now(), "held", "?", counted=False),
                   claim=first)
    assert store.settle([late]) == 1
    [claimed] = store.claim_deliveries("mail-musterstadt", 1, MINUTE, claim=second)
    assert store.settle([late]) == 0
    assert store.get_delivery(claimed.delivery.id).state is DeliveryState.DELIVERING
    assert store.settle([replace(late, claim=second)]) == 1


def test_what_is_claimed_again_before_its_last_try_has_ended_is_in_hand(store: Store, clock: Clock) -> None:
    message = routed(store)
    claims = [store.new_claim(), store.new_claim()]
    for claim in claims:
        [item] = store.claim_deliveries("mail-musterstadt", 1, MINUTE, claim=claim)
        if claim == claims[0]:
            store.settle([Settlement.again(item.delivery.id, clock.now, repeat_marked=False)])
    assert store.recover_lost(claims[1:], store.new_claim(), (), lambda _: True) == 0, "the first one ended"
    assert store.deliveries_of(message)[0].state is DeliveryState.DELIVERING
    clock.now -= timedelta(days=1)  # whatever the clock says
    assert store.recover_lost((), store.new_claim(), (), lambda _: True) == 1, "and the second one, too"
    assert store.deliveries_of(message)[0].state is DeliveryState.IN_DOUBT
