"""The pool of worker processes, in the main process, which itself never parses what a citizen wrote.

``WorkerPool.run`` gives a batch to one free worker and comes back with what was done; several threads may call it at
once. A worker that dies, overruns a limit or lies is killed with its process group and replaced; the `BatchResult` then
says which message was running, which ones were not finished, and why. Repeating those one by one (`run_one`) and
counting deaths is the caller's affair.

Each answer is checked before it is believed: it fits the models of `hub.job`; it is about the job whose turn it is;
every slice lies inside the output; every delivery goes to a recipient of the one rule it names, at that recipient's
destination. What is not checked here: the bytes of the output. A worker keeps its descriptor of the output for a while,
so whoever stores a slice must hash what is stored and compare with the answer's digest.

Hazard: Linux sends the parent-death signal when the *thread* that started the child ends. Workers are therefore started
by one thread that lives as long as the pool.
"""

from __future__ import annotations

import fcntl
import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hub.errors import HubError
from hub.job import Batch, Body, Job, OutDelivery, OutPart, Parked, Translated
from hub.message import Reason
from hub.workers.child import HEADER, MAX_FDS, MAX_FRAME, Confinement, Failure, Hello

_ROOT = str(Path(__file__).resolve().parents[2])
_BOOTSTRAP = "import sys; sys.path.insert(0, sys.argv.pop(1)); from hub.workers.child import main; main()"
# An XML tree is hundreds of equal small pieces, freed at once: glibc keeps 7 of a size at hand, which is a tenth slower.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent", "MALLOC_ARENA_MAX": "2",
                "GLIBC_TUNABLES": "glibc.malloc.tcache_count=500"}
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOK_SECONDS = 0.1
_SHORTEST_REST, _LONGEST_REST = 0.001, 0.02
_STDERR_KEPT = 64 * 1024
_PLACE = re.compile(rb'^  File "[^"\n]*?([\w.-]{1,60})", line (\d{1,7}) in ([\w<>]{1,60})$', re.MULTILINE)

Outcome = Translated | Parked
_ANSWER: TypeAdapter[Outcome] = TypeAdapter(Annotated[Translated | Parked, Field(discriminator="outcome")])
_GREETING: TypeAdapter[Hello | Failure] = TypeAdapter(Annotated[Hello | Failure, Field(discriminator="kind")])


class WorkerSettings(BaseModel):
    """What a worker may use, and when it is replaced."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_bytes: int = Field(default=1536 << 20, description="memory a worker may ask for (RLIMIT_DATA)")
    resident_bytes: int = Field(default=1792 << 20, description="resident memory at which the parent kills a worker")
    cpu_seconds: int = Field(default=60, ge=1, description="CPU time for one message")
    wall_seconds: float = Field(default=120, gt=0, description="time for one message")
    start_seconds: float = Field(default=60, gt=0, description="time until a new worker is ready")
    out_bytes: int = Field(default=2 << 30, description="size of the output of one batch")
    open_files: int = Field(default=512, description="descriptors a worker may have open")
    recycle_jobs: int = Field(default=5000, ge=1, description="messages after which a worker is replaced")
    recycle_bytes: int = Field(default=768 << 20, description="resident memory at which an idle worker is replaced")


class Why(StrEnum):
    """Why a batch did not come to its end: a bounded set, fit for a metric label."""

    TIME = "time"
    CPU = "cpu"
    MEMORY = "memory"
    DIED = "died"
    PROTOCOL = "protocol"  # an answer that is too long, malformed, or not true
    FAILED = "failed"  # an exception: a bug; the worker itself is well


@dataclass(frozen=True, slots=True)
class BatchResult:
    """`outcomes` are those of the first jobs, in order. `detail` names a signal, a class or a place in code only."""

    outcomes: tuple[Outcome, ...]
    unfinished: tuple[str, ...] = ()
    running: str | None = None
    why: Why | None = None
    detail: str = ""

    @property
    def complete(self) -> bool:
        """Every job has its outcome."""
        return self.why is None


class WorkerUnavailable(HubError):
    """No worker can be started now: a fault of the installation, never of a message."""


class _Overrun(Exception):
    """The worker cannot be used any more."""

    def __init__(self, why: Why, detail: str = "") -> None:
        super().__init__(f"{why}: {detail}")
        self.why = why
        self.detail = detail


def pack(contents: Iterable[bytes], index: int = 0) -> tuple[int, list[Body]]:
    """Small bodies in one sealed memory file; `index` is the place that its descriptor will have among the inputs."""
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

    def __init__(self, count: int, settings: WorkerSettings | None = None, runner: str = "hub.pipeline.process") -> None:
        self.count = count
        self.settings = settings or WorkerSettings()
        self.runner = runner
        self.network_dropped: bool | None = None
        self.deaths: dict[Why, int] = dict.fromkeys(Why, 0)
        self.recycled = 0
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="worker-starter")
        self._slots: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._alive: set[_Worker] = set()
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

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def run_one(self, job: Job, inputs: Sequence[int], out_fd: int) -> BatchResult:
        """One message alone, so that a death is its own."""
        return self.run([job], inputs, out_fd)

    def run(self, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int,
            heard: Callable[[], None] = lambda: None) -> BatchResult:
        """A batch on the next free worker. `inputs` and `out_fd` stay the caller's; the output grows at its end.
        `heard` is called after each answer: a batch may take long and get on all the same.

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

    def _run(self, worker: _Worker, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int,
             heard: Callable[[], None]) -> tuple[BatchResult, _Worker | None]:
        outcomes: list[Outcome] = []
        failure: Failure | None = None
        try:
            failure = worker.work(jobs, inputs, out_fd, outcomes, heard)
        except _Overrun as overrun:
            self.deaths[overrun.why] += 1
            self._retire(worker, kill=True)
            return _partial(jobs, outcomes, overrun.why, overrun.detail), self._replacement()
        if failure is not None:
            self.deaths[Why.FAILED] += 1
            result = _partial(jobs, outcomes, Why.FAILED, f"{_word(failure.error)} ({_word(failure.place)})")
        else:
            result = BatchResult(tuple(outcomes))
        if worker.served >= self.settings.recycle_jobs or worker.resident() > self.settings.recycle_bytes:
            self.recycled += 1
            self._retire(worker)
            return result, self._replacement()
        return result, worker

    def _ready(self, worker: _Worker | None) -> _Worker:
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

    def _launch(self) -> _Worker:
        """A new process, by the one thread whose end would kill it."""
        try:
            worker = self._starter.submit(_Worker, self.settings, self.runner).result()
        except (OSError, RuntimeError) as error:
            raise WorkerUnavailable(f"no worker can be started: {error}") from error
        with self._lock:
            self._alive.add(worker)
        return worker

    def _replacement(self) -> _Worker | None:
        """Started now, greeted by whoever needs it; None (try again then) when it cannot be started."""
        if self._stopped:
            return None
        try:
            return self._launch()
        except WorkerUnavailable:
            return None

    def _retire(self, worker: _Worker | None, *, kill: bool = False) -> None:
        if worker is None:
            return
        with self._lock:  # from here on nobody else touches it: its process id may soon be another's
            if worker not in self._alive:
                return
            self._alive.remove(worker)
        worker.close(kill=kill)


def _partial(jobs: Sequence[Job], outcomes: Sequence[Outcome], why: Why, detail: str) -> BatchResult:
    unfinished = tuple(job.message_id for job in jobs[len(outcomes):])
    return BatchResult(tuple(outcomes), unfinished, unfinished[0] if unfinished else None, why, detail)


def _word(text: str) -> str:
    """Text of a worker that names code; whatever else it holds is cut out."""
    return re.sub(r"[^\w.:<> -]", "", text)[:200]


class _Worker:
    """One process and its socket."""

    def __init__(self, settings: WorkerSettings, runner: str) -> None:
        self._settings = settings
        self.greeted = False
        self.served = 0
        self._stderr = bytearray()
        self._received = bytearray()
        self._buffer = bytearray(64 * 1024)
        bounds = Confinement(runner=runner, parent=os.getpid(), data_bytes=settings.data_bytes,
                             cpu_seconds=settings.cpu_seconds, out_bytes=settings.out_bytes,
                             open_files=settings.open_files)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOTSTRAP, _ROOT, str(theirs.fileno()), bounds.model_dump_json()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_ENVIRONMENT, cwd="/",
                pass_fds=(theirs.fileno(),), start_new_session=True, bufsize=0)
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()
        assert self._process.stderr is not None  # noqa: S101  # for the type
        self._errors = self._process.stderr
        os.set_blocking(self._errors.fileno(), False)
        self._channel.setblocking(False)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._statm = os.open(f"/proc/{self._process.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._errors, select.POLLIN)
        self._poll.register(self._pidfd, select.POLLIN)  # what it started may hold its socket open when it is dead

    def greet(self) -> bool:
        """Wait for the hello; whether the network is gone. Raises `WorkerUnavailable`."""
        try:
            hello = _GREETING.validate_json(self._receive(time.monotonic() + self._settings.start_seconds))
        except _Overrun as overrun:
            raise WorkerUnavailable(f"a worker did not start ({overrun.why} {overrun.detail})") from overrun
        except ValidationError as error:
            raise WorkerUnavailable("a worker's greeting is malformed") from error
        if isinstance(hello, Failure):
            raise WorkerUnavailable(
                f"the worker's engine cannot be loaded: {_word(hello.error)} ({_word(hello.place)})")
        self.greeted = True
        return hello.network_dropped

    def quiet(self) -> bool:
        """Alive and silent, as an idle worker has to be; one that died meanwhile costs no message anything."""
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        return not self._received and not waiting.poll(0)

    def work(self, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int, outcomes: list[Outcome],
             heard: Callable[[], None]) -> Failure | None:
        """Fill `outcomes` one by one. Raises `_Overrun`."""
        frame = Batch.frame(jobs)
        if len(frame) > MAX_FRAME:
            raise ValueError("the batch is too large for a frame")
        self._send(frame, [*inputs, out_fd], time.monotonic() + self._settings.wall_seconds)
        began = time.monotonic()
        for number, job in enumerate(jobs):
            if number:
                self._rest((time.monotonic() - began) / number * (len(jobs) - number) / 2)
            answer = self._receive(time.monotonic() + self._settings.wall_seconds)
            try:
                if answer.startswith(b'{"kind"'):
                    return Failure.model_validate_json(answer)
                outcome = _ANSWER.validate_json(answer)
            except ValidationError as error:
                raise _Overrun(Why.PROTOCOL, "the answer is malformed") from error
            lie = check(job, outcome, os.fstat(out_fd).st_size)
            if lie:
                raise _Overrun(Why.PROTOCOL, lie)
            outcomes.append(outcome)
            self.served += 1
            heard()
        return None

    def resident(self) -> int:
        """Resident memory in bytes; 0 when the process is gone."""
        try:
            return int(os.pread(self._statm, 100, 0).split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def kill(self) -> None:
        """End the process and what it started. Never after `close`: its id may be another's by then."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self, *, kill: bool = False) -> None:
        """End the process: by closing its socket, or (`kill`, or after two seconds) by force.

        It is waited for last, so that its id, which is also the group's, stays its own while anything of it lives.
        """
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        if not kill:
            self._ended(2.0)
        self.kill()
        self._process.wait()
        self._channel.close()
        self._errors.close()
        os.close(self._statm)
        os.close(self._pidfd)

    def _ended(self, seconds: float) -> os.waitid_result | None:
        """How the process ended, without taking its id away; None when it has not."""
        waiting = select.poll()
        waiting.register(self._pidfd, select.POLLIN)
        waiting.poll(seconds * 1000)
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)

    def _send(self, frame: bytes, fds: Sequence[int], deadline: float) -> None:
        header = HEADER.pack(len(frame))
        sent = self._transfer(select.POLLOUT, deadline, lambda: socket.send_fds(self._channel, [header], fds))
        view = memoryview(header[sent:] + frame)
        while view:
            view = view[self._transfer(select.POLLOUT, deadline, lambda: self._channel.send(view)):]  # noqa: B023

    def _rest(self, seconds: float) -> None:
        """Let answers gather in the socket, where they outlive their worker: being woken for each costs more than reading it.
        Half of what the rest of a batch may take is slept, so that its end is hardly noticed late."""
        if not self._received and seconds >= _SHORTEST_REST:
            self._poll.register(self._channel, 0)  # its end wakes all the same
            self._poll.poll(min(seconds, _LONGEST_REST) * 1000)

    def _receive(self, deadline: float) -> bytes:
        while True:
            if len(self._received) >= HEADER.size:
                (length,) = HEADER.unpack_from(self._received)
                if length > MAX_FRAME:
                    raise _Overrun(Why.PROTOCOL, "the answer is too long")
                end = HEADER.size + length
                if len(self._received) >= end:
                    frame = bytes(self._received[HEADER.size:end])
                    del self._received[:end]
                    return frame
            self._transfer(select.POLLIN, deadline, self._take)

    def _take(self) -> int:
        count = self._channel.recv_into(self._buffer)
        self._received += memoryview(self._buffer)[:count]
        return count

    def _transfer(self, events: int, deadline: float, act: Callable[[], int]) -> int:
        """`act` once the socket allows it, meanwhile watching time, memory and the error pipe. Raises `_Overrun`."""
        self._poll.register(self._channel, events)
        looked = time.monotonic()
        while True:
            ready = dict(self._poll.poll(_LOOK_SECONDS * 1000))
            if self._errors.fileno() in ready:
                self._drain()
            if time.monotonic() - looked >= _LOOK_SECONDS or not ready:
                looked = time.monotonic()
                if self.resident() > self._settings.resident_bytes:
                    raise _Overrun(Why.MEMORY, "resident memory")
            if time.monotonic() > deadline:
                raise _Overrun(Why.TIME, "")
            if self._channel.fileno() in ready:
                try:
                    count = act()
                except BlockingIOError:
                    continue  # a false alarm of poll
                except OSError:
                    raise self._death() from None
                if not count:
                    raise self._death()
                return count
            if self._pidfd in ready:
                raise self._death()

    def _drain(self) -> None:
        """Empty the error pipe, so that the worker never waits for it; of the text only the first bytes are kept."""
        data = self._errors.read(_STDERR_KEPT)
        if data:
            self._stderr += data[:_STDERR_KEPT - len(self._stderr)]
        elif data == b"":
            self._poll.unregister(self._errors)

    def _death(self) -> _Overrun:
        """The socket ended: how the process died. Its error pipe may carry a citizen's data: only code places pass."""
        end = self._ended(2.0)
        with suppress(KeyError, ValueError):
            self._drain()
        place = _PLACE.search(self._stderr)
        where = f" at {place[1].decode()}:{place[2].decode()} in {place[3].decode()}" if place else ""
        if end is None:
            return _Overrun(Why.PROTOCOL, "closed its socket")
        if end.si_code == os.CLD_EXITED:
            return _Overrun(Why.DIED, f"exit {end.si_status}{where}")
        if end.si_status == signal.SIGXCPU:
            return _Overrun(Why.CPU, where.strip())
        return _Overrun(Why.DIED, f"{signal.Signals(end.si_status).name}{where}")


def check(job: Job, outcome: Outcome, out_size: int) -> str | None:
    """What about an answer is not true, or None: a compromised worker must not send one town's data to another."""
    if outcome.message_id != job.message_id:
        return "the answer is about another message"
    if job.test and not outcome.facts.test:
        return "a test is no test any more"
    if isinstance(outcome, Parked):
        return None if outcome.reason in {reason.value for reason in Reason} else "unknown reason"
    rule = next((rule for rule in job.rules if rule.id == outcome.rule), None)
    if rule is None or rule.mapping_digest != outcome.mapping_digest:
        return "the rule is none of the job's"
    allowed = {(recipient.name, recipient.destination) for recipient in rule.recipients}
    for attachment in outcome.attachments:
        if not _inside(attachment.body, attachment.size, out_size):
            return "an attachment lies outside of the output"
    for delivery in outcome.deliveries:
        if (delivery.recipient, delivery.destination) not in allowed:
            return "a recipient is none of the rule's"
        lie = _check_parts(job, outcome, delivery, out_size)
        if lie:
            return lie
    return None


def _check_parts(job: Job, outcome: Translated, delivery: OutDelivery, out_size: int) -> str | None:
    for part in delivery.parts:
        sources = (part.body, part.attachment, part.received)
        if sum(source is not None for source in sources) != 1:
            return "a part has not exactly one source"
        if not _source_exists(job, outcome, part, out_size):
            return "a part has no source"
    return None


def _source_exists(job: Job, outcome: Translated, part: OutPart, out_size: int) -> bool:
    if part.body is not None:
        return _inside(part.body, part.size, out_size)
    if part.attachment is not None:
        return (part.attachment < len(outcome.attachments)
                and (part.size, part.sha256) == (outcome.attachments[part.attachment].size,
                                                 outcome.attachments[part.attachment].sha256))
    if part.received is None or part.received >= len(job.parts):
        return False
    received = job.parts[part.received]
    return (part.size, part.sha256) == (received.body.length, received.sha256)


def _inside(body: Body, size: int, out_size: int) -> bool:
    return body.fd == 0 and body.length == size and body.offset + body.length <= out_size
