"""The world of one seed: a clock, dice, senders, receivers, operators, and the hub's own code.

The hub runs through many lives: it dies and starts again.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import OperationalError

from hub.config.configuration import Configuration
from hub.delivery import deliverer
from hub.delivery.deliverer import Deliverer
from hub.errors import Conflict, Rejected, StoreUnavailable
from hub.intake import receiver
from hub.intake.receiver import Receiver
from hub.job import Body, Facts, Job, OutDelivery, OutPart, Parked, Translated
from hub.message import Accepted, Incoming, IncomingPart
from hub.operations.operator import Operator
from hub.pipeline.route import route
from hub.store.blobs import files
from hub.store.blobs import rows as row_blobs
from hub.store.database import sqlite
from hub.store.database.transaction import Transaction
from hub.store.store import Store
from hub.store.transitions import messages as message_transitions
from hub.store.transitions.operator_actions import NotFound, NotNow
from hub.store.writer import Writer, _Job, _one_by_one
from hub.telemetry.counters import Metrics
from hub.workers import dispatcher
from hub.workers.dispatcher import Dispatcher
from hub.workers.pool import BatchResult
from hub.workers.process import Why
from tests.simulation.judge import Judge, Sent, rows
from tests.simulation.municipalities import MEMORY, NORD, ORDERED, PLAIN, SUED, VARIANTS, configurations
from tests.simulation.tasks import Killed, Task
from tests.simulation.transports import Outlet, Peer

START = datetime(2026, 5, 4, 5, 30, tzinfo=UTC)
"""A Monday, 7:30 in Berlin."""

STEPS = 90
"""Events before everything works again."""

MOST_TRIPS, MOST_LIVES = 1000, 60
"""Limits for trips to a worker in one life, and for lives. A world that ends needs fewer."""

LOST = 100.0
"""Seconds after which the hub must have found a claim that nobody holds."""

REST = 400
"""How many rounds a world may need to come to rest."""


class Faulty(Exception):
    """A seed found something."""

    def __init__(self, seed: int, faults: Sequence[tuple[str, str]], digest: str) -> None:
        self.seed, self.faults, self.digest = seed, list(faults), digest
        super().__init__(f"seed {seed}: "
                         + "; ".join(f"{verdict}: {what}" for verdict, what in self.faults[:3]))


class Flag:
    """A `threading.Event` for which nobody waits."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, _: float | None = None) -> bool:
        return self._set


class ThreadPool:
    """The deliverer's threads as tasks of the world. At most `size` are under way at once."""

    def __init__(self, world: World, size: int) -> None:
        self._world, self._size = world, size
        self._waiting: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], None]) -> None:
        self._waiting.append(work)

    def hire(self) -> None:
        """Begin waiting work while a thread is free."""
        busy = sum(task.name.startswith("deliver") for task in self._world.tasks)
        while self._waiting and busy < self._size:
            self._world.begin("deliver", self._waiting.pop(0))
            busy += 1

    def write_off(self, _: object) -> None:
        self._size += 1

    def dismiss(self) -> None:
        pass


class _Result(Future[Any]):
    """A result of the writer. Whoever asks for it causes the commit of all that waits."""

    def __init__(self, flush: Callable[[], None]) -> None:
        super().__init__()
        self._flush = flush

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self._flush()
        return super().result(timeout)


class InlineWriter(Writer):
    """The store's writer without its thread. It commits all that waits when anybody asks for a result."""

    def __init__(self, engine: Engine, begin: Callable[[Connection], Transaction],
                 end: Callable[[Transaction], None],
                 world: World) -> None:
        self._engine, self._begin, self._end, self._world = engine, begin, end, world
        self._broken = None
        self._closed = False
        self._jobs: list[_Job[Any, Any]] = []
        self._lock = _NoLock()  # type: ignore[assignment]
        self._connection = engine.connect()

    def gather(self, work: Any, item: Any) -> Future[Any]:
        self._refuse_if_broken()
        if self._closed:
            raise StoreUnavailable("the store is closed")
        job: _Job[Any, Any] = _Job(work, item, _Result(self._flush))
        self._jobs.append(job)
        return job.future

    def _flush(self) -> None:
        self._world.point("before a commit")
        batch, self._jobs = self._jobs, []
        if self._world.store_is_full and self._world.dice.random() < 0.5:
            for job in batch:
                job.future.set_exception(StoreUnavailable("nothing can be written now: SQLITE_FULL"))
            return
        ordinary = [job for job in batch if job.work is not _one_by_one]
        if ordinary:
            self._write(self._connection, ordinary)
        for job in batch:
            if job.work is _one_by_one:
                self._run_one_by_one(self._connection, job)
        self._world.point("after a commit", waits=False)

    def _commit(self, commit: Any) -> None:  # type: ignore[override]
        if self._world.store_is_full:
            raise OperationalError("COMMIT", None, _Full())
        commit.commit()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._connection.close()


class _Full(Exception):
    """The error of SQLite when a commit has no room."""

    sqlite_errorname = "SQLITE_FULL"


class _NoLock:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class Watched(Store):
    """The store. It tells the judge what is claimed."""

    world: World

    def _claim_rows(self, *arguments: Any) -> list[Row[Any]]:
        claimed = super()._claim_rows(*arguments)
        tx: Transaction = arguments[-2]
        # inside the transaction: a message that is accepted a moment later is not an earlier one
        self.world.judge.claims(tx.connection, [row.id for row in claimed if row.state == "due" and row.case])
        return claimed


class Pool:
    """The workers: real routing, a rendering of one line, and death over a planted message."""

    network_dropped = False

    def __init__(self, world: World) -> None:
        self._world = world
        self._trips = 0

    def run(self, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int,
            progressed: Callable[[], None]) -> BatchResult:
        world = self._world
        self._trips += 1
        if self._trips > MOST_TRIPS:
            world.judge.fault("deaths", f"{jobs[0].message_id} is tried again and again")
            raise Killed
        outcomes: list[Translated | Parked] = []
        world.in_worker.update(job.message_id for job in jobs)
        end = 0
        for number, job in enumerate(jobs):
            world.point("in a worker")
            body = job.parts[0].body
            content = os.pread(inputs[body.fd], body.length, body.offset)
            sent = world.judge.sent[world.json(content)["number"]]
            if sent.poison:
                world.judge.planted.add(job.message_id)
            if sent.poison == "hub":
                world.note(f"{job.message_id} kills the hub")
                raise Killed
            dies = sent.poison is None and len(jobs) > 1 and world.dice.random() < world.clumsy
            if sent.poison == "worker" or dies:
                world.note(f"a worker dies over {job.message_id}")
                world.in_worker.difference_update(each.message_id for each in jobs)
                return BatchResult(tuple(outcomes), tuple(each.message_id for each in jobs[number:]),
                                   job.message_id, Why.DIED)
            outcome, end = _translate(job, content,
                                      Facts(form_name="Zaehlprobe", form_version=sent.form, test=job.test),
                                      out_fd, end)
            outcomes.append(outcome)
        world.point("a worker has answered")
        world.in_worker.difference_update(each.message_id for each in jobs)
        return BatchResult(tuple(outcomes))


def _translate(job: Job, content: bytes, facts: Facts, out_fd: int, end: int) -> tuple[Translated | Parked,
                                                                                       int]:
    try:
        rule, trace = route(job, facts)
    except Rejected as error:
        return Parked(message_id=job.message_id, facts=facts, reason=error.reason, text=error.text,
                      trace=error.trace), end
    deliveries = []
    for recipient in rule.recipients:
        body = recipient.name.encode() + b"|" + content
        os.pwrite(out_fd, body, end)
        part = OutPart(role=recipient.send[0], name="probe.xml", media_type="application/xml", size=len(body),
                       sha256=hashlib.sha256(body).hexdigest(), body=Body(offset=end, length=len(body)))
        end += len(body)
        original = OutPart(role="original", name="antrag.xml", media_type="application/xml",
                           size=job.parts[0].body.length,
                           sha256=job.parts[0].sha256, received=0)
        deliveries.append(OutDelivery(recipient=recipient.name, destination=recipient.destination,
                                      subject="Probe",
                                      name_parts={}, parts=(part, original)))
    return Translated(message_id=job.message_id, facts=facts, rule=rule.id,
                      mapping_digest=rule.mapping_digest, trace=trace,
                      deliveries=tuple(deliveries), order=rule.order), end


class Notes:
    """Stands for the log of a module. A line that asks to be reported is a fault."""

    def __init__(self, world: World) -> None:
        self._world = world

    def error(self, line: str, **fields: Any) -> None:
        self._world.note(f"error: {line}")
        if "please report this" in line and not line.startswith("a connector raised"):
            self._world.judge.fault("failed", f"{line} {fields}")

    def warning(self, line: str, **_: Any) -> None:
        self._world.note(f"warning: {line}")

    def info(self, *_: Any, **__: Any) -> None:
        pass

    critical = error


class World:
    """The world. `run` plays the seed and returns the digest of its trace. Raises `Faulty`."""

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda line: None) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.judge = Judge()
        self.now, self.steady = START, 1000.0
        self.tasks: list[Task] = []
        self.task: Task | None = None
        self.in_worker: set[str] = set()
        self.peers: dict[str, Peer] = {}
        self.variant = VARIANTS[0]
        self.lives = self.steps = self.kills = self.hits = self.restored = 0
        self.full_until = 0
        self.calm = False
        self.clumsy = self.dice.choice([0.0, 0.0, 0.05, 0.2])
        self.until_death = self._next_death()
        self.deaths_left = self.dice.choice([0, 1, 2, 2])
        self.backup: Path | None = None
        self.acknowledged_then: set[str] = set()
        self._tell = tell
        self._digest = hashlib.sha256()
        self._ids = 0
        self._actions = self._replayed = 0
        self._sends = 0
        self._open: dict[tuple[Any, ...], Sent] = {}
        self._poison = self.dice.choice([None, None, "worker", "hub"])
        self._folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=MEMORY if MEMORY.is_dir() else None))
        self.store: Store
        self.deliverer: Deliverer
        self.dispatcher: Dispatcher
        self.receiver: Receiver
        self.operator: Operator
        self.threads: ThreadPool

    @property
    def store_is_full(self) -> bool:
        """Whether the store cannot write now."""
        return self.steps < self.full_until

    def figures(self) -> dict[str, int]:
        """How often each thing happened."""
        copies = self.judge.copies.values()
        return {"acknowledged": len(self.judge.ids), "kills": self.kills, "lives": self.lives,
                "hits": self.hits,
                "tries": sum(sum(peer.tries.values()) for peer in self.peers.values()),
                "arrived": sum(map(len, copies)),
                "flagged": sum(any(marked for marked, _ in each) and len(each) > 1 for each in copies),
                "restored": self.restored}

    @property
    def digest(self) -> str:
        """The digest of the trace so far."""
        return self._digest.hexdigest()

    # ---------------------------------------------------------------- what the hub is given

    def clock(self) -> datetime:
        """The wall clock."""
        return self.now

    def configuration(self) -> Configuration:
        """The configuration in force."""
        return configurations()[self.variant.name]

    def new_id(self) -> str:
        """A new id, as `hub.message.new_message_id` makes it."""
        self._ids += 1
        return f"{self._ids:08x}-5eed-7000-8000-{self.seed & 0xFFFFFFFFFFFF:012x}"

    def peer(self, name: str) -> Peer:
        """The receiver behind a destination."""
        return self.peers.setdefault(name, Peer(name))

    @staticmethod
    def json(content: bytes) -> Any:
        """The content, as a worker reads it."""
        import json
        return json.loads(content)

    def pick(self, weights: Mapping[str, int]) -> str:
        """Choose one of these by weight."""
        return self.dice.choices(list(weights), list(weights.values()))[0]

    def note(self, line: str) -> None:
        """Add a line to the trace."""
        line = f"{self.steps:4} {self.steady:10.1f} {self.now:%m-%d %H:%M:%S} {self.task.name if self.task else 'world':9} {line}"
        self._digest.update(line.encode())
        self._tell(line)

    # ---------------------------------------------------------------- places where it can die, or somebody
    # else goes on

    def _next_death(self) -> int:
        return self.dice.randint(1, 60) if self.dice.random() < 0.3 else self.dice.randint(60, 700)

    def point(self, name: str, *, waits: bool = True) -> None:
        """A place where the hub may die, or another of its threads may go on."""
        if not self.calm and self.deaths_left:
            self.until_death -= 1
            if self.until_death <= 0:
                self.deaths_left -= 1
                self.until_death = self._next_death()
                for message_id in self.in_worker:
                    self.judge.innocent[message_id] += 1
                self.note(f"the hub is killed {name}")
                self.hits += bool(self.tasks)
                raise Killed
        if waits and self.task is not None and self.dice.random() < 0.25:
            self._wait()

    def sleep(self, seconds: float) -> None:
        """Let the calling thread sleep."""
        if self.task is not None:
            self.task.not_before = self.steady + seconds
            self._wait()

    def _wait(self) -> None:
        task = self.task
        assert task is not None
        task.wait()

    def begin(self, name: str, work: Callable[[], object]) -> None:
        """Begin another thread of the hub."""
        self.tasks.append(Task(f"{name}-{len(self.tasks)}", work))

    def resume(self, task: Task, thrown: BaseException | None = None) -> None:
        """Let a task go on until it waits or ends. Raises `Killed`."""
        self.task = task
        try:
            task.resume(thrown)
        finally:
            self.task = None
            if task.over:
                self.tasks.remove(task)

    # ---------------------------------------------------------------- the hub's lives

    def start(self) -> None:
        """Start the hub, as `hub.daemon.Daemon` does."""
        self.lives += 1
        writer: Any = lambda engine, begin, end: InlineWriter(engine, begin, end, self)  # noqa: E731
        self.store = Watched.open(self._folder, now=self.clock, writer=writer)
        self.store.world = self  # type: ignore[attr-defined]
        recovered = self.store.recover(assume_begun=self._assume_begun)
        if recovered.alone:
            self.store.count_death(recovered.alone)
        self.note(f"life {self.lives}: {recovered}{' unclean' if self.store.unclean else ''}")
        self.deliverer = Deliverer(self.store, self.configuration, metrics(), self.clock,
                                   lambda connector, options: Outlet(self, connector, options))
        self.threads = self.deliverer._thread_pool = ThreadPool(self, 5)  # type: ignore[assignment]
        self.deliverer._stop = Flag()  # type: ignore[assignment]
        self.dispatcher = Dispatcher(self.store, self.configuration, Pool(self), metrics(),  # type: ignore[arg-type]
                                     self.deliverer.wake)
        self.dispatcher._stop = Flag()  # type: ignore[assignment]
        self.receiver = Receiver(self.store, self.configuration, metrics(), self.dispatcher.wake, self.clock)
        self.operator = Operator(self.store, self.deliverer, self._wake_all)

    def _assume_begun(self, key: str) -> bool:
        found = self.configuration().destination(key)
        return found is None or found.repeat != "ask"

    def _wake_all(self) -> None:
        self.dispatcher.wake()
        self.deliverer.wake()

    def die(self) -> None:
        """Kill the hub. What was committed stays."""
        for task in list(self.tasks):
            with _dead(self):
                try:
                    self.resume(task, Killed())
                except Killed:
                    pass
        self.tasks.clear()
        self.in_worker.clear()
        self._leave()

    def _leave(self) -> None:
        if "store" in self.__dict__:
            writer, self.store._writer = self.store._writer, None
            if writer is not None:
                writer.close()
            self.store._readers.dispose()
            self.store.base.unlock()

    def live_again(self) -> None:
        """Start the hub again, until a start succeeds."""
        self.kills += self.lives > 0
        while True:
            self.die()
            try:
                self.start()
            except (Killed, StoreUnavailable):
                self.full_until = 0
                continue
            self.judge.books(self.store)
            if self.lives > MOST_LIVES:
                self.judge.fault("deaths", "the hub dies again and again")
            return

    def stop(self) -> None:
        """Stop the hub in order, and start it."""
        self.note("a stop in order")
        self.dispatcher._stop.set()
        self.deliverer._stop.set()
        for _ in range(500):
            ready = [task for task in self.tasks if task.not_before <= self.steady]
            if not ready:
                break
            self.resume(self.dice.choice(ready))
        clean = self.deliverer.stop(timedelta(0)) and not self.tasks
        self.store.close(clean=clean)
        self.kills -= 1
        self.live_again()

    # ---------------------------------------------------------------- what happens

    def run(self) -> str:
        """Play the seed."""
        try:
            with injected(self):
                self._play()
                return self.digest
        finally:
            self._end()

    def _end(self) -> None:
        self.die()
        shutil.rmtree(self._folder)

    def _play(self) -> None:
        for name, content in template().items():
            (self._folder / name).write_bytes(content)
        self.live_again()
        for _ in range(STEPS):
            self._step(self._anything)
        self._step(self._make_well)
        self.rest()
        self._check()
        for _ in range(3):
            self._step(self._replay_all)
            if not self._replayed:
                break
            self.rest()
            self._check()
        self._all_done()
        self._close_trace()

    def _step(self, what: Callable[[], None]) -> None:
        self.steps += 1
        try:
            what()
        except Killed:
            self.live_again()
        except StoreUnavailable as error:
            self.note(f"unavailable: {error}")
        if self.steps % 20 == 0:
            self.judge.books(self.store)
        if self.judge.faults:
            raise Faulty(self.seed, self.judge.faults, self.digest)

    def _anything(self) -> None:
        getattr(self, self.pick({
            "send": 18, "dispatch": 18, "look": 20, "go_on": 34, "time": 14, "operate": 8, "mood": 5,
            "reconfigure": 2, "leap": 1,
            "full_store": 1, "restart": 1, "save": 1, "put_back": 1}))()

    def send(self) -> None:
        """Send one or two applications, new ones or repetitions."""
        batch = [self._application() for _ in range(self.dice.choice([1, 1, 2, 3]))]
        if self.dice.random() < 0.15:
            batch.append(batch[0])
        for sent in batch:
            self.judge.sends(sent)
        answers = self.receiver.together([self._incoming(sent) for sent in batch])
        for sent, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Accepted):
                self.note(f"sent {sent.number} {sent.ags} {sent.service} {sent.key or ''}: "
                          f"{answer.id[:8]}{' known' if answer.duplicate else ''}")
                self.judge.answered(sent, answer)
            elif isinstance(answer, Conflict):
                self.judge.refused(sent)
            elif not isinstance(answer, StoreUnavailable):
                self.judge.fault("failed", f"{sent}: {answer!r}")

    def _application(self) -> Sent:
        """A new application; sometimes one that was sent before, or another one under its key."""
        dice = self.dice
        ags, service = dice.choice([NORD, NORD, SUED]), dice.choice([PLAIN, ORDERED])
        if self._poison and self._sends > 5 and dice.random() < 0.1:
            poison, self._poison = self._poison, None
        else:
            poison = None
        known = list(self._open.values())
        if known and poison is None and dice.random() < 0.25:
            before = dice.choice(known)
            if before.poison is None and before.key and dice.random() < 0.3:
                return replace(before, number=self._number())
            return before
        sent = Sent(self._number(), dice.choice(["portal", "portal", "zweites"]), ags, service,
                    test=dice.random() < 0.1,
                    form="2.0" if dice.random() < 0.05 else "1.0",
                    key=f"k{dice.randint(1, 12)}" if dice.random() < 0.6 else None,
                    case=f"fall-{dice.randint(1, 3)}" if dice.random() < 0.7 else None, poison=poison)
        if poison:
            sent = replace(sent, key=None, test=False)
        elif sent.identity in self._open:
            return self._open[sent.identity]
        self._open[sent.identity] = sent
        return sent

    def _number(self) -> int:
        self._sends += 1
        return self._sends

    def _incoming(self, sent: Sent) -> Incoming:
        return Incoming("https", sent.sender, sent.ags, sent.service, (IncomingPart.of(sent.content()),),
                        test=sent.test,
                        key=sent.key, case=sent.case, conflict="refuse" if sent.sender == "portal"
                        else "park")

    def dispatch(self) -> None:
        """Let a thread of the dispatcher do one round."""
        if sum(task.name.startswith("dispatch") for task in self.tasks) < 2:
            self.begin("dispatch", self.dispatcher._turn)
            self.resume(self.tasks[-1])

    def look(self) -> None:
        """Let the deliverer's scheduler look for due deliveries."""
        self.deliverer._round()
        self.threads.hire()

    def go_on(self) -> None:
        """Let one of the threads go on."""
        for _ in range(self.dice.randint(1, 6)):
            self.threads.hire()
            ready = [task for task in self.tasks if task.not_before <= self.steady]
            if ready:
                self.resume(self.dice.choice(ready))

    def time(self) -> None:
        """Let time pass."""
        self._pass(self.dice.choice([0.5, 2, 5, 15, 40, 70, 130, 600, 3000, 7200, 30000]))

    def _pass(self, seconds: float) -> None:
        self.steady += seconds
        self.now += timedelta(seconds=seconds)

    def leap(self) -> None:
        """Set the clock forwards or back."""
        step = self.dice.choice([-7200, -600, -90, 300, 7200, 86400])
        self.note(f"the clock leaps by {step} s")
        self.now += timedelta(seconds=step)

    def mood(self) -> None:
        """Change the mood of a receiver."""
        if self.peers:
            peer = self.peers[self.dice.choice(sorted(self.peers))]
            peer.mood = self.pick({"well": 10, "flaky": 14, "down": 4, "misconfigured": 2, "full": 3})
            self.note(f"{peer.name} is {peer.mood}")

    def reconfigure(self) -> None:
        """Change the configuration, as `hub.daemon.Daemon.reload` does."""
        self._take(self.dice.choice(VARIANTS).name)

    def _take(self, name: str) -> None:
        self.variant = next(variant for variant in VARIANTS if variant.name == name)
        self.note(f"configuration: {name}")
        self.deliverer.reset()
        self._wake_all()

    def full_store(self) -> None:
        """Let the disk be full for some time."""
        self.full_until = self.steps + self.dice.randint(2, 12)
        self.note("the disk is full")

    def restart(self) -> None:
        """Stop the hub in order, and start it again."""
        if not self.store_is_full:
            self.stop()

    def save(self) -> None:
        """Take a backup."""
        self.backup = self._folder / "backup"
        self.backup.unlink(missing_ok=True)
        self.store.copy(self.backup, lambda *_: None)
        self.acknowledged_then = set(self.judge.known)
        self.note("a backup is made")

    def put_back(self) -> None:
        """Lose the store, and restore it from the backup."""
        if self.backup is None or self.dice.random() < 0.5:
            return
        self.note("the backup is put back")
        self.restored += 1
        before = {row["id"] for row in rows(self.store, "SELECT id FROM delivery")}
        fencing = self.store.fencing
        self.die()
        for name in ("store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm"):
            (self._folder / name).unlink(missing_ok=True)
        shutil.move(self.backup, self._folder / "store.sqlite3")
        self.backup = None
        # `hub.store.backup.restore` builds the store in another folder first
        left, self.deaths_left = self.deaths_left, 0
        writer: Any = lambda engine, begin, end: InlineWriter(engine, begin, end, self)  # noqa: E731
        self.full_until = 0
        store = Store.open(self._folder, now=self.clock, writer=writer)
        store.raise_fencing(fencing + 1)
        self._forget(store, before)
        store.close()
        self.deaths_left = left
        self.live_again()

    def _forget(self, store: Store, before: set[str]) -> None:
        judge = self.judge
        judge.known = {name: sent for name, sent in judge.known.items() if name in self.acknowledged_then}
        judge.ids = {key: name for key, name in judge.ids.items() if name in judge.known}
        now = {row["id"]: row["attempts"] for row in rows(store, "SELECT id, attempts FROM delivery")}
        judge.forgotten |= before - set(now)
        for name in judge.begun:
            judge.begun[name] = min(judge.begun[name], now.get(name, 0))

    def operate(self) -> None:
        """Let an operator do something, perhaps twice."""
        deliveries = rows(self.store, "SELECT id FROM delivery WHERE state IN ('parked', 'in_doubt', 'due', "
                                      "'done') ORDER BY no")
        messages = rows(self.store, "SELECT id FROM message WHERE state IN ('parked', 'routed') ORDER BY no")
        verb = self.pick({"replay": 10, "discard": 1, "confirm": 1, "resend": 1})
        found = messages if verb == "replay" and self.dice.random() < 0.4 else deliveries
        if not found:
            return
        name = self.dice.choice(found)["id"]
        self._actions += 1
        action = f"action-{self._actions}"
        self._act(verb, name, action)
        if self.dice.random() < 0.5:
            before = rows(self.store, "SELECT max(no) AS no FROM event")
            self._act(verb, name, action)
            if rows(self.store, "SELECT max(no) AS no FROM event") != before and self.acted:
                self.judge.fault("action", f"{verb} {name} again")

    acted = False

    def _act(self, verb: str, name: str, action: str | None) -> None:
        why = {"discard": ("Test",), "confirm": ("Anruf",)}.get(verb, ())
        self.acted = False
        if verb == "confirm":
            self.judge.confirmed.add(name)  # also when the hub dies before it answers
        try:
            answer = getattr(self.operator, verb)(name, "erika", *why, action)
        except (NotNow, NotFound) as error:
            self.note(f"{verb} {name[:8]}: {type(error).__name__}")
            return
        self.acted = True
        self._replayed += 1
        self.note(f"{verb} {name[:8]}: {answer.get('changed', answer.get('new'))}")

    # ---------------------------------------------------------------- the end

    def _make_well(self) -> None:
        self.note("all is made well")
        self.calm, self.full_until, self.clumsy = True, 0, 0.0
        for peer in self.peers.values():
            peer.mood = "well"
        self._take("base")

    def rest(self) -> None:
        """Go on until nothing waits for the hub any more."""
        patience, before, lost_since = 10.0, -1, None
        for _ in range(REST):
            self._step(self._settle)
            waiting = self.judge.waiting(self.store)
            if not (waiting or self.tasks or self._received()):
                return
            # a window may be closed until Monday
            patience = patience * 1.5 if len(waiting) == before else 10.0
            before = len(waiting)
            lost_since = (lost_since or self.steady) if 0 in waiting and not self.tasks else None
            if lost_since and self.steady - lost_since > LOST:
                break
            soonest = (min(waiting, default=0) / 1e6) - self.now.timestamp()
            self._pass(max(min(patience, 3600.0), min(soonest, 86400.0)))
        self.judge.fault("unexplained", f"no rest: {waiting}, {self._received()} received, "
                                        f"{[each.name for each in self.tasks]}")
        raise Faulty(self.seed, self.judge.faults, self.digest)

    def _received(self) -> int:
        return int(rows(self.store, "SELECT count(*) AS n FROM message WHERE state = 'received'")[0]["n"])

    def _settle(self) -> None:
        self.look()
        for _ in range(30):
            if received := self._received():
                self.dispatch()
            while ready := [task for task in self.tasks if task.not_before <= self.steady]:
                self.resume(self.dice.choice(ready))
                self.threads.hire()
            if not received:
                break
            self.look()

    def _replay_all(self) -> None:
        self.note("what is parked is replayed")
        self._replayed = 0
        for row in rows(self.store, "SELECT id, reason FROM message WHERE state = 'parked' ORDER BY no"):
            if not self._hopeless(row):
                self._act("replay", row["id"], None)
        for row in rows(self.store,
                        "SELECT id FROM delivery WHERE state IN ('parked', 'in_doubt') ORDER BY no"):
            self._act("replay", row["id"], None)

    def _hopeless(self, row: Mapping[str, Any]) -> bool:
        """Whether no replay can bring this message any further."""
        sent = self.judge.known.get(row["id"])
        return row["reason"] == "runaway" or (sent is not None and sent.form != "1.0")

    def _check(self) -> None:
        judge = self.judge
        for look in (judge.books, judge.missing, judge.routed, judge.deaths, judge.rests, judge.held):
            look(self.store)
        if judge.faults:
            raise Faulty(self.seed, judge.faults, self.digest)

    def _all_done(self) -> None:
        """When everything works and was replayed, everything has arrived, except for hopeless messages."""
        for row in rows(self.store, "SELECT id, state, reason FROM message WHERE state NOT IN ('completed', "
                                    "'discarded')"):
            sent = self.judge.known.get(row["id"])
            hopeless = row["state"] == "parked" and self._hopeless(row)
            behind = any(each["reason"] == "order" for each in rows(
                self.store, "SELECT reason FROM delivery WHERE message_id = :id AND state = 'due'",
                id=row["id"]))
            if sent is not None and not hopeless and not behind:
                self.judge.fault("lost",
                                 f"{row['id']} of {sent} never came through: {row['state']} {row['reason']}")
        if self.judge.faults:
            raise Faulty(self.seed, self.judge.faults, self.digest)

    def _close_trace(self) -> None:
        for row in rows(self.store, "SELECT at, message_id, delivery_id, name, before, after, reason, "
                                    "detail, who FROM event "
                                    "ORDER BY no"):
            self.note(" ".join(map(str, row.values())))


@contextmanager
def _dead(world: World) -> Iterator[None]:
    """Let nothing that a dying thread does in its ``finally`` have an effect."""
    def nothing(*_: Any, **__: Any) -> Any:
        raise Killed
    with patch.object(InlineWriter, "_flush", nothing), patch.object(InlineWriter, "gather", nothing), \
            patch.object(world, "note", lambda _: None):
        yield


@contextmanager
def injected(world: World) -> Iterator[None]:
    """Put the clock, dice, names and file system of this world where the hub's modules look for them."""
    with ExitStack() as stack:
        clock = SimpleNamespace(monotonic=lambda: world.steady)
        for module in (deliverer, dispatcher, receiver):
            stack.enter_context(patch.object(module, "time", clock))
            stack.enter_context(patch.object(module, "log", Notes(world)))
        stack.enter_context(patch.object(deliverer, "random", SimpleNamespace(random=world.dice.random)))
        for named in (message_transitions, files, row_blobs):
            stack.enter_context(patch.object(named, "new_message_id", world.new_id))
        stack.enter_context(patch.object(sqlite, "_engine", _engine))
        yield


_place: dict[str, Any] = {}
_real_engine = sqlite._engine


def _engine(file: Path, mode: str, begin: str, pragmas: tuple[str, ...]) -> Engine:
    """One engine for all files, so that statements are compiled once for all lives. Nothing is synced."""
    _place["file"] = file
    return _shared_engine(mode, begin,
                          tuple(each for each in pragmas if not each.startswith(("synchronous", "secure"))))


@cache
def _shared_engine(mode: str, begin: str, pragmas: tuple[str, ...]) -> Engine:
    class Moving(type(Path())):  # type: ignore[misc]
        def absolute(self) -> Path:
            return Path(_place["file"]).absolute()

    return _real_engine(Moving("store"), mode, begin, (*pragmas, "synchronous=OFF"))


@cache
def metrics() -> Metrics:
    """The metrics, made once, because making them takes long and nobody reads them here."""
    return Metrics()


@cache
def template() -> dict[str, bytes]:
    """The file of a new store, made once, so that the schema is not made for each world."""
    with tempfile.TemporaryDirectory() as folder:
        Store.open(Path(folder)).close()
        return {"store.sqlite3": (Path(folder) / "store.sqlite3").read_bytes()}


