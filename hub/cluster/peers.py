"""The other hubs on the same PostgreSQL: this node beats, listens to them, and takes over from a silent one.

::

    every 2 s   beat ─► read the beats of the others ─► unchanged for `takeover`? ─► end it, free its claims
    at once     LISTEN ─► another node accepted or made something ─► wake dispatcher and deliverer

The claims of a silent node are freed as after an unclean end of this one: its messages go through the
suspects' lane, and a delivery that may have had an effect is in doubt and is probed. A node that was only
frozen sees that it was ended. It writes nothing, ends, and starts again as a new node. While the database is
away no node is judged; afterwards each node has the full time again.

A store that is not shared has no peers, and no thread runs. Used by `hub.daemon`; docs/operate-two-nodes.md
describes the operation.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable

import structlog
import tenacity

from hub.errors import StoreUnavailable
from hub.store.database.postgresql import Node
from hub.store.store import BEAT, Store
from hub.store.transitions.deliveries import Recovered

log = structlog.get_logger("hub.cluster.peers")

AGAIN = 1.0
"""Seconds before a lost session is opened again."""


class Silence:
    """Measures how long each other node has been silent, by this process's own clock."""

    def __init__(self, takeover: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._takeover = takeover
        self._clock = clock
        self._heard: dict[int, tuple[int, float]] = {}

    def forget(self) -> None:
        """Start anew: this node could not read the beats."""
        self._heard.clear()

    def dead(self, nodes: Iterable[Node]) -> list[Node]:
        """The nodes whose beat did not change for `takeover` seconds."""
        now = self._clock()
        before, self._heard = self._heard, {}
        found = []
        for node in nodes:
            beat, since = before.get(node.fencing, (-1, now))
            self._heard[node.fencing] = (node.beat, since if beat == node.beat else now)
            if now - self._heard[node.fencing][1] >= self._takeover:
                found.append(node)
        return found


class Peers:
    """The threads that beat, watch and listen, from `start` to `stop`."""

    def __init__(self, store: Store, assume_begun: Callable[[str], bool], wake: Callable[[], None],
                 suspects: Callable[[], None]) -> None:
        self._store = store
        self._assume_begun = assume_begun
        self._wake = wake
        self._suspects = suspects
        self._stop = threading.Event()
        self._silence = Silence(store.base.takeover.total_seconds() if store.shared else 0.0)
        self._known: set[int] = set()
        self._threads = [threading.Thread(target=work, name=name, daemon=True)
                         for work, name in ((self._watch, "peers-beat"),
                                            (self._listen, "peers-listen"))] if store.shared else []

    def start(self) -> None:
        """Start the threads, if the store is shared."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads. The store itself signs this node off when it is closed."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(30)

    def _watch(self) -> None:
        while not self._stop.wait(BEAT.total_seconds()):
            try:
                self._round()
            except StoreUnavailable as error:
                self._silence.forget()
                log.error("the database is not there; the other nodes are not judged", error=str(error))
            except Exception as error:  # noqa: BLE001 - a node that beats no more would be taken over
                log.error("the watch over the other nodes failed; please report this",
                          error_class=type(error).__name__)

    def _round(self) -> None:
        living = self._store.beat()
        others = [node for node in living if node.fencing != self._store.fencing]
        for node in self._silence.dead(others):
            recovered = self._store.take_over(node, self._assume_begun)
            if recovered is not None:
                self._taken_over(node, recovered)
        fencings = {node.fencing for node in living}
        if self._known - fencings:  # a node stopped: its suspects belong to nobody now
            self._suspects()
            self._wake()
        self._known = fencings

    def _taken_over(self, node: Node, recovered: Recovered) -> None:
        if recovered.alone:
            self._store.count_death(recovered.alone)
        log.warning("a node is not heard of any more; what it had in hand is looked into here",
                    node=node.name, fencing=node.fencing, **dataclasses.asdict(recovered))
        self._suspects()
        self._wake()

    def _listen(self) -> None:
        again = tenacity.Retrying(
            retry=tenacity.retry_always, wait=tenacity.wait_fixed(AGAIN),
            sleep=tenacity.sleep_using_event(self._stop), stop=lambda _: self._stop.is_set(),
            retry_error_callback=lambda _: None)
        again(self._hear)

    def _hear(self) -> None:
        """As long as the session lasts. Never raises."""
        if self._stop.is_set():
            return
        try:
            self._store.listen(self._wake, self._stop.is_set)
        except StoreUnavailable as error:
            log.warning("the other nodes cannot be heard now; what they make is found by looking",
                        error=str(error))
        except Exception as error:  # noqa: BLE001 - hearing saves time only; it must not end for good
            log.error("the listening failed; please report this", error_class=type(error).__name__)
