"""The pool of worker processes, in the main process, which itself never parses what a citizen wrote.

``WorkerPool.run`` gives a batch to one free worker and comes back with what was done; several threads may
call it at once. A worker that dies, overruns a limit or lies is killed with its process group and replaced;
the `BatchResult` then says which message was running, which ones were not finished, and why. Repeating those
one by one (`run_one`) and counting deaths is the caller's affair.

Each answer is checked before it is believed, and what the rule says is taken from the rule
(`hub.workers.answers`).

What is not checked here: the bytes of the output. A worker keeps its descriptor of the output for a while, so
whoever stores a slice must hash what is stored and compare with the answer's digest. Nor can the text of a
reason be checked: a worker that was taken over could put anything into it.

Hazard: Linux sends the parent-death signal when the *thread* that started the child ends. Workers are
therefore started by one thread that lives as long as the pool.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from hub.i18n.sentence import Sentence
from hub.job import Body, Job, Outcome
from hub.workers.frames import MAX_FDS, Failure
from hub.workers.process import NOTHING, Overrun, Why, Worker, WorkerSettings, WorkerUnavailable, fault


@dataclass(frozen=True, slots=True)
class BatchResult:
    """`outcomes` are those of the first jobs, in order. `detail` names a signal, a class or a place in code
    only."""

    outcomes: tuple[Outcome, ...]
    unfinished: tuple[str, ...] = ()
    running: str | None = None
    why: Why | None = None
    detail: Sentence = NOTHING

    @property
    def complete(self) -> bool:
        """Every job has its outcome."""
        return self.why is None


def pack(contents: Iterable[bytes], index: int = 0) -> tuple[int, list[Body]]:
    """Small bodies in one sealed memory file; `index` is the place that its descriptor will have among the
    inputs."""
    fd = os.memfd_create("bodies", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    bodies, offset = [], 0
    with open(fd, "wb", closefd=False) as file:  # a descriptor
        for content in contents:
            file.write(content)
            bodies.append(Body(fd=index, offset=offset, length=len(content)))
            offset += len(content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS,
                fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return fd, bodies


RETRY = 5.0
"""Seconds after which an idle pool tries again to start a worker that could not be started."""


class _Slot:
    """A place for one worker. It is empty before anything that may fail, so no failure is left in it."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.why = ""
        """Why it could not be filled the last time; empty when it could."""
        self.broken = False
        """A worker came and could not load its engine. Only an answered batch shows that it is mended."""
        self.failed_at = 0.0

    def failed(self, why: str) -> None:
        """Nothing could fill it, for this reason."""
        self.why, self.failed_at = why, time.monotonic()

    def works(self) -> None:
        """Its worker answered, or came where none could be started."""
        self.why, self.broken = "", False


class WorkerPool:
    """`count` workers. `runner` is ``module`` or ``module:function`` of ``process(job, bodies, out)``."""

    def __init__(self, count: int, settings: WorkerSettings | None = None,
                 runner: str = "hub.pipeline.process") -> None:
        """Raises `WorkerUnavailable` when the machine refuses a thread."""
        self.count = count
        self.settings = settings or WorkerSettings()
        self.runner = runner
        self.network_dropped: bool | None = None
        self.deaths: dict[Why, int] = dict.fromkeys(Why, 0)
        self.recycled = 0
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="worker-starter")
        try:
            self._starter.submit(int).result()  # its thread is there from now on, whatever is refused later
        except RuntimeError as error:
            raise WorkerUnavailable(f"no worker can be started: {error}") from error
        self._lock = threading.Lock()
        self._alive: set[Worker] = set()
        self._stopped = False
        self._all = tuple(_Slot() for _ in range(count))
        self._slots: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        for slot in self._all:
            self._slots.put(slot)

    def start(self) -> Self:
        """Start all workers and wait until they are ready. Raises `WorkerUnavailable`."""
        slots = [self._slots.get() for _ in range(self.count)]
        try:
            for slot in slots:
                slot.worker = slot.worker or self._launch()
            for slot in slots:
                self._fill(slot)
        except BaseException:
            for slot in slots:
                self._retire(slot.worker, kill=True)
                slot.worker = None
            raise
        finally:
            for slot in slots:
                self._slots.put(slot)
        return self

    def stop(self, seconds: float = 10.0) -> None:
        """Let running batches end within `seconds`, then end every worker. Later calls of `run` raise."""
        self._stopped = True
        deadline = time.monotonic() + seconds
        for _ in range(self.count):
            with suppress(queue.Empty):
                self._retire(self._slots.get(timeout=max(0.0, deadline - time.monotonic())).worker)
        with self._lock:
            for worker in self._alive:  # its `run` sees the end of the socket, and cleans up
                worker.kill()
        self._starter.shutdown()

    @property
    def alive(self) -> frozenset[Worker]:
        """The processes that were started and not yet ended."""
        with self._lock:
            return frozenset(self._alive)

    @property
    def busy(self) -> bool:
        """Whether every worker has a batch."""
        return self._slots.empty()

    @property
    def missing(self) -> tuple[str, ...]:
        """For each worker that could not be started: why. `run` and `refill` try again."""
        return tuple(slot.why for slot in self._all if slot.why)

    def problems(self) -> list[str]:
        """What is to be said of the missing workers."""
        missing = self.missing
        return ([f"workers: {len(missing)} of {self.count} cannot be started; messages wait: {missing[0]}"]
                if missing else [])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def refill(self) -> list[str]:
        """Start what is missing of the free workers, and replace those that died while idle. Never raises.

        Gives what went wrong now. A slot that could not be filled is tried again after `RETRY` seconds.
        """
        problems = []
        for _ in range(self.count):
            try:
                slot = self._slots.get_nowait()
            except queue.Empty:
                break
            try:
                if not self._stopped and not (slot.why and time.monotonic() < slot.failed_at + RETRY):
                    self._fill(slot)
            except WorkerUnavailable as error:
                problems.append(str(error))
            finally:
                self._slots.put(slot)
        return problems

    def run_one(self, job: Job, inputs: Sequence[int], out_fd: int) -> BatchResult:
        """One message alone, so that a death is its own."""
        return self.run([job], inputs, out_fd)

    def run(self, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int,
            heard: Callable[[], None] = lambda: None) -> BatchResult:
        """A batch on the next free worker. `inputs` and `out_fd` stay the caller's; the output grows at its
        end. `heard` is called after each answer: a batch may take long and get on all the same.

        Raises `WorkerUnavailable` when there is none: no message is to blame, and the same batch may be tried
        again. Raises ValueError when there are too many inputs.
        """
        return self._batch(jobs, inputs, out_fd, heard)

    def rehearse(self, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int) -> BatchResult:
        """`run` for what is no message: a mapping under review. Faults that are armed at `run` are for
        messages (`hub.failpoints`)."""
        return self._batch(jobs, inputs, out_fd, lambda: None)

    def _batch(self, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int,
               heard: Callable[[], None]) -> BatchResult:
        if len(inputs) >= MAX_FDS:
            raise ValueError(f"more than {MAX_FDS - 1} inputs")
        slot = self._slots.get()
        try:
            worker = self._fill(slot)
            slot.worker = None  # whatever is raised now, this worker does not come back
            try:
                return self._run(slot, worker, jobs, inputs, out_fd, heard)
            except BaseException:
                self._retire(worker, kill=True)
                raise
        finally:
            self._slots.put(slot)

    def _run(self, slot: _Slot, worker: Worker, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int,
             heard: Callable[[], None]) -> BatchResult:
        outcomes: list[Outcome] = []
        failure: Failure | None = None
        try:
            failure = worker.work(jobs, inputs, out_fd, outcomes, heard)
        except Overrun as overrun:
            self.deaths[overrun.why] += 1
            self._retire(worker, kill=True)
            self._replace(slot)
            return _partial(jobs, outcomes, overrun.why, overrun.detail)
        if failure is not None and failure.kind == "broken":
            slot.broken = True
            slot.failed(f"the worker's engine cannot be loaded: {fault(failure)}")
            raise WorkerUnavailable(slot.why)
        if failure is not None:
            self.deaths[Why.FAILED] += 1
            result = _partial(jobs, outcomes, Why.FAILED, fault(failure))
        else:
            slot.works()
            result = BatchResult(tuple(outcomes))
        if worker.served >= self.settings.recycle_jobs or worker.resident() > self.settings.recycle_bytes:
            self.recycled += 1
            self._retire(worker)
            self._replace(slot)
        else:
            slot.worker = worker
        return result

    def _fill(self, slot: _Slot) -> Worker:
        """The slot's worker, or a new one, once it has said hello. The slot is empty where this raises.

        Raises `WorkerUnavailable` whatever goes wrong: no message has been sent yet.
        """
        worker, slot.worker = slot.worker, None
        if self._stopped:
            self._retire(worker)
            raise WorkerUnavailable("the worker pool is stopping")
        try:
            slot.worker = self._ready(worker)
        except Exception as error:
            slot.failed(str(error) if isinstance(error, WorkerUnavailable)
                        else f"a worker did not start ({type(error).__name__})")
            raise WorkerUnavailable(slot.why) from error
        if not slot.broken:
            slot.works()
        return slot.worker

    def _ready(self, worker: Worker | None) -> Worker:
        if worker is not None and worker.greeted and not worker.quiet():
            self.deaths[Why.DIED] += 1
            self._retire(worker, kill=True)
            worker = None
        worker = worker or self._launch()
        if not worker.greeted:
            try:
                dropped = worker.greet()
            except BaseException:
                self._retire(worker, kill=True)
                raise
            self.network_dropped = dropped and self.network_dropped is not False
        return worker

    def _launch(self) -> Worker:
        """A new process, by the one thread whose end would kill it."""
        try:
            worker = self._starter.submit(Worker, self.settings, self.runner).result()
        except Exception as error:
            why = str(error) if isinstance(error, (OSError, RuntimeError)) else type(error).__name__
            raise WorkerUnavailable(f"no worker can be started: {why}") from error
        with self._lock:
            self._alive.add(worker)
        return worker

    def _replace(self, slot: _Slot) -> None:
        """Start another one now; whoever needs it greets it. The slot stays empty when it cannot be
        started."""
        if self._stopped:
            return
        try:
            slot.worker = self._launch()
        except WorkerUnavailable as error:
            slot.failed(str(error))

    def _retire(self, worker: Worker | None, *, kill: bool = False) -> None:
        if worker is None:
            return
        with self._lock:  # from here on nobody else touches it: its process id may soon be another's
            if worker not in self._alive:
                return
            self._alive.remove(worker)
        worker.close(kill=kill)


def _partial(jobs: Sequence[Job], outcomes: Sequence[Outcome], why: Why, detail: Sentence) -> BatchResult:
    unfinished = tuple(job.message_id for job in jobs[len(outcomes):])
    return BatchResult(tuple(outcomes), unfinished, unfinished[0] if unfinished else None, why, detail)
