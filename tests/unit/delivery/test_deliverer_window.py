"""Outside of its window a destination is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hub.delivery.circuit_breaker import Circuit
from hub.endpoint import Done
from hub.message import DeliveryState, Receipt
from tests.unit.delivery.bench import EINS, Benches, quiet, scraped
from tests.unit.operator_kit import beside


def test_outside_of_its_window_a_destination_is_left_alone(benches: Benches) -> None:
    bench = benches('window = ["Mo-Fr 06:00-13:00"]')
    message = bench.message()
    other = bench.message(1, "zwei")
    bench.until(other, DeliveryState.DONE)
    quiet(bench)
    row = bench.delivery(message)
    assert (row.state, row.attempts, len(bench.outlet.tries)) == (DeliveryState.DUE, 0, 1)
    operator = beside(bench.store, bench.deliverer, bench.folder)
    [queued] = [row for row in operator.queue() if row["destination"] == EINS]
    assert queued["closed_until"].startswith("2026-05-05T")
    assert any("(window)" in line for line in operator.why(message)["lines"])
    bench.later(hours=15, minutes=59)
    quiet(bench)
    assert len(bench.outlet.tries) == 1, "05:59"
    bench.later(minutes=1)
    assert bench.until(message, DeliveryState.DONE).attempts == 1
    assert "held" not in {
        event.name for event in bench.store.events_of(message)}, "the books of a closed hour stay short"


def test_a_doubt_too_waits_for_the_window(benches: Benches) -> None:
    bench = benches('window = ["Mo-Fr 06:00-15:00"]')
    bench.outlet.script, bench.outlet.probes = [TimeoutError()], [Done(Receipt("da"))]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=2)
    quiet(bench)
    assert bench.delivery(message).state is DeliveryState.IN_DOUBT
    bench.later(hours=15)
    bench.until(message, DeliveryState.DONE)


def test_a_batch_under_way_ends_with_the_window(benches: Benches) -> None:
    bench = benches('window = ["Mo-Fr 06:00-15:00"]\nparallel = 1')

    def last() -> Receipt:
        bench.clock += timedelta(hours=1)
        return Receipt("angekommen")

    for number in range(3):  # so that the next claims take several
        bench.until(bench.message(number), DeliveryState.DONE)
    bench.stop()
    messages = [bench.message(number) for number in range(10, 14)]
    bench.outlet.script = [last]
    bench.start_anew(circuits={EINS: Circuit(window=4)})
    bench.until(messages[0], DeliveryState.DONE)
    quiet(bench)
    rows = [bench.delivery(message) for message in messages[1:]]
    assert [(row.state, row.attempts, row.error) for row in rows] == [(DeliveryState.DUE, 0, "held")] * 3
    assert "window" in str(rows[0].text)
    bench.later(hours=20)
    for message in messages:
        assert bench.until(message, DeliveryState.DONE).attempts == 1


def test_what_a_window_holds_is_counted_separately_and_is_not_old(benches: Benches) -> None:
    bench = benches()
    now = datetime.now(UTC)
    bench.store.now = lambda: now - timedelta(days=3)  # type: ignore[method-assign]
    bench.stop()
    bench.message()
    assert scraped(bench)["drehscheibe_destination_oldest_seconds", EINS] > 2 * 86400
    closed = benches(f'window = ["{("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So")[(now.weekday() + 3) % 7]} '
                     '10:00-11:00"]')
    bench.configuration = closed.configuration
    figures = scraped(bench)
    assert figures["drehscheibe_destination_oldest_seconds", EINS] == 0
    assert figures["drehscheibe_oldest_undelivered_seconds",] == 0
    assert figures["drehscheibe_deliveries_held", EINS, "window"] == 1
