"""The inlets of one hub: each runs in its own thread, and one that ends is started again with a back-off.

An inlet gets everything it needs when it is built (`hub.endpoint.InletContext`). Nothing is set on it later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import tenacity

from hub.config.marks import marked
from hub.endpoint import Accept, InletBase, InletContext, Mark, build_inlet
from hub.errors import HubError

if TYPE_CHECKING:
    from pathlib import Path

    from hub.config.configuration import Configuration
    from hub.intake.receiver import Receiver
    from hub.telemetry.counters import Metrics

log = structlog.get_logger("hub.intake.inlets")

LONGEST_PAUSE = 10.0
"""Seconds until an inlet that ended is started again, at the latest: a broker that is back is not kept
waiting for minutes."""
PAUSES = tenacity.wait_exponential_jitter(initial=1, max=LONGEST_PAUSE)
"""How long the pause is before each new start."""
LOOK = 0.05
"""Seconds between two looks whether every inlet listens."""


def build(configuration: Configuration, receiver: Receiver, spool: Path,
          metrics: Metrics) -> list[InletBase[Any]]:
    """The inlets of a configuration, which hand in to `receiver`. Raises `ConfigError`."""
    shown = metrics.sender_certificates
    for inlet in configuration.inlets:
        shown.begin(inlet.name, sorted({name for _, name in marked(inlet.options, Mark("sender"))}))
    return [build_inlet(inlet.connector, inlet.options, InletContext(
        name=inlet.name, spool=spool, max_bytes=configuration.settings.hub.max_bytes,
        admit=partial(receiver.admit, inlet.name), turned_away=metrics.turned_away(inlet.name),
        files_not_taken=metrics.files_not_taken(inlet.name), dead_letters=metrics.dead_letters(inlet.name),
        certificate_seen=shown.seen(inlet.name), certificate_refused=shown.refused(inlet.name)))
        for inlet in configuration.inlets]


class Inlets:
    """All inlets together. They run from `start` until `stop` is set, and hand in to `accept`."""

    def __init__(self, inlets: Sequence[InletBase[Any]], accept: Accept, stop: threading.Event,
                 pauses: tenacity.wait.wait_base = PAUSES) -> None:
        self._inlets = tuple(inlets)
        self._accept = accept
        self._stop = stop
        self._pauses = pauses
        self._threads = [threading.Thread(target=self._serve, args=(inlet,), name=f"inlet-{inlet.name}",
                                          daemon=True) for inlet in self._inlets]

    @property
    def names(self) -> list[str]:
        """Their names, in the order of the configuration."""
        return [inlet.name for inlet in self._inlets]

    def start(self) -> None:
        """Start them all, and wait for none."""
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until every inlet listens, at most so many seconds; the others are logged and keep trying."""
        deadline = time.monotonic() + seconds
        while waiting := [name for name, listens in self.ready().items() if not listens]:
            if time.monotonic() > deadline:
                log.error("inlets that do not listen yet; the hub goes on without them and keeps trying",
                          inlets=waiting)
                return
            if self._stop.wait(LOOK):
                return

    def join(self, patience: timedelta) -> None:
        """Wait until they have ended, for each at most as long as `patience`. They end once `stop` is set."""
        for thread in self._threads:
            thread.join(patience.total_seconds())

    def reload(self) -> None:
        """Let each take up what its options name: certificates, keys. Raises `ConfigError` and `OSError`."""
        for inlet in self._inlets:
            inlet.reload()

    def ready(self) -> dict[str, bool]:
        """Whether each takes messages now."""
        return {inlet.name: inlet.ready() for inlet in self._inlets}

    def problems(self) -> list[str]:
        """Why some of them take no message now."""
        return ([f"{thread.name}: does not run" for thread in self._threads if not thread.is_alive()]
                + [f"inlet {name}: not listening yet" for name, listens in self.ready().items()
                   if not listens])

    def _serve(self, inlet: InletBase[Any]) -> None:
        """Run an inlet, and run it again after a pause when it ends without being asked to."""
        for attempt in tenacity.Retrying(
                wait=self._pauses, sleep=tenacity.sleep_using_event(self._stop),
                stop=lambda _: self._stop.is_set(), retry=tenacity.retry_always,
                retry_error_callback=lambda _: None):
            with attempt:
                try:
                    inlet.run(self._accept, self._stop)
                except Exception as error:  # noqa: BLE001 - an inlet must come back, whatever ended it
                    log.error("an inlet ended; it is started again", inlet=inlet.name,
                              error_class=type(error).__name__,
                              error=str(error) if isinstance(error, HubError | OSError) else None)
