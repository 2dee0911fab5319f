"""What becomes of a delivery, whatever its connector does: judged with a real store and an outlet that obeys
the test."""

from __future__ import annotations

import gc
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import update

from hub.config import loader
from hub.delivery import deliverer as deliver
from hub.delivery.circuit_breaker import Circuit
from hub.endpoint import Absent, Done, Finding, OptionsModel, OutletBase, ProbeResult, Unknown, refused
from hub.errors import InDoubt, Misconfigured, Permanent, StoreUnavailable, Temporary, TooLarge
from hub.job import Body, Facts, OutDelivery, OutPart, Translated
from hub.message import RESTORED, Delivery, DeliveryState, Incoming, IncomingPart, MessageState, Receipt
from hub.store.database import tables
from hub.store.store import DeliveryRow, Store
from hub.store.transitions.deliveries import ClaimedDelivery, Settlement
from hub.telemetry.counters import Metrics
from tests.services import wait_until
from tests.unit.store_kit import prepare

BODY = b"<hund/>"

HUB = '[hub]\nstate = "state"\nmappings = "mappings"\n[deliver]\nrest_after = 3\nrest = "1h"\nthreads = 4\n'
MUNICIPALITY = """
name = "Musterstadt"
ags = "14999010"
tenant = "musterstadt"
[destinations.eins]
connector = "{connector}"
{options}
fallback = "zwei"
retry = {{ first = "1h", give_up_after = "3d" }}
[destinations.zwei]
connector = "directory"
path = "/nowhere"
"""
SMTP = 'host = "localhost"\nfrom = "hub@hub.example"\nto = ["a@musterstadt.example"]'


class Outlet(OutletBase[OptionsModel]):
    """Does what `script` says, one entry per try; counts."""

    repeat = "probe"

    def __init__(self, script: list[Any], probes: list[Any]) -> None:
        super().__init__(OptionsModel())
        self.script, self.probes = script, probes
        self.tries: list[Delivery] = []
        self.begin = True

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        self.tries.append(delivery)
        step = self.script.pop(0) if self.script else Receipt("angekommen")
        if self.begin:
            effect_begins()
        if isinstance(step, BaseException):
            raise step
        return step() if callable(step) else step  # type: ignore[no-any-return]

    def probe(self, delivery: Delivery) -> ProbeResult:
        step = self.probes.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step  # type: ignore[no-any-return]

    def check(self) -> Sequence[Finding]:
        return ()


class Bench:
    """A store with one message, and a deliverer whose one outlet is scripted."""

    def __init__(self, folder: Path, connector: str = "directory", policy: str = "", hub: str = "") -> None:
        (folder / "mappings").mkdir(parents=True)
        (folder / "municipalities").mkdir()
        (folder / "hub.toml").write_text(HUB + hub)
        options = SMTP if connector == "smtp" else 'path = "/nowhere"'
        (folder / "municipalities" / "14999010.toml").write_text(MUNICIPALITY.format(
            connector=connector, options=f"{options}\n{policy}"))
        self.configuration = loader.load(folder / "hub.toml")
        self.clock = datetime(2026, 5, 4, 12, tzinfo=UTC)
        self.store = Store.open(prepare(folder / "state"), now=lambda: self.clock)
        self.outlet = Outlet([], [])
        self.built = 0
        self.folder = folder
        self.deliverer = deliver.Deliverer(self.store, lambda: self.configuration, Metrics(),
                                           lambda: self.clock, self.build)
        self.deliverer.start()

    def build(self, connector: str, options: Any) -> Outlet:
        self.built += 1
        return self.outlet

    def accept(self, number: int = 0, case: str | None = None) -> str:
        """Store a message."""
        incoming = Incoming("test", "amt24", "14999010", "hund",
                            (IncomingPart.of(BODY + str(number).encode()),), case=case)
        return self.store.accept(incoming, tenant="musterstadt", day=date(2026, 5, 4), config_digest="c").id

    def message(self, number: int = 0, destination: str = "eins", case: str | None = None) -> str:
        """Store a message and put its one delivery into the outbox; with a case, its order is kept."""
        return self.route(self.accept(number, case), destination, "case" if case else None)

    def route(self, message: str, destination: str = "eins", order: Literal["case"] | None = None,
              also: str | None = None) -> str:
        """Put the delivery of a message into the outbox, and one of the same body to `also`."""
        assert self.store.claim_messages(1, timedelta(minutes=1), only=[message])
        digest = hashlib.sha256(BODY).hexdigest()
        part = OutPart(role="xml", name="hund.xml", media_type="application/xml", size=len(BODY),
                       sha256=digest,
                       body=Body(length=len(BODY)))
        deliveries = tuple(OutDelivery(recipient=name, destination=f"musterstadt/{name}", subject="Hund",
                                       name_parts={},
                                       parts=(part,)) for name in (destination, also) if name)
        file = self.folder / "out"
        file.write_bytes(BODY)
        with file.open("rb") as out:
            self.store.record([Translated(message_id=message, facts=Facts(), rule="r", mapping_digest="m",
                                          deliveries=deliveries, order=order)], out.fileno(),
                              config_digest="c")
        return message

    def delivery(self, message: str) -> DeliveryRow:
        return self.store.deliveries_of(message)[0]

    def until(self, message: str, state: DeliveryState, *, tries: int | None = None) -> DeliveryRow:
        """Wait until the delivery is in a state (after so many tries)."""
        self.deliverer.wake()
        wait_until(lambda: (tries is None or len(self.outlet.tries) == tries)
                   and self.delivery(message).state is state,
                   f"{state} instead of {self.delivery(message)}", 10)
        return self.delivery(message)

    def later(self, **span: float) -> None:
        """Put the clock forward; what is under way still belongs to the time before."""
        wait_until(lambda: not any(circuit.active for circuit in self.deliverer.circuits().values()),
                   "the tries to end", 10)
        self.clock += timedelta(**span)
        self.deliverer.wake()

    def close(self) -> None:
        assert self.deliverer.stop(timedelta(seconds=10))
        self.store.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_delivery_that_arrives_completes_its_message(bench: Bench) -> None:
    message = bench.message()
    row = bench.until(message, DeliveryState.DONE)
    assert row.receipt == {"reference": "angekommen", "detail": {}}
    assert bench.store.get_message(message).state is MessageState.COMPLETED
    assert bench.outlet.tries[0].read(bench.outlet.tries[0].manifest.parts[0]) == BODY


def test_what_was_claimed_leaves_memory_without_the_garbage_collector(bench: Bench) -> None:
    gc.collect()
    gc.disable()
    try:
        for number in range(3 * bench.configuration.settings.deliver.threads):
            bench.until(bench.message(number), DeliveryState.DONE)
        kept = sum(isinstance(each, ClaimedDelivery) for each in gc.get_objects())
    finally:
        gc.enable()
    # a thread knows its last errand until it has another
    assert kept <= bench.configuration.settings.deliver.threads


def test_the_attempt_is_on_disk_before_the_try(bench: Bench) -> None:
    seen: list[DeliveryRow] = []

    def look() -> Receipt:
        seen.append(bench.delivery(message))
        return Receipt("angekommen")

    bench.deliverer.stop(timedelta(seconds=5))
    message = bench.message()
    bench.outlet.script = [look]
    bench.deliverer = deliver.Deliverer(bench.store, lambda: bench.configuration, Metrics(),
                                        lambda: bench.clock, bench.build)
    bench.deliverer.start()
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


@pytest.mark.parametrize("error", [Temporary("Leitung weg"), RuntimeError(), Misconfigured("?"),
                                   Permanent("?"), InDoubt("?")])
def test_any_error_after_the_effect_is_a_doubt_and_the_receiver_is_asked(bench: Bench,
                                                                         error: Exception) -> None:
    bench.outlet.script, bench.outlet.probes = [error], [Done(Receipt("war schon da"))]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    row = bench.until(message, DeliveryState.DONE)
    assert row.receipt == {"reference": "war schon da", "detail": {}}
    assert len(bench.outlet.tries) == 1


def test_what_the_receiver_does_not_have_is_sent_again_unmarked(bench: Bench) -> None:
    bench.outlet.script, bench.outlet.probes = [InDoubt("?")], [Absent()]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    bench.until(message, DeliveryState.DONE)
    assert [delivery.repeat_marked for delivery in bench.outlet.tries] == [False, False]


def out_of_a_backup(bench: Bench) -> str:
    """A message that was not translated when the backup was made: its delivery is made in doubt."""
    claim = bench.store.claim_messages

    def claim_restored(*arguments: Any, **options: Any) -> Any:
        found = claim(*arguments, **options)
        bench.store.transact(lambda tx: tx.connection.execute(update(tables.message).values(reason=RESTORED)))
        return found

    bench.store.claim_messages = claim_restored  # type: ignore[method-assign]
    return bench.message()


def test_after_a_restore_absence_proves_nothing_where_things_are_taken_away(bench: Bench) -> None:
    bench.outlet.probes = [Absent()]
    row = bench.until(out_of_a_backup(bench), DeliveryState.PARKED)
    assert (row.reason, bench.outlet.tries) == ("in-doubt", [])
    assert "seit der Sicherung" in str(row.text)


def test_after_a_restore_a_receiver_that_keeps_everything_is_believed(bench: Bench) -> None:
    bench.outlet.keeps, bench.outlet.probes = True, [Absent()]
    bench.until(out_of_a_backup(bench), DeliveryState.DONE)
    assert [delivery.repeat_marked for delivery in bench.outlet.tries] == [False]


def test_after_a_restore_what_is_there_is_done(bench: Bench) -> None:
    bench.outlet.probes = [Temporary("Wartung"), Done(Receipt("war schon da"))]
    message = out_of_a_backup(bench)
    bench.deliverer.wake()
    wait_until(lambda: len(bench.outlet.probes) == 1, "the first probe", 10)
    bench.deliverer.reset()
    bench.later(hours=2)
    assert bench.until(message, DeliveryState.DONE).receipt == {"reference": "war schon da", "detail": {}}
    assert bench.outlet.tries == []


def test_after_a_restore_mail_is_repeated_with_a_mark(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "smtp")
    bench.outlet.probes = [Unknown()]
    bench.until(out_of_a_backup(bench), DeliveryState.DONE)
    assert [delivery.repeat_marked for delivery in bench.outlet.tries] == [True]
    bench.close()


def test_nobody_knows_and_the_destination_asks_a_person(bench: Bench) -> None:
    bench.outlet.script, bench.outlet.probes = [InDoubt("?")], [Unknown("wird dort abgeholt")]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    row = bench.until(message, DeliveryState.PARKED)
    assert row.reason == "in-doubt"
    assert "confirm" in str(row.text)
    assert len(bench.outlet.tries) == 1, "never resent silently"


def test_mail_is_repeated_with_a_mark(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "smtp")
    bench.outlet.script, bench.outlet.probes = [InDoubt("?")], [Unknown()]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    bench.until(message, DeliveryState.DONE)
    assert [delivery.repeat_marked for delivery in bench.outlet.tries] == [False, True]
    assert bench.outlet.tries[0].id == bench.outlet.tries[1].id
    bench.close()


@pytest.mark.parametrize("error", [Temporary("nicht erreichbar"), Misconfigured("Kennwort"), Permanent("?"),
                                   OSError()])
def test_a_probe_that_fails_leaves_the_doubt(bench: Bench, error: Exception) -> None:
    bench.outlet.script, bench.outlet.probes = [InDoubt("?")], [error, Done(Receipt("da"))]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    wait_until(lambda: not bench.outlet.probes[1:], "the first probe", 10)
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=5)
    bench.until(message, DeliveryState.DONE)
    assert len(bench.outlet.tries) == 1


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


def test_what_is_too_large_goes_to_the_fallback(bench: Bench) -> None:
    bench.outlet.begin, bench.outlet.script = False, [TooLarge("30 MB")]
    message = bench.message()
    row = bench.until(message, DeliveryState.DONE)
    assert row.destination == "musterstadt/zwei"
    assert [delivery.id for delivery in bench.outlet.tries] == [row.id, row.id]
    assert all(balance.holds for balance in bench.store.balances())
    states = {key: count for key, count in bench.store.tallies().items() if not key.kind.endswith("_total")
              and count}
    assert states == bench.store.recount()


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


def test_a_dead_destination_rests_as_a_whole_and_drains_when_it_is_back(bench: Bench) -> None:
    bench.outlet.begin = False
    bench.outlet.script = [Temporary("weg") for _ in range(3)]
    messages = [bench.message(number) for number in range(20)]
    bench.deliverer.wake()
    wait_until(lambda: not bench.outlet.script, "three failures", 10)
    wait_until(lambda: all(bench.delivery(message).state is DeliveryState.DUE for message in messages),
               "all wait", 10)
    assert len(bench.outlet.tries) == 3, "the other seventeen were not tried"
    assert sorted(bench.delivery(message).attempts for message in messages) == [0] * 17 + [1] * 3
    assert bench.deliverer.circuits()["musterstadt/eins"].open(bench.clock)
    bench.later(hours=3)
    for message in messages:
        bench.until(message, DeliveryState.DONE)


def test_a_misconfigured_destination_parks_nothing(bench: Bench) -> None:
    bench.outlet.begin = False
    bench.outlet.script = [Misconfigured("Kennwort falsch")]
    messages = [bench.message(number) for number in range(5)]
    bench.deliverer.wake()
    circuits = bench.deliverer.circuits
    wait_until(lambda: "musterstadt/eins" in circuits() and circuits()["musterstadt/eins"].misconfigured,
               "the alarm", 10)
    wait_until(lambda: all(bench.delivery(message).state is DeliveryState.DUE for message in messages),
               "all wait", 10)
    bench.deliverer.reset("musterstadt/eins")
    bench.later(minutes=16)
    for message in messages:
        bench.until(message, DeliveryState.DONE)


def test_what_a_resting_destination_gave_back_untried_does_not_wait_when_it_is_repaired(bench: Bench) -> None:
    for number in range(5):
        bench.until(bench.message(number), DeliveryState.DONE)  # so that several are claimed at once
    bench.outlet.begin = False
    bench.outlet.script = [Misconfigured("nur lesbar")]
    messages = [bench.message(number) for number in range(5, 15)]
    bench.deliverer.wake()
    wait_until(lambda: bench.deliverer.circuits()["musterstadt/eins"].misconfigured, "the alarm", 10)
    wait_until(lambda: all(bench.delivery(message).state is DeliveryState.DUE for message in messages),
               "all wait", 10)
    untried = [message for message in messages if not bench.delivery(message).attempts]
    assert untried
    bench.deliverer.reset("musterstadt/eins")
    bench.later(minutes=2)
    for message in untried:
        bench.until(message, DeliveryState.DONE)


def test_a_person_who_knows_that_the_receiver_is_back_need_not_wait(bench: Bench) -> None:
    bench.outlet.begin, bench.outlet.script = False, [Temporary("weg")]
    message = bench.message()
    bench.until(message, DeliveryState.DUE, tries=1)
    assert bench.store.replay(message, "erika") == 1
    assert bench.until(message, DeliveryState.DONE).attempts == 2
    assert [event.who for event in bench.store.events_of(message) if event.name == "replayed"] == ["erika"]


def test_one_dead_municipality_does_not_slow_the_others(bench: Bench,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, release = threading.Event(), threading.Event()
    slow = [bench.message(number) for number in range(3)]
    # not the first three tries: an errand may take two of them
    dead = {bench.delivery(message).id for message in slow}
    tries = bench.outlet.deliver

    def hang(delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        if delivery.id in dead:
            hanging.set()
            release.wait(20)
        return tries(delivery, effect_begins)

    monkeypatch.setattr(bench.outlet, "deliver", hang)
    bench.deliverer.wake()
    assert hanging.wait(10)
    quick = bench.message(9, "zwei")
    bench.until(quick, DeliveryState.DONE)
    assert all(bench.delivery(message).state is not DeliveryState.DONE for message in slow)
    release.set()
    for message in slow:
        bench.until(message, DeliveryState.DONE)


def test_a_destination_that_was_removed_parks_with_a_reason(bench: Bench) -> None:
    message = bench.message(1, "drei")
    row = bench.until(message, DeliveryState.PARKED)
    assert row.reason == "configuration"
    assert "gibt es in der Konfiguration nicht mehr" in str(row.text)


def test_what_is_claimed_again_before_its_last_try_has_ended_is_in_hand(bench: Bench) -> None:
    bench.deliverer.stop(timedelta(seconds=5))
    message, store, circuit = bench.message(), bench.store, Circuit()
    deliverer = deliver.Deliverer(store, lambda: bench.configuration, Metrics(), lambda: bench.clock,
                                  bench.build)
    before, now = (deliverer._assignment("musterstadt/eins", None, circuit, 1) for _ in range(2))
    for assignment in (before, now):
        assignment.claimed = store.claim_deliveries("musterstadt/eins", 1, timedelta(minutes=10),
                                                claim=assignment.claim)
        if assignment is before:
            store.settle([Settlement.again(assignment.claimed[0].delivery.id, bench.clock,
                                           repeat_marked=False)])
    deliverer._end(before)
    deliverer._next_search = 0.0
    deliverer._find_lost()
    assert bench.delivery(message).state is DeliveryState.DELIVERING
    deliverer._end(now)
    bench.clock -= timedelta(days=1)  # whatever the clock says
    deliverer._next_search = 0.0
    deliverer._find_lost()
    assert bench.delivery(
        message).state is DeliveryState.IN_DOUBT, "and in nobody's hands when that one has ended, too"


def test_a_doubt_outlives_its_destination(bench: Bench) -> None:
    bench.outlet.script = [InDoubt("?")]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    whole = bench.configuration
    municipality = whole.municipalities["musterstadt"]
    less = {key: each for key, each in municipality.destinations.items() if key != "musterstadt/eins"}
    bench.configuration = replace(whole,
                                  municipalities={"musterstadt": replace(municipality, destinations=less)})
    bench.later(minutes=1)
    row = bench.until(message, DeliveryState.PARKED)
    assert row.reason == "in-doubt"
    assert "gibt es in der Konfiguration nicht mehr" in str(row.text)
    bench.configuration = whole
    bench.store.replay_delivery(row.id, "erika")
    bench.until(message, DeliveryState.DONE)
    assert [delivery.repeat_marked for delivery in bench.outlet.tries] == [False, True]


def test_a_planted_resend_without_a_probe_would_be_seen(bench: Bench,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of `test_nobody_knows…` can fail: a deliverer that repeats silently sends twice."""
    monkeypatch.setattr(deliver.Deliverer, "_probe", lambda self, item, outlet, destination: Settlement.again(
        item.delivery.id, self._now(), repeat_marked=False))
    bench.outlet.script, bench.outlet.probes = [InDoubt("?")], [Unknown()]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    bench.until(message, DeliveryState.DONE)
    assert len(bench.outlet.tries) == 2


def test_an_outcome_that_could_not_be_written_is_written_later_and_nothing_is_sent_again(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused_once = bench.store.settle, threading.Event()

    def full(settlements: Sequence[Any]) -> int:
        if not refused_once.is_set():
            refused_once.set()
            raise StoreUnavailable("voll")
        return real(settlements)

    monkeypatch.setattr(bench.store, "settle", full)
    message = bench.message()
    bench.deliverer.wake()
    assert refused_once.wait(10)
    row = bench.until(message, DeliveryState.DONE)
    assert (row.attempts, len(bench.outlet.tries)) == (1, 1)


def _three(bench: Bench) -> list[str]:
    """Three messages that one claim takes in hand together."""
    bench.deliverer.stop(timedelta(seconds=5))
    messages = [bench.message(number) for number in range(3)]
    bench.deliverer = deliver.Deliverer(bench.store, lambda: bench.configuration, Metrics(),
                                        lambda: bench.clock, bench.build)
    bench.deliverer._circuits["musterstadt/eins"] = Circuit(window=3)
    return messages


def _breaks_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *,
                 after: bool = False) -> threading.Event:
    """An error that nobody could have foreseen, once: instead of what was asked for, or when it is done."""
    real, broke = getattr(owner, name), threading.Event()

    def breaks(*arguments: Any) -> Any:
        answer = real(*arguments) if after or broke.is_set() else None
        if not broke.is_set():
            broke.set()
            raise RuntimeError("nobody could have foreseen this")
        return answer

    monkeypatch.setattr(owner, name, breaks)
    return broke


def test_what_a_claim_took_before_an_unforeseen_error_is_given_back(bench: Bench,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    messages = _three(bench)
    broke = _breaks_once(monkeypatch, Store, "claim_deliveries", after=True)
    bench.deliverer.start()
    assert broke.wait(10)
    assert [bench.until(message, DeliveryState.DONE).attempts
            for message in messages] == [1, 1, 1], "there was no try"
    assert len(bench.outlet.tries) == 3


@pytest.mark.parametrize("crowded", [False, True])
def test_a_store_that_takes_nothing_is_not_asked_again_and_again(bench: Bench,
                                                                 monkeypatch: pytest.MonkeyPatch,
                                                                 crowded: bool) -> None:
    claims: list[object] = []

    def full(*arguments: object) -> Sequence[Any]:
        claims.append(arguments)
        bench.deliverer._crowded = crowded
        raise StoreUnavailable("voll")

    monkeypatch.setattr(bench.store, "claim_deliveries", full)
    bench.message()
    bench.deliverer.wake()
    wait_until(lambda: claims, "it was asked", 10)
    time.sleep(1)
    assert len(claims) <= 3


def test_whose_outcome_got_lost_is_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = _three(bench)
    bench.outlet.probes = [Done(Receipt("war schon da"))] * 3
    broke = _breaks_once(monkeypatch, Store, "settle")
    bench.deliverer.start()
    assert broke.wait(10)
    for message in messages:
        assert bench.until(message, DeliveryState.DONE).receipt == {"reference": "war schon da", "detail": {}}
    assert len(bench.outlet.tries) == 3


def test_what_was_not_tried_yet_when_an_outcome_got_lost_goes_back_as_that(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = _three(bench)
    bench.outlet.probes = [Done(Receipt("war schon da"))]
    broke = _breaks_once(monkeypatch, deliver._Outcomes, "add")
    bench.deliverer.start()
    assert broke.wait(10)
    wait_until(lambda: {bench.delivery(message).state for message in messages} == {DeliveryState.DONE,
                                                                                   DeliveryState.DUE},
               "the first was asked for", 10)
    bench.later(seconds=10)
    references = [bench.until(message, DeliveryState.DONE).receipt["reference"] for message in messages]  # type: ignore[index]
    assert sorted(references) == ["angekommen", "angekommen", "war schon da"]
    assert (len(bench.outlet.tries),
            [bench.delivery(message).attempts for message in messages]) == (3, [1, 1, 1])


def test_a_delivery_does_not_wait_for_a_clock_that_went_back(bench: Bench) -> None:
    bench.deliverer.stop(timedelta(seconds=10))
    bench.clock += timedelta(days=2)
    message = bench.message()
    bench.deliverer = deliver.Deliverer(bench.store, lambda: bench.configuration, Metrics(),
                                        lambda: bench.clock, bench.build)
    bench.clock -= timedelta(days=2)
    bench.deliverer.start()
    assert bench.until(message, DeliveryState.DONE).attempts == 1


def test_a_wait_and_a_rest_keep_their_length_when_the_clock_goes_back(bench: Bench) -> None:
    bench.outlet.script, bench.outlet.begin = [Temporary("besetzt")] * 3, False
    messages = [bench.message(number) for number in range(3)]
    for message in messages:
        bench.deliverer.wake()
        wait_until(lambda: bench.delivery(message).error == "temporary", "a first try")  # noqa: B023 - called at once
    bench.clock -= timedelta(days=1)
    bench.deliverer.wake()
    wait_until(lambda: all(bench.delivery(message).due_at < bench.clock + timedelta(hours=2)
                           for message in messages),
               "the new time is noticed")
    bench.later(hours=1.5)
    for message in messages:
        bench.until(message, DeliveryState.DONE)


def test_a_start_keeps_the_length_of_a_wait_when_the_clock_went_back_meanwhile(bench: Bench) -> None:
    bench.outlet.script, bench.outlet.begin = [Temporary("besetzt")], False
    message = bench.message()
    bench.deliverer.wake()
    wait_until(lambda: bench.delivery(message).error == "temporary", "a first try")
    bench.deliverer.stop(timedelta(seconds=10))
    bench.clock -= timedelta(days=1)
    bench.store.recover()
    assert bench.clock < bench.delivery(message).due_at < bench.clock + timedelta(hours=2)


def test_a_start_does_not_wait_for_a_clock_that_went_back(bench: Bench) -> None:
    bench.deliverer.stop(timedelta(seconds=10))
    bench.clock += timedelta(days=2)
    bench.message()
    bench.clock -= timedelta(days=2)
    assert bench.store.due_destinations(bench.clock) == []
    bench.store.recover()
    assert [name for name, _ in bench.store.due_destinations(bench.clock)] == ["musterstadt/eins"]


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


def test_who_takes_long_is_helped(bench: Bench) -> None:
    """Beside an errand with little in hand no other one begins, but not for long."""
    for number in range(3):  # from now on a claim asks for several
        bench.until(bench.message(number), DeliveryState.DONE)
    hanging, release = threading.Event(), threading.Event()

    def hang() -> Receipt:
        hanging.set()
        release.wait(20)
        return Receipt("spät")

    bench.outlet.script = [hang]
    slow = bench.message(7)
    bench.deliverer.wake(["musterstadt/eins"])
    assert hanging.wait(10)
    quick = bench.message(8)
    bench.deliverer.wake(["musterstadt/eins"])
    wait_until(lambda: bench.delivery(quick).state is DeliveryState.DONE, "the other one is delivered", 10)
    assert bench.delivery(slow).state is DeliveryState.DELIVERING
    release.set()
    bench.until(slow, DeliveryState.DONE)
