"""What Prometheus sees of the store, the deliverer and the inlets.

All metrics are listed in `hub.telemetry.families.FAMILIES`, and in docs/reference/metrics.md, which is made
from it.

Totals of messages and deliveries come from the store's own ledger, at the moment of the scrape, so they
survive a restart and always satisfy the two balances (docs/architecture.md). What the ledger cannot know
(durations, refusals, deaths of workers) is counted in `hub.telemetry.counters` and begins at 0 with the
process.

Labels are bounded: what is configured (service, municipality, destination, inlet, connector, certificate
files) or a fixed set (state, event, reason, outcome); never a message's id, an address or anything that a
sender can choose: services that nobody configured are counted together as ``other``. A message's id is an
exemplar where one helps. Series that alerts count with are there from the start, at 0, because Prometheus
does not see an increase from nothing to 1.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from hub import __version__
from hub.config import window
from hub.errors import StoreUnavailable
from hub.message import DeliveryState, MessageState, Reason
from hub.operations.certificates import certificates
from hub.operations.silence import Silence
from hub.store.database.ledger import FORGOTTEN, TallyKey
from hub.telemetry.families import (
    ACCEPTED,
    ACCEPTING,
    CERTIFICATE,
    CREATED,
    DELIVERIES,
    DELIVERY_EVENTS,
    DESTINATION_OLDEST,
    FREE,
    HELD,
    INFO,
    INLET_READY,
    ISOLATED,
    MESSAGE_EVENTS,
    MESSAGES,
    NODES,
    OLDEST,
    PARKED,
    PARKED_NOW,
    RECEIVED_OLDEST,
    RESERVE,
    RESTING,
    SENDER_SILENT,
    SENDER_USUAL_GAP,
    SILENT,
    SIZE,
    STORE_READY,
    WORKERS_MISSING,
    Family,
)

if TYPE_CHECKING:
    from hub.config.configuration import Configuration
    from hub.delivery.circuit_breaker import Circuit
    from hub.intake.disk_space import Space
    from hub.store.store import Store

FIRST_EVENTS = ("done", "later", "in_doubt", "parked")
"""Events of deliveries whose series are there from the start, for every route but those of tests."""

REASONS = frozenset(Reason)

MOST_PAIRS = 20_000
"""Pairs of municipality and service up to which a scrape also shows those where nothing happened yet."""


class LedgerCollector:
    """Reads the store, the deliverer and the inlets at each scrape."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration],
                 circuits: Callable[[], Mapping[str, Circuit]],
                 inlets: Callable[[], Mapping[str, bool]], network_dropped: Callable[[], bool],
                 workers_missing: Callable[[], int], space: Space) -> None:
        self._space = space
        self._store = store
        self._configuration = configuration
        self._circuits_now = circuits
        self._inlets = inlets
        self._network_dropped = network_dropped
        self._workers_missing = workers_missing
        self._silence = Silence(store.reading)

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: the names are fixed, the store need not be open."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One reading."""
        configuration = self._configuration()
        try:
            yield from (*self._ledger(configuration), *self._waiting(configuration),
                        self._parked(configuration), *self._nodes(), *self._silences(configuration))
            yield STORE_READY.of({(): self._store.away is None})
        except StoreUnavailable:
            yield STORE_READY.of({(): 0})
        yield self._resting(configuration)
        yield INLET_READY.of({(name,): ready for name, ready in self._inlets().items()})
        yield ISOLATED.of({(): self._network_dropped()})
        yield WORKERS_MISSING.of({(): self._workers_missing()})
        yield ACCEPTING.of({(): self._space.why is None})
        yield FREE.of({("state",): self._space.room.free})
        yield SIZE.of({("state",): self._space.room.size})
        yield RESERVE.of({(): self._space.reserve})
        yield CERTIFICATE.of({(str(file), user): end
                              for file, (user, end) in certificates(configuration).items()})
        yield INFO.of({(__version__, configuration.digest[:12]): 1})

    def _nodes(self) -> Iterable[Metric]:
        living = [node.silent for node in self._store.nodes() if node.ended is None]
        yield NODES.of({(): len(living) if self._store.shared else 1})
        yield SILENT.of({(): max(0.0, *living, 0.0)})

    def _silences(self, configuration: Configuration) -> Iterable[Metric]:
        senders = self._silence.look(configuration)
        yield SENDER_SILENT.of({(name,): quiet.silent.total_seconds() for name, quiet in senders.items()})
        yield SENDER_USUAL_GAP.of({(name,): quiet.usual.total_seconds() for name, quiet in senders.items()
                                   if quiet.usual is not None})

    def _ledger(self, configuration: Configuration) -> Iterable[Metric]:
        found: dict[Family, dict[tuple[str, ...], float]] = first_series(configuration)
        for (kind, service, destination, name), count in self._tallies(configuration).items():
            family, labels = place_of(kind, service, destination, name)
            found[family][labels] = count
        for family, series in found.items():
            yield family.of(series)

    def _tallies(self, configuration: Configuration) -> Counter[TallyKey]:
        """The ledger, with the services that nobody configured counted together as ``other``.

        A sender must not be able to add labels.
        """
        sums: Counter[TallyKey] = Counter()
        for key, count in self._store.tallies().items():
            if key.kind in FORGOTTEN:
                continue  # rows that retention removed: they are still counted in their last state
            sums[key if key.service in configuration.mappings else key._replace(service="other")] += count
        return sums

    def _parked(self, configuration: Configuration) -> Metric:
        """What waits for a person, by municipality: those that are configured, and ``other``."""
        sums: Counter[tuple[str, ...]] = Counter()
        for (tenant, reason), count in self._store.parked().items():
            label = tenant if tenant in configuration.municipalities else "other"
            sums[label, reason if reason in REASONS else "other"] += count
        return PARKED_NOW.of(sums)

    def _waiting(self, configuration: Configuration) -> Iterable[Metric]:
        shown = () if large(configuration) else tuple(configuration.all_destinations())
        ages: dict[tuple[str, ...], float] = {(destination.key,): 0.0 for destination in shown}
        held: dict[tuple[str, ...], float] = {(destination.key, why): 0.0 for destination in shown
                                              for why in ("window", "order")}
        waiting = self._store.waiting_in_order()
        held |= {(key, "order"): count for key, count in waiting.items()}
        now = datetime.now(UTC)
        for row in self._store.queue():
            destination = configuration.destination(row.destination)
            spans = destination.policy.window if destination else ()
            if not window.is_open(spans, now):
                ages[row.destination,] = 0.0
                in_order = waiting.get(row.destination, 0)
                held[row.destination, "window"] = row.states[DeliveryState.DUE] - in_order
            else:
                ages[row.destination,] = _age(max(filter(None, (row.oldest, window.opened(spans, now))))
                                              if row.oldest else None)
        received = _age(self._store.oldest_received())
        yield OLDEST.of({(): max([received, *ages.values()])})
        yield RECEIVED_OLDEST.of({(): received})
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


def place_of(kind: str, service: str, destination: str, name: str) -> tuple[Family, tuple[str, ...]]:
    """The series of one tally: its family, and its labels' values."""
    if kind == "message":
        return MESSAGES, (service, name)
    if kind == "delivery":
        return DELIVERIES, (service, destination, name)
    if kind == "delivery_total":
        if name == "created":
            return CREATED, (service, destination)
        return DELIVERY_EVENTS, (service, destination, name)
    if name == "accepted":
        return ACCEPTED, (service,)
    event, _, reason = name.partition(":")
    return (PARKED, (service, reason)) if reason and event == "parked" else (MESSAGE_EVENTS, (service, name))


def first_series(configuration: Configuration) -> dict[Family, dict[tuple[str, ...], float]]:
    """What is there before the first message.

    There is one series per service, and one per pair of service and destination that a route makes.
    """
    services = [*configuration.mappings, "other"]
    return {
        ACCEPTED: {(service,): 0 for service in services},
        MESSAGES: {(service, state.value): 0 for service in services for state in MessageState},
        PARKED: {(service, reason.value): 0 for service in services for reason in Reason},
        MESSAGE_EVENTS: {(service, event): 0 for service in services
                         for event in ("duplicate", "conflict", "completed")},
        CREATED: {},
        DELIVERIES: {},
        DELIVERY_EVENTS: {(*pair, event): 0 for event in FIRST_EVENTS
                          for pair in (() if large(configuration) else _pairs(configuration))},
    }


def large(configuration: Configuration) -> bool:
    """Whether a scrape cannot show what never happened.

    11,000 municipalities with 100 services would make millions of zeros.
    """
    return sum(len(municipality.routes)
               for municipality in configuration.municipalities.values()) > MOST_PAIRS


def _pairs(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Service and destination of every recipient of every route, fallbacks for what is too large included."""
    for tenant, municipality in configuration.municipalities.items():
        for service, routes in municipality.routes.items():
            for recipient in (row for route in routes for row in route.recipients):
                key = f"{tenant}/{recipient.destination}"
                yield service, key
                fallback = municipality.destinations[key].policy.fallback
                if fallback:
                    yield service, f"{tenant}/{fallback}"


def _age(moment: datetime | None) -> float:
    return max(0.0, time.time() - moment.timestamp()) if moment else 0.0
