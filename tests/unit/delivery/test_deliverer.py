"""What becomes of a delivery, whatever its connector does: judged with a real store and an outlet that obeys
the test."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from hub.endpoint import refused
from hub.errors import InDoubt, Permanent, Temporary
from hub.message import DeliveryState, MessageState, Receipt
from hub.store.store import DeliveryRow, Store
from hub.store.transitions.deliveries import ClaimedDelivery
from tests.services import wait_until
from tests.unit.delivery.bench import BODY, Bench


def test_a_delivery_that_arrives_completes_its_message(bench: Bench) -> None:
    message = bench.message()
    row = bench.until(message, DeliveryState.DONE)
    assert row.receipt == {"reference": "angekommen", "detail": {}}
    assert bench.store.get_message(message).state is MessageState.COMPLETED
    assert bench.outlet.tries[0].read(bench.outlet.tries[0].manifest.parts[0]) == BODY


def claimed_in_memory() -> int:
    return sum(isinstance(each, ClaimedDelivery) for each in gc.get_objects())


def test_what_was_claimed_leaves_memory_without_the_garbage_collector(bench: Bench) -> None:
    gc.collect()
    gc.disable()
    before = claimed_in_memory()  # a thread that another test let hang keeps what it has
    try:
        for number in range(3 * bench.configuration.settings.deliver.threads):
            bench.until(bench.message(number), DeliveryState.DONE)
        kept = claimed_in_memory() - before
    finally:
        gc.enable()
    # a thread keeps its last assignment until it has another
    assert kept <= bench.configuration.settings.deliver.threads


def test_the_attempt_is_on_disk_before_the_try(bench: Bench) -> None:
    seen: list[DeliveryRow] = []

    def look() -> Receipt:
        seen.append(bench.delivery(message))
        return Receipt("angekommen")

    bench.stop()
    message = bench.message()
    bench.outlet.script = [look]
    bench.start_anew()
    bench.until(message, DeliveryState.DONE)
    assert (seen[0].state, seen[0].attempts) == (DeliveryState.DELIVERING, 1)


@pytest.mark.parametrize("error", [Temporary("Wartung"), RuntimeError("Erika Mustermann"), InDoubt("unklar")])
def test_any_error_before_the_effect_is_temporary(bench: Bench, error: Exception) -> None:
    bench.outlet.begin, bench.outlet.script = False, [error]
    message = bench.message()
    row = bench.until(message, DeliveryState.DUE, tries=1)
    assert row.due_at is not None
    assert timedelta(minutes=50) < row.due_at - bench.clock < timedelta(minutes=70)
    assert "Erika" not in str(row)
    bench.later(hours=2)
    assert bench.until(message, DeliveryState.DONE).attempts == 2


def test_the_receivers_own_no_holds_after_the_effect(bench: Bench) -> None:
    bench.outlet.script = [refused(Permanent("zu alt"))]
    assert bench.until(bench.message(1), DeliveryState.PARKED).reason == "permanent"
    bench.outlet.script = [refused(Temporary("503 Wartung", retry_after=7200))]
    message = bench.message(2)
    bench.deliverer.wake()
    wait_until(lambda: not bench.outlet.script, "the try", 10)
    row = bench.until(message, DeliveryState.DUE)
    assert row.due_at is not None
    assert row.due_at - bench.clock >= timedelta(seconds=7200)


def test_a_receipt_with_refused_addresses_is_counted_separately(bench: Bench) -> None:
    bench.outlet.script = [Receipt("angekommen", {"to[0]": "250", "refused": "1"})]
    bench.until(bench.message(), DeliveryState.DONE)
    assert {key.name for key in bench.store.tallies() if key.kind == "delivery_total"} >= {"done_partly"}


def test_it_gives_up_by_age_with_a_next_step(bench: Bench) -> None:
    bench.outlet.begin = False
    bench.outlet.script = [Temporary("weg") for _ in range(50)]
    message = bench.message()
    bench.until(message, DeliveryState.DUE, tries=1)
    bench.later(days=4)
    row = bench.until(message, DeliveryState.PARKED)
    assert row.reason == "expired"
    assert "replay" in str(row.text)


def test_a_person_who_knows_that_the_receiver_is_back_need_not_wait(bench: Bench) -> None:
    bench.outlet.begin, bench.outlet.script = False, [Temporary("weg")]
    message = bench.message()
    bench.until(message, DeliveryState.DUE, tries=1)
    assert bench.store.replay(message, "erika") == 1
    assert bench.until(message, DeliveryState.DONE).attempts == 2
    assert [event.who for event in bench.store.events_of(message) if event.name == "replayed"] == ["erika"]


def test_a_destination_that_was_removed_parks_with_a_reason(bench: Bench) -> None:
    message = bench.message(1, "drei")
    row = bench.until(message, DeliveryState.PARKED)
    assert row.reason == "configuration"
    assert "gibt es in der Konfiguration nicht mehr" in str(row.text)


def test_a_goodbye_that_hangs_holds_nobody_up(bench: Bench) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def close() -> None:
        hangs.set()
        assert goes_on.wait(30)

    bench.outlet.close = close  # type: ignore[method-assign]
    bench.until(bench.message(), DeliveryState.DONE)
    bench.later(minutes=5)
    assert hangs.wait(15), "the idle connection is closed"
    bench.until(bench.message(1), DeliveryState.DONE)
    goes_on.set()


def test_one_claim_for_one_delivery(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims that find nothing cost as much as one that does."""
    real, claims = Store.claim_deliveries, []

    def counted(store: Store, *arguments: Any) -> Sequence[Any]:
        found = real(store, *arguments)
        claims.append(len(found))
        return found

    monkeypatch.setattr(Store, "claim_deliveries", counted)
    for number in range(6):
        bench.until(bench.message(number), DeliveryState.DONE)
    assert claims == [1] * 6
