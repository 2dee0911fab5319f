"""Outlets that are kept open between deliveries, by destination, and closed when nobody used them for a
while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from hub.config.municipalities import Destination
from hub.endpoint import OutletBase

IDLE = timedelta(seconds=60)


class Connections:
    """Gives one outlet to one thread at a time. A destination whose options changed gets a new one."""

    def __init__(self, build: Callable[..., OutletBase[Any]]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._idle: dict[str, list[tuple[Destination, OutletBase[Any], datetime]]] = {}

    def take(self, destination: Destination) -> OutletBase[Any]:
        """An outlet, kept or new. Raises `hub.errors.ConfigError` when it cannot be built."""
        stale = []
        with self._lock:
            kept = self._idle.get(destination.key, [])
            while kept:
                made_for, outlet, _ = kept.pop()
                if made_for is destination or made_for.same_receiver(destination):
                    return outlet
                stale.append(outlet)
        _close(stale)
        return self._build(destination.connector, destination.options)

    def give_back(self, destination: Destination, outlet: OutletBase[Any], now: datetime) -> None:
        """Keep it for the next one."""
        with self._lock:
            self._idle.setdefault(destination.key, []).append((destination, outlet, now))

    def close(self, before: datetime | None = None) -> None:
        """Close those unused since `before`, or all; the former without waiting: a peer may hang at the
        goodbye."""
        stale = []
        with self._lock:
            for key, kept in list(self._idle.items()):
                stale += [outlet for _, outlet, since in kept if before is None or since < before]
                self._idle[key] = [item for item in kept if before is not None and item[2] >= before]
        if before is not None and stale:
            threading.Thread(target=_close, args=(stale,), name="say-goodbye", daemon=True).start()
        else:
            _close(stale)


def _close(outlets: Iterable[OutletBase[Any]]) -> None:
    for outlet in outlets:
        outlet.close()
