"""A case arrives in its order, where the route wants that."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub.delivery.circuit_breaker import Circuit
from hub.errors import Temporary
from hub.message import DeliveryState
from hub.store.transitions import case_order, deliveries
from tests.unit.delivery.bench import EINS, Benches, quiet, scraped
from tests.unit.operator_kit import beside


def test_a_case_arrives_in_its_order_whatever_happens_to_the_first(benches: Benches) -> None:
    bench = benches()
    bench.outlet.begin, bench.outlet.script = False, [Temporary("weg")]
    first = bench.message(1, case="V-1")
    bench.until(first, DeliveryState.DUE, tries=1)
    second, third = bench.message(2, case="V-1"), bench.message(3, case="V-1")
    other = bench.message(4, case="V-2")
    bench.until(other, DeliveryState.DONE)
    quiet(bench)
    for message in (second, third):
        row = bench.delivery(message)
        assert (row.state, row.attempts, row.due_at, row.reason) == (DeliveryState.DUE, 0, None, "order")
    operator = beside(bench.store, bench.deliverer, bench.folder)
    assert any(first in line for line in operator.why(second)["lines"])
    assert next(row["waiting_for_turn"] for row in operator.queue() if row["destination"] == EINS) == 2
    assert scraped(bench)["drehscheibe_deliveries_held", EINS, "order"] == 2
    bench.later(hours=2)
    for message in (first, second, third):
        bench.until(message, DeliveryState.DONE)
    order = [delivery.message_id for delivery in bench.outlet.tries if delivery.case == "V-1"]
    assert order == [first, first, second, third]
    assert [event.name for event in bench.store.events_of(second)].count("held") == 1
    assert bench.store.tallies() == bench.store.tallies() | bench.store.recount()


def test_without_the_routes_wish_nothing_waits(benches: Benches) -> None:
    bench = benches()
    bench.outlet.begin, bench.outlet.script = False, [Temporary("weg")]
    first = bench.route(bench.accept(1, "V-1"))
    bench.until(first, DeliveryState.DUE, tries=1)
    bench.until(bench.route(bench.accept(2, "V-1")), DeliveryState.DONE)


def test_one_batch_takes_a_case_one_by_one(benches: Benches) -> None:
    bench = benches()
    bench.stop()
    messages = [bench.message(number, case=f"V-{number % 3}") for number in range(30)]
    claimed = bench.store.claim_deliveries(EINS, 20, timedelta(minutes=5))
    assert [item.delivery.message_id for item in claimed] == messages[:3]
    bench.store.release_deliveries([item.delivery.id for item in claimed])
    bench.start_anew()
    for message in messages:
        bench.until(message, DeliveryState.DONE)
    for case in range(3):
        assert [delivery.message_id for delivery in bench.outlet.tries
                if delivery.case == f"V-{case}"] == messages[case::3]


def test_one_that_overtakes_on_the_way_to_the_outbox_waits(benches: Benches) -> None:
    """A worker is still at the first message when another one is done with the second."""
    bench = benches()
    first, second = bench.accept(1, "V-1"), bench.accept(2, "V-1")
    bench.route(second, order="case")
    quiet(bench)
    assert bench.delivery(second).due_at is None
    assert bench.store.predecessor(bench.delivery(second).id) == case_order.Predecessor(first, None,
                                                                                        "received")
    bench.route(first, order="case")
    for message in (first, second):
        bench.until(message, DeliveryState.DONE)
    assert [delivery.message_id for delivery in bench.outlet.tries] == [first, second]


def test_an_earlier_one_that_goes_elsewhere_holds_nobody_up(benches: Benches) -> None:
    bench = benches()
    bench.stop()
    bench.start_anew(circuits={"musterstadt/zwei": Circuit(failures=9,
                                                           resting_until=bench.clock + timedelta(hours=1))})
    first, second = bench.accept(1, "V-1"), bench.accept(2, "V-1")
    bench.route(second, order="case")
    quiet(bench)
    assert bench.delivery(second).due_at is None
    bench.route(first, "zwei", order="case")
    bench.until(second, DeliveryState.DONE)
    assert bench.delivery(first).state is DeliveryState.DUE


@pytest.mark.parametrize("way", ["discard", "confirm", "replay"])
def test_a_parked_one_holds_the_others_until_a_person_decides(benches: Benches, way: str) -> None:
    bench = benches()
    first = bench.message(1, "nirgends", case="V-1")
    parked = bench.until(first, DeliveryState.PARKED)
    second = bench.message(2, "nirgends", case="V-1")
    quiet(bench)
    assert bench.delivery(second).due_at is None
    operator = beside(bench.store, bench.deliverer, bench.folder)
    if way == "replay":
        operator.replay(parked.id, "erika")
        quiet(bench)
        assert [bench.delivery(message).state for message in (first, second)] == [DeliveryState.PARKED,
                                                                                  DeliveryState.DUE]
        operator.discard(first, "erika", "erledigt")
    else:
        getattr(operator, way)(parked.id, "erika", "erledigt")
    bench.until(second, DeliveryState.PARKED)  # tried, and parked for the same reason


def test_a_message_that_is_parked_before_it_is_routed_holds_its_service(benches: Benches) -> None:
    bench = benches()
    first = bench.accept(1, "V-1")
    bench.store.transact(lambda tx: tx.connection.exec_driver_sql("UPDATE message SET state = 'parked'"))
    second = bench.message(2, case="V-1")
    quiet(bench)
    assert bench.delivery(second).due_at is None
    bench.store.transact(lambda tx: tx.connection.exec_driver_sql(
        f"UPDATE message SET service = 'anders' WHERE id = '{first}'"))
    assert bench.store.free_missed() == 1
    bench.until(second, DeliveryState.DONE)


def test_whoever_waited_long_for_its_turn_has_all_its_tries(benches: Benches) -> None:
    """The retry policy gives up by age: its clock begins when it is the delivery's turn."""
    bench = benches()
    bench.outlet.begin, bench.outlet.script = False, [Temporary("weg")]
    first = bench.message(1, case="V-1")
    bench.until(first, DeliveryState.DUE, tries=1)
    second = bench.message(2, case="V-1")
    quiet(bench)
    bench.clock += timedelta(days=30)
    bench.store.discard(bench.delivery(first).id, "erika", "zu alt")
    bench.outlet.script = [Temporary("noch einmal weg")]
    bench.until(second, DeliveryState.DUE, tries=2)
    bench.later(hours=2)
    bench.until(second, DeliveryState.DONE)


def test_a_planted_claim_that_forgets_the_order_would_be_seen(benches: Benches,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries.case_order, "blocked", lambda tx, rows: set())
    bench = benches()
    bench.outlet.begin, bench.outlet.script = False, [Temporary("weg")]
    first = bench.message(1, case="V-1")
    bench.until(first, DeliveryState.DUE, tries=1)
    bench.until(bench.message(2, case="V-1"), DeliveryState.DONE)
