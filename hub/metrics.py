"""What Prometheus sees.

Totals of messages and deliveries come from the store's own ledger, at the moment of the scrape, so they survive a restart
and always satisfy the two balances (docs/operate.md). Only what the ledger cannot know is counted here: durations,
refusals, deaths of workers. Labels are bounded: service, destination, outcome; never a message's id or a person's data.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Histogram, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hub import __version__
from hub.store import TallyKey

if TYPE_CHECKING:
    from hub.config import Configuration
    from hub.deliver import Deliverer
    from hub.store import Store

prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300, 3600, 6 * 3600, 86400, 3 * 86400, 14 * 86400)


class Metrics:
    """The process's own counters, and the registry that `/metrics` prints."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.refused = prometheus.Counter("drehscheibe_refused", "Transfers that an inlet did not take.", ("inlet", "why"),
                               registry=self.registry)
        self.accept_seconds = Histogram("drehscheibe_accept_seconds", "Time until a message was durable.", ("inlet",),
                                        buckets=_FAST, registry=self.registry)
        self.worker_seconds = Histogram("drehscheibe_worker_seconds", "Time of one trip to a worker.", buckets=_FAST,
                                        registry=self.registry)
        self.worker_deaths = prometheus.Counter("drehscheibe_worker_deaths", "Workers that ended over a message.", ("why",),
                                     registry=self.registry)
        self.attempt_seconds = Histogram("drehscheibe_attempt_seconds", "Time of one try to deliver.",
                                         ("connector", "outcome"), buckets=_FAST, registry=self.registry)
        self.delivered_seconds = Histogram("drehscheibe_delivered_seconds", "Time from the outbox to the receiver.",
                                           ("connector",), buckets=_LONG, registry=self.registry)
        self.reloads = prometheus.Counter("drehscheibe_reloads", "Reloads of the configuration.", ("outcome",),
                                          registry=self.registry)
        for outcome in ("ok", "refused"):
            self.reloads.labels(outcome)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class LedgerCollector:
    """Reads the store and the deliverer at each scrape."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration], deliverer: Deliverer,
                 certificates: Callable[[], Iterable[tuple[str, datetime]]], network_dropped: Callable[[], bool]) -> None:
        self._store = store
        self._configuration = configuration
        self._deliverer = deliverer
        self._certificates = certificates
        self._network_dropped = network_dropped

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: the names are fixed, the store need not be open."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One consistent reading."""
        configuration = self._configuration()
        yield from self._ledger()
        oldest = self._store.oldest_undelivered()
        age = max(0.0, time.time() - oldest.timestamp()) if oldest else 0.0
        yield GaugeMetricFamily("drehscheibe_oldest_undelivered_seconds",
                                "Age of the oldest message that is neither delivered, parked nor discarded.", age)
        yield from self._circuits()
        free = GaugeMetricFamily("drehscheibe_free_bytes", "Free space where the store is.", labels=("place",))
        status = os.statvfs(configuration.state)
        free.add_metric(("state",), status.f_bavail * status.f_frsize)
        yield free
        days = GaugeMetricFamily("drehscheibe_certificate_expiry_days", "Days until a certificate ends.", labels=("name",))
        now = datetime.now(UTC)
        for name, end in self._certificates():
            days.add_metric((name,), (end - now).total_seconds() / 86400)
        yield days
        yield GaugeMetricFamily("drehscheibe_workers_without_network", "1 when workers could drop the network.",
                                float(self._network_dropped()))
        info = GaugeMetricFamily("drehscheibe_info", "Version and configuration.", labels=("version", "configuration"))
        info.add_metric((__version__, configuration.digest[:12]), 1)
        yield info

    def _ledger(self) -> Iterable[Metric]:
        accepted = CounterMetricFamily("drehscheibe_messages_accepted", "Messages made durable.", labels=("service",))
        messages = GaugeMetricFamily("drehscheibe_messages", "Messages by state.", labels=("service", "state"))
        created = CounterMetricFamily("drehscheibe_deliveries_created", "Deliveries made.", labels=("service", "destination"))
        deliveries = GaugeMetricFamily("drehscheibe_deliveries", "Deliveries by state.",
                                       labels=("service", "destination", "state"))
        outcomes = CounterMetricFamily("drehscheibe_events", "What happened, by its name in the history.",
                                       labels=("service", "destination", "event"))
        for (kind, service, destination, name), count in self._tallies().items():
            if (kind, name) == ("message_total", "accepted"):
                accepted.add_metric((service,), count)
            elif kind == "message":
                messages.add_metric((service, name), count)
            elif (kind, name) == ("delivery_total", "created"):
                created.add_metric((service, destination), count)
            elif kind == "delivery":
                deliveries.add_metric((service, destination, name), count)
            elif kind.endswith("_total"):
                outcomes.add_metric((service, destination, name), count)
        yield from (accepted, messages, created, deliveries, outcomes)

    def _tallies(self) -> Counter[TallyKey]:
        """The ledger, services that nobody configured together as ``other``: a sender must not be able to add labels."""
        known = self._configuration().mappings
        sums: Counter[TallyKey] = Counter()
        for key, count in self._store.tallies().items():
            sums[key if key.service in known else key._replace(service="other")] += count
        return sums

    def _circuits(self) -> Iterable[Metric]:
        resting = GaugeMetricFamily("drehscheibe_destination_resting", "1 while a destination rests as a whole.",
                                    labels=("destination", "why"))
        now = datetime.now(UTC)
        for key, circuit in self._deliverer.circuits().items():
            resting.add_metric((key, "misconfigured" if circuit.misconfigured else "down"), float(circuit.open(now)))
        yield resting
