"""The pool of worker processes, in the main process, which itself never parses what a citizen wrote.

``WorkerPool.run`` gives a batch to one free worker and comes back with what was done; several threads may
call it at once. A worker that dies, overruns a limit or lies is killed with its process group and replaced;
the `BatchResult` then says which message was running, which ones were not finished, and why. Repeating those
one by one (`run_one`) and counting deaths is the caller's affair.

Each answer is checked before it is believed (`hub.workers.answers`):

* it fits the models of `hub.job`, and it is about the job whose turn it is;
* every slice lies inside the output;
* every delivery goes to a recipient of the one rule it names, at that recipient's destination;
* of the facts, what is only the sender's word is left out.

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


class WorkerPool:
    """`count` workers. `runner` is ``module`` or ``module:function`` of ``process(job, bodies, out)``."""

    def __init__(self, count: int, settings: WorkerSettings | None = None,
                 runner: str = "hub.pipeline.process") -> None:
        self.count = count
        self.settings = settings or WorkerSettings()
        self.runner = runner
        self.network_dropped: bool | None = None
        self.deaths: dict[Why, int] = dict.fromkeys(Why, 0)
        self.recycled = 0
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="worker-starter")
        self._slots: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._alive: set[Worker] = set()
        self._stopped = False
        for _ in range(count):
            self._slots.put(None)

    def start(self) -> Self:
        """Start all workers and wait until they are ready. Raises `WorkerUnavailable`."""
        slots = [self._slots.get() or self._launch() for _ in range(self.count)]
        try:
            for worker in slots:
                self._ready(worker)
        except BaseException:
            for worker in slots:
                self._retire(worker, kill=True)
                self._slots.put(None)
            raise
        for worker in slots:
            self._slots.put(worker)
        return self

    def stop(self, seconds: float = 10.0) -> None:
        """Let running batches end within `seconds`, then end every worker. Later calls of `run` raise."""
        self._stopped = True
        deadline = time.monotonic() + seconds
        for _ in range(self.count):
            with suppress(queue.Empty):
                self._retire(self._slots.get(timeout=max(0.0, deadline - time.monotonic())))
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

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def run_one(self, job: Job, inputs: Sequence[int], out_fd: int) -> BatchResult:
        """One message alone, so that a death is its own."""
        return self.run([job], inputs, out_fd)

    def run(self, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int,
            heard: Callable[[], None] = lambda: None) -> BatchResult:
        """A batch on the next free worker. `inputs` and `out_fd` stay the caller's; the output grows at its
        end. `heard` is called after each answer: a batch may take long and get on all the same.

        Raises `WorkerUnavailable` when there is none, ValueError when there are too many inputs.
        """
        if len(inputs) >= MAX_FDS:
            raise ValueError(f"more than {MAX_FDS - 1} inputs")
        slot = self._slots.get()
        try:
            worker = self._ready(slot)
            slot = None  # whatever is raised now, this worker does not come back
            try:
                result, slot = self._run(worker, jobs, inputs, out_fd, heard)
            except BaseException:
                self._retire(worker, kill=True)
                raise
        finally:
            self._slots.put(slot)
        return result

    def _run(self, worker: Worker, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int,
             heard: Callable[[], None]) -> tuple[BatchResult, Worker | None]:
        outcomes: list[Outcome] = []
        failure: Failure | None = None
        try:
            failure = worker.work(jobs, inputs, out_fd, outcomes, heard)
        except Overrun as overrun:
            self.deaths[overrun.why] += 1
            self._retire(worker, kill=True)
            return _partial(jobs, outcomes, overrun.why, overrun.detail), self._replacement()
        if failure is not None:
            self.deaths[Why.FAILED] += 1
            result = _partial(jobs, outcomes, Why.FAILED, fault(failure))
        else:
            result = BatchResult(tuple(outcomes))
        if worker.served >= self.settings.recycle_jobs or worker.resident() > self.settings.recycle_bytes:
            self.recycled += 1
            self._retire(worker)
            return result, self._replacement()
        return result, worker

    def _ready(self, worker: Worker | None) -> Worker:
        """The slot's worker, or a new one, once it has said hello."""
        if self._stopped:
            raise WorkerUnavailable("the worker pool is stopping")
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
        except (OSError, RuntimeError) as error:
            raise WorkerUnavailable(f"no worker can be started: {error}") from error
        with self._lock:
            self._alive.add(worker)
        return worker

    def _replacement(self) -> Worker | None:
        """Started now, greeted by whoever needs it; None (try again then) when it cannot be started."""
        if self._stopped:
            return None
        try:
            return self._launch()
        except WorkerUnavailable:
            return None

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
