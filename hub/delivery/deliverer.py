"""From the outbox to the receivers: claim, try, settle; rest where a receiver is down.

Around every connector, written once: threads, attempts, retry, in-doubt, circuit, logs. A destination that
fails several times in a row rests as a whole; afterwards one delivery tries alone, and the number under way
doubles with each success. One destination never holds more than its own share of the threads, and whoever was
served longest ago is served first. Outside of its window a destination is left alone; one with a rate gets no
more than that. A try that takes longer than its total is given up, with its thread: what it had in hand is
judged as if the line had been lost.

===================  ==================================================  ============================
what was raised      before the effect began, or the receiver itself     after it, or while probing
                     said so (`endpoint.refused`)
===================  ==================================================  ============================
Temporary            later, by the retry policy                          in doubt
Permanent            parked                                              in doubt
TooLarge             to the fallback, of a mail its files; else parked   in doubt
Misconfigured        later; the destination rests                        in doubt; it rests
InDoubt, others      later, by the retry policy                          in doubt
===================  ==================================================  ============================
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from hub import endpoint
from hub.config import window
from hub.delivery.circuit_breaker import Circuit, longest_unserved_first
from hub.delivery.outlet_pool import IDLE, Connections
from hub.delivery.thread_pool import ThreadPool, Threads
from hub.errors import ConfigError, HubError, Misconfigured, Permanent, StoreUnavailable, Temporary, TooLarge
from hub.message import Delivery, DeliveryState, Manifest, Reason
from hub.store import slim_manifest
from hub.store.transitions.deliveries import ClaimedDelivery, LostLease, Settlement
from hub.telemetry.errors import place, where

if TYPE_CHECKING:
    from hub.config.configuration import Configuration
    from hub.config.municipalities import Destination
    from hub.config.sections import DeliverSection
    from hub.store.store import Store
    from hub.telemetry.counters import Metrics

log = structlog.get_logger("hub.delivery.deliverer")

PROBE_AFTER = timedelta(seconds=2)
"""The hub leaves the receiver alone for this long before it asks about a delivery in doubt."""

SEARCH, SEARCH_SOON = timedelta(seconds=30), timedelta(seconds=2)
"""The deliverer looks this often for deliveries that are leased and in nobody's hands; and so soon after a
thread failed."""

LOOK = timedelta(seconds=10)
"""The scheduler looks at everything at least this often."""

ALONE = timedelta(milliseconds=20)
"""One assignment is alone with its destination for this long. It brings along what arrives meanwhile with its
next claim, which is cheaper than many small claims side by side. After that, or when a claim brought as much
as it asked for, other threads help."""

UNWRITTEN = timedelta(seconds=5)
"""A delivery waits this long when its intent could not be written."""

GATHERED = 8 * 1024 * 1024
"""An outlet prepares at most so many bytes of deliveries at once. With more, the first one would be tried
late and would seem to hang."""

FILES_LOOK, PARKED_LOOK = timedelta(seconds=5), timedelta(minutes=10)
"""A mail waits at least this long between two looks for its files. It waits longer when a person must act
first."""

CLOCK_STEP = timedelta(minutes=1)
"""A clock that goes back by more than this was wrong before."""


class Deliverer:
    """Delivers what waits in the outbox, until it is stopped."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration], metrics: Metrics,
                 now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 build: Callable[..., endpoint.OutletBase[Any]] = endpoint.build_outlet, *,
                 monotonic: Callable[[], float] = time.monotonic, dice: Callable[[], float] = random.random,
                 threads: Threads | None = None, circuits: Mapping[str, Circuit] | None = None,
                 stopping: threading.Event | None = None, logger: Any = log) -> None:
        """`circuits` is what is known about destinations already, and `stopping` the event that ends it all.

        `monotonic` counts seconds whatever becomes of the wall's clock `now`. `dice` spreads retries: a
        number from 0 to 1.
        """
        self._store = store
        self._configuration = configuration
        self._metrics = metrics
        self._now = now
        self._connections = Connections(build)
        self._monotonic = monotonic
        self._dice = dice
        self._log = logger
        self._circuits: dict[str, Circuit] = dict(circuits or {})
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = stopping or threading.Event()
        self._thread_pool = threads or ThreadPool(configuration().settings.deliver.threads, "deliver")
        self._running: dict[Assignment, None] = {}  # in the order in which they began
        self._served = 0
        self._news: set[str] | None = None
        self._next_look = 0.0
        self._alone: dict[str, float] = {}
        self._crowded = False
        self._clock_ahead = self._now().timestamp() - self._monotonic()
        self._unsettled: list[Settlement] = []
        self._next_search = self._monotonic() + SEARCH.total_seconds()
        self._thread = threading.Thread(target=self._schedule, name="deliver-schedule", daemon=True)
        self.last_progress = self._monotonic()

    def start(self) -> None:
        """Start the scheduler's thread."""
        self._thread.start()

    def wake(self, destinations: Iterable[str] | None = None) -> None:
        """Tell the scheduler of new work for these destinations. None: any destination may have some."""
        with self._lock:
            if destinations is None or self._news is None:
                self._news = None
            else:
                self._news |= set(destinations)
        self._wake.set()

    def stop(self, patience: timedelta) -> bool:
        """Claim nothing more, and wait up to `patience` for what is under way. True when all of it ended and
        every known outcome is on disk."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(patience.total_seconds())
        with self._lock:
            running = list(self._running)
        if running:
            self._log.info("waiting for deliveries under way", count=len(running))
        deadline = self._monotonic() + patience.total_seconds()
        ended = all(assignment.over.wait(max(0.0, deadline - self._monotonic())) for assignment in running)
        self._thread_pool.dismiss()
        self._connections.close()
        try:
            self._settle_late()
        except StoreUnavailable:
            return False
        return ended

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and the scheduler has looked at all the work that it was told of."""
        with self._lock:
            return not self._running and self._news == set()

    def circuits(self) -> dict[str, Circuit]:
        """The state of each destination by its key, for metrics and operators."""
        with self._lock:
            return dict(self._circuits)

    def closed_until(self, key: str) -> datetime | None:
        """The moment when the closed window of a destination opens. None: it is open, or there is no window,
        or no such destination."""
        destination, now = self._configuration().destination(key), self._now()
        opens = window.opens(destination.policy.window, now) if destination else now
        return opens if opens > now else None

    def reset(self, destination: str | None = None) -> None:
        """Let one destination, or all of them, be tried at once, for example after its configuration was
        corrected."""
        with self._lock:
            for key, circuit in self._circuits.items():
                if destination in (None, key):
                    circuit.reset()
        self.wake()

    # -- the scheduler
    # ------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            self._wake.wait(self.round())

    def round(self) -> float:
        """Do one round of the scheduler in the caller's thread. Gives the seconds until the next round. Never
        raises."""
        try:
            self._watch_clock()
            self._settle_late()
            self._find_lost()
            wait = max(0.01, min(self._give_up_stuck(), self._look(), self._next_search - self._monotonic()))
        except StoreUnavailable as error:
            self._log.error("the store cannot be read or written; deliveries wait", error=str(error))
            wait = 5.0
        except Exception as error:  # noqa: BLE001 - a thread that vanishes would stop all deliveries
            self._log.error("the deliverer itself failed; please report this", **where(error))
            wait = 5.0
        self.last_progress = self._monotonic()
        self._connections.close(before=self._now() - IDLE)
        return wait

    def _look(self) -> float:
        """Look at the destinations that have new work, and at all of them when that is due. Gives the seconds
        until the next look."""
        with self._lock:
            news, self._news = self._news, set()
        now = self._monotonic()
        late = {key for key, until in self._alone.items() if until <= now}
        if news is None or self._crowded or now >= self._next_look:
            self._alone.clear()
            self._next_look = now + self._hand_out(self._store.due_destinations())
        elif look := news | late:
            self._alone = {key: until for key, until in self._alone.items() if key not in look}
            self._next_look = min(self._next_look, now + self._hand_out(self._store.due_at(sorted(look))))
        return max(0.001, min([self._next_look, *self._alone.values()]) - self._monotonic())

    def _hand_out(self, waiting: Iterable[tuple[str, datetime]]) -> float:
        """Start work for every destination that has some and may be tried. Gives the seconds until the next
        look."""
        now = self._now()
        soonest = now + LOOK
        settings = self._configuration().settings.deliver
        self._crowded = False
        for key, due in longest_unserved_first(waiting, self.circuits()):
            destination = self._configuration().destination(key)
            with self._lock:
                circuit = self._circuits.setdefault(key, Circuit())
                start = max(due, circuit.resting_until or due, self._allowed(destination, circuit, now))
                if start > now:
                    soonest = min(soonest, start)
                    continue
                well = circuit.failures == 0
                limit, size = (share(destination, settings), circuit.window) if well else (1, 1)
                if circuit.active >= limit:
                    # whoever is under way wakes the scheduler at its end, so nothing is waited for here
                    continue
                alone_until = circuit.served_at + ALONE.total_seconds()
                if circuit.active and not circuit.more and self._monotonic() < alone_until:
                    self._alone[key] = alone_until
                    continue
                crowded = len(self._running) >= self._threads() * 2
                self._crowded |= crowded
                assignment = None if crowded else self._assignment(key, destination, circuit, size)
            if assignment is not None and assignment.size:
                self._thread_pool.submit(partial(self._run, assignment))
        return max(0.01, (soonest - now).total_seconds())

    def _allowed(self, destination: Destination | None, circuit: Circuit, now: datetime) -> datetime:
        """The moment from which the destination's window and rate allow a try."""
        if destination is None:
            return now
        opens = window.opens(destination.policy.window, now)
        rate = destination.policy.rate
        return opens if rate is None or opens > now else circuit.pace.ready(rate, now)

    def _assignment(self, key: str, destination: Destination | None, circuit: Circuit,
                    size: int) -> Assignment:
        """Make an assignment; the caller holds the lock. An assignment of size 0 has nothing to do: the rate
        allows no more now."""
        if destination is not None and destination.policy.rate is not None:
            size = circuit.pace.take(size)
        assignment = Assignment(key, destination, circuit, size, circuit.deferred_first,
                                self._store.new_claim(), self._monotonic)
        if size:
            self._served += 1
            circuit.turn, circuit.active = self._served, circuit.active + 1
            circuit.deferred_first = not circuit.deferred_first
            circuit.served_at, circuit.more = self._monotonic(), False
            self._running[assignment] = None
        return assignment

    def _keep(self, claim: int, settlements: Sequence[Settlement]) -> None:
        """Keep outcomes that are known but could not be written. The scheduler writes them as soon as that is
        possible."""
        with self._lock:
            self._unsettled += [replace(settlement, claim=claim) for settlement in settlements]

    def _settle_late(self) -> None:
        with self._lock:
            late, self._unsettled = self._unsettled, []
        if late:
            try:
                self._store.settle(late)
            except StoreUnavailable:
                with self._lock:
                    self._unsettled += late
                raise
            self._log.info("outcomes that could not be written before are written now", count=len(late))

    def _watch_clock(self) -> None:
        """Shorten all waits when the wall's clock went back: nothing may wait for a clock that was wrong."""
        ahead = self._now().timestamp() - self._monotonic()
        step = timedelta(seconds=self._clock_ahead - ahead)
        if step > CLOCK_STEP:
            self._next_look = 0.0
            with self._lock:
                for circuit in self._circuits.values():
                    circuit.set_back(step)
            self._log.warning("the clock went back; what waits goes by the new time",
                              seconds=round(step.total_seconds()), count=self._store.set_back(step))
        self._clock_ahead = ahead

    def _find_lost(self) -> None:
        """Free deliveries that are leased and in nobody's hands. An error in a thread must not hold a
        delivery until the next start."""
        if self._monotonic() < self._next_search:
            return
        with self._lock:
            self._next_search = self._monotonic() + SEARCH.total_seconds()
            claims, before = {assignment.claim for assignment in self._running}, self._store.new_claim()
            known = {settlement.delivery_id for settlement in self._unsettled}
        try:
            found = self._store.recover_lost(claims, before, known, self._assume_begun)
        except StoreUnavailable:
            self._search_soon()
            raise
        if found:
            self._log.warning("deliveries were in nobody's hands any more; they are looked into", count=found)
            self.wake()
        missed = self._store.free_missed()
        if missed:
            self._log.info("deliveries whose turn had come within their case go on", count=missed)

    def _assume_begun(self, key: str) -> bool:
        destination = self._configuration().destination(key)
        return destination is None or destination.repeat != "ask"

    def _threads(self) -> int:
        return self._configuration().settings.deliver.threads

    def _run(self, assignment: Assignment) -> None:
        """Do all of one thread's work for one destination, in that thread. Never raises."""
        assignment.thread = threading.current_thread()
        try:
            self._work(assignment)
        except _GivenUp:
            self._log.warning("a try that had been given up came to its end after all; its outcome is not "
                              "used", destination=assignment.key)
        except StoreUnavailable as error:
            self._log.error("the store cannot be written; the outcome will be probed",
                            destination=assignment.key, error=str(error))
            self._drop(assignment)
        except Exception as error:  # noqa: BLE001 - a thread must tell, not vanish
            self._log.error("the deliverer itself failed; please report this", destination=assignment.key,
                            **where(error))
            self._drop(assignment)
        finally:
            self._end(assignment)
            assignment.release()

    def _drop(self, assignment: Assignment) -> None:
        """The thread cannot go on. Give back what it did not try, and search for the rest."""
        if assignment.claimed:
            due = self._now() + UNWRITTEN
            self._keep(assignment.claim,
                       [_untried(item, due, "Die Drehscheibe kam nicht dazu.") for item in assignment.rest()])
        else:
            self._store.forget_claim(assignment.claim)
        self._search_soon()

    def _search_soon(self) -> None:
        """Wake the scheduler for the search only, and once for many who ask. Where the store takes nothing,
        further claims at once would be in vain."""
        soon = self._monotonic() + SEARCH_SOON.total_seconds()
        with self._lock:
            news, self._next_search = soon < self._next_search, min(soon, self._next_search)
        if news:
            self._wake.set()

    def _end(self, assignment: Assignment) -> None:
        """End an assignment, exactly once: its own thread does it, or whoever gave it up."""
        with self._lock:
            if assignment not in self._running:
                return
            del self._running[assignment]
            assignment.circuit.active -= 1
            if assignment.destination is not None and assignment.destination.policy.rate is not None:
                assignment.circuit.pace.give_back(assignment.size - assignment.tried)
        assignment.over.set()
        if assignment.claimed:
            self.wake(None if assignment.elsewhere else [assignment.key])

    # -- one destination
    # ----------------------------------------------------------------------------------------------

    def _work(self, assignment: Assignment) -> None:
        if self._stop.is_set():
            return
        settings = self._configuration().settings.deliver
        wanted = min(assignment.size, settings.batch)
        lease = max(settings.lease, self._total(assignment.destination))
        assignment.claimed = self._store.claim_deliveries(assignment.key, wanted, lease,
                                                          assignment.deferred_first,
                                                      assignment.claim)
        if len(assignment.claimed) == wanted:
            with self._lock:
                assignment.circuit.more = True
            self.wake([assignment.key])
        self._work_off(assignment)

    def _work_off(self, assignment: Assignment) -> None:
        destination = assignment.destination
        if destination is None:
            self._store.settle([self._unknown_destination(item, assignment.key)
                                for item in assignment.claimed])
            return
        try:
            with Outcomes(self._store, partial(self._keep, assignment.claim),
                          partial(self._last, assignment, destination), self._monotonic,
                          at_once=destination.repeat == "ask") as assignment.outcomes:
                self._try_all(assignment, destination, assignment.outcomes)
        except _GivenUp:
            if assignment.outlet is not None:
                with suppress(Exception):
                    assignment.outlet.conclude()  # what it prepared is thrown away
            raise
        finally:
            if assignment.outlet is not None:
                self._connections.give_back(destination, assignment.outlet, self._now())

    def _try_all(self, assignment: Assignment, destination: Destination, outcomes: Outcomes) -> None:
        gathered = 0
        for index, item in enumerate(assignment.claimed):
            why = self._why_not(assignment.circuit, destination)
            if why:
                # due now: the circuit holds them back, and whoever resets it shall not leave these waiting
                outcomes.return_untried([_untried(rest, self._now(), why)
                                         for rest in assignment.returns(index)])
                break
            if index >= gathered:
                gathered = index + self._gather(assignment, destination, index)
            ready = self._with_note(item)
            if isinstance(ready, Settlement):
                assignment.tried = index + 1
                outcomes.return_untried([ready])
                continue
            try:
                outcomes.add(self._one(ready, destination, assignment, index))
            except _Unwritten as error:
                outcomes.return_untried([_untried(rest, self._now() + UNWRITTEN, str(error))
                                         for rest in assignment.returns(index)])
                break
            self.last_progress = self._monotonic()

    def _gather(self, assignment: Assignment, destination: Destination, index: int) -> int:
        """Let the outlet prepare the next deliveries where several at once are cheaper. Gives how many were
        looked at."""
        ahead: list[ClaimedDelivery] = []
        room = GATHERED
        for item in assignment.claimed[index:]:
            room -= sum(part.size for part in item.delivery.manifest.parts)
            if ahead and room < 0:
                break
            ahead.append(item)
        wanted = [item.delivery for item in ahead if not item.probe]
        if len(wanted) > 1 and (outlet := self._kept_outlet(assignment, destination)) is not None:
            assignment.begins(index, Effect(assignment.claimed[index], self._store, destination.repeat))
            try:
                outlet.prepare(wanted)
            except Exception as error:  # noqa: BLE001 - each is tried all the same, and judged then
                self._log.error("several deliveries could not be prepared at once; each goes alone",
                                destination=destination.key, **where(error))
            assignment.ends()
        return len(ahead)

    def _kept_outlet(self, assignment: Assignment,
                     destination: Destination) -> endpoint.OutletBase[Any] | None:
        """The assignment's outlet, if its destination has one that gathers deliveries. The assignment keeps
        it to its end."""
        if assignment.outlet is None and endpoint.outlet_class(destination.connector).gathers:
            try:
                outlet = self._connections.take(destination)
            except Exception:  # noqa: BLE001 - each delivery meets it again, and is judged then
                return None
            if outlet.gathers:
                assignment.outlet = outlet
            else:
                self._connections.give_back(destination, outlet, self._now())
        return assignment.outlet

    def _last(self, assignment: Assignment, destination: Destination, outcomes: Sequence[Outcome],
              wrong: Exception | None) -> Sequence[Outcome]:
        """These outcomes, once they will last at the receiver. Where that went `wrong`, nobody knows what
        lasted, and they are in doubt.

        Raises `_GivenUp` when it took too long.
        """
        if assignment.outlet is None:
            return outcomes
        if wrong is None:
            assignment.concludes()
            try:
                assignment.outlet.conclude()
            except Exception as error:  # noqa: BLE001 - the same border as in `_one`
                wrong = error
            assignment.ends()
        if wrong is None:
            return outcomes
        return [self._outcome(each.item, each.effect, destination, self._judge(
            wrong, each.effect, each.item, destination, assignment.circuit), each.took)
            if each.settlement.state == "done" else each for each in outcomes]

    def _why_not(self, circuit: Circuit, destination: Destination) -> str:
        """The reason why nothing more of the claim may be tried now. Empty: it may."""
        if not window.is_open(destination.policy.window, self._now()):
            return "Das Ziel nimmt jetzt nichts an (window)."
        return "Das Ziel ruht." if self._stop.is_set() or circuit.open(self._now()) else ""

    def _one(self, item: ClaimedDelivery, destination: Destination, assignment: Assignment,
             index: int) -> Outcome:
        """Try one delivery, or probe it, and say what became of it.

        Raises `_GivenUp` when that took too long, and `_Unwritten` when the store could not take the intent.
        """
        started = self._now()
        effect = assignment.begins(index, Effect(item, self._store, destination.repeat))
        outlet, wrong = assignment.outlet, None
        try:
            outlet = outlet or self._connections.take(destination)
            settlement = (probed(item, outlet, destination, self._now) if item.probe
                          else Settlement.done(item.delivery.id, outlet.deliver(item.delivery, effect.begins),
                                               destination.kind))
        except Exception as error:  # noqa: BLE001 - the one border where every connector's error is judged
            wrong = error
            if outlet is not None and not isinstance(error, Permanent):
                outlet.close()
        if outlet is not None and outlet is not assignment.outlet:
            self._connections.give_back(destination, outlet, self._now())
        assignment.ends()
        if effect.unwritten is not None:  # neither the receiver's fault nor a try: nothing has left
            raise _Unwritten(str(effect.unwritten)) from wrong
        if wrong is None:
            self._succeeded(assignment.circuit, destination)
        else:
            settlement = self._judge(wrong, effect, item, destination, assignment.circuit)
        assignment.elsewhere |= settlement.destination is not None or settlement.slim is not None
        return self._outcome(item, effect, destination, settlement, self._now() - started)

    def _outcome(self, item: ClaimedDelivery, effect: Effect, destination: Destination,
                 settlement: Settlement,
                 took: timedelta) -> Outcome:
        return Outcome(item, effect, settlement, took,
                        lambda: self._tell(item, destination, settlement, took))

    # -- tries that do not end
    # ----------------------------------------------------------------------------------------

    def _total(self, destination: Destination | None) -> timedelta:
        return (destination and destination.policy.total) or self._configuration().settings.deliver.lease

    def _give_up_stuck(self) -> float:
        """Give up the tries that take longer than their total. Gives the seconds until the next one may be
        due."""
        soonest = LOOK.total_seconds()
        with self._lock:
            running = list(self._running)
        for assignment in running:
            left = assignment.left(self._total(assignment.destination))
            if left is None:
                continue
            if left > 0 or not assignment.give_up(self._total(assignment.destination)):
                soonest = min(soonest, max(0.01, left))
                continue
            self._give_up(assignment)
        return soonest

    def _give_up(self, assignment: Assignment) -> None:
        """Judge what the hanging thread had in hand, and let another thread take its place."""
        effect, destination = assignment.effect, assignment.destination
        assert destination is not None and assignment.outcomes is not None  # noqa: S101
        if assignment.thread is not None:
            self._thread_pool.write_off(assignment.thread)
        self._metrics.given_up.labels(destination.connector).inc()
        total = self._total(destination)
        self._log.error("a try took longer than its total and was given up; its thread is replaced",
                        destination=assignment.key, delivery=effect.item.delivery.id if effect else None,
                        seconds=total.total_seconds())
        error = Temporary(f"Der Versuch dauerte länger als {total.total_seconds():g} s (total) und wurde "
                          "aufgegeben.")
        settlements = [self._judge(error, effect, effect.item, destination,
                                   assignment.circuit)] if effect else []
        settlements += [_untried(rest, self._now(), "Der Versuch davor hing.") for rest in assignment.rest()]
        try:
            assignment.outcomes.close(error)
            self._store.settle(settlements)
        except StoreUnavailable:
            self._keep(assignment.claim, settlements)
            raise
        finally:
            self._end(assignment)
        if effect:
            self._tell(effect.item, destination, settlements[0], total)

    def _judge(self, error: Exception, effect: Effect, item: ClaimedDelivery, destination: Destination,
               circuit: Circuit) -> Settlement:
        text = str(error) if isinstance(error, HubError) else f"{type(error).__name__} in {place(error)}"
        if not isinstance(error, HubError):
            self._log.error("a connector raised an error that it should have translated; please report this",
                            destination=destination.key, delivery=item.delivery.id, **where(error))
        certain = not item.probe and (not effect.begun or endpoint.is_certain(error))
        if certain and isinstance(error, TooLarge) and destination.policy.fallback and self._may_shrink(
            item.delivery.manifest):
            return self._too_large(item.delivery, destination, text)
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
        return self._later(item, destination, circuit, "misconfigured" if misconfigured else "temporary",
                           text, asked)

    def _may_shrink(self, manifest: Manifest) -> bool:
        """Whether the delivery is whole, or still has files that it can go without."""
        return not slim_manifest.files_of(manifest) or bool(slim_manifest.files(manifest))

    def _too_large(self, delivery: Delivery, destination: Destination, text: str) -> Settlement:
        """Send the delivery to the fallback. A mail sends only its files there, and says where they lie."""
        fallback = f"{destination.tenant}/{destination.policy.fallback}"
        if endpoint.outlet_class(destination.connector).notes and slim_manifest.files(delivery.manifest):
            return self._store.split(delivery, self._now(), fallback, text)
        return Settlement.rerouted(delivery.id, self._now(), fallback, text)

    def _with_note(self, item: ClaimedDelivery) -> ClaimedDelivery | Settlement:
        """Add the note that says where a mail's files lie. The mail waits until that is known."""
        rows = [] if item.probe else [self._store.get_delivery(each)
                                      for each in slim_manifest.files_of(item.delivery.manifest)]
        for row in rows:
            if row.state not in (DeliveryState.DONE, DeliveryState.DISCARDED):
                wait = PARKED_LOOK if row.state is DeliveryState.PARKED else FILES_LOOK
                due = max(self._now() + wait, row.due_at or self._now())
                return _untried(item, due, f"Die Mail wartet, bis ihre Dateien bei {row.destination} liegen.")
        if not rows:
            return item
        places = [f"{row.destination}: {(row.receipt or {}).get('reference', '')}"
                  if row.state is DeliveryState.DONE else None
                  for row in rows]
        return replace(item, delivery=replace(item.delivery,
                                              manifest=slim_manifest.noted(item.delivery.manifest, places)))

    def _later(self, item: ClaimedDelivery, destination: Destination, circuit: Circuit, kind: str, text: str,
               asked: float | None) -> Settlement:
        now = self._now()
        wait = destination.policy.retry.delay(item.attempts, now - item.first_due_at, asked=asked,
                                              dice=self._dice())
        if wait is None:
            return Settlement.parked(item.delivery.id, Reason.EXPIRED,
                                     f"Nach {item.attempts} Versuchen aufgegeben; "
                                     f"zuletzt: {text} Den Empfänger in Ordnung bringen, dann 'replay'.")
        if kind == "misconfigured":
            wait = min(wait, max((circuit.resting_until or now) - now, timedelta(0)))
        return Settlement.later(item.delivery.id, now + wait, kind, text)

    def _doubt(self, item: ClaimedDelivery, destination: Destination, text: str) -> Settlement:
        now = self._now()
        wait = PROBE_AFTER if not item.probe else destination.policy.retry.delay(item.attempts,
                                                                                 now - item.first_due_at)
        if wait is None:
            return Settlement.parked(item.delivery.id, Reason.IN_DOUBT,
                                     "Ob der Empfänger sie hat, ließ sich nicht klären: "
                                     f"{text} Dort nachsehen, dann 'confirm' (ist da) oder 'replay' (fehlt).")
        return Settlement.in_doubt(item.delivery.id, text, now + wait)

    def _unknown_destination(self, item: ClaimedDelivery, key: str) -> Settlement:
        if item.probe:  # and it stays in doubt: a replay says that it may be a second one
            return Settlement.parked(item.delivery.id, Reason.IN_DOUBT,
                                     "Ob der Empfänger sie hat, lässt sich nicht mehr klären: "
                                     f"Das Ziel {key!r} gibt es in der Konfiguration nicht mehr. Beim "
                                     "Empfänger nachsehen, dann "
                                     "'confirm' (ist da), oder das Ziel wieder anlegen und 'replay' (fehlt).")
        return Settlement.parked(item.delivery.id, Reason.CONFIGURATION,
                                 f"Das Ziel {key!r} gibt es in der Konfiguration "
                                 "nicht mehr: wieder anlegen und 'replay', oder 'discard'.")

    # -- how the destination is doing
    # ---------------------------------------------------------------------------------

    def _succeeded(self, circuit: Circuit, destination: Destination) -> None:
        with self._lock:
            back = circuit.succeeded(self._configuration().settings.deliver)
        if back:
            self._log.info("the destination answers again; its deliveries are worked off",
                           destination=destination.key)

    def _failed(self, circuit: Circuit, destination: Destination, text: str) -> None:
        with self._lock:
            news = circuit.failed(self._now(), text, self._configuration().settings.deliver)
        if news:  # one alarm per outage
            self._log.warning("the destination rests; its deliveries wait", destination=destination.key,
                              reason=text)

    def _misconfigured(self, circuit: Circuit, destination: Destination, text: str) -> None:
        with self._lock:
            news = circuit.misconfigure(self._now(), text)
        if news:
            self._log.warning("the destination must be mended before anything is delivered there",
                              destination=destination.key, reason=text)

    # -- what operators see
    # -------------------------------------------------------------------------------------------

    def _tell(self, item: ClaimedDelivery, destination: Destination, settlement: Settlement,
              took: timedelta) -> None:
        now = self._now()
        delivery = item.delivery
        outcome = settlement.event
        self._metrics.attempt_seconds.labels(destination.connector, outcome).observe(
            took.total_seconds(), {"message": delivery.message_id})
        fields = {"message": delivery.message_id, "delivery": item.delivery.id, "ags": delivery.ags,
                  "service": delivery.service,
                  "destination": destination.key, "attempt": item.attempts}
        if outcome == "done_partly":
            self._log.warning("delivered, but some of the destination's recipients were refused; its "
                              "addresses need a look", **fields)
        if settlement.state == "done":
            self._metrics.delivered_seconds.labels(destination.connector).observe(
                (now - delivery.created_at).total_seconds(), {"message": delivery.message_id})
            self._log.info("delivered", **fields)
        elif outcome == "parked":
            self._log.warning("the delivery is parked; an operator is needed", reason=settlement.reason,
                              **fields)
        elif outcome == "in_doubt":
            self._log.warning("the receiver may have it; it will be asked", error=settlement.text, **fields)
        else:
            self._log.info("not delivered yet; it will be tried again", error=settlement.text,
                           due=settlement.due_at.isoformat() if settlement.due_at else None, **fields)


class Outcome(NamedTuple):
    """What became of one try. `tell` tells people about it, once it is durable."""

    item: ClaimedDelivery
    effect: Effect
    settlement: Settlement
    took: timedelta
    tell: Callable[[], None]


class Outcomes:
    """Makes the outcomes of a batch durable in few transactions, and tells people afterwards.

    Where the receiver can be asked after a crash, several outcomes may wait for one commit, though never
    longer than `PATIENCE`. Where nobody could tell (`at_once`), each outcome goes to the writer as soon as it
    is known. `last` is asked before the others are written. It gives them back once they will last at the
    receiver; when something went wrong, it gives them as what they are then.
    """

    PATIENCE = timedelta(milliseconds=200)

    def __init__(self, store: Store, keep: Callable[[Sequence[Settlement]], None],
                 last: Callable[[Sequence[Outcome], Exception | None], Sequence[Outcome]],
                 monotonic: Callable[[], float], *, at_once: bool) -> None:
        self._store = store
        self._keep = keep
        self._last = last
        self._monotonic = monotonic
        self._at_once = at_once
        self._handed: list[tuple[Outcome, Future[bool]]] = []
        self._waiting: list[Outcome] = []
        self._since = 0.0

    def add(self, outcome: Outcome) -> None:
        if self._at_once:
            with self._kept([outcome.settlement]):
                self._handed.append((outcome, self._store.settle_soon(outcome.settlement)))
            return
        self._since = self._since if self._waiting else self._monotonic()
        self._waiting.append(outcome)
        if self._monotonic() - self._since > self.PATIENCE.total_seconds():
            self._flush()

    def return_untried(self, settlements: Sequence[Settlement]) -> None:
        with self._kept(settlements):
            self._store.settle(settlements)

    @contextmanager
    def _kept(self, settlements: Sequence[Settlement]) -> Iterator[None]:
        """Hand outcomes that cannot be written now to the deliverer, which writes them later."""
        try:
            yield
        except StoreUnavailable:
            self._keep(settlements)
            raise

    def _flush(self, wrong: Exception | None = None) -> None:
        with ExitStack() as each:  # all of them, even when some cannot be written
            handed, self._handed = self._handed, []
            for outcome, future in handed:
                each.callback(self._hear, outcome, future)
            waiting = self._last(self._waiting, wrong)
            self._waiting = []
            if waiting:
                settlements = [outcome.settlement for outcome in waiting]
                with self._kept(settlements):
                    self._store.settle(settlements)
            for outcome in waiting:
                outcome.tell()

    def _hear(self, outcome: Outcome, future: Future[bool]) -> None:
        with self._kept([outcome.settlement]):
            future.result()
        outcome.tell()

    def __enter__(self) -> Outcomes:
        return self

    def __exit__(self, _: object, error: object, __: object) -> None:
        if not isinstance(error, _GivenUp):  # who gave it up has closed this already
            self.close()

    def close(self, wrong: Exception | None = None) -> None:
        """Write what waits, and tell people. `wrong`: why nobody will find out any more whether it lasts."""
        self._flush(wrong)


class Effect:
    """Notes that the receiver may act from now on. The note is durable where nobody could tell after a crash.

    `unwritten` is the reason why the intent could not be written. Then nothing was sent, whatever the
    connector makes of it. No effect begins after the try was given up (`forbid`).
    """

    def __init__(self, item: ClaimedDelivery, store: Store, repeat: endpoint.Repeat) -> None:
        self.item = item
        self.store = store
        self._repeat = repeat
        self._lock = threading.Lock()
        self._forbidden = False
        self.begun = False
        self.unwritten: HubError | None = None

    def begins(self) -> None:
        if self._repeat == "ask":
            self._surely(lambda: self.store.begin_effect(self.item.delivery.id))
        else:
            self._surely(self.store.still_ours)
        with self._lock:
            if self._forbidden:
                raise _GivenUp
            self.begun = True

    def _surely(self, ours: Callable[[], None]) -> None:
        try:
            ours()
        except (StoreUnavailable, LostLease) as error:
            self.unwritten = error
            raise

    def forbid(self) -> None:
        """Let no effect begin from now on."""
        with self._lock:
            self._forbidden = True


class _GivenUp(Exception):
    """The try took longer than its total, and another thread has judged it already."""


class _Unwritten(Exception):
    """The store could not take the intent, so there was no try."""


@dataclass(eq=False)
class Assignment:
    """One thread's work for one destination: what it has in hand, and since when it is at the present
    delivery.

    `outlet` is kept for the whole assignment where it gathers deliveries (`endpoint.OutletBase.prepare`).
    """

    key: str
    destination: Destination | None
    circuit: Circuit
    size: int
    deferred_first: bool
    claim: int
    _monotonic: Callable[[], float]
    claimed: Sequence[ClaimedDelivery] = ()
    tried: int = 0
    elsewhere: bool = False
    effect: Effect | None = None
    outlet: endpoint.OutletBase[Any] | None = None
    outcomes: Outcomes | None = None
    thread: threading.Thread | None = None
    over: threading.Event = field(default_factory=threading.Event)
    _since: float | None = None
    _given_up: bool = False
    _returned: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begins(self, index: int, effect: Effect) -> Effect:
        """Note that this one of the claimed deliveries is tried now, or prepared together with others behind
        it."""
        with self._lock:
            self.effect, self._since, self.tried = effect, self._monotonic(), index + 1
        return effect

    def concludes(self) -> None:
        """Note that the outlet now concludes what was tried so far."""
        with self._lock:
            self.effect, self._since = None, self._monotonic()

    def ends(self) -> None:
        """Note the end of it. Raises `_GivenUp` when nobody waits for it any more."""
        with self._lock:
            if self._given_up:
                raise _GivenUp
            self._since = None

    def left(self, total: timedelta) -> float | None:
        """The seconds that the present try has left. None: there is no try."""
        with self._lock:
            return None if self._since is None else self._since + total.total_seconds() - self._monotonic()

    def give_up(self, total: timedelta) -> bool:
        """Give the present try up: its outcome does not count, and its effect cannot begin. False when it
        ended meanwhile."""
        with self._lock:
            if self._since is None or self._monotonic() - self._since < total.total_seconds():
                return False
            self._given_up, self._since = True, None
            if self.effect is not None:
                self.effect.forbid()
            return True

    def release(self) -> None:
        """Note that the thread is done: nobody can give the assignment up any more.

        The outcomes refer to the assignment and the assignment to them. Such a circle, with all that was
        claimed, would wait for the garbage collector, which looks seldom (`hub.daemon`).
        """
        with self._lock:
            if not self._given_up:
                self._since = self.outcomes = None

    def rest(self) -> Sequence[ClaimedDelivery]:
        """What was not tried yet. It is empty when a caller has taken that over (`returns`)."""
        return () if self._returned else self.claimed[self.tried:]

    def returns(self, index: int) -> Sequence[ClaimedDelivery]:
        """Hand the deliveries from this one on to the caller, who gives them back untried."""
        self._returned = True
        return self.claimed[index:]


def probed(item: ClaimedDelivery, outlet: endpoint.OutletBase[Any], destination: Destination,
           now: Callable[[], datetime]) -> Settlement:
    """What a delivery in doubt becomes. The receiver knows, or the outlet is idempotent, or the configuration
    decides. Raises what the outlet's probe raises."""
    result = outlet.probe(item.delivery)
    if isinstance(result, endpoint.Done):
        return Settlement.done(item.delivery.id, result.receipt, destination.kind)
    if isinstance(result, endpoint.Absent) and item.restored and not outlet.keeps:
        result = endpoint.Unknown("dort liegt nichts, aber seit der Sicherung kann es weggeräumt worden "
                                  "sein")
    if isinstance(result, endpoint.Absent):
        return Settlement.again(item.delivery.id, now(), repeat_marked=False)
    if outlet.repeat == "idempotent":
        return Settlement.again(item.delivery.id, now(), repeat_marked=False)
    if destination.in_doubt == "repeat-marked":
        return Settlement.again(item.delivery.id, now(), repeat_marked=True)
    return Settlement.parked(item.delivery.id, Reason.IN_DOUBT, "Ob der Empfänger sie hat, ist unbekannt"
                             + (f" ({result.why})" if result.why else "")
                             + ": beim Empfänger nachsehen, dann 'confirm' (ist da) oder 'replay' "
                               "(fehlt).")


def share(destination: Destination | None, settings: DeliverSection) -> int:
    """How many assignments one destination may have at once."""
    return (destination and destination.policy.parallel) or settings.per_destination


def _untried(item: ClaimedDelivery, due: datetime, why: str) -> Settlement:
    """Put a delivery back into the queue without a try: the destination rests or is closed, or the hub
    stops."""
    if item.probe:
        return Settlement.in_doubt(item.delivery.id, "noch nicht gefragt", due)
    return Settlement.later(item.delivery.id, due, "held", why, counted=False)
