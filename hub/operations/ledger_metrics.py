"""What Prometheus sees. All metrics are listed in `FAMILIES`, and in docs/reference/metrics.md, which is made from it.

Totals of messages and deliveries come from the store's own ledger, at the moment of the scrape, so they survive a restart
and always satisfy the two balances (docs/architecture.md). Only what the ledger cannot know is counted here: durations,
refusals, deaths of workers. Those begin at 0 with the process.

Labels are bounded: what is configured (service, destination, inlet, connector, certificate files) or a fixed set (state,
event, reason, outcome); never a message's id, an address or anything that a sender can choose: services that nobody
configured are counted together as ``other``. A message's id is an exemplar where one helps. Series that alerts count with
are there from the start, at 0, because Prometheus does not see an increase from nothing to 1.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import prometheus_client as prometheus
from cryptography import x509
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from hub import __version__
from hub.config import window
from hub.endpoint import TurnedAway
from hub.errors import StoreUnavailable
from hub.message import DeliveryState, MessageState, Reason
from hub.store.database.ledger import FORGOTTEN, TallyKey

if TYPE_CHECKING:
    from hub.config.configuration import Configuration
    from hub.delivery.circuit_breaker import Circuit
    from hub.intake.disk_space import Space
    from hub.store.store import Store

prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300, 3600, 6 * 3600, 86400, 3 * 86400, 14 * 86400)


class Family(NamedTuple):
    """One metric. `name` is what a query says: counters end in ``_total``; a histogram's series add ``_bucket`` and so on."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def empty(self) -> CounterMetricFamily | GaugeMetricFamily:
        """For one scrape, without series yet."""
        made = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return made(self.name, self.help, labels=self.labels)

    def of(self, series: Mapping[tuple[str, ...], float]) -> Metric:
        """For one scrape, with a value for each combination of labels."""
        metric = self.empty()
        for labels, value in series.items():
            metric.add_metric(labels, value)
        return metric


ACCEPTED = Family("drehscheibe_messages_accepted_total", "counter", "Messages made durable and answered OK.", ("service",))
MESSAGES = Family("drehscheibe_messages", "gauge",
                  "Messages by the state they are in now. Their sum is always drehscheibe_messages_accepted_total.",
                  ("service", "state"))
PARKED = Family("drehscheibe_messages_parked_total", "counter",
                "How often a message was parked before it became deliveries, by the reason that `drehscheibe why` names.",
                ("service", "reason"))
MESSAGE_EVENTS = Family("drehscheibe_message_events_total", "counter",
                        "What else happened to messages: duplicate and conflict (nothing new was stored), completed, discarded, "
                        "and what operators did.", ("service", "event"))
CREATED = Family("drehscheibe_deliveries_created_total", "counter", "Deliveries made: one per message and recipient.",
                 ("service", "destination"))
DELIVERIES = Family("drehscheibe_deliveries", "gauge",
                    "Deliveries by the state they are in now; the queue is due + delivering + in_doubt. Their sum is always "
                    "drehscheibe_deliveries_created_total.", ("service", "destination", "state"))
DELIVERY_EVENTS = Family("drehscheibe_delivery_events_total", "counter",
                         "What happened to deliveries. Outcomes of a try: done, done_partly, later (failed, tried again), "
                         "in_doubt, parked. Others: claimed, held (back without a try), again, rerouted, released, and what "
                         "operators did.", ("service", "destination", "event"))
OLDEST = Family("drehscheibe_oldest_undelivered_seconds", "gauge",
                "Age of the oldest message or delivery that still waits for the hub or a receiver; what is parked waits for a "
                "person and does not count. 0 when nothing waits.")
DESTINATION_OLDEST = Family("drehscheibe_destination_oldest_seconds", "gauge",
                            "The same for one destination: age of its oldest delivery that is due, under way or in doubt.",
                            ("destination",))
RESTING = Family("drehscheibe_destination_resting", "gauge",
                 "1 from the moment a destination rests until a delivery to it succeeds; why: down (it failed several times in "
                 "a row) or misconfigured (somebody must mend it).", ("destination", "why"))
HELD = Family("drehscheibe_deliveries_held", "gauge",
              "Deliveries that wait though their destination may be well; why: window (it takes none at this hour) or order (an "
              "earlier message of the same case is not delivered yet). The ages above do not count them, nor the closed hours.",
              ("destination", "why"))
INLET_READY = Family("drehscheibe_inlet_ready", "gauge", "1 while the inlet takes messages: it listens, is connected, sees its "
                     "folder.", ("inlet",))
REFUSED = Family("drehscheibe_transfers_refused_total", "counter",
                 "Transfers that were not taken. By the hub: not-allowed (this sender may not send this there), conflict (same "
                 "key, other content). By either: unavailable (nothing could be written; the sender asks again). By the inlet: "
                 "unknown-client (no certificate, or one of nobody), wrong-address, too-large, too-slow, unreadable, busy (too "
                 "many connections).",
                 ("inlet", "reason"))
ACCEPT = Family("drehscheibe_accept_seconds", "histogram", "Time until a message was durable.", ("inlet",), _FAST)
WORKER = Family("drehscheibe_worker_seconds", "histogram", "Time of one trip of a batch to a worker process.", (), _FAST)
WORKER_DEATHS = Family("drehscheibe_worker_deaths_total", "counter",
                       "Trips that did not come to their end because the worker died or was ended over a message.", ("reason",))
ISOLATED = Family("drehscheibe_workers_without_network", "gauge",
                  "1: the worker processes gave up the network before they read anything. 0: this system did not let them, or "
                  "no worker has started yet.")
ATTEMPT = Family("drehscheibe_attempt_seconds", "histogram", "Time of one try to deliver, by how it came out.",
                 ("connector", "outcome"), _FAST)
GIVEN_UP = Family("drehscheibe_attempts_given_up_total", "counter", "Tries that took longer than their total and were given up: "
                  "a connector ignored its own time-outs. Each leaves a thread behind until it lets go.", ("connector",))
DELIVERED = Family("drehscheibe_delivered_seconds", "histogram",
                   "Time from the making of a delivery to its arrival, waits and retries included.", ("connector",), _LONG)
ACCEPTING = Family("drehscheibe_accepting", "gauge",
                   "1: there is room on the disk, and applications are accepted. 0: senders are told to come again; deliveries "
                   "go on.")
RESERVE = Family("drehscheibe_disk_reserve_bytes", "gauge",
                 "Bytes laid by on the store's disk for the outcomes of deliveries; 0 while they are in use, or unset.")
FREE = Family("drehscheibe_disk_free_bytes", "gauge", "Free space of the file system of the store (place: state).", ("place",))
SIZE = Family("drehscheibe_disk_size_bytes", "gauge", "Size of the file system of the store (place: state).", ("place",))
CERTIFICATE = Family("drehscheibe_certificate_expiry_timestamp_seconds", "gauge",
                     "When a certificate ends that an inlet or destination names, as Unix time: the first of a chain, the last "
                     "of a CA file. 0: the file cannot be read. used_by: the first that names it.", ("file", "used_by"))
STORE_READY = Family("drehscheibe_store_ready", "gauge", "1: the store is read and written. 0: the database is away; senders are "
                     "told to come again, and what the store says is missing here.")
NODES = Family("drehscheibe_nodes", "gauge", "Hubs that live on this store; 1 for a hub with a store of its own. Each of them "
               "says the same about messages and deliveries: do not add them up.")
SILENT = Family("drehscheibe_nodes_silent_seconds", "gauge", "How long the most silent of the living hubs has not been heard of; "
                "0 for a hub with a store of its own.")
RETAINED = Family("drehscheibe_retention_last_run_timestamp_seconds", "gauge",
                  "When the last run of the retention came to its end, as Unix time; 0: none has since the start.")
OVERDUE = Family("drehscheibe_retention_overdue", "gauge",
                 "What the last run of the retention should have deleted and did not: messages whose content is there still, "
                 "proofs, and log (1: deleted content stands in the store's write-ahead log until the next run).", ("what",))
RELOADS = Family("drehscheibe_reloads_total", "counter", "Reloads of the configuration; a refused one changed nothing.",
                 ("outcome",))
RELOADED = Family("drehscheibe_config_last_reload_successful", "gauge",
                  "1: the files on disk were taken up. 0: the last reload was refused, and the hub runs on the configuration "
                  "before it.")
INFO = Family("drehscheibe_info", "gauge", "Always 1; the version of the program and the digest of the configuration in force.",
              ("version", "configuration"))

FAMILIES = (ACCEPTED, MESSAGES, PARKED, MESSAGE_EVENTS, CREATED, DELIVERIES, DELIVERY_EVENTS, OLDEST, DESTINATION_OLDEST, RESTING,
            HELD, INLET_READY, REFUSED, ACCEPT, WORKER, WORKER_DEATHS, ISOLATED, ATTEMPT, GIVEN_UP, DELIVERED, ACCEPTING, FREE,
            SIZE, RESERVE, STORE_READY, NODES, SILENT, CERTIFICATE, RETAINED, OVERDUE, RELOADS, RELOADED, INFO)

FIRST_EVENTS = ("done", "later", "in_doubt", "parked")
"""Events of deliveries whose series are there from the start, for every route but those of tests."""

MOST_PAIRS = 20_000
"""Pairs of municipality and service up to which a scrape also shows those where nothing happened yet."""

REFUSALS = ("not-allowed", "conflict", *get_args(TurnedAway))


class Metrics:
    """The process's own counters, and the registry that `/metrics` prints."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.refused = self._counter(REFUSED)
        self.accept_seconds = self._histogram(ACCEPT)
        self.worker_seconds = self._histogram(WORKER)
        self.worker_deaths = self._counter(WORKER_DEATHS)
        self.attempt_seconds = self._histogram(ATTEMPT)
        self.given_up = self._counter(GIVEN_UP)
        self.delivered_seconds = self._histogram(DELIVERED)
        self.reloads = self._counter(RELOADS)
        self._reloaded = prometheus.Gauge(RELOADED.name, RELOADED.help, registry=self.registry)
        self._reloaded.set(1)
        for outcome in ("ok", "refused"):
            self.reloads.labels(outcome)
        self._retained = prometheus.Gauge(RETAINED.name, RETAINED.help, registry=self.registry)
        self._overdue = prometheus.Gauge(OVERDUE.name, OVERDUE.help, OVERDUE.labels, registry=self.registry)
        for what in ("content", "proofs", "log"):
            self._overdue.labels(what)

    def _counter(self, family: Family) -> prometheus.Counter:
        return prometheus.Counter(family.name, family.help, family.labels, registry=self.registry)

    def _histogram(self, family: Family) -> prometheus.Histogram:
        return prometheus.Histogram(family.name, family.help, family.labels, buckets=family.buckets, registry=self.registry)

    def begin(self, inlets: Iterable[str], deaths: Iterable[str], connectors: Iterable[str] = ()) -> None:
        """Set up the series that are known beforehand: of each inlet, of each reason why a worker may end, and of each connector
        that delivers."""
        for connector in connectors:
            self.given_up.labels(connector)
        for inlet in inlets:
            self.accept_seconds.labels(inlet)
            for reason in REFUSALS:
                self.refused.labels(inlet, reason)
        for reason in deaths:
            self.worker_deaths.labels(reason)

    def reloaded(self, *, ok: bool) -> None:
        """A reload was tried."""
        self.reloads.labels("ok" if ok else "refused").inc()
        self._reloaded.set(ok)

    def turned_away(self, inlet: str) -> Callable[[TurnedAway], None]:
        """What an inlet calls for each transfer that it does not take itself."""
        return lambda reason: self.refused.labels(inlet, reason).inc()

    def retained(self, moment: datetime, overdue: Mapping[str, int]) -> None:
        """A run of the retention ended, and left what it should have deleted."""
        self._retained.set(moment.timestamp())
        for what, count in overdue.items():
            self._overdue.labels(what).set(count)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its media type; OpenMetrics, with exemplars, for who accepts that."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type


class LedgerCollector:
    """Reads the store, the deliverer and the inlets at each scrape."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration], circuits: Callable[[], Mapping[str, Circuit]],
                 inlets: Callable[[], Mapping[str, bool]], network_dropped: Callable[[], bool],
                 space: Space) -> None:
        self._space = space
        self._store = store
        self._configuration = configuration
        self._circuits_now = circuits
        self._inlets = inlets
        self._network_dropped = network_dropped

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: the names are fixed, the store need not be open."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One reading."""
        configuration = self._configuration()
        try:
            yield from (*self._ledger(configuration), *self._waiting(configuration), *self._nodes())
            yield STORE_READY.of({(): self._store.away is None})
        except StoreUnavailable:
            yield STORE_READY.of({(): 0})
        yield self._resting(configuration)
        yield INLET_READY.of({(name,): ready for name, ready in self._inlets().items()})
        yield ISOLATED.of({(): self._network_dropped()})
        yield ACCEPTING.of({(): self._space.why is None})
        yield FREE.of({("state",): self._space.room.free})
        yield SIZE.of({("state",): self._space.room.size})
        yield RESERVE.of({(): self._space.reserve})
        yield CERTIFICATE.of({(str(file), user): end for file, (user, end) in certificates(configuration).items()})
        yield INFO.of({(__version__, configuration.digest[:12]): 1})

    def _nodes(self) -> Iterable[Metric]:
        living = [node.silent for node in self._store.nodes() if node.ended is None]
        yield NODES.of({(): len(living) if self._store.shared else 1})
        yield SILENT.of({(): max(0.0, *living, 0.0)})

    def _ledger(self, configuration: Configuration) -> Iterable[Metric]:
        found: dict[Family, dict[tuple[str, ...], float]] = _first_series(configuration)
        for (kind, service, destination, name), count in self._tallies(configuration).items():
            family, labels = _place(kind, service, destination, name)
            found[family][labels] = count
        for family, series in found.items():
            yield family.of(series)

    def _tallies(self, configuration: Configuration) -> Counter[TallyKey]:
        """The ledger, services that nobody configured together as ``other``: a sender must not be able to add labels."""
        sums: Counter[TallyKey] = Counter()
        for key, count in self._store.tallies().items():
            if key.kind in FORGOTTEN:
                continue  # rows that retention removed: they are still counted in their last state
            sums[key if key.service in configuration.mappings else key._replace(service="other")] += count
        return sums

    def _waiting(self, configuration: Configuration) -> Iterable[Metric]:
        shown = () if large(configuration) else tuple(configuration.all_destinations())
        ages: dict[tuple[str, ...], float] = {(destination.key,): 0.0 for destination in shown}
        held: dict[tuple[str, ...], float] = {(destination.key, why): 0.0 for destination in shown for why in ("window", "order")}
        turns = self._store.waiting_turns()
        held |= {(key, "order"): count for key, count in turns.items()}
        now = datetime.now(UTC)
        for row in self._store.queue():
            destination = configuration.destination(row.destination)
            spans = destination.policy.window if destination else ()
            if not window.is_open(spans, now):
                ages[row.destination,] = 0.0
                held[row.destination, "window"] = row.states[DeliveryState.DUE] - turns.get(row.destination, 0)
            else:
                ages[row.destination,] = _age(max(filter(None, (row.oldest, window.opened(spans, now)))) if row.oldest else None)
        yield OLDEST.of({(): max([_age(self._store.oldest_received()), *ages.values()])})
        yield DESTINATION_OLDEST.of(ages)
        yield HELD.of(held)

    def _resting(self, configuration: Configuration) -> Metric:
        circuits = self._circuits_now()
        rests: dict[tuple[str, ...], float] = {}
        shown = () if large(configuration) else configuration.all_destinations()
        for key in sorted({destination.key for destination in shown} | set(circuits)):
            circuit = circuits.get(key)
            for why in ("down", "misconfigured"):
                rests[key, why] = float(circuit is not None and circuit.resting_until is not None
                                        and circuit.misconfigured == (why == "misconfigured"))
        return RESTING.of(rests)


def _place(kind: str, service: str, destination: str, name: str) -> tuple[Family, tuple[str, ...]]:
    """The series of one tally."""
    if kind == "message":
        return MESSAGES, (service, name)
    if kind == "delivery":
        return DELIVERIES, (service, destination, name)
    if kind == "delivery_total":
        return (CREATED, (service, destination)) if name == "created" else (DELIVERY_EVENTS, (service, destination, name))
    if name == "accepted":
        return ACCEPTED, (service,)
    event, _, reason = name.partition(":")
    return (PARKED, (service, reason)) if reason and event == "parked" else (MESSAGE_EVENTS, (service, name))


def _first_series(configuration: Configuration) -> dict[Family, dict[tuple[str, ...], float]]:
    """What is there before the first message: per service, and per pair of service and destination that a route makes."""
    services = [*configuration.mappings, "other"]
    return {
        ACCEPTED: {(service,): 0 for service in services},
        MESSAGES: {(service, state.value): 0 for service in services for state in MessageState},
        PARKED: {(service, reason.value): 0 for service in services for reason in Reason},
        MESSAGE_EVENTS: {(service, event): 0 for service in services for event in ("duplicate", "conflict", "completed")},
        CREATED: {},
        DELIVERIES: {},
        DELIVERY_EVENTS: {(*pair, event): 0 for pair in (() if large(configuration) else _pairs(configuration))
                          for event in FIRST_EVENTS},
    }


def large(configuration: Configuration) -> bool:
    """Whether a scrape cannot show what never happened: 11,000 municipalities with 100 services would make millions of zeros."""
    return sum(len(town.routes) for town in configuration.municipalities.values()) > MOST_PAIRS


def _pairs(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Service and destination, of every recipient of every route, and where it goes when it is too large for that."""
    for tenant, town in configuration.municipalities.items():
        for service, routes in town.routes.items():
            for recipient in (row for route in routes for row in route.recipients):
                key = f"{tenant}/{recipient.destination}"
                yield service, key
                fallback = town.destinations[key].policy.fallback
                if fallback:
                    yield service, f"{tenant}/{fallback}"


def _age(moment: datetime | None) -> float:
    return max(0.0, time.time() - moment.timestamp()) if moment else 0.0


_OWN = frozenset({"certificate", "client_certificate"})
_AUTHORITIES = frozenset({"ca", "ca_file", "client_ca"})


def certificates(configuration: Configuration) -> dict[Path, tuple[str, float]]:
    """The certificate files that options name: who names each first, and when it ends (Unix time; 0: unreadable)."""
    users = [(f"inlet {inlet.name}", inlet.options) for inlet in configuration.inlets]
    users += [(destination.key, destination.options) for destination in configuration.all_destinations()]
    found: dict[Path, tuple[str, float]] = {}
    for user, options in users:
        for name, file in _files(options):
            if file not in found:
                found[file] = (user, _end(file, min if name in _OWN else max))
    return found


def _files(options: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Options that name certificates, at any depth."""
    for name, value in options.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, Mapping):
                yield from _files(item)
            elif isinstance(item, Path) and name in _OWN | _AUTHORITIES:
                yield name, item


def _end(file: Path, which: Callable[[Iterable[float]], float]) -> float:
    try:
        return which([found.not_valid_after_utc.timestamp() for found in x509.load_pem_x509_certificates(file.read_bytes())])
    except (OSError, ValueError):
        return 0.0  # a scrape must not fail over a file; the alert on certificates does not miss it
