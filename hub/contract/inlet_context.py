"""What the hub hands to an inlet when it builds it, and what an inlet tells the hub beside its messages.

Connectors take all of it from `hub.endpoint`, whose contract it is a part of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

TurnedAway = Literal[
    "unknown-client", "wrong-address", "too-large", "too-slow", "unreadable", "busy", "unavailable"]
"""Why an inlet itself did not take a transfer, before the hub's door saw it. ``busy``: too many connections
at once."""

NotTaken = Literal["unfinished", "left-out", "special"]
"""What lies in an inlet's folder and is not taken. ``unfinished``: an upload whose sender does not end it;
``left-out``: names that are no part of an application; ``special``: links and so on, which nobody reads."""

Outdated = Literal["expired", "not-yet-valid", "authority-expired"]
"""Why a certificate is not valid now. ``authority-expired``: the CA that issued it has ended."""


def _without_hub(*_: object) -> None:
    """Where no hub listens there is room for everything, and nobody counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InletContext:
    """What the hub hands to an inlet when it builds it. Nothing of it changes afterwards."""

    name: str
    """The inlet's name in the configuration, in logs and in metrics."""
    spool: Path
    """An existing folder on the store's file system. The inlet writes large bodies there while they arrive.
    The store takes such a file over by renaming it."""
    max_bytes: int
    """Largest transfer in bytes, all its parts together."""
    admit: Callable[[int], None] = _without_hub
    """Is there room? The inlet asks with a body's size in bytes (at least 1) before it spools the body; 0
    only asks. Raises `StoreUnavailable` when there is no room."""
    turned_away: Callable[[TurnedAway], None] = _without_hub
    """The inlet calls it once for each transfer that it does not take itself. What `Accept` or `admit`
    refuse is counted there, not here."""
    files_not_taken: Callable[[Mapping[NotTaken, int]], None] = _without_hub
    """The inlet calls it after each look with how many files and folders lie there now and are not taken, by
    kind. The hub warns when there are more of a kind, and shows them as a metric."""
    dead_letters: Callable[[int | None], None] = _without_hub
    """The inlet calls it after each look with how many dead letters lie at its broker; None: it cannot know
    now. The hub warns when there are more, and shows them as a metric."""
    certificate_seen: Callable[[str, datetime], None] = _without_hub
    """The inlet calls it when a sender of this name has come in with a certificate that ends then (aware)."""
    certificate_refused: Callable[[str | None, Outdated], None] = _without_hub
    """The inlet calls it when somebody showed a certificate of a trusted CA that is not valid now, and the
    key to it. The name is the configured sender's whose certificate it is; None: nobody's."""
