"""The worker: a process without secrets, database or network. It reads what citizens wrote.

It is started by `hub.workers.pool`, with a cleared environment and one socket, as
``python -I -c <bootstrap> <root> <socket> <confinement>``. It says hello once its engine is loaded. Then it
answers each batch with one frame per job, in order: the answers that came tell which job is running. It ends
when the socket does.

A frame is four bytes of length and JSON. Bodies travel beside it as descriptors; nothing received is ever
code.

What is confined, in this order (each step needs the earlier ones): the network is unshared where the kernel
allows it (`Hello.network_dropped`); no new privileges; death with the parent; no core dump; limits on data,
output, descriptors and, before each job anew, CPU time. RLIMIT_DATA and not RLIMIT_AS, because saxonche maps
34 GB of address space.

BUGS: RLIMIT_NPROC does not bind root and counts threads, so it is not set: a fork bomb is bounded by the
unit's TasksMax and by the parent, which kills the whole process group. The worker has the hub's user, so what
that user may read it may read too.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import gc
import importlib
import mmap
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from hub.i18n.sentence import say
from hub.job import Batch, Body, Facts, Job, Outcome, Parked, Process, Rendered, Translated
from hub.message import Reason
from hub.workers.frames import Confinement, Failure, Hello, receive, send

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_NO_NEW_PRIVS = 1, 15, 38


class Bodies:
    """The bodies of a batch, by the descriptors that came with it."""

    def __init__(self, fds: Sequence[int]) -> None:
        self._fds = fds
        self._maps: dict[int, memoryview] = {}

    def __call__(self, body: Body) -> bytes | memoryview:
        """The bytes of a slice, nothing of them copied. Raises EOFError when it is short."""
        content = self._map(body.fd)[body.offset:body.offset + body.length] if body.length else b""
        if len(content) != body.length:
            raise EOFError("a body is shorter than announced")
        return content

    def _map(self, fd: int) -> memoryview:
        if fd not in self._maps:
            size = os.fstat(self._fds[fd]).st_size
            self._maps[fd] = memoryview(
                mmap.mmap(self._fds[fd], size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) if size else b"")
        return self._maps[fd]


class OutFile:
    """The output of a batch: grows at its end, whatever other holders of the descriptor do with its
    offset."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._end = os.fstat(fd).st_size

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append all of it. Raises OSError (EFBIG, ENOSPC)."""
        view = memoryview(data)
        size = view.nbytes
        while view:
            count = os.pwrite(self._fd, view, self._end)
            self._end += count
            view = view[count:]
        return size

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._end

    def truncate(self, size: int) -> None:
        """Forget what was written after `size`."""
        os.ftruncate(self._fd, size)
        self._end = size


def main() -> None:
    """Serve batches until the socket ends."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    bounds = Confinement.model_validate_json(sys.argv[2])
    dropped = confine(bounds)
    try:
        process = load(bounds.runner)
    except Exception as error:  # noqa: BLE001  # reported to the parent, which raises
        send(channel, _failure("broken", error))
        return
    gc.collect()
    gc.freeze()
    send(channel, Hello(network_dropped=dropped).model_dump_json().encode())
    while (received := receive(channel)) is not None:
        frame, fds = received
        try:
            serve(channel, process, Batch.read(frame), fds, bounds)
        finally:
            for fd in fds:
                os.close(fd)


def confine(bounds: Confinement) -> bool:
    """Give up what is not needed; whether the network is gone.

    unshare comes first: it must find a single thread, and changed credentials would clear the death signal.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    dropped: bool = libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_PDEATHSIG, int(signal.SIGKILL))):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    libc.prctl(_PR_SET_NAME, b"drehscheibe-wrk", 0, 0, 0)
    if os.getppid() != bounds.parent:  # it died before the death signal was asked for
        sys.exit(0)
    for limit, wanted in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_DATA, bounds.data_bytes),
                          (resource.RLIMIT_FSIZE, bounds.out_bytes),
                          (resource.RLIMIT_NOFILE, bounds.open_files)):
        _, hard = resource.getrlimit(limit)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(limit, (value, value))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's to handle
    faulthandler.enable()
    return dropped


def load(runner: str) -> Process:
    """The function named ``module`` (its ``process``) or ``module:function``."""
    module, _, name = runner.partition(":")
    process: Process = getattr(importlib.import_module(module), name or "process")
    return process


def serve(channel: socket.socket, process: Process, jobs: Sequence[Job], fds: Sequence[int],
          bounds: Confinement) -> None:
    """Answer each job of a batch; the last descriptor is the output, and stands at its end."""
    bodies, out = Bodies(fds[:-1]), OutFile(fds[-1])
    for job in jobs:
        raise_cpu_limit(bounds.cpu_seconds)
        try:
            outcome = run(process, job, bodies, out, alone=len(jobs) == 1)
        except ImportError as error:  # a part of the installation is missing: no message can be blamed
            send(channel, _failure("broken", error))
            return
        except Exception as error:  # noqa: BLE001  # a bug, told by class and place; its text may carry data
            send(channel, _failure("failed", error))
            return
        send(channel, Rendered.frame(outcome) if isinstance(outcome, Translated)
             else outcome.model_dump_json().encode())


def run(process: Process, job: Job, bodies: Bodies, out: OutFile, *, alone: bool) -> Outcome:
    """The outcome of one job. Exhausted memory or output is the message's own fault only if it ran alone."""
    start = out.tell()
    try:
        outcome = process(job, bodies, out)
    except (MemoryError, OSError) as error:
        if not alone or (isinstance(error, OSError) and error.errno not in (errno.EFBIG, errno.ENOMEM)):
            raise
        outcome = Parked(message_id=job.message_id, facts=Facts(source=None, test=job.test),
                         reason=Reason.RUNAWAY,
                         text=say("Die Verarbeitung überschritt ihre Grenzen an Arbeitsspeicher oder "
                                  "Ausgabe."))
    if isinstance(outcome, Parked):
        out.truncate(start)
    return outcome


def raise_cpu_limit(seconds: int) -> None:
    """RLIMIT_CPU counts the process's whole life, so its soft limit moves along with what was used."""
    _set_cpu_limit(int(time.process_time()) + 1 + seconds)


@lru_cache(maxsize=1)
def _set_cpu_limit(soft: int) -> None:
    """The kernel counts whole seconds: most messages find their limit set already."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _failure(kind: Literal["failed", "broken"], error: BaseException) -> bytes:
    """An exception's class and the innermost place in the project; never its text."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f"{os.path.basename(last.filename)}:{last.lineno} in {last.name}" if last else ""  # noqa: PTH119
    return Failure(kind=kind, error=type(error).__name__[:100], place=place[:200]).model_dump_json().encode()
