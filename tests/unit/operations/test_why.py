"""Why a message is where it is, in German, and what to do next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.delivery.circuit_breaker import Circuit
from hub.i18n.sentence import Sentence
from hub.job import Facts, Parked
from hub.message import DeliveryState, MessageState, Reason, time_text
from hub.operations import why
from hub.operations.running_hub import RunningHub
from hub.operations.why import explain
from hub.store.store import Store
from hub.store.transitions.deliveries import Settlement
from tests.unit.store_kit import MINUTE, Output, accept, claim_one, deliver, incoming, prepare, routed

KEY = "musterstadt/postfach"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(prepare(tmp_path / "state"))) as store:
        yield store


def told(store: Store, id: str, running: RunningHub | None = None) -> tuple[list[str], list[str]]:
    """Lines and next steps."""
    found = explain(store, running, store.get_message(id))
    return found["lines"], found["next"]


def hub(*, full: str | None = None, translates: bool = True, circuit: Circuit | None = None,
        opens: datetime | None = None) -> Any:
    """A hub that runs: with so much room, and such a destination."""
    space = SimpleNamespace(why=full, room=SimpleNamespace(free=300 << 20), may_translate=lambda: translates)
    deliverer = SimpleNamespace(circuits=lambda: {KEY: circuit} if circuit else {},
                                closed_until=lambda _key: opens)
    return SimpleNamespace(space=space, deliverer=deliverer)


def parked(store: Store, reason: str, text: str = "Pflichtfeld fehlt", *trace: str) -> str:
    message = accept(store, incoming()).id
    assert store.claim_messages(1, MINUTE)
    output = Output()
    store.record([Parked(message_id=message, facts=Facts(), reason=reason, text=Sentence.heard(text),
                         trace=tuple(map(Sentence.heard, trace)))],
                 output.fd, config_digest="c")
    return message


def test_every_state_has_its_words() -> None:
    assert set(why.MESSAGE_TEXT) == set(MessageState)
    assert set(why.DELIVERY_TEXT) == set(DeliveryState)
    assert {*why.SENT_AGAIN, *why.REMEDY} <= set(Reason)


def test_what_waits_for_room_is_told_beside_a_hub(store: Store) -> None:
    message = accept(store, incoming()).id
    assert told(store, message) == ([why.MESSAGE_TEXT[MessageState.RECEIVED]], [])
    lines, steps = told(store, message, hub(full="the disk is full"))
    assert lines[1] == "Der Datenträger ist fast voll (300 MiB frei): Es wird nichts angenommen."
    assert steps == ["Platz schaffen (df -h); es geht von selbst weiter"]
    lines, _ = told(store, message, hub(full="the disk is full", translates=False))
    assert lines[1].endswith("und Angenommenes wartet auf die Verarbeitung.")


@pytest.mark.parametrize(("reason", "step"), [
    (Reason.INVALID, "beim Absender neu anfordern"), (Reason.CONFIGURATION, "berichtigen, neu laden"),
    (Reason.RUNAWAY, "drehscheibe mapping test"), (Reason.MAPPING, "Die genannte Datei berichtigen"),
    (Reason.NO_ROUTE, "Ursache beheben, dann: drehscheibe replay"),
])
def test_each_reason_has_its_next_step(store: Store, reason: Reason, step: str) -> None:
    message = parked(store, reason)
    lines, steps = told(store, message)
    assert lines[1] == f"Grund: {reason}: Pflichtfeld fehlt"
    assert step in steps[0]
    assert f"drehscheibe replay {message}" in steps[0]
    assert steps[1] == f"oder endgültig verwerfen: drehscheibe discard {message} --reason …"


def test_a_point_that_the_trace_says_with_its_place_is_not_said_twice(store: Store) -> None:
    message = parked(store, "invalid", "Regeln:\n- Der Name fehlt.\n- Die Rasse fehlt.",
                     "Der Name fehlt. [Halter]")
    assert told(store, message)[0][1] == "Grund: invalid: Regeln:\n- Die Rasse fehlt."


def test_a_destination_that_rests_is_named_beside_a_hub(store: Store) -> None:
    message = routed(store, [KEY])
    until = datetime.now(UTC) + timedelta(hours=1)
    lines, steps = told(store, message, hub(circuit=Circuit(resting_until=until, why="421 try later")))
    assert lines[1:] == [f"Zustellung an {KEY} ({KEY}): wartet",
                         f"  Das Ziel {KEY} ruht bis {time_text(until)}: 421 try later"]
    assert steps == [f"{KEY} in Ordnung bringen (prüfen: drehscheibe check --connect); es geht von selbst "
                     "weiter"]
    over = Circuit(resting_until=datetime.now(UTC) - timedelta(seconds=1), why="421 try later")
    assert told(store, message, hub(circuit=over)) == told(store, message, hub()) == told(store, message)


def test_a_closed_window_is_named(store: Store) -> None:
    message = routed(store, [KEY])
    opens = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
    lines, steps = told(store, message, hub(opens=opens))
    assert lines[2] == f"  Das Ziel {KEY} nimmt erst ab {time_text(opens)} wieder etwas an (window)."
    assert steps == []


def test_a_parked_delivery_has_three_ways_on(store: Store) -> None:
    message = routed(store, [KEY])
    row = claim_one(store, KEY).delivery
    store.settle([Settlement.parked(row.id, "refused", "550 no such mailbox")])
    lines, steps = told(store, message)
    assert lines[1] == f"Zustellung an {KEY} ({KEY}): geparkt, Versuch 1: 550 no such mailbox"
    assert steps[0] == f"Ziel in Ordnung bringen, dann: drehscheibe replay {row.id}"
    assert f"drehscheibe confirm {row.id} --reason …" in steps[1]
    assert f"drehscheibe discard {row.id} --reason …" in steps[1]


def test_what_arrived_needs_no_step(store: Store) -> None:
    message = routed(store, [KEY])
    deliver(store, KEY)
    lines, steps = told(store, message, hub())
    assert lines[0] == "Fertig: alle Zustellungen sind erledigt."
    assert lines[1].startswith(f"Zustellung an {KEY} ({KEY}): zugestellt")
    assert steps == []


def test_no_moment_is_no_text() -> None:
    assert time_text(None) is None


@pytest.fixture
def machine_in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Most servers are."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("moment", "told"), [
    (datetime(2026, 11, 22, 23, 30, tzinfo=UTC), "2026-11-23T00:30:00.000+01:00"),
    (datetime(2026, 7, 1, 12, tzinfo=UTC), "2026-07-01T14:00:00.000+02:00")])
@pytest.mark.usefixtures("machine_in_utc")
def test_times_are_the_operators_whatever_the_machines_zone(moment: datetime, told: str) -> None:
    assert time_text(moment) == told
