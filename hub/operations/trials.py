"""Examples of mappings, tried by workers under the limits of a message.

A stylesheet that somebody is still writing may use up memory and time. It must do so neither in the
operator's shell nor beside a running hub.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hub.config.sections import WorkersSection
from hub.i18n.sentence import Sentence, say
from hub.job import Facts, Job, Outcome, Parked
from hub.message import Reason
from hub.workers.limits import limits_of
from hub.workers.pool import WorkerPool, pack
from hub.workers.process import Why

RUNNER = "hub.authoring.trial"

_WHY: Mapping[Why, Sentence] = {
    Why.TIME: say("sie dauerte zu lange"), Why.CPU: say("sie brauchte zu viel Rechenzeit"),
    Why.MEMORY: say("sie brauchte zu viel Speicher"),
    Why.DIED: say("der Prozess stürzte ab, meist an zu viel Speicher"),
    Why.PROTOCOL: say("der Prozess gab keine brauchbare Antwort"),
    Why.FAILED: say("ein Fehler der Drehscheibe, bitte melden")}


class Trials:
    """Tries one example after the other. `Trials.open` ends the worker."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    @classmethod
    @contextmanager
    def open(cls, section: WorkersSection) -> Iterator[Trials]:
        """Trials by a worker with these limits. Raises `WorkerUnavailable` when none can be started."""
        with WorkerPool(1, limits_of(section), RUNNER) as pool:
            yield cls(pool)

    def __call__(self, job: Job, content: bytes) -> tuple[Outcome, bytes]:
        """The outcome for an example and the bytes that it made. One that a worker does not survive is
        parked, with the limit that it broke."""
        fd, _ = pack([content])
        try:
            with tempfile.TemporaryFile() as out:
                result = self._pool.run_one(job, [fd], out.fileno())
                if result.outcomes:
                    out.seek(0)
                    return result.outcomes[0], out.read()
        finally:
            os.close(fd)
        text = say("Die Verarbeitung ist abgebrochen ({why}): die Stylesheets des Dienstes prüfen.",
                   why=_WHY[result.why or Why.DIED])
        return Parked(message_id=job.message_id, facts=Facts(), reason=Reason.RUNAWAY, text=text), b""
