"""From the store to the workers and back: claims received messages, sends them through the pipeline, records the outcome.

One thread per worker process. A message whose worker dies or overruns is tried again alone; only deaths alone count, and
the third one parks it (`WorkersSection.deaths`). After an unclean end of the hub everything that was in flight goes through
this suspects' lane, one by one, before anything else, so that random kills park nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from hub.config import Configuration, suggest
from hub.errors import HubError, StoreUnavailable
from hub.job import Facts, Job, Parked
from hub.message import Reason, StoredMessage
from hub.workers import Package, WorkerPool

if TYPE_CHECKING:
    from hub.metrics import Metrics
    from hub.store import Store

log = structlog.get_logger("hub.dispatch")

LEASE = timedelta(minutes=30)


class Dispatcher:
    """Moves messages from `received` to `routed` or `parked` until it is stopped."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration], pool: WorkerPool, metrics: Metrics,
                 delivered_to: Callable[[Sequence[str]], None], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._configuration = configuration
        self._pool = pool
        self._metrics = metrics
        self._delivered_to = delivered_to
        self._now = now
        self._stop = threading.Event()
        self._work = threading.Condition()
        self._pending = True
        self._suspects = list(store.suspects())
        count = configuration().settings.workers.count
        self._threads = [threading.Thread(target=self._serve, name=f"dispatch-{n}", daemon=True) for n in range(count)]
        self.last_progress = self._now()

    def start(self) -> None:
        """Begin; suspects of an unclean end first."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is a new message."""
        with self._work:
            self._pending = True
            self._work.notify()

    def stop(self, patience: timedelta) -> bool:
        """Claim nothing more; whether everything under way ended within `patience`."""
        self._stop.set()
        with self._work:
            self._work.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(patience.total_seconds())
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self) -> None:
        while not self._stop.is_set():
            self.last_progress = self._now()
            try:
                busy = self._suspect() or self._batch()
            except StoreUnavailable as error:
                log.error("the store cannot be read or written; messages wait", error=str(error))
                busy = False
            if busy:
                continue
            with self._work:
                if not self._pending:
                    self._work.wait(timeout=2.0)
                self._pending = False

    def _suspect(self) -> bool:
        """One message that was in flight at an unclean end, alone."""
        with self._work:
            message_id = self._suspects.pop(0) if self._suspects else None
        if message_id is None:
            return False
        for message in self._store.claim_messages(1, LEASE, only=[message_id]):
            self._alone(self._configuration(), message)
        return True

    def _batch(self) -> bool:
        configuration = self._configuration()
        messages = self._store.claim_messages(configuration.settings.workers.batch, LEASE)
        if not messages:
            return False
        self._together(configuration, messages)
        return True

    def _together(self, configuration: Configuration, messages: Sequence[StoredMessage]) -> None:
        left = self._run(configuration, messages)
        for message in left:
            if self._stop.is_set():
                self._store.release_messages([message.id])
                continue
            self._alone(configuration, message)

    def _alone(self, configuration: Configuration, message: StoredMessage) -> None:
        """One message by itself until it is through or has died as often as it may."""
        deaths = message.deaths
        while self._run(configuration, [message]):
            deaths = self._store.count_death(message.id)
            log.warning("a worker ended over this message alone", message=message.id, deaths=deaths, service=message.service)
            if deaths >= configuration.settings.workers.deaths:
                self._record(configuration, [Parked(
                    message_id=message.id, facts=Facts(), reason=Reason.RUNAWAY,
                    text=f"Die Verarbeitung ist {deaths}-mal allein abgebrochen (Zeit, Speicher oder Absturz): "
                         "die Nachricht und das Stylesheet des Dienstes prüfen, dann erneut verarbeiten.")], -1)
                return

    def _run(self, configuration: Configuration, messages: Sequence[StoredMessage]) -> list[StoredMessage]:
        """One trip to a worker; the messages that did not come back."""
        damaged = []
        with Package(self._store.spool) as package:
            jobs = []
            for message in messages:
                try:
                    jobs.append(self._job(configuration, message, package))
                except HubError as error:
                    damaged.append(Parked(message_id=message.id, facts=Facts(), reason=Reason.DAMAGED, text=str(error)))
            with self._metrics.worker_seconds.time():
                result = self._pool.run(jobs, package)
            self._record(configuration, [*result.outcomes, *damaged], package.out_fd)
        if result.why:
            log.warning("a worker was replaced", why=result.why, unfinished=len(result.unfinished))
            self._metrics.worker_deaths.labels(result.why).inc()
        unfinished = set(result.unfinished)
        return [message for message in messages if message.id in unfinished]

    def _record(self, configuration: Configuration, outcomes: Sequence[object], out_fd: int) -> None:
        if not outcomes:
            return
        self._delivered_to(self._store.record(outcomes, out_fd, config_digest=configuration.digest))
        self.last_progress = self._now()
        for outcome in outcomes:
            if isinstance(outcome, Parked):
                log.warning("the message is parked; an operator is needed", message=outcome.message_id, reason=outcome.reason)

    def _job(self, configuration: Configuration, message: StoredMessage, package: Package) -> Job:
        rules = configuration.rules(message.ags, message.service)
        reason, why = (None, None) if rules else _no_rules(configuration, message)
        return Job(
            message_id=message.id, tenant=configuration.tenant_of(message.ags) or message.tenant, ags=message.ags,
            service=message.service, test=message.test, received_at=message.received_at, accepted_day=message.accepted_day,
            case=message.case, rules=rules, why_no_rules=why, why_no_rules_reason=reason,
            limits=configuration.settings.limits,
            parts=tuple(package.add(part, self._store.open_part) for part in message.parts if part.role == "received"))


def _no_rules(configuration: Configuration, message: StoredMessage) -> tuple[str, str]:
    """Why no rule came into question at all."""
    tenant = configuration.tenant_of(message.ags)
    file = configuration.settings.hub.municipalities
    if tenant is None:
        return Reason.UNKNOWN_MUNICIPALITY, (
            f"Keine Kommune hat den AGS {message.ags[:12]!r} ({suggest(message.ags, configuration.by_ags)}): "
            f"{_relative(file, configuration)}/<AGS>.toml anlegen oder 'formerly' ergänzen, neu laden, dann 'replay'.")
    town = configuration.municipalities[tenant]
    if message.service not in configuration.mappings:
        return Reason.UNKNOWN_SERVICE, (
            f"Den Dienst {message.service[:60]!r} gibt es nicht ({suggest(message.service, configuration.mappings)}): "
            "eine Abbildung in mappings/ anlegen, neu laden, dann 'replay'.")
    return Reason.NO_ROUTE, (
        f"{town.row.name} hat keinen Weg für {message.service!r} ({suggest(message.service, town.routes)}): "
        f"in {town.file.name} 'services' oder [[route]] ergänzen, neu laden, dann 'replay'.")


def _relative(path: Path, configuration: Configuration) -> Path:
    base = configuration.file.parent
    return path.relative_to(base) if path.is_relative_to(base) else path
