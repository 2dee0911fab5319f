"""One worker process, seen from the hub: started, asked, watched, ended."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hub.errors import HubError
from hub.i18n.sentence import Name, Sentence, say
from hub.job import Answer, Batch, Job, Outcome, Parked, Rendered, Split
from hub.workers.answers import check, taken
from hub.workers.frames import HEADER, MAX_FRAME, Confinement, Failure, Hello

_ROOT = str(Path(__file__).resolve().parents[2])
_BOOTSTRAP = "import sys; sys.path.insert(0, sys.argv.pop(1)); from hub.workers.child import main; main()"
# An XML tree is hundreds of equal small pieces, freed at once: glibc keeps 7 of a size at hand, which is a
# tenth slower.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent", "MALLOC_ARENA_MAX": "2",
                "GLIBC_TUNABLES": "glibc.malloc.tcache_count=500"}
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOK_SECONDS = 0.1
_SHORTEST_REST, _LONGEST_REST = 0.001, 0.02
_STDERR_KEPT = 64 * 1024
_PLACE = re.compile(rb'^  File "(/[^"\n]{1,400})", line (\d{1,5}) in', re.MULTILINE)
_CODE = (_ROOT, sys.prefix, sys.base_prefix)

_ANSWER: TypeAdapter[Answer] = TypeAdapter(
    Annotated[Rendered | Parked | Split, Field(discriminator="outcome")])
_GREETING: TypeAdapter[Hello | Failure] = TypeAdapter(Annotated[Hello | Failure, Field(discriminator="kind")])


NOTHING = say("")


class WorkerSettings(BaseModel):
    """What a worker may use, and when it is replaced."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_bytes: int = Field(default=1536 << 20, description="memory a worker may ask for (RLIMIT_DATA)")
    resident_bytes: int = Field(default=1792 << 20,
                                description="resident memory at which the parent kills a worker")
    cpu_seconds: int = Field(default=60, ge=1, description="CPU time for one message")
    wall_seconds: float = Field(default=120, gt=0, description="time for one message")
    start_seconds: float = Field(default=60, gt=0, description="time until a new worker is ready")
    out_bytes: int = Field(default=2 << 30, description="size of the output of one batch")
    open_files: int = Field(default=512, description="descriptors a worker may have open")
    recycle_jobs: int = Field(default=5000, ge=1, description="messages after which a worker is replaced")
    recycle_bytes: int = Field(default=768 << 20,
                               description="resident memory at which an idle worker is replaced")


class Why(StrEnum):
    """Why a batch did not come to its end: a bounded set, fit for a metric label."""

    TIME = "time"
    CPU = "cpu"
    MEMORY = "memory"
    DIED = "died"
    PROTOCOL = "protocol"  # an answer that is too long, malformed, or not true
    FAILED = "failed"  # an exception: a bug; the worker itself is well


class WorkerUnavailable(HubError):
    """No worker can be started now: a fault of the installation, never of a message."""


class Overrun(Exception):
    """The worker cannot be used any more."""

    def __init__(self, why: Why, detail: Sentence = NOTHING) -> None:
        super().__init__(f"{why}: {detail}")
        self.why = why
        self.detail = detail


def fault(failure: Failure) -> Sentence:
    """Class and place of an exception as a worker named them; what is no name of code is left out."""
    error = failure.error if re.fullmatch(r"[A-Za-z_]\w{0,99}", failure.error, re.ASCII) else "?"
    place = re.fullmatch(r"([\w.-]{1,60}):(\d{1,7}) in ([\w<>]{1,60})", failure.place, re.ASCII)
    return say("{error} ({place})", error=Name(error), place=Name(place[0] if place else "?"))


class Worker:
    """One process and its socket.

    Making one raises OSError when the machine refuses it (processes, memory, descriptors, a missing
    interpreter). Nothing of it is left then.
    """

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
        with ExitStack() as undo:
            undo.callback(self._channel.close)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _BOOTSTRAP, _ROOT, str(theirs.fileno()),
                     bounds.model_dump_json()],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                    env=_ENVIRONMENT, cwd="/",
                    pass_fds=(theirs.fileno(),), start_new_session=True, bufsize=0)
            finally:
                theirs.close()
            undo.callback(self._process.wait)
            undo.callback(self.kill)
            assert self._process.stderr is not None  # noqa: S101  # for the type
            self._errors = self._process.stderr
            undo.callback(self._errors.close)
            os.set_blocking(self._errors.fileno(), False)
            self._channel.setblocking(False)
            self._pidfd = os.pidfd_open(self._process.pid)
            undo.callback(os.close, self._pidfd)
            self._statm = os.open(f"/proc/{self._process.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
            undo.pop_all()
        self._poll = select.poll()
        self._poll.register(self._errors, select.POLLIN)
        # what it started may hold its socket open when it is dead
        self._poll.register(self._pidfd, select.POLLIN)

    def greet(self) -> bool:
        """Wait for the hello; whether the network is gone. Raises `WorkerUnavailable`."""
        try:
            hello = _GREETING.validate_json(self._receive(time.monotonic() + self._settings.start_seconds))
        except Overrun as overrun:
            raise WorkerUnavailable(f"a worker did not start ({overrun.why} {overrun.detail})") from overrun
        except ValidationError as error:
            raise WorkerUnavailable("a worker's greeting is malformed") from error
        if isinstance(hello, Failure):
            raise WorkerUnavailable(f"the worker's engine cannot be loaded: {fault(hello)}")
        self.greeted = True
        return hello.network_dropped

    def quiet(self) -> bool:
        """Alive and silent, as an idle worker has to be. One that died meanwhile costs no message
        anything."""
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        return not self._received and not waiting.poll(0)

    def work(self, jobs: Sequence[Job], inputs: Sequence[int], out_fd: int, outcomes: list[Outcome],
             heard: Callable[[], None]) -> Failure | None:
        """Fill `outcomes` one by one. Raises `Overrun`."""
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
                said = _ANSWER.validate_json(answer)
            except ValidationError as error:
                raise Overrun(Why.PROTOCOL, say("the answer is malformed")) from error
            lie = check(job, said, os.fstat(out_fd).st_size)
            if lie:
                raise Overrun(Why.PROTOCOL, lie)
            outcomes.append(taken(job, said))
            self.served += 1
            heard()
        return None

    @property
    def ended(self) -> bool:
        """Whether the process is gone and waited for."""
        return self._process.returncode is not None

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

        It is waited for last, so that its id, which is also the group's, stays its own while anything of it
        lives.
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
            count = self._transfer(select.POLLOUT, deadline, lambda: self._channel.send(view))  # noqa: B023
            view = view[count:]

    def _rest(self, seconds: float) -> None:
        """Let answers gather in the socket, where they outlive their worker: being woken for each costs more
        than reading it. Half of what the rest of a batch may take is slept. So its end is hardly noticed
        late."""
        if not self._received and seconds >= _SHORTEST_REST:
            self._poll.register(self._channel, 0)  # its end wakes all the same
            self._poll.poll(min(seconds, _LONGEST_REST) * 1000)

    def _receive(self, deadline: float) -> bytes:
        while True:
            if len(self._received) >= HEADER.size:
                (length,) = HEADER.unpack_from(self._received)
                if length > MAX_FRAME:
                    raise Overrun(Why.PROTOCOL, say("the answer is too long"))
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
        """Call `act` once the socket allows it. Watch time, memory and the error pipe meanwhile. Raises
        `Overrun`."""
        self._poll.register(self._channel, events)
        looked = time.monotonic()
        while True:
            ready = dict(self._poll.poll(_LOOK_SECONDS * 1000))
            if self._errors.fileno() in ready:
                self._drain()
            if time.monotonic() - looked >= _LOOK_SECONDS or not ready:
                looked = time.monotonic()
                if self.resident() > self._settings.resident_bytes:
                    raise Overrun(Why.MEMORY, say("resident memory"))
            if time.monotonic() > deadline:
                raise Overrun(Why.TIME)
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
        """Empty the error pipe, so that the worker never waits for it. Only the first bytes are kept."""
        data = self._errors.read(_STDERR_KEPT)
        if data:
            self._stderr += data[:_STDERR_KEPT - len(self._stderr)]
        elif data == b"":
            self._poll.unregister(self._errors)

    def _death(self) -> Overrun:
        """The socket ended: how the process died."""
        end = self._ended(2.0)
        with suppress(KeyError, ValueError):
            self._drain()
        where = self._where()
        if end is None:
            return Overrun(Why.PROTOCOL, say("closed its socket"))
        if end.si_code == os.CLD_EXITED:
            return Overrun(Why.DIED, say("exit {status}{where}", status=end.si_status, where=where))
        if end.si_status == signal.SIGXCPU:
            return Overrun(Why.CPU, where)
        return Overrun(Why.DIED, say("{signal}{where}", signal=Name(signal.Signals(end.si_status).name),
                                     where=where))

    def _where(self) -> Sentence:
        """Where in code it died, from its error pipe. An engine may have written a citizen's value there, so
        only the line of a file passes that is there and is code."""
        for place in _PLACE.finditer(self._stderr):
            file = Path(place[1].decode("utf-8", "replace"))
            if file.suffix == ".py" and any(map(file.is_relative_to, _CODE)) and file.is_file():
                return say(" at {file}:{line}", file=Name(file.name), line=int(place[2]))
        return NOTHING
