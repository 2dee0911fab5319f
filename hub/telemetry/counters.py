"""The metrics that only the running process knows: durations, refusals, deaths of workers.

All begin at 0 when the process starts. The metrics that follow from the store's ledger are made by
`hub.operations.ledger_metrics`. Both kinds appear in the registry that `/metrics` prints.

Used by `hub.daemon`, which hands `Metrics` to the rooms that count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import get_args

import prometheus_client as prometheus
import structlog
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from hub.endpoint import NotTaken, TurnedAway
from hub.telemetry.families import (
    ACCEPT,
    ATTEMPT,
    DEAD_LETTERS,
    DELIVERED,
    FILES_NOT_TAKEN,
    GIVEN_UP,
    OVERDUE,
    REFUSED,
    RELOADED,
    RELOADS,
    RETAINED,
    WORKER,
    WORKER_DEATHS,
    Family,
)
from hub.telemetry.sender_certificates import SenderCertificates

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
        self._reloaded = self._gauge(RELOADED)
        self._reloaded.set(1)
        self._files_not_taken = self._gauge(FILES_NOT_TAKEN)
        self._dead_letters = self._gauge(DEAD_LETTERS)
        self.sender_certificates = SenderCertificates(self.registry)
        for outcome in ("ok", "refused"):
            self.reloads.labels(outcome)
        self._retained = self._gauge(RETAINED)
        self._overdue = self._gauge(OVERDUE)
        for what in ("content", "proofs", "log"):
            self._overdue.labels(what)

    def _counter(self, family: Family) -> prometheus.Counter:
        return prometheus.Counter(family.name, family.help, family.labels, registry=self.registry)

    def _gauge(self, family: Family) -> prometheus.Gauge:
        return prometheus.Gauge(family.name, family.help, family.labels, registry=self.registry)

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

    def files_not_taken(self, inlet: str) -> Callable[[Mapping[NotTaken, int]], None]:
        """What an inlet calls after each look. When there are more of a kind than before, the log says it."""
        before: dict[NotTaken, int] = dict.fromkeys(get_args(NotTaken), 0)
        for kind in before:
            self._files_not_taken.labels(inlet, kind)

        def tell(now: Mapping[NotTaken, int]) -> None:
            for kind, count in before.items():
                if now.get(kind, 0) > count:
                    say = log.warning if kind == "unfinished" else log.info
                    say(_FILES_NOT_TAKEN[kind], inlet=inlet, kind=kind, count=now[kind])
                before[kind] = now.get(kind, 0)
                self._files_not_taken.labels(inlet, kind).set(before[kind])
        return tell

    def dead_letters(self, inlet: str) -> Callable[[int | None], None]:
        """What an inlet calls after each look at its broker's dead letters. When there are more than before,
        or it does not know any more, the log says it."""
        before: int | None = 0

        def tell(count: int | None) -> None:
            nonlocal before
            if count is None and before is not None:
                log.warning("an inlet cannot see its broker's dead letters", inlet=inlet)
            elif count is not None and count > (before or 0):
                log.warning("messages lie in the broker's dead-letter queue; they are not taken", inlet=inlet,
                            count=count)
            before = count
            self._dead_letters.labels(inlet).set(math.nan if count is None else count)
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


_FILES_NOT_TAKEN: Mapping[NotTaken, str] = {
    "unfinished": "an upload waits and makes no progress; it is not taken before its sender ends it",
    "left-out": "files lie in an inlet whose names are left out; they are not taken",
    "special": "links or special files lie in an inlet; they are never read",
}
