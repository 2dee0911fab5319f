"""After the effect nobody knows: the receiver is asked, and nothing is repeated silently."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.delivery import deliverer as deliver
from hub.endpoint import Absent, Done, Unknown
from hub.errors import InDoubt, Misconfigured, Permanent, Temporary
from hub.message import (
    DeliveryState,
    MessageState,
    Receipt,
)
from hub.store.transitions.deliveries import Settlement
from tests.services import wait_until
from tests.unit.delivery.bench import Bench, Benches, out_of_a_backup


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
    monkeypatch.setattr(deliver, "probed", lambda item, outlet, destination, now: Settlement.again(
        item.delivery.id, now(), repeat_marked=False))
    bench.outlet.script, bench.outlet.probes = [InDoubt("?")], [Unknown()]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    bench.until(message, DeliveryState.DONE)
    assert len(bench.outlet.tries) == 2


def test_nobody_knows_stays_with_a_person_and_the_message_stays_open(benches: Benches) -> None:
    bench = benches()
    bench.outlet.script, bench.outlet.probes = [TimeoutError()], [Unknown()]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    bench.until(message, DeliveryState.PARKED)
    assert bench.store.get_message(message).state is MessageState.ROUTED
