"""The metrics that only the running process knows: durations, refusals, deaths of workers.

All begin at 0 when the process starts. The metrics that follow from the store's ledger are made by
`hub.operations.ledger_metrics`. Both kinds appear in the registry that `/metrics` prints.

Used by `hub.daemon`, which hands `Metrics` to the rooms that count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import get_args

import prometheus_client as prometheus
import structlog
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from hub.endpoint import Lying, TurnedAway
from hub.telemetry.families import (
    ACCEPT,
    ATTEMPT,
    DELIVERED,
    GIVEN_UP,
    LYING,
    OVERDUE,
    REFUSED,
    RELOADED,
    RELOADS,
    RETAINED,
    WORKER,
    WORKER_DEATHS,
    Family,
)

log = structlog.get_logger("hub.telemetry.counters")

prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]

REFUSALS = ("not-allowed", "conflict", *get_args(TurnedAway))
"""Every reason for which a transfer is refused: the label `reason`."""


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
        self._lying = prometheus.Gauge(LYING.name, LYING.help, LYING.labels, registry=self.registry)
        for outcome in ("ok", "refused"):
            self.reloads.labels(outcome)
        self._retained = prometheus.Gauge(RETAINED.name, RETAINED.help, registry=self.registry)
        self._overdue = prometheus.Gauge(OVERDUE.name, OVERDUE.help, OVERDUE.labels, registry=self.registry)
        for what in ("content", "proofs", "log"):
            self._overdue.labels(what)

    def _counter(self, family: Family) -> prometheus.Counter:
        return prometheus.Counter(family.name, family.help, family.labels, registry=self.registry)

    def _histogram(self, family: Family) -> prometheus.Histogram:
        return prometheus.Histogram(family.name, family.help, family.labels, buckets=family.buckets,
                                    registry=self.registry)

    def begin(self, inlets: Iterable[str], deaths: Iterable[str], connectors: Iterable[str] = ()) -> None:
        """Set up the series that are known beforehand, so that they begin at 0.

        These are the series of each inlet, of each reason why a worker may end, and of each connector that
        delivers.
        """
        for connector in connectors:
            self.given_up.labels(connector)
        for inlet in inlets:
            self.accept_seconds.labels(inlet)
            for reason in REFUSALS:
                self.refused.labels(inlet, reason)
        for reason in deaths:
            self.worker_deaths.labels(reason)

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload of the configuration."""
        self.reloads.labels("ok" if ok else "refused").inc()
        self._reloaded.set(ok)

    def turned_away(self, inlet: str) -> Callable[[TurnedAway], None]:
        """The function that an inlet calls for each transfer that it refuses itself."""
        return lambda reason: self.refused.labels(inlet, reason).inc()

    def lying(self, inlet: str) -> Callable[[Mapping[Lying, int]], None]:
        """What an inlet calls after each look. When there are more of a kind than before, the log says it."""
        before: dict[Lying, int] = dict.fromkeys(get_args(Lying), 0)
        for kind in before:
            self._lying.labels(inlet, kind)

        def tell(now: Mapping[Lying, int]) -> None:
            for kind, count in before.items():
                if now.get(kind, 0) > count:
                    say = log.warning if kind == "unfinished" else log.info
                    say(_LYING[kind], inlet=inlet, kind=kind, count=now[kind])
                before[kind] = now.get(kind, 0)
                self._lying.labels(inlet, kind).set(before[kind])
        return tell

    def retained(self, moment: datetime, overdue: Mapping[str, int]) -> None:
        """Note the end of a run of the retention, and how much it should have deleted but did not."""
        self._retained.set(moment.timestamp())
        for what, count in overdue.items():
            self._overdue.labels(what).set(count)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its media type. A client that accepts OpenMetrics gets that, with exemplars."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type


_LYING: Mapping[Lying, str] = {
    "unfinished": "an upload waits and makes no progress; it is not taken before its sender ends it",
    "left-out": "files lie in an inlet whose names are left out; they are not taken",
    "special": "links or special files lie in an inlet; they are never read",
}
