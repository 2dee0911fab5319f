"""The door: the receiver checks who may send a transfer, stores it, and only then answers OK.

`Receiver.accept` returns after the commit, so an acknowledged message is on disk. Nothing is refused for its
content: a message that nobody can read is stored, and parked later with a reason. Refused are senders that
are not allowed, a known key with other content, and everything while the store or the disk has no room.

Used by every inlet, through `hub.endpoint.Accept`; `hub.daemon` builds it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import structlog

from hub.errors import Conflict, NotAllowed, StoreUnavailable
from hub.i18n.sentence import Address
from hub.message import BERLIN, UNKNOWN_TENANT, Accepted, Incoming

if TYPE_CHECKING:
    from hub.config.configuration import Configuration
    from hub.store.store import Store
    from hub.telemetry.counters import Metrics

log = structlog.get_logger("hub.intake.receiver")

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
_REFUSALS = ((NotAllowed, "not-allowed"), (Conflict, "conflict"), (StoreUnavailable, "unavailable"))


class Receiver:
    """Implements `hub.endpoint.Accept` for all inlets. Any thread may call it."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration], metrics: Metrics,
                 wake: Callable[[], None], now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 admit: Callable[[int], None] = lambda size: None, *,  # noqa: ARG005
                 monotonic: Callable[[], float] = time.monotonic, logger: Any = log) -> None:
        """`wake` is called when something new was accepted. `admit` raises `StoreUnavailable` when there is
        no room for so many bytes. `now` is the clock, and `monotonic` counts seconds."""
        self._admit = admit
        self._monotonic = monotonic
        self._log = logger
        self._store = store
        self._configuration = configuration
        self._metrics = metrics
        self._wake = wake
        self._now = now

    def admit(self, inlet: str, size: int) -> None:
        """Raise `StoreUnavailable` when there is no room for a body of `size` bytes.

        A refusal with `size` 0 is not counted: the inlet only asks.
        """
        try:
            self._admit(size)
        except StoreUnavailable:
            if size:
                self._metrics.refused.labels(inlet, "unavailable").inc()
            raise

    def accept(self, incoming: Incoming) -> Accepted:
        """See `hub.endpoint.Accept`."""
        [answer] = self.together([incoming])
        if isinstance(answer, Exception):
            raise answer
        return answer

    __call__ = accept

    def together(self, incomings: Sequence[Incoming]) -> list[Accepted | Exception]:
        """See `hub.endpoint.Accept`."""
        begun = self._monotonic()
        configuration = self._configuration()
        marked = [_marked(incoming, configuration) for incoming in incomings]
        commits = [_caught(self._begin, incoming, configuration) for incoming in marked]
        answers = [commit if isinstance(commit, Exception) else _caught(commit) for commit in commits]
        took = self._monotonic() - begun
        for incoming, answer in zip(marked, answers, strict=True):
            self._tell(incoming, answer, took)
        if any(isinstance(answer, Accepted) and not answer.duplicate for answer in answers):
            self._wake()
        return answers

    def _begin(self, incoming: Incoming, configuration: Configuration) -> Callable[[], Accepted]:
        """Hand a transfer to the store. The caller calls the result to wait for the commit."""
        self._admit(1)  # not every inlet asks before it reads a body
        sender = configuration.senders.get(incoming.sender)
        if sender is None or not sender.may_send(incoming.ags, incoming.service):
            raise NotAllowed(f"sender {incoming.sender!r} may not send {incoming.service!r} to "
                             f"{incoming.ags!r}")
        return self._store.accept_soon(
            incoming, tenant=configuration.tenant_of(incoming.ags) or UNKNOWN_TENANT,
            day=self._now().astimezone(BERLIN).date(), config_digest=configuration.digest)

    def _tell(self, incoming: Incoming, answer: Accepted | Exception, took: float) -> None:
        refusal = next((reason for kind, reason in _REFUSALS if isinstance(answer, kind)), None)
        if refusal is not None:
            self._metrics.refused.labels(incoming.inlet, refusal).inc()
        if isinstance(answer, NotAllowed):
            self._log.warning("a sender is not allowed to send this; nothing was stored",
                              inlet=incoming.inlet, sender=incoming.sender, ags=Address(incoming.ags).bare,
                              service=Address(incoming.service).bare)
        if isinstance(answer, Accepted):
            self._metrics.accept_seconds.labels(incoming.inlet).observe(took)
            self._log.info("a duplicate was recognised; nothing new is stored" if answer.duplicate
                           else "message accepted; it is on disk", message=answer.id, inlet=incoming.inlet,
                           ags=Address(incoming.ags).bare, service=Address(incoming.service).bare,
                           sender=incoming.sender, test=incoming.test)


def _marked(incoming: Incoming, configuration: Configuration) -> Incoming:
    """The transfer, marked as a test if its sender sends tests only."""
    sender = configuration.senders.get(incoming.sender)
    return (dataclasses.replace(incoming, test=True)
            if sender is not None and sender.test and not incoming.test else incoming)


def _caught(work: Callable[P, ResultT], *arguments: P.args, **named: P.kwargs) -> ResultT | Exception:
    try:
        return work(*arguments, **named)
    except Exception as error:  # noqa: BLE001 - it concerns one message; the others go on
        return error
