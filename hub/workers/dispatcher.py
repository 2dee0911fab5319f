"""From the store to the workers and back.

Received messages are claimed, sent through the pipeline, and their outcome is recorded. There is one thread
per worker process. A message whose worker dies or overruns is tried again alone. Only deaths alone count, and
the third one parks it (`WorkersSection.deaths`). After an unclean end of the hub, everything that was in
flight goes through this suspects' lane before anything else, one by one. So random kills park nothing.

A worker that cannot be started is no message's fault. What was claimed is given back, and tried again after
`PAUSE`.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from hub.config.configuration import Configuration
from hub.config.rules import rules_for, why_none
from hub.config.sections import Sender
from hub.errors import StoreUnavailable
from hub.i18n.sentence import Address, Sentence, Words, lines, say
from hub.job import Body, Facts, Job, JobPart, Outcome, Parked, Split
from hub.message import BERLIN, UNKNOWN_TENANT, Reason, StoredMessage, StoredPart
from hub.store.blobs.payload import Damaged
from hub.store.blobs.stored import StoredBody
from hub.store.store import BadOutcome
from hub.telemetry.errors import where
from hub.workers.pool import BatchResult, WorkerPool, pack
from hub.workers.process import NOTHING, Why, WorkerUnavailable

if TYPE_CHECKING:
    from hub.store.store import Store
    from hub.telemetry.counters import Metrics

log = structlog.get_logger("hub.workers.dispatcher")

LEASE = timedelta(minutes=30)
"""For how long a claimed message is nobody else's."""

LONGEST_WAIT = 2.0
"""A thread looks for messages after so many seconds, although nobody told it of any."""

ALONE = 0.02
"""A thread with less than a whole batch in hand is alone for so many seconds, because many small batches cost
more than one."""

PAUSE = 5.0
"""Seconds until another try after the store, or this side of the workers, failed."""

MOST_FILES = 200
"""So many large bodies of a batch travel as descriptors of their own. The rest is copied."""


class Dispatcher:
    """Moves messages from `received` to `routed` or `parked`, until it is stopped."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration], pool: WorkerPool,
                 metrics: Metrics, delivered_to: Callable[[Sequence[str]], None],
                 room: Callable[[], bool] = lambda: True, *,
                 monotonic: Callable[[], float] = time.monotonic,
                 now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 stopping: threading.Event | None = None, logger: Any = log) -> None:
        """`delivered_to` hears of the destinations that got work. Without `room` nothing is claimed.

        `stopping` is the event that ends it all, `monotonic` counts seconds, and `now` says what day it is.
        """
        self._room = room
        self._monotonic = monotonic
        self._now = now
        self._log = logger
        self._store = store
        self._configuration = configuration
        self._pool = pool
        self._metrics = metrics
        self._delivered_to = delivered_to
        self._stop = stopping or threading.Event()
        self._news = threading.Condition()
        self._pending = True
        self._alone_until = 0.0
        self._suspects = list(store.suspects())
        count = configuration().settings.workers.count
        self._threads = [threading.Thread(target=self._serve, name=f"dispatch-{n}", daemon=True)
                         for n in range(count)]
        self._progress = dict.fromkeys((thread.name for thread in self._threads), self._monotonic())

    @property
    def last_progress(self) -> float:
        """The moment (`time.monotonic`) when the slowest thread was last seen to get on. The others do not
        cover up for one that hangs."""
        return min(self._progress.values())

    def _progressed(self) -> None:
        self._progress[threading.current_thread().name] = self._monotonic()

    def start(self) -> None:
        """Start the threads. They take the suspects of an unclean end first."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Tell the threads that there is a new message."""
        with self._news:
            self._pending = True
            self._news.notify()

    def look_at_suspects(self) -> None:
        """Take the suspects of another node that is gone; they are tried here, one by one. Raises
        `StoreUnavailable`."""
        found = self._store.suspects()
        with self._news:
            self._suspects += [message_id for message_id in found if message_id not in self._suspects]

    def stop(self, patience: timedelta) -> bool:
        """Claim nothing more, and wait up to `patience`. True when everything under way ended."""
        self._stop.set()
        with self._news:
            self._news.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(patience.total_seconds())
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self) -> None:
        while not self._stop.is_set():
            busy = self.turn()
            if busy is None:
                return  # only when stopping: what was in hand is looked into at the next start
            if busy:
                continue
            with self._news:
                self._wait()
                self._pending = False

    def _wait(self) -> None:
        """Wait for news. While another thread has a few messages in hand, wait for its end: it brings along
        what arrives meanwhile."""
        until = self._monotonic() + LONGEST_WAIT
        while not self._stop.is_set() and (now := self._monotonic()) < until:
            left = (self._alone_until if self._pending else until) - now
            if left <= 0:
                return
            self._news.wait(min(left, until - now))

    def turn(self) -> bool | None:
        """Do one turn of a thread, in the caller's thread. Never raises.

        True: there may be more to do at once. None: the dispatcher stops, and the thread is at its end.
        """
        self._progressed()
        try:
            return (self._room() and (self._suspect() or self._batch())) or self._refill()
        except StoreUnavailable as error:
            self._log.error("the store cannot be written; messages wait", error=str(error))
            return self._stop.wait(PAUSE)
        except WorkerUnavailable as error:
            if self._stop.is_set():
                return None
            self._log.error("no worker can be started; messages wait", error=str(error))
            return self._stop.wait(PAUSE)
        except Exception as error:  # noqa: BLE001 - a thread that vanishes would stop the whole pipeline
            self._log.error("the dispatcher itself failed; please report this", **where(error))
            return self._stop.wait(PAUSE)

    def _refill(self) -> bool:
        """See to it that every worker is there, also when nothing is to be done. False."""
        for problem in self._pool.refill():
            self._log.error("no worker can be started; messages wait", error=problem)
        self._progressed()
        return False

    def _suspect(self) -> bool:
        """Try one message that was in flight at an unclean end, alone. False when there is none."""
        with self._news:
            message_id = self._suspects.pop(0) if self._suspects else None
        if message_id is None:
            return False
        try:
            with self._claim() as claim:
                for message in self._store.claim_messages(1, LEASE, only=[message_id], claim=claim):
                    with self._given_back([message]):
                        self._alone(self._configuration(), message)
        except Exception:
            with self._news:
                self._suspects.insert(0, message_id)
            raise
        return True

    def _batch(self) -> bool:
        configuration = self._configuration()
        most = configuration.settings.workers.batch
        with self._claim() as claim:
            messages = self._store.claim_messages(most, LEASE, claim=claim)
            if not messages:
                return False
            self._alone_until = self._monotonic() + ALONE if len(messages) < most else 0.0
            try:
                with self._given_back(messages):
                    self._together(configuration, messages)
            finally:
                self._alone_until = 0.0
        return len(messages) == most  # whatever comes later wakes this thread, or another

    @contextmanager
    def _claim(self) -> Iterator[int]:
        """A number for a claim. When something goes wrong the claim is given back, because its leases would
        last for half an hour."""
        claim = self._store.new_claim()
        try:
            yield claim
        except Exception:
            self._store.forget_claim(claim)
            raise

    @contextmanager
    def _given_back(self, messages: Sequence[StoredMessage]) -> Iterator[None]:
        """Where no worker can be started, messages are not kept from another hub that has some."""
        try:
            yield
        except WorkerUnavailable:
            self._store.release_messages([message.id for message in messages])
            raise

    def _together(self, configuration: Configuration, messages: Sequence[StoredMessage]) -> None:
        left, _ = self._run(configuration, messages)
        for message in left:
            if self._stop.is_set():
                self._store.release_messages([message.id])
                continue
            self._alone(configuration, message)

    def _alone(self, configuration: Configuration, message: StoredMessage) -> None:
        """Try one message by itself until it is through or has died as often as it may."""
        deaths, why = message.deaths, say("schon früher")
        while deaths < configuration.settings.workers.deaths:
            left, why = self._run(configuration, [message])
            if not left:
                return
            deaths = self._store.count_death(message.id)
            self._log.warning("a worker ended over this message alone", deaths=deaths, **_fields(message))
        text = say("Die Verarbeitung ist {deaths}-mal allein abgebrochen ({why}): die Nachricht und das "
                   "Stylesheet des Dienstes prüfen, dann erneut verarbeiten.", deaths=deaths, why=why)
        parked = Parked(message_id=message.id, facts=Facts(), reason=Reason.RUNAWAY, text=text)
        self._record(configuration, [parked], -1, [message])

    def _run(self, configuration: Configuration,
             messages: Sequence[StoredMessage]) -> tuple[list[StoredMessage], Sentence]:
        """Do `_trip`. What goes wrong on this side of it counts as if the worker had ended."""
        try:
            return self._trip(configuration, messages)
        except (StoreUnavailable, WorkerUnavailable):
            raise
        except Exception as error:  # it must cost the messages that cause it, not the others behind them
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORT):
                raise StoreUnavailable("this machine is short of something "
                                       f"({getattr(error, 'strerror', None) or 'memory'})") from error
            self._log.error("the dispatcher itself failed; please report this", messages=len(messages),
                            **where(error))
            return list(messages), _WHY[Why.FAILED]

    def _trip(self, configuration: Configuration,
              messages: Sequence[StoredMessage]) -> tuple[list[StoredMessage], Sentence]:
        """Do one trip to a worker. Gives the messages that did not come back, and why."""
        with Inputs(self._store, messages) as inputs, tempfile.TemporaryFile(dir=self._store.spool) as out:
            jobs = [self._job(configuration, message, inputs) for message in messages
                    if message.id not in inputs.damaged]
            result = self._work(jobs, inputs.fds, out.fileno())
            damaged = [Parked(message_id=name, facts=Facts(), reason=Reason.DAMAGED,
                              text=say("{text}", text=Words(text)))
                       for name, text in inputs.damaged.items()]
            self._record(configuration, [*result.outcomes, *damaged], out.fileno(), messages)
            if result.why is Why.FAILED:  # raises where there is no room: then it was not the message
                os.pwrite(out.fileno(), bytes(ROOM), os.fstat(out.fileno()).st_size)
        if result.why:
            self._log.warning("a worker did not come to the end of its batch; the rest is tried one by one",
                              why=result.why, detail=result.detail, message=result.running,
                              unfinished=len(result.unfinished))
            self._metrics.worker_deaths.labels(result.why).inc()
        unfinished = set(result.unfinished)
        why = lines([_WHY[result.why], *([result.detail] if result.detail else [])], "; ") if result.why \
            else NOTHING
        return [message for message in messages if message.id in unfinished], why

    def _work(self, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int) -> BatchResult:
        if not jobs:
            return BatchResult(())
        with self._metrics.worker_seconds.time():
            return self._pool.run(jobs, inputs, out_fd, self._progressed)

    def _record(self, configuration: Configuration, outcomes: Sequence[Outcome], out_fd: int,
                messages: Sequence[StoredMessage]) -> None:
        if not outcomes:
            return
        try:
            destinations = self._store.record(outcomes, out_fd, config_digest=configuration.digest,
                                              messages=messages)
        except BadOutcome as error:  # checked before: a fault of the hub, not of the others
            self._log.error("an outcome does not fit its message; please report this",
                            message=error.message_id)
            self._record(configuration,
                         [_misfit(outcome) if outcome.message_id == error.message_id else outcome
                          for outcome in outcomes], out_fd, messages)
            return
        self._delivered_to(destinations)
        self._progressed()
        if any(isinstance(outcome, Split) for outcome in outcomes):
            self.wake()
        by_id = {message.id: message for message in messages}
        for outcome in outcomes:
            message = by_id[outcome.message_id]
            fields = _fields(message)
            if isinstance(outcome, Parked):
                self._log.warning("the message is parked; an operator is needed", **fields,
                                  reason=outcome.reason)
            elif isinstance(outcome, Split):
                self._log.info("the message is split: several applications", **fields,
                               applications=len(outcome.groups))
            else:
                self._log.info("the message is routed", **fields, rule=outcome.rule,
                               deliveries=len(outcome.deliveries))

    def _job(self, configuration: Configuration, message: StoredMessage, inputs: Inputs) -> Job:
        tenant = configuration.tenant_of(message.ags)
        if tenant is not None and message.tenant == UNKNOWN_TENANT:
            self._store.adopt(message.id, tenant)
        rules = rules_for(configuration, message.ags, message.service)
        reason, why = (None, None) if rules else why_none(configuration, message)
        return Job(
            message_id=message.id, tenant=tenant or message.tenant, ags=message.ags,
            service=message.service, test=message.test, received_at=message.received_at,
            accepted_day=message.accepted_day, today=self._now().astimezone(BERLIN).date(),
            case=message.case, rules=rules, why_no_rules=why, why_no_rules_reason=reason,
            limits=configuration.settings.limits, correlation=message.correlation,
            **_ways(configuration.senders.get(message.sender)),
            parts=tuple(JobPart(name=part.name, filename=part.filename, media_type=part.media_type,
                                sha256=part.sha256,
                                body=inputs.bodies[part.blob]) for part in _received(message)))


SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EROFS,
                   errno.EIO})
"""Errors of the machine. They are never a message's fault, so the message waits."""

ROOM = 1 << 20
"""So many bytes must be writable beside a worker's output. Else its failure says nothing about a message."""

_WHY = {Why.TIME: say("Zeit überschritten"), Why.CPU: say("Rechenzeit überschritten"),
        Why.MEMORY: say("Speicher überschritten"), Why.DIED: say("abgestürzt"),
        Why.PROTOCOL: say("unglaubwürdige Antwort"), Why.FAILED: say("Fehler der Drehscheibe, bitte melden")}


class Inputs:
    """The bodies of a batch as descriptors. Small ones lie together in one memory file; large ones are the
    store's own files.

    `damaged` names the messages whose row or bodies do not have their digests any more, with the reason.
    """

    def __init__(self, store: Store, messages: Sequence[StoredMessage]) -> None:
        self.fds: list[int] = []
        self.bodies: dict[str, Body] = {}
        self.damaged: dict[str, str] = {}
        stored = store.bodies([part.blob for message in messages for part in _received(message)])
        small: dict[str, bytes] = {}
        try:
            self.fds.append(-1)
            for message in messages:
                if message.damaged:
                    self.damaged[
                        message.id] = "die Zeile ist nicht, was angenommen wurde: 'drehscheibe store check'"
                for part in _received(message):
                    try:
                        self._add(part, stored.get(part.blob), small)
                    except Damaged as error:
                        self.damaged[message.id] = str(error)
            self.fds[0], slices = pack(small.values())
            self.bodies |= dict(zip(small, slices, strict=True))
        except BaseException:
            self.close()
            raise

    def _add(self, part: StoredPart, body: StoredBody | None, small: dict[str, bytes]) -> None:
        if body is None:
            raise Damaged(f"Inhalt {part.blob}: er fehlt")
        place = body.place()
        if place is None:
            small[part.blob] = body.read()
        elif len(self.fds) < MOST_FILES:
            path, offset = place
            self.fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            self.bodies[part.blob] = Body(fd=len(self.fds) - 1, offset=offset, length=body.size)
        else:
            small[part.blob] = body.read()

    def close(self) -> None:
        """Close the descriptors."""
        for fd in self.fds:
            if fd >= 0:
                os.close(fd)
        self.fds = []

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fields(message: StoredMessage) -> dict[str, str]:
    """A message in a log line. AGS and service are the sender's: printable, and cut."""
    return {"message": message.id, "ags": Address(message.ags).bare, "service": Address(message.service).bare}


def _ways(sender: Sender | None) -> dict[str, Any]:
    """How a sender hands in; what is usual, where nobody knows it any more."""
    return {} if sender is None else {"printout": sender.printout, "several": sender.several}


def _received(message: StoredMessage) -> Iterator[StoredPart]:
    return (part for part in message.parts if part.role == "received")


def _misfit(outcome: Outcome) -> Parked:
    return Parked(message_id=outcome.message_id, facts=Facts(), reason=Reason.RUNAWAY,
                  text=say("Das Ergebnis der Verarbeitung passt nicht zur Nachricht; das ist ein Fehler der "
                           "Drehscheibe: bitte melden, danach erneut verarbeiten."))
