"""The door: what an inlet hands in is checked for who may send it, made durable, and only then answered OK.

Nothing is refused for its content. What cannot be understood is stored, and parked later with a reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from hub.errors import Conflict, NotAllowed, StoreUnavailable
from hub.message import BERLIN, UNKNOWN_TENANT, Accepted, Incoming

if TYPE_CHECKING:
    from hub.config import Configuration
    from hub.metrics import Metrics
    from hub.store import Store

log = structlog.get_logger("hub.receive")

class Receiver:
    """`accept` for all inlets, from any thread."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration], metrics: Metrics,
                 wake: Callable[[], None], now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 admit: Callable[[int], None] = lambda size: None) -> None:  # noqa: ARG005
        self._admit = admit
        self._store = store
        self._configuration = configuration
        self._metrics = metrics
        self._wake = wake
        self._now = now

    def admit(self, inlet: str, size: int) -> None:
        """Is there room for a body of so many bytes? 0 only asks. Raises `StoreUnavailable`."""
        try:
            self._admit(size)
        except StoreUnavailable:
            if size:
                self._metrics.refused.labels(inlet, "unavailable").inc()
            raise

    def accept(self, incoming: Incoming) -> Accepted:
        """See `hub.endpoint.Accept`."""
        self.admit(incoming.inlet, 1)  # not every inlet asks before it takes a body in
        configuration = self._configuration()
        sender = configuration.senders.get(incoming.sender)
        if sender is None or not sender.may_send(incoming.ags, incoming.service):
            self._metrics.refused.labels(incoming.inlet, "not-allowed").inc()
            log.warning("a sender is not allowed to send this; nothing was stored", inlet=incoming.inlet,
                        sender=incoming.sender, ags=incoming.ags, service=incoming.service)
            raise NotAllowed(f"sender {incoming.sender!r} may not send {incoming.service!r} to {incoming.ags!r}")
        if sender.test and not incoming.test:
            incoming = dataclasses.replace(incoming, test=True)
        try:
            with self._metrics.accept_seconds.labels(incoming.inlet).time():
                accepted = self._store.accept(
                    incoming, tenant=configuration.tenant_of(incoming.ags) or UNKNOWN_TENANT,
                    day=self._now().astimezone(BERLIN).date(), config_digest=configuration.digest)
        except (Conflict, StoreUnavailable) as error:
            reason = "conflict" if isinstance(error, Conflict) else "unavailable"
            self._metrics.refused.labels(incoming.inlet, reason).inc()
            raise
        log.info("a duplicate was recognised; nothing new is stored" if accepted.duplicate
                 else "message accepted; it is on disk", message=accepted.id, inlet=incoming.inlet, ags=incoming.ags,
                 service=incoming.service, sender=incoming.sender, test=incoming.test)
        if not accepted.duplicate:
            self._wake()
        return accepted
