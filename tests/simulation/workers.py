"""The workers of the simulation: the real routing, and a rendering of one line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hub.errors import Rejected
from hub.job import Body, Facts, Job, OutDelivery, OutPart, Parked, Translated
from hub.pipeline.route import route
from hub.workers.pool import BatchResult
from hub.workers.process import Why
from tests.simulation.tasks import Killed

if TYPE_CHECKING:
    from tests.simulation.ground import Ground

MOST_TRIPS = 1000
"""More trips to a worker in one life than anything that comes to its end needs."""


class Pool:
    """The workers: real routing, a rendering of one line, and death over a planted message."""

    network_dropped = False

    def __init__(self, world: Ground) -> None:
        self._world = world
        self._trips = 0

    def refill(self) -> list[str]:
        """All workers are there."""
        return []

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
            sent = world.judge.sent[json.loads(content)["number"]]
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
