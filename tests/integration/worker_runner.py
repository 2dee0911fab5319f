"""An engine for the tests of the worker pool: does what the job's service says, mostly something bad."""

from __future__ import annotations

import ctypes
import importlib
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from hub.i18n.sentence import Sentence
from hub.job import Body, Facts, Job, OutAttachment, OutDelivery, OutPart, Parked, Translated
from hub.pipeline.normalize import normalize
from hub.workers.child import Bodies, OutFile


def process(job: Job, bodies: Bodies, out: OutFile) -> Translated | Parked:
    """`job.service` is the name of a function below."""
    outcome: Translated | Parked = globals()[f"do_{job.service.replace('-', '_')}"](job, bodies, out)
    return outcome


def park_all(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """An engine that parks everything."""
    return parked(job)


def parked(job: Job, text: str = "nichts zu tun", message_id: str | None = None) -> Parked:
    return Parked(message_id=message_id or job.message_id, facts=Facts(source=None), reason="invalid",
                  text=Sentence.heard(text))


def do_well(job: Job, bodies: Bodies, out: OutFile) -> Translated:
    """One attachment (the first part's bytes), delivered to the rule's first recipient."""
    content = bytes(bodies(job.parts[0].body))
    start = out.tell()
    out.write(content)
    return translated(job, Body(fd=0, offset=start, length=len(content)))


def translated(job: Job, body: Body, **changes: object) -> Translated:
    part, rule = job.parts[0], job.rules[0]
    recipient = rule.recipients[0]
    attachment = OutAttachment(name="a", filename=None, media_type="text/plain", role="upload",
                               size=body.length,
                               sha256=part.sha256, body=body)
    delivery = OutDelivery(recipient=recipient.name, destination=recipient.destination, subject="s",
                           name_parts={},
                           parts=(OutPart(role="attachment", name="a", media_type="text/plain",
                                          size=body.length,
                                          sha256=part.sha256, attachment=0),))
    outcome = Translated(message_id=job.message_id, facts=Facts(source=None), rule=rule.id,
                         mapping_digest=rule.mapping_digest, attachments=(attachment,),
                         deliveries=(delivery,))
    return outcome.model_copy(update=changes)


def do_park(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    out.write(b"of a parked message nothing stays")
    return parked(job)


def do_normalize(job: Job, bodies: Bodies, out: OutFile) -> Translated:
    found = normalize(job, bodies, out)
    parts = tuple(OutPart(role="attachment", name=each.name, media_type=each.media_type, size=each.size,
                          sha256=each.sha256, attachment=number)
                  for number, each in enumerate(found.attachments))
    outcome = translated(job, found.attachments[0].body)
    return outcome.model_copy(update={"attachments": found.attachments, "deliveries": (
        outcome.deliveries[0].model_copy(update={"parts": parts}),)})


def do_loop(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    while True:
        pass


def do_sleep(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    time.sleep(3600)
    return parked(job)


def do_hog(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """Ask for memory until RLIMIT_DATA says no."""
    hoard = []
    while True:
        hoard.append(bytearray(16 << 20))


def do_resident(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """Memory that RLIMIT_DATA does not count (shared), until the parent sees it."""
    area = mmap.mmap(-1, 1 << 30)
    for start in range(0, 1 << 29, 1 << 20):
        area[start:start + (1 << 20)] = b"x" * (1 << 20)
    time.sleep(3600)
    return parked(job)


def do_exit(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    os._exit(7)


def do_segfault(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    ctypes.string_at(0)
    return parked(job)


def do_bug(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    raise KeyError("Erika Mustermann")


def do_part_missing(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """A library that is first needed now, and is not there any more."""
    importlib.import_module("no_such_engine")
    return parked(job)


def do_flood(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """The output is too large for RLIMIT_FSIZE."""
    while True:
        out.write(b"x" * (1 << 20))


def do_chatter(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """A library that writes to stderr more than a pipe holds."""
    for _ in range(64):
        os.write(2, b"Erika Mustermann, Musterstadt\n" * 1000)
    return parked(job)


def do_wrong_id(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    return parked(job, message_id="another")


def do_wrong_slice(job: Job, bodies: Bodies, out: OutFile) -> Translated:
    return translated(job, Body(fd=0, offset=1 << 40, length=5))


def do_wrong_fd(job: Job, bodies: Bodies, out: OutFile) -> Translated:
    good = do_well(job, bodies, out)
    return translated(job, good.attachments[0].body.model_copy(update={"fd": 1}))


def do_wrong_rule(job: Job, bodies: Bodies, out: OutFile) -> Translated:
    return do_well(job, bodies, out).model_copy(update={"rule": "another/town"})


def do_forged_place(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """An engine writes a citizen's value to the standard error, in the form of a place in code."""
    for name in ("/srv/Mustermann.py", f"{Path(__file__).parent}/Mustermann.py", "/etc/hostname"):
        os.write(2, f'  File "{name}", line 1 in Mustermann\n'.encode())
    os._exit(7)


def do_wrong_fact(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    return parked(job).model_copy(update={"facts": Facts(form_id="Mustermann", form_name="Mustermann")})


def do_wrong_reason(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    return parked(job).model_copy(update={"reason": "Erika Mustermann"})


def _channel() -> socket.socket:
    return socket.socket(fileno=os.dup(int(sys.argv[1])))


def do_long_frame(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    _channel().sendall(struct.pack(">I", (1 << 32) - 1) + b"x" * 1000)
    time.sleep(3600)
    return parked(job)


def do_half_frame(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    _channel().sendall(struct.pack(">I", 1000) + b"x" * 10)
    time.sleep(3600)
    return parked(job)


def do_no_json(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    _channel().sendall(struct.pack(">I", 3) + b"xyz")
    return parked(job)


def do_extra_frame(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """Answers twice: the second frame would be taken for the next batch's answer."""
    frame = parked(job).model_dump_json().encode()
    _channel().sendall((struct.pack(">I", len(frame)) + frame) * 2)
    time.sleep(3600)
    return parked(job)


def do_send_descriptor(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """Descriptors that nobody asked for must not pile up in the parent."""
    frame = parked(job).model_dump_json().encode()
    socket.send_fds(_channel(), [struct.pack(">I", len(frame)) + frame], [0, 1, 2])
    time.sleep(3600)
    return parked(job)


def do_children(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """Start processes that outlive the worker, and tell their ids in the output."""
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            time.sleep(3600)
            os._exit(0)
        out.write(f"{pid} ".encode())
    os.kill(os.getpid(), signal.SIGSEGV)
    return parked(job)


def do_confined(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    """What a worker can see: environment, descriptors, interfaces, privileges."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
                  if ":\t" in line)
    with socket.socket() as probe:
        try:
            probe.connect(("127.0.0.1", int(job.case or 9)))
            network = "reached"
        except OSError as error:
            network = type(error).__name__
    return parked(job, "|".join([
        ",".join(sorted(os.environ)), str(len(list(Path("/proc/self/fd").iterdir()))), status["NoNewPrivs"],
        network,
        str(resource.getrlimit(resource.RLIMIT_CORE)[0]), str(Path.cwd())]))


def do_state(job: Job, bodies: Bodies, out: OutFile) -> Parked:
    return parked(job, str(os.getpid()))
