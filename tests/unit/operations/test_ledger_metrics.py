"""What the metrics say without a running hub: places in the ledger, refusals, reloads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
import structlog
import time_machine
from prometheus_client import CollectorRegistry

from hub.config import loader
from hub.config.sections import DiskSection
from hub.endpoint import TurnedAway
from hub.errors import Conflict, NotAllowed, StoreUnavailable
from hub.i18n.sentence import Sentence
from hub.intake.disk_space import Space
from hub.intake.receiver import Receiver
from hub.job import Facts, Parked
from hub.message import Incoming
from hub.operations.ledger_metrics import LedgerCollector, first_series, place_of
from hub.store.store import Store
from hub.store.transitions.deliveries import Settlement
from hub.telemetry.counters import Metrics
from hub.telemetry.families import DELIVERY_EVENTS, DESTINATION_OLDEST, FAMILIES
from tests.unit.store_kit import MINUTE, Output, accept, incoming, prepare

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("tally", "place"), [
    (("message_total", "hundesteuer", "", "accepted"), "drehscheibe_messages_accepted_total hundesteuer"),
    (("message_total", "hundesteuer", "", "parked:invalid"),
     "drehscheibe_messages_parked_total hundesteuer invalid"),
    (("message_total", "hundesteuer", "", "duplicate"),
     "drehscheibe_message_events_total hundesteuer duplicate"),
    (("message", "hundesteuer", "", "routed"), "drehscheibe_messages hundesteuer routed"),
    (("delivery_total", "hundesteuer", "m/a", "created"),
     "drehscheibe_deliveries_created_total hundesteuer m/a"),
    (("delivery_total", "hundesteuer", "m/a", "later"),
     "drehscheibe_delivery_events_total hundesteuer m/a later"),
    (("delivery", "hundesteuer", "m/a", "due"), "drehscheibe_deliveries hundesteuer m/a due"),
])
def test_every_tally_has_its_metric(tally: tuple[str, str, str, str], place: str) -> None:
    family, labels = place_of(*tally)
    assert " ".join((family.name, *labels)) == place
    assert len(labels) == len(family.labels)


def test_the_example_begins_with_its_outcomes_at_zero() -> None:
    series = first_series(loader.load(ROOT / "etc" / "hub.toml"))
    assert {value for values in series.values() for value in values.values()} == {0}
    assert series[DELIVERY_EVENTS][("gewerbemeldung", "musterstadt/gewerberegister", "later")] == 0
    assert ("hundesteuer", "musterstadt/test", "later") not in series[DELIVERY_EVENTS]
    assert all(len(labels) == len(family.labels) for family, values in series.items() for labels in values)


def test_a_rest_is_no_failed_try() -> None:
    now = datetime.now(UTC)
    assert Settlement.later("x", now, "held", "Das Ziel ruht.", counted=False).event == "held"
    assert Settlement.later("x", now, "temporary", "451").event == "later"


def value(metrics: Metrics, series: str) -> float:
    """The value of one series."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics.text()[0].decode(), re.MULTILINE)
    assert found, series
    return float(found[1])


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics()
    made.begin(["portal"], ["time"])
    yield made


@pytest.mark.parametrize(("error", "reason"),
                         [(Conflict("x"), "conflict"), (StoreUnavailable("voll"), "unavailable"),
                          (None, "not-allowed")])
def test_every_refusal_is_counted_once(metrics: Metrics, error: Exception | None, reason: str) -> None:
    def accept(*_: Any, **__: Any) -> Any:
        assert error is not None
        raise error

    sender = SimpleNamespace(may_send=lambda *_: error is not None, test=False)
    settings: Any = SimpleNamespace(senders={"amt24": sender}, tenant_of=lambda _: None, digest="")
    receiver = Receiver(cast("Any", SimpleNamespace(accept_soon=accept)), lambda: settings, metrics,
                        lambda: None)
    with pytest.raises((Conflict, StoreUnavailable, NotAllowed)):
        receiver.accept(Incoming("portal", "amt24", "14999010", "hundesteuer", ()))
    assert {name: value(metrics, f'drehscheibe_transfers_refused_total{{inlet="portal",reason="{name}"}}')
            for name in ("not-allowed", "conflict", "unavailable")} == {
        name: float(name == reason) for name in ("not-allowed", "conflict", "unavailable")}


@pytest.mark.parametrize("reason", get_args(TurnedAway))
def test_what_an_inlet_refuses_is_counted_with_its_reason(metrics: Metrics, reason: TurnedAway) -> None:
    metrics.turned_away("portal")(reason)
    assert [value(metrics, f'drehscheibe_transfers_refused_total{{inlet="portal",reason="{name}"}}')
            for name in get_args(TurnedAway)] == [float(name == reason) for name in get_args(TurnedAway)]


def test_what_lies_in_a_folder_is_shown_and_more_of_it_is_said(metrics: Metrics) -> None:
    tell, shown = metrics.files_not_taken("portal"), "drehscheibe_inlet_files_not_taken"
    with structlog.testing.capture_logs() as logs:
        for count in (0, 1, 1, 3, 0, 2):
            tell({"unfinished": count, "left-out": 1} if count else {})
            assert value(metrics, f'{shown}{{inlet="portal",reason="unfinished"}}') == count
    assert [(line["log_level"], line["kind"], line["count"]) for line in logs] == [
        ("warning", "unfinished", 1), ("info", "left-out", 1), ("warning", "unfinished", 3),
        ("warning", "unfinished", 2), ("info", "left-out", 1)]
    assert value(metrics, f'{shown}{{inlet="portal",reason="special"}}') == 0


def test_what_a_run_of_the_retention_left_is_seen_until_the_next(metrics: Metrics) -> None:
    left = []
    for content in (0, 7, 0):
        metrics.retained(datetime(2026, 11, 22, 2, 30, tzinfo=UTC),
                         {"content": content, "proofs": 0, "log": 0})
        left.append(value(metrics, 'drehscheibe_retention_overdue{what="content"}'))
    assert left == [0, 7, 0]
    assert value(metrics, "drehscheibe_retention_last_run_timestamp_seconds") == 1795314600


def test_a_refused_reload_stays_visible_until_a_good_one(metrics: Metrics) -> None:
    seen = []
    for ok in (True, False, True):
        metrics.reloaded(ok=ok)
        seen.append(value(metrics, "drehscheibe_config_last_reload_successful"))
    assert seen == [1, 0, 1]
    assert value(metrics, 'drehscheibe_reloads_total{outcome="refused"}') == 1


def test_a_message_id_is_an_exemplar_and_never_a_label(metrics: Metrics) -> None:
    metrics.delivered_seconds.labels("smtp").observe(2, {"message": "019abcde"})
    plain, _ = metrics.text()
    rich, media_type = metrics.text("application/openmetrics-text; version=1.0.0")
    assert "openmetrics" in media_type
    assert b'# {message="019abcde"} 2.0' in rich
    assert b"019abcde" not in plain
    assert all("message" not in family.labels for family in FAMILIES)


def test_a_whole_country_shows_only_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = loader.load(ROOT / "etc" / "hub.toml")
    assert len(first_series(configuration)[DELIVERY_EVENTS]) > 10
    monkeypatch.setattr("hub.operations.ledger_metrics.MOST_PAIRS", 10)
    assert first_series(configuration)[DELIVERY_EVENTS] == {}


def scraped(store: Store, folder: Path) -> dict[tuple[str, ...], float]:
    """What the store says in one scrape, by name and labels."""
    registry = CollectorRegistry()
    configuration = loader.load(ROOT / "etc" / "hub.toml")
    registry.register(LedgerCollector(store, lambda: configuration, dict, dict, lambda: False,
                                      lambda: 0, Space(folder, DiskSection)))
    return {(sample.name, *sample.labels.values()): sample.value for metric in registry.collect()
            for sample in metric.samples}


def parked(store: Store, content: bytes, tenant: str, reason: str) -> None:
    """A message of this municipality that waits for a person."""
    message = accept(store, incoming(content), tenant=tenant).id
    assert store.claim_messages(1, MINUTE, only=[message])
    output = Output()
    store.record([Parked(message_id=message, facts=Facts(), reason=reason, text=Sentence.heard("weil"))],
                 output.fd, config_digest="config-1")


def test_what_is_parked_is_shown_with_its_municipality(tmp_path: Path) -> None:
    """The municipality's dashboard showed 0 with 500 parked. Only configured ones are a label."""
    store = Store.open(prepare(tmp_path / "state"))
    for number, (tenant, reason) in enumerate([("musterstadt", "invalid")] * 3 + [
            ("musterstadt", "no-route"), ("", "unknown-municipality"), ("weg", "no-route")]):
        parked(store, b"%d" % number, tenant, reason)
    found = {labels: value for (name, *labels), value in scraped(store, tmp_path).items()
             for labels in [tuple(labels)] if name == "drehscheibe_municipality_parked"}
    store.close()
    assert found == {("musterstadt", "invalid"): 3, ("musterstadt", "no-route"): 1,
                     ("other", "unknown-municipality"): 1, ("other", "no-route"): 1}


def test_what_no_worker_has_read_is_not_the_age_of_a_destination(tmp_path: Path) -> None:
    store = Store.open(prepare(tmp_path / "state"))
    accept(store, incoming())
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=5), tick=False):
        found = scraped(store, tmp_path)
    store.close()
    assert found["drehscheibe_oldest_received_seconds",] > 4 * 3600
    assert not any(value for (name, *_), value in found.items() if name == DESTINATION_OLDEST.name)


def test_dead_letters_are_shown_and_more_of_them_are_said(metrics: Metrics) -> None:
    tell = metrics.dead_letters("mq")
    with structlog.testing.capture_logs() as logs:
        for count in (0, 2, 2, None, None, 2, 3, 0):
            tell(count)
            shown = value(metrics, 'drehscheibe_dead_letters{inlet="mq"}')
            assert math.isnan(shown) if count is None else shown == count
    assert [(line["log_level"], line["inlet"], line.get("count")) for line in logs] == [
        ("warning", "mq", 2), ("warning", "mq", None), ("warning", "mq", 2), ("warning", "mq", 3)]
