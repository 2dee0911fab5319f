"""What senders' certificates say when they are shown at the door: when they end, and which were refused.

Labels are the senders that an inlet has in its configuration; whose certificate is nobody's counts as
``unknown``. Nothing of a certificate's own text is kept.

Used by `hub.intake.inlets`, through `hub.telemetry.counters.Metrics`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, get_args

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from hub.endpoint import Outdated
from hub.telemetry.families import SENDER_CERTIFICATE, SENDER_CERTIFICATES_REFUSED

log = structlog.get_logger("hub.telemetry.sender_certificates")

UNKNOWN = "unknown"
"""The label of a certificate that belongs to no configured sender."""
TOGETHER = 24 * 3600.0
"""Seconds. A sender's machines may have certificates of their own: the soonest end of all that it showed
within so long counts. Later a certificate counts as replaced."""
SAY_AGAIN = 3600.0
"""Seconds after which the same refusal is logged again: a sender may try every second."""
MOST = 50
"""Ends remembered for one sender."""


class SenderCertificates:
    """The metrics of the certificates that senders show. Any thread may call what it gives.

    `now` gives seconds that only grow.
    """

    def __init__(self, registry: CollectorRegistry, now: Callable[[], float] = time.monotonic,
                 logger: Any = log) -> None:
        family = SENDER_CERTIFICATE
        self._ends = Gauge(family.name, family.help, family.labels, registry=registry)
        family = SENDER_CERTIFICATES_REFUSED
        self._refused = Counter(family.name, family.help, family.labels, registry=registry)
        self._now = now
        self._log = logger
        self._said: dict[tuple[str, str, Outdated], float] = {}

    def begin(self, inlet: str, senders: Iterable[str]) -> None:
        """Set up the series of an inlet that knows these senders."""
        for sender in (*senders, UNKNOWN):
            for reason in get_args(Outdated):
                self._refused.labels(inlet, sender, reason)

    def seen(self, inlet: str) -> Callable[[str, datetime], None]:
        """What an inlet calls when a sender comes in with a certificate that ends then."""
        shown: dict[str, dict[float, float]] = {}

        def tell(sender: str, ends: datetime) -> None:
            now = self._now()
            known = {end: at for end, at in shown.get(sender, {}).items() if now - at < TOGETHER}
            known.pop(ends.timestamp(), None)  # so that the newest stands last
            known[ends.timestamp()] = now
            shown[sender] = known = dict(list(known.items())[-MOST:])
            self._ends.labels(inlet, sender).set(min(known))
        return tell

    def refused(self, inlet: str) -> Callable[[str | None, Outdated], None]:
        """What an inlet calls when it refuses a certificate for its time."""
        def tell(sender: str | None, reason: Outdated) -> None:
            key = inlet, sender or UNKNOWN, reason
            self._refused.labels(*key).inc()
            now = self._now()
            if now - self._said.get(key, -SAY_AGAIN) >= SAY_AGAIN:
                self._said[key] = now
                self._log.warning("a certificate is not valid now; nothing was taken from who showed it",
                                  inlet=inlet, sender=key[1], reason=reason)
        return tell
