"""When deliveries may go, in which order and how fast, and that nothing which hangs holds up the rest."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from hub.config.sections import DiskSection
from hub.delivery import deliverer
from hub.delivery.circuit_breaker import Circuit
from hub.delivery.rate_limit import Pace
from hub.endpoint import Absent, Done, Unknown
from hub.errors import Permanent, StoreUnavailable, Temporary, TooLarge
from hub.intake.disk_space import Space
from hub.message import NOTE, Delivery, DeliveryState, Manifest, ManifestPart, MessageState, Receipt
from hub.operations.ledger_metrics import LedgerCollector
from hub.operations.operator import Operator
from hub.store import slim_manifest
from hub.store.transitions import case_order, deliveries
from hub.store.transitions.deliveries import LostLease, Settlement
from hub.telemetry.counters import Metrics
from tests.services import wait_until
from tests.unit.delivery.test_deliverer import Bench, Outlet

EINS = "musterstadt/eins"
Benches = Callable[..., Bench]


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[Benches]:
    made: list[Bench] = []

    def make(policy: str = "", *, hub: str = "", connector: str = "directory") -> Bench:
        made.append(Bench(tmp_path / str(len(made)), connector, policy, hub))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def arrives(bench: Bench, message: str) -> None:
    """Let time go on until all of it is delivered."""
    def arrived() -> bool:
        bench.later(seconds=10)
        return bench.store.get_message(message).state is MessageState.COMPLETED

    wait_until(arrived, f"{message} is completed", 20)


def quiet(bench: Bench) -> None:
    """Wait until the scheduler has looked once more and nothing is under way."""
    seen = deliverer.time.monotonic()
    bench.deliverer.wake()
    wait_until(lambda: not bench.deliverer._running and bench.deliverer._news == set(), f"quiet since {seen}",
               10)


def scraped(bench: Bench) -> dict[tuple[str, ...], float]:
    """The metrics that ask the store, by name and labels."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(bench.store, lambda: bench.configuration, bench.deliverer.circuits,
                                      dict, lambda: False,
                                      Space(bench.folder / "state", DiskSection)))
    return {(sample.name, *sample.labels.values()): sample.value for metric in registry.collect()
            for sample in metric.samples}


# -------------------------------------------------------------------- windows

# the bench's clock begins on Monday, 2026-05-04, at 14:00 in Berlin


def test_outside_of_its_window_a_destination_is_left_alone(benches: Benches) -> None:
    bench = benches('window = ["Mo-Fr 06:00-13:00"]')
    message = bench.message()
    other = bench.message(1, "zwei")
    bench.until(other, DeliveryState.DONE)
    quiet(bench)
    row = bench.delivery(message)
    assert (row.state, row.attempts, len(bench.outlet.tries)) == (DeliveryState.DUE, 0, 1)
    operator = Operator(bench.store, bench.deliverer)
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
    bench.deliverer.stop(timedelta(seconds=5))
    messages = [bench.message(number) for number in range(10, 14)]
    bench.outlet.script = [last]
    bench.deliverer = deliverer.Deliverer(bench.store, lambda: bench.configuration, Metrics(),
                                          lambda: bench.clock, bench.build)
    bench.deliverer._circuits[EINS] = Circuit(window=4)
    bench.deliverer.start()
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
    bench.deliverer.stop(timedelta(seconds=5))
    bench.message()
    assert scraped(bench)["drehscheibe_destination_oldest_seconds", EINS] > 2 * 86400
    closed = benches(f'window = ["{("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So")[(now.weekday() + 3) % 7]} '
                     '10:00-11:00"]')
    bench.configuration = closed.configuration
    figures = scraped(bench)
    assert figures["drehscheibe_destination_oldest_seconds", EINS] == 0
    assert figures["drehscheibe_oldest_undelivered_seconds",] == 0
    assert figures["drehscheibe_deliveries_held", EINS, "window"] == 1


# -------------------------------------------------------------------- order within a case


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
    operator = Operator(bench.store, bench.deliverer)
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
    bench.deliverer.stop(timedelta(seconds=5))
    messages = [bench.message(number, case=f"V-{number % 3}") for number in range(30)]
    claimed = bench.store.claim_deliveries(EINS, 20, timedelta(minutes=5))
    assert [item.delivery.message_id for item in claimed] == messages[:3]
    bench.store.release_deliveries([item.delivery.id for item in claimed])
    bench.deliverer = deliverer.Deliverer(bench.store, lambda: bench.configuration, Metrics(),
                                          lambda: bench.clock, bench.build)
    bench.deliverer.start()
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
    first, second = bench.accept(1, "V-1"), bench.accept(2, "V-1")
    bench.route(second, order="case")
    quiet(bench)
    assert bench.delivery(second).due_at is None
    bench.deliverer._circuits["musterstadt/zwei"] = Circuit(failures=9,
                                                            resting_until=bench.clock + timedelta(hours=1))
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
    operator = Operator(bench.store, bench.deliverer, bench.deliverer.wake)
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
    bench.store.transact(lambda tx: tx.connection.exec_driver_sql("UPDATE message SET service = 'anders' WHERE "
                                                             f"id = '{first}'"))
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


# -------------------------------------------------------------------- pace and fairness


def test_a_pace_is_even_and_never_saves_up() -> None:
    pace, now, taken = Pace(), datetime(2026, 5, 4, tzinfo=UTC), []
    for _ in range(100_000):
        ready = pace.ready(20.0, now)
        if ready > now:
            now = ready
            continue
        taken += [now] * pace.take(20)
        if len(taken) == 60:
            now += timedelta(days=1)  # a night without work gives no more than the start did
            taken += [now] * 0
        if len(taken) >= 120:
            break
    per_second = Counter(int(moment.timestamp()) for moment in taken)
    assert max(per_second.values()) <= 20 + 5
    evening, night = taken[:60], taken[60:]
    assert timedelta(seconds=2.6) <= evening[-1] - evening[0] <= timedelta(seconds=3)
    assert timedelta(seconds=2.6) <= night[-1] - night[0] <= timedelta(seconds=3)


def test_what_a_claim_did_not_use_is_not_lost() -> None:
    pace, now = Pace(), datetime(2026, 5, 4, tzinfo=UTC)
    assert pace.ready(4.0, now) == now
    assert pace.take(20) == 1
    pace.give_back(1)
    assert pace.ready(4.0, now) == now


@pytest.mark.slow
def test_an_outage_is_drained_at_the_destinations_rate(benches: Benches) -> None:
    bench = benches('rate = "60/m"')
    clocks: list[datetime] = []

    def arrive() -> Receipt:
        clocks.append(bench.clock)
        return Receipt("angekommen")

    bench.outlet.begin, bench.outlet.script = False, [*[Temporary("weg")] * 3, *[arrive] * 12]
    messages = [bench.message(number) for number in range(12)]
    for _ in range(3):
        quiet(bench)
        bench.later(seconds=1)
    wait_until(lambda: bench.deliverer.circuits().get(EINS, Circuit()).resting_until is not None,
               "the outage", 10)
    bench.clock += timedelta(hours=3)
    for _ in range(40):
        quiet(bench)
        bench.later(milliseconds=500)
    for message in messages:
        bench.until(message, DeliveryState.DONE)
    assert len(clocks) == 12
    assert all(later - earlier >= timedelta(seconds=1) for earlier, later in itertools.pairwise(clocks))


def test_fresh_ones_do_not_starve_behind_deferred_ones_nor_these_behind_them(benches: Benches) -> None:
    """One by one, as after an outage: every second claim begins with the other kind."""
    bench = benches("parallel = 1", hub="batch = 1\n")
    bench.outlet.begin = False
    old = [bench.message(number) for number in range(10)]
    bench.deliverer.stop(timedelta(seconds=5))
    for message in old:
        if bench.delivery(message).state is DeliveryState.DUE:
            item = bench.store.claim_deliveries(EINS, 1, timedelta(minutes=5))[0]
            bench.store.settle([Settlement.later(item.delivery.id, bench.clock, "temporary", "weg")])
    old = [message for message in old if bench.delivery(message).state is DeliveryState.DUE]
    bench.outlet.tries.clear()
    new = [bench.message(number) for number in range(20, 20 + len(old))]
    bench.deliverer = deliverer.Deliverer(bench.store, lambda: bench.configuration, Metrics(),
                                          lambda: bench.clock, bench.build)
    bench.deliverer.start()
    for message in old + new:
        bench.until(message, DeliveryState.DONE)
    kinds = ["old" if delivery.message_id in old else "new" for delivery in bench.outlet.tries]
    assert len(old) >= 5
    assert kinds[:10] in (["old", "new"] * 5, ["new", "old"] * 5)


def test_where_threads_are_short_the_longest_unserved_comes_first(benches: Benches) -> None:
    bench = benches()
    circuits = bench.deliverer._circuits
    for turn, name in enumerate(("c", "a", "b"), 1):
        circuits[name] = Circuit(turn=turn)
    now = bench.clock
    assert [name for name, _ in bench.deliverer._longest_unserved_first([("a", now), ("b", now), ("c", now),
                                                                         ("new", now)])] == [
"new", "c", "a", "b"]


def test_waking_one_destination_does_not_look_at_all_the_others(benches: Benches,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    bench = benches()
    quiet(bench)
    looks: list[Any] = []
    real = bench.store.due_at

    def look(names: Any) -> Any:
        looks.append(set(names))
        return real(names)

    monkeypatch.setattr(bench.store, "due_at", look)
    monkeypatch.setattr(bench.store, "due_destinations", lambda now=None: looks.append("all") or [])
    message = bench.message()
    bench.deliverer.wake([EINS])
    wait_until(lambda: bench.delivery(message).state is DeliveryState.DONE, "it is delivered", 10)
    assert {EINS} in looks
    assert "all" not in looks


# -------------------------------------------------------------------- what hangs


class Hang:
    """A try that ignores its time-out until the test lets it go."""

    def __init__(self) -> None:
        self.hangs, self.release, self.thread = threading.Event(), threading.Event(), ""

    def __call__(self) -> Receipt:
        self.thread = threading.current_thread().name
        self.hangs.set()
        self.release.wait(30)
        return Receipt("viel zu spät")


def test_a_try_that_ignores_its_total_is_given_up_and_its_thread_replaced(benches: Benches) -> None:
    bench = benches('total = "0.3s"', hub='')
    hang = Hang()
    bench.outlet.script, bench.outlet.probes = [Receipt("eins"), Receipt("zwei"), hang], [Absent()]
    metrics = bench.deliverer._metrics
    for number in range(2):
        bench.until(bench.message(number), DeliveryState.DONE)
    bench.deliverer._threads = lambda: 1  # type: ignore[method-assign]
    stuck = bench.message(2)
    rest = [bench.message(number) for number in range(3, 6)]
    bench.deliverer.wake()
    assert hang.hangs.wait(10)
    bench.until(stuck, DeliveryState.IN_DOUBT)
    assert metrics.given_up.labels("directory")._value.get() == 1
    for message in rest:
        assert bench.until(
            message, DeliveryState.DONE).attempts == 1, "what was behind it was not tried and is not lost"
    bench.later(minutes=2)
    assert bench.until(stuck, DeliveryState.DONE).receipt == {"reference": "angekommen", "detail": {}}
    done = len(bench.outlet.tries)
    hang.release.set()
    wait_until(lambda: hang.thread not in {thread.name for thread in threading.enumerate()},
               "the lost thread ends", 10)
    assert bench.delivery(stuck).receipt == {"reference": "angekommen",
                                             "detail": {}}, "its late answer changes nothing"
    assert len(bench.outlet.tries) == done
    assert bench.store.tallies() == bench.store.tallies() | bench.store.recount()


def test_what_was_given_up_before_its_effect_may_not_begin_any_more(benches: Benches) -> None:
    bench = benches('total = "0.3s"')
    hang, sent = Hang(), []

    class Late(Outlet):
        def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
            self.tries.append(delivery)
            if len(self.tries) == 1:
                hang()
            effect_begins()
            sent.append(delivery.id)
            return Receipt("angekommen")

    bench.outlet = Late([], [])
    message = bench.message()
    bench.deliverer.wake()
    assert hang.hangs.wait(10)
    row = bench.until(message, DeliveryState.DUE, tries=1)
    wait_until(lambda: bench.delivery(message).error == "temporary", "it is given up", 10)
    assert row.attempts == 1
    hang.release.set()
    wait_until(lambda: hang.thread not in {thread.name for thread in threading.enumerate()},
               "the lost thread ends", 10)
    assert sent == []
    bench.later(hours=2)
    bench.until(message, DeliveryState.DONE)
    assert len(sent) == 1


def test_outcomes_before_the_one_that_hangs_are_written(benches: Benches) -> None:
    bench = benches('total = "0.3s"\nparallel = 1')
    hang = Hang()
    bench.outlet.begin = False
    for number in range(3):
        bench.until(bench.message(number), DeliveryState.DONE)
    bench.deliverer.stop(timedelta(seconds=5))
    bench.outlet.script = [Receipt("eins"), Receipt("zwei"), hang]
    messages = [bench.message(number) for number in range(10, 14)]
    bench.deliverer = deliverer.Deliverer(bench.store, lambda: bench.configuration, Metrics(),
                                          lambda: bench.clock, bench.build)
    bench.deliverer._circuits[EINS] = Circuit(window=4)
    bench.deliverer.start()
    assert hang.hangs.wait(10)
    for message in (messages[0], messages[1], messages[3]):
        assert bench.until(message, DeliveryState.DONE).attempts == 1
    hang.release.set()
    bench.later(hours=2)
    bench.until(messages[2], DeliveryState.DONE)


def test_a_planted_deliverer_without_the_watch_would_hang(benches: Benches,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer.Deliverer, "_give_up_stuck", lambda self: 10.0)
    bench = benches('total = "0.3s"\nparallel = 1')
    hang = Hang()
    bench.outlet.script = [hang]
    message = bench.message()
    bench.deliverer.wake()
    assert hang.hangs.wait(10)
    other = bench.message(1)
    bench.until(bench.message(2, "zwei"), DeliveryState.DONE)
    assert [bench.delivery(each).state for each in (message, other)] == [DeliveryState.DELIVERING,
                                                                         DeliveryState.DUE]
    hang.release.set()


# -------------------------------------------------------------------- the store's faults are not the
# receiver's


@pytest.mark.parametrize("error", [StoreUnavailable("voll"), LostLease("weg")])
def test_an_intent_that_cannot_be_written_is_no_try_and_not_the_receivers_fault(
        benches: Benches, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    bench = benches(connector="smtp")
    real, times = bench.store.begin_effect, itertools.count()

    def full(delivery_id: str) -> None:
        if next(times) < 4:
            raise error
        real(delivery_id)

    monkeypatch.setattr(bench.store, "begin_effect", full)
    sent: list[str] = []

    class Translating(Outlet):
        repeat = "ask"

        def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
            try:
                effect_begins()
            except Exception as wrong:
                raise Temporary("so sagt es der Connector") from wrong
            sent.append(delivery.id)
            return Receipt("angekommen")

    bench.outlet = Translating([], [])
    message = bench.message()
    bench.deliverer.wake()
    for _ in range(4):
        quiet(bench)
        row = bench.delivery(message)
        if row.state is DeliveryState.DUE:
            assert (row.attempts, row.error, sent) == (0, "held", [])
        assert bench.deliverer.circuits()["musterstadt/eins"].failures == 0
        bench.later(seconds=6)
    assert bench.until(message, DeliveryState.DONE).attempts == 1
    assert len(sent) == 1


def test_a_stop_that_gave_up_is_not_a_clean_end(benches: Benches) -> None:
    bench = benches()
    hang = Hang()
    bench.outlet.script = [hang]
    bench.message()
    bench.deliverer.wake()
    assert hang.hangs.wait(10)
    assert not bench.deliverer.stop(timedelta(milliseconds=50))
    hang.release.set()
    wait_until(lambda: not bench.deliverer._running, "it ends", 10)
    bench.store.close(clean=False)
    again = type(bench.store).open(bench.folder / "state")
    assert again.unclean
    again.close()


def test_outcomes_that_wait_are_written_at_the_stop(benches: Benches,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    bench = benches()
    message = bench.message()
    bench.until(message, DeliveryState.DONE)
    real = bench.store.settle

    def full(settlements: Sequence[Settlement]) -> int:
        raise StoreUnavailable("voll")

    monkeypatch.setattr(bench.store, "settle", full)
    second = bench.message(1)
    bench.deliverer.wake()
    wait_until(lambda: bench.deliverer._unsettled != [], "an outcome that cannot be written", 10)
    assert not bench.deliverer.stop(timedelta(seconds=10)), "what is known is not on disk"
    monkeypatch.setattr(bench.store, "settle", real)
    assert bench.deliverer.stop(timedelta(seconds=10))
    assert bench.delivery(second).state is DeliveryState.DONE


# -------------------------------------------------------------------- a mail that is too large


class Municipalities(Outlet):
    """A mail server that takes nothing with files, and a folder."""

    repeat = "ask"

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        self.tries.append(delivery)
        if delivery.destination == EINS and delivery.manifest.parts:
            raise TooLarge("Die Mail hat 30 Byte, erlaubt sind 20.")
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        return Receipt(f"ordner-{delivery.recipient}" if delivery.destination != EINS else "250")


def test_a_mail_that_is_too_large_goes_without_its_files_and_says_where_they_lie(benches: Benches) -> None:
    bench = benches(connector="smtp")
    bench.outlet = Municipalities([], [])
    message = bench.message()
    arrives(bench, message)
    mail, files = bench.store.deliveries_of(message)
    assert (mail.destination, files.destination, files.recipient) == (EINS, "musterstadt/zwei",
                                                                      "eins-dateien")
    sent = [delivery for delivery in bench.outlet.tries if delivery.id == mail.id][-1]
    assert sent.manifest.parts == ()
    note = sent.manifest.properties[NOTE]
    assert "musterstadt/zwei: ordner-eins-dateien" in note
    assert "hund.xml" in note
    assert "erlaubt sind 20" in note
    order = [delivery.destination for delivery in bench.outlet.tries]
    assert order == [EINS, "musterstadt/zwei", EINS], "the mail waits for its files"
    assert [len(delivery.manifest.parts) for delivery in bench.outlet.tries] == [1, 1, 0]
    assert bench.store.tallies() == bench.store.tallies() | bench.store.recount()
    assert all(balance.holds for balance in bench.store.balances())


def test_files_that_the_route_brings_there_anyway_are_not_brought_twice(benches: Benches) -> None:
    bench = benches(connector="smtp")
    bench.outlet = Municipalities([Temporary("weg")], [])
    message = bench.accept()
    bench.route(message, "eins", also="zwei")
    bench.deliverer.wake()
    wait_until(lambda: len(bench.outlet.tries) >= 2, "one try each", 10)
    quiet(bench)
    assert len(bench.store.deliveries_of(message)) == 2
    operator = Operator(bench.store, bench.deliverer)
    assert any("bis ihre Dateien" in line for line in operator.why(message)["lines"])
    bench.later(hours=2)
    arrives(bench, message)
    [mail, folder] = bench.store.deliveries_of(message)
    assert (mail.attempts, folder.recipient) == (2, "zwei")
    assert "musterstadt/zwei: ordner-zwei" in bench.outlet.tries[-1].manifest.properties[NOTE]
    assert [delivery.destination for delivery in bench.outlet.tries].count("musterstadt/zwei") == 2


def test_what_the_route_brings_there_is_left_to_it_and_the_rest_stays_in_the_mail_while_it_fits() -> None:
    pdf, plan, text = (ManifestPart(role, name, "x/y", 1, name, name) for role, name in (
        ("pdf", "antrag.pdf"), ("attachment", "plan.pdf"), ("text", "t.txt")))
    mail, folder = Manifest("Hund", parts=(text, pdf, plan)), Manifest("Hund", parts=(plan,))
    once = slim_manifest.slim(mail, slim_manifest.shared(mail, folder), "id-1", "zu groß")
    assert (once.parts, slim_manifest.files_of(once)) == ((text, pdf), ["id-1"])
    twice = slim_manifest.slim(once, slim_manifest.files(once), "id-2", "immer noch")
    assert (twice.parts, slim_manifest.files_of(twice)) == ((text,), ["id-1", "id-2"])
    note = slim_manifest.noted(twice, ["ablage: ordner", None]).properties[NOTE]
    assert "plan.pdf, antrag.pdf" in note
    assert "ablage: ordner" in note
    assert "verworfen" in note


def test_files_that_were_discarded_are_told_too(benches: Benches) -> None:
    bench = benches(connector="smtp")
    bench.outlet = Municipalities([Permanent("nein")], [])
    message = bench.message()
    bench.deliverer.wake()
    wait_until(lambda: len(bench.store.deliveries_of(message)) == 2
               and bench.store.deliveries_of(message)[1].state == "parked",
               "the files are parked", 10)
    bench.store.discard(bench.store.deliveries_of(message)[1].id, "erika", "braucht niemand")
    wait_until(lambda: bench.store.deliveries_of(message)[0].state == "done" or bench.later(minutes=1),
               "the mail is sent", 10)
    assert "verworfen" in bench.outlet.tries[-1].manifest.properties[NOTE]


# -------------------------------------------------------------------- one alarm, one probe


def test_an_outage_rings_once_and_probes_one_by_one(benches: Benches,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    bench = benches()
    bench.outlet.begin = False
    bench.outlet.script = [Temporary("weg") for _ in range(6)]
    messages = [bench.message(number) for number in range(10)]
    bench.deliverer.wake()
    for tries in (3, 4, 5, 6):
        wait_until(lambda tries=tries: len(bench.outlet.tries) >= tries, f"{tries} tries", 10)  # type: ignore[misc]
        quiet(bench)
        assert len(bench.outlet.tries) == tries, "half open means one"
        bench.later(hours=3)
    for message in messages:
        bench.until(message, DeliveryState.DONE)
    text = capsys.readouterr().out
    assert text.count("the destination rests") == 1
    assert text.count("answers again") == 1


def test_nobody_knows_stays_with_a_person_and_the_message_stays_open(benches: Benches) -> None:
    bench = benches()
    bench.outlet.script, bench.outlet.probes = [TimeoutError()], [Unknown()]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    bench.until(message, DeliveryState.PARKED)
    assert bench.store.get_message(message).state is MessageState.ROUTED
