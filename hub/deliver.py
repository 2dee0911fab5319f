"""From the outbox to the receivers: claim, try, settle; rest where a receiver is down.

Around every connector, written once: threads, attempts, retry, in-doubt, circuit, logs. A destination that fails several
times in a row rests as a whole; afterwards one delivery tries alone, and the number under way doubles with each success.
One destination never holds more than its own share of the threads.

===================  ==================================================  ============================
what was raised      before the effect began, or the receiver itself     after it, or while probing
                     said so (`endpoint.refused`)
===================  ==================================================  ============================
Temporary            later, by the retry policy                          in doubt
Permanent            parked                                              in doubt
TooLarge             to the fallback, else parked                        in doubt
Misconfigured        later; the destination rests                        in doubt; it rests
InDoubt, others      later, by the retry policy                          in doubt
===================  ==================================================  ============================
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from hub import endpoint
from hub.circuit import Circuit
from hub.connections import IDLE, Connections
from hub.errors import ConfigError, HubError, Misconfigured, Permanent, StoreUnavailable, Temporary, TooLarge
from hub.message import Reason
from hub.store import ClaimedDelivery, Settlement

if TYPE_CHECKING:
    from hub.config import Configuration, Destination
    from hub.metrics import Metrics
    from hub.store import Store

log = structlog.get_logger("hub.deliver")

PROBE_AFTER = timedelta(seconds=2)
"""How long the receiver is left alone before it is asked whether it has a delivery in doubt."""

LOST_AFTER = timedelta(seconds=30)
"""A claimed delivery that is in no thread's hands for so long is freed."""

CLOCK_STEP = timedelta(minutes=1)
"""A clock that goes back by more than this was wrong before."""


class Deliverer:
    """Works off the outbox until it is stopped."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration], metrics: Metrics,
                 now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 build: Callable[..., endpoint.OutletBase[Any]] = endpoint.build_outlet) -> None:
        self._store = store
        self._configuration = configuration
        self._metrics = metrics
        self._now = now
        self._connections = Connections(build)
        self._circuits: dict[str, Circuit] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(configuration().settings.deliver.threads, thread_name_prefix="deliver")
        self._running: set[Future[None]] = set()
        self._clock_ahead = self._now().timestamp() - time.monotonic()
        self._claiming = 0
        self._in_hand: set[str] = set()
        self._unsettled: list[Settlement] = []
        self._looked_for_lost = self._now()
        self._thread = threading.Thread(target=self._schedule, name="deliver-schedule", daemon=True)
        self.last_progress = time.monotonic()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self, destinations: Iterable[str] = ()) -> None:  # noqa: ARG002
        """There may be new work."""
        self._wake.set()

    def stop(self, patience: timedelta) -> bool:
        """Claim nothing more and wait for what is under way; whether it ended within `patience`."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(patience.total_seconds())
        with self._lock:
            running = list(self._running)
        if running:
            log.info("waiting for deliveries under way", count=len(running))
        ended = all(_ends(future, patience) for future in running)
        self._pool.shutdown(wait=ended, cancel_futures=True)
        self._connections.close()
        return ended

    def circuits(self) -> dict[str, Circuit]:
        """A view for metrics and operators."""
        with self._lock:
            return dict(self._circuits)

    def reset(self, destination: str | None = None) -> None:
        """Let a destination (or all) be tried at once, e.g. after its configuration was mended."""
        with self._lock:
            for key, circuit in self._circuits.items():
                if destination in (None, key):
                    circuit.reset()
        self.wake()

    # -- the scheduler ------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._watch_clock()
                self._settle_late()
                self._find_lost()
                wait = self._hand_out()
            except StoreUnavailable as error:
                log.error("the store cannot be read or written; deliveries wait", error=str(error))
                wait = 5.0
            except Exception as error:  # noqa: BLE001 - a thread that vanishes would stop all deliveries
                log.error("the deliverer itself failed; please report this", **_where(error))
                wait = 5.0
            self.last_progress = time.monotonic()
            self._connections.close(before=self._now() - IDLE)
            self._wake.wait(wait)

    def _hand_out(self) -> float:
        """Start work for every destination that has some and may; seconds until the next look."""
        now = self._now()
        soonest = now + timedelta(seconds=10)
        for key, due in self._store.due_destinations():
            with self._lock:
                circuit = self._circuits.setdefault(key, Circuit())
                start = max(due, circuit.resting_until or due)
                if start > now:
                    soonest = min(soonest, start)
                    continue
                destination = self._configuration().destination(key)
                well = circuit.failures == 0
                limit, size = (self._parallel(destination), circuit.window) if well else (1, 1)
                # whoever is under way wakes the scheduler at its end, so nothing is waited for here
                free = min(limit - circuit.active, self._threads() * 2 - len(self._running))
                circuit.active += max(0, free)
            for _ in range(free):
                self._submit(key, destination, circuit, size)
        return max(0.01, (soonest - now).total_seconds())

    def _keep(self, settlements: Sequence[Settlement]) -> None:
        """Outcomes that are known but could not be written: they are written as soon as that is possible again."""
        with self._lock:
            self._unsettled += settlements

    def _settle_late(self) -> None:
        with self._lock:
            late, self._unsettled = self._unsettled, []
        if late:
            try:
                self._store.settle(late)
            except StoreUnavailable:
                self._keep(late)
                raise
            log.info("outcomes that could not be written before are written now", count=len(late))

    def _watch_clock(self) -> None:
        """Nothing may wait for a clock that was wrong and went back."""
        ahead = self._now().timestamp() - time.monotonic()
        step = timedelta(seconds=self._clock_ahead - ahead)
        if step > CLOCK_STEP:
            self._looked_for_lost -= step
            with self._lock:
                for circuit in self._circuits.values():
                    circuit.set_back(step)
            log.warning("the clock went back; what waits goes by the new time", seconds=round(step.total_seconds()),
                        count=self._store.set_back(step))
        self._clock_ahead = ahead

    def _find_lost(self) -> None:
        """Free what is leased and in nobody's hands: an unforeseen error must not hold a delivery until the next start."""
        if self._now() - self._looked_for_lost < LOST_AFTER:
            return
        with self._lock:
            if self._claiming:
                return  # what is being claimed is leased already and in nobody's hands yet
            in_hand = self._in_hand | {settlement.delivery_id for settlement in self._unsettled}
        settings = self._configuration().settings.deliver
        self._looked_for_lost = self._now()
        found = self._store.recover_lost(in_hand, self._now() + settings.lease - LOST_AFTER, self._assume_begun)
        if found:
            log.warning("deliveries were in nobody's hands any more; they are looked into", count=found)

    def _assume_begun(self, key: str) -> bool:
        destination = self._configuration().destination(key)
        return destination is None or destination.repeat != "ask"

    def _threads(self) -> int:
        return self._configuration().settings.deliver.threads

    def _parallel(self, destination: Destination | None) -> int:
        settings = self._configuration().settings.deliver
        return (destination and destination.policy.parallel) or settings.per_destination

    def _submit(self, key: str, destination: Destination | None, circuit: Circuit, size: int) -> None:
        def work() -> None:
            claimed = 0
            try:
                claimed = self._work(key, destination, circuit, size)
            except StoreUnavailable as error:
                log.error("the store cannot be written; the outcome will be probed", destination=key, error=str(error))
            except Exception as error:  # noqa: BLE001 - a thread of the pool must tell, not vanish
                log.error("the deliverer itself failed; please report this", destination=key, **_where(error))
            finally:
                with self._lock:
                    circuit.active -= 1
                    self._running.discard(future)
                if claimed:
                    self._wake.set()

        future: Future[None] = Future()
        with self._lock:
            self._running.add(future)

        def run() -> None:
            try:
                work()
            finally:
                future.set_result(None)

        self._pool.submit(run)

    # -- one destination ----------------------------------------------------------------------------------------------

    def _work(self, key: str, destination: Destination | None, circuit: Circuit, size: int) -> int:
        settings = self._configuration().settings.deliver
        claimed: Sequence[ClaimedDelivery] = ()
        with self._lock:
            self._claiming += 1
        try:
            claimed = self._store.claim_deliveries(key, min(size, settings.batch), settings.lease)
        finally:
            ids = {item.delivery.id for item in claimed}
            with self._lock:
                self._in_hand |= ids
                self._claiming -= 1
        try:
            self._work_off(claimed, key, destination, circuit)
        finally:
            with self._lock:
                self._in_hand -= ids
        return len(claimed)

    def _work_off(self, claimed: Sequence[ClaimedDelivery], key: str, destination: Destination | None, circuit: Circuit) -> None:
        if destination is None:
            self._store.settle([self._unknown_destination(item, key) for item in claimed])
            return
        with _Outcomes(self._store, self._keep, at_once=destination.repeat == "ask") as outcomes:
            for index, item in enumerate(claimed):
                if self._stop.is_set() or circuit.open(self._now()):
                    due = max(self._now(), circuit.resting_until or self._now())
                    outcomes.return_untried([_untried(rest, due) for rest in claimed[index:]])
                    break
                outcomes.add(*self._one(item, destination, circuit))
                self.last_progress = time.monotonic()

    def _one(self, item: ClaimedDelivery, destination: Destination, circuit: Circuit) -> tuple[Settlement, Callable[[], None]]:
        """What became of one delivery, and how to tell people once that is durable."""
        started = self._now()
        effect = _Effect(item, self._store, destination.repeat)
        outlet = None
        try:
            outlet = self._connections.take(destination)
            settlement = (self._probe(item, outlet, destination) if item.probe
                          else Settlement.done(item.delivery.id, outlet.deliver(item.delivery, effect.begins), destination.kind))
            self._succeeded(circuit, destination)
        except Exception as error:  # noqa: BLE001 - the one border where every connector's error is judged
            settlement = self._judge(error, effect, item, destination, circuit)
            if outlet is not None and not isinstance(error, Permanent):
                outlet.close()
        if outlet is not None:
            self._connections.give_back(destination, outlet, self._now())
        ended = self._now()
        return settlement, lambda: self._tell(item, destination, settlement, ended - started)

    def _probe(self, item: ClaimedDelivery, outlet: endpoint.OutletBase[Any], destination: Destination) -> Settlement:
        """What a delivery in doubt becomes: the receiver knows, or it is idempotent, or the configuration decides."""
        result = outlet.probe(item.delivery)
        if isinstance(result, endpoint.Done):
            return Settlement.done(item.delivery.id, result.receipt, destination.kind)
        if isinstance(result, endpoint.Absent):
            return Settlement.again(item.delivery.id, self._now(), repeat_marked=False)
        if outlet.repeat == "idempotent":
            return Settlement.again(item.delivery.id, self._now(), repeat_marked=False)
        if destination.in_doubt == "repeat-marked":
            return Settlement.again(item.delivery.id, self._now(), repeat_marked=True)
        return Settlement.parked(item.delivery.id, Reason.IN_DOUBT, "Ob der Empfänger sie hat, ist unbekannt"
                                 + (f" ({result.why})" if result.why else "")
                                 + ": beim Empfänger nachsehen, dann 'confirm' (ist da) oder 'replay' (fehlt).")

    def _judge(self, error: Exception, effect: _Effect, item: ClaimedDelivery, destination: Destination,
               circuit: Circuit) -> Settlement:
        text = str(error) if isinstance(error, HubError) else f"{type(error).__name__} in {_place(error)}"
        if not isinstance(error, HubError):
            log.error("a connector raised an error that it should have translated; please report this",
                      destination=destination.key, delivery=item.delivery.id, **_where(error))
        certain = not item.probe and (not effect.begun or endpoint.is_certain(error))
        if certain and isinstance(error, TooLarge) and destination.policy.fallback:
            return Settlement.rerouted(item.delivery.id, self._now(), f"{destination.tenant}/{destination.policy.fallback}", text)
        if certain and isinstance(error, Permanent):
            return Settlement.parked(item.delivery.id, Reason.PERMANENT, text)
        misconfigured = isinstance(error, Misconfigured | ConfigError)
        if misconfigured:
            self._misconfigured(circuit, destination, text)
        elif not isinstance(error, Permanent):
            self._failed(circuit, destination, text)
        if not certain:
            return self._doubt(item, destination, text)
        asked = error.retry_after if isinstance(error, Temporary) else None
        return self._later(item, destination, circuit, "misconfigured" if misconfigured else "temporary", text, asked)

    def _later(self, item: ClaimedDelivery, destination: Destination, circuit: Circuit, kind: str, text: str,
               asked: float | None) -> Settlement:
        now = self._now()
        dice = random.random()  # noqa: S311 - no secret
        wait = destination.policy.retry.delay(item.attempts, now - item.first_due_at, asked=asked, dice=dice)
        if wait is None:
            return Settlement.parked(item.delivery.id, Reason.EXPIRED, f"Nach {item.attempts} Versuchen aufgegeben; "
                                     f"zuletzt: {text} Den Empfänger in Ordnung bringen, dann 'replay'.")
        if kind == "misconfigured":
            wait = min(wait, max((circuit.resting_until or now) - now, timedelta(0)))
        return Settlement.later(item.delivery.id, now + wait, kind, text)

    def _doubt(self, item: ClaimedDelivery, destination: Destination, text: str) -> Settlement:
        now = self._now()
        wait = PROBE_AFTER if not item.probe else destination.policy.retry.delay(item.attempts, now - item.first_due_at)
        if wait is None:
            return Settlement.parked(item.delivery.id, Reason.IN_DOUBT, "Ob der Empfänger sie hat, ließ sich nicht klären: "
                                     f"{text} Dort nachsehen, dann 'confirm' (ist da) oder 'replay' (fehlt).")
        return Settlement.in_doubt(item.delivery.id, text, now + wait)

    def _unknown_destination(self, item: ClaimedDelivery, key: str) -> Settlement:
        return Settlement.parked(item.delivery.id, Reason.CONFIGURATION, f"Das Ziel {key!r} gibt es in der Konfiguration "
                                 "nicht mehr: wieder anlegen und 'replay', oder 'discard'.")

    # -- how the destination is doing ---------------------------------------------------------------------------------

    def _succeeded(self, circuit: Circuit, destination: Destination) -> None:
        with self._lock:
            back = circuit.succeeded(self._configuration().settings.deliver)
        if back:
            log.info("the destination answers again; its deliveries are worked off", destination=destination.key)

    def _failed(self, circuit: Circuit, destination: Destination, text: str) -> None:
        with self._lock:
            news = circuit.failed(self._now(), text, self._configuration().settings.deliver)
        if news:  # one alarm per outage
            log.warning("the destination rests; its deliveries wait", destination=destination.key, reason=text)

    def _misconfigured(self, circuit: Circuit, destination: Destination, text: str) -> None:
        with self._lock:
            news = circuit.misconfigure(self._now(), text)
        if news:
            log.warning("the destination must be mended before anything is delivered there", destination=destination.key,
                        reason=text)

    # -- what operators see -------------------------------------------------------------------------------------------

    def _tell(self, item: ClaimedDelivery, destination: Destination, settlement: Settlement, took: timedelta) -> None:
        now = self._now()
        delivery = item.delivery
        outcome = settlement.event
        self._metrics.attempt_seconds.labels(destination.connector, outcome).observe(
            took.total_seconds(), {"message": delivery.message_id})
        fields = {"message": delivery.message_id, "delivery": item.delivery.id, "ags": delivery.ags, "service": delivery.service,
                  "destination": destination.key, "attempt": item.attempts}
        if outcome == "done_partly":
            log.warning("delivered, but some of the destination's recipients were refused; its addresses need a look",
                        **fields)
        if settlement.state == "done":
            self._metrics.delivered_seconds.labels(destination.connector).observe(
                (now - delivery.created_at).total_seconds(), {"message": delivery.message_id})
            log.info("delivered", **fields)
        elif outcome == "parked":
            log.warning("the delivery is parked; an operator is needed", reason=settlement.reason, **fields)
        elif outcome == "in_doubt":
            log.warning("the receiver may have it; it will be asked", error=settlement.text, **fields)
        else:
            log.info("not delivered yet; it will be tried again", error=settlement.text,
                     due=settlement.due_at.isoformat() if settlement.due_at else None, **fields)


class _Outcomes:
    """Makes the outcomes of a batch durable in few transactions, and tells people afterwards.

    Where the receiver can be asked after a crash, several outcomes may wait for one commit, though never long; where
    nobody could tell (`at_once`) each is handed to the writer as soon as it is known.
    """

    PATIENCE = timedelta(milliseconds=200)

    def __init__(self, store: Store, keep: Callable[[Sequence[Settlement]], None], *, at_once: bool) -> None:
        self._store = store
        self._keep = keep
        self._at_once = at_once
        self._handed: list[tuple[Settlement, Future[bool], Callable[[], None]]] = []
        self._waiting: list[tuple[Settlement, Callable[[], None]]] = []
        self._since = 0.0

    def add(self, settlement: Settlement, tell: Callable[[], None]) -> None:
        if self._at_once:
            with self._kept([settlement]):
                self._handed.append((settlement, self._store.settle_soon(settlement), tell))
            return
        self._since = self._since if self._waiting else time.monotonic()
        self._waiting.append((settlement, tell))
        if time.monotonic() - self._since > self.PATIENCE.total_seconds():
            self._flush()

    def return_untried(self, settlements: Sequence[Settlement]) -> None:
        with self._kept(settlements):
            self._store.settle(settlements)

    @contextmanager
    def _kept(self, settlements: Sequence[Settlement]) -> Iterator[None]:
        """What cannot be written now is known all the same: the deliverer writes it later."""
        try:
            yield
        except StoreUnavailable:
            self._keep(settlements)
            raise

    def _flush(self) -> None:
        with ExitStack() as each:  # all of them, even when some cannot be written
            handed, self._handed = self._handed, []
            for settlement, future, tell in handed:
                each.callback(self._hear, settlement, future, tell)
            waiting, self._waiting = self._waiting, []
            if waiting:
                settlements = [settlement for settlement, _ in waiting]
                with self._kept(settlements):
                    self._store.settle(settlements)
            for _, tell in waiting:
                tell()

    def _hear(self, settlement: Settlement, future: Future[bool], tell: Callable[[], None]) -> None:
        with self._kept([settlement]):
            future.result()
        tell()

    def __enter__(self) -> _Outcomes:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()


class _Effect:
    """Notes that the receiver may act from now on; durably where nobody could tell after a crash."""

    def __init__(self, item: ClaimedDelivery, store: Store, repeat: endpoint.Repeat) -> None:
        self._item = item
        self._store = store
        self._repeat = repeat
        self.begun = False

    def begins(self) -> None:
        if self._repeat == "ask":
            self._store.begin_effect(self._item.delivery.id)
        self.begun = True


def _untried(item: ClaimedDelivery, due: datetime) -> Settlement:
    """Back into the queue without a try: the destination rests, or the hub stops."""
    if item.probe:
        return Settlement.in_doubt(item.delivery.id, "noch nicht gefragt", due)
    return Settlement.later(item.delivery.id, due, "held", "Das Ziel ruht.", counted=False)


def _ends(future: Future[None], patience: timedelta) -> bool:
    try:
        future.result(patience.total_seconds())
    except TimeoutError:
        return False
    return True


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rsplit('/', 2)[-1]}:{frames[-1].lineno}" if frames else "?"


def _where(error: BaseException) -> dict[str, str]:
    """Class and place of an error, never its text: that might hold what a citizen wrote."""
    return {"error_class": type(error).__name__, "place": _place(error)}
