"""What an operator needs of the hub that runs around the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.delivery.deliverer import Deliverer
    from hub.intake.disk_space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningHub:
    """The parts of one running hub that an operator asks and wakes."""

    deliverer: Deliverer
    space: Space
    wake: Callable[[], None]
    """Let every part look at once for what is due."""
    reload: Callable[[], list[str]]
    """Take up a changed configuration; the problems of a faulty one, which changes nothing."""
    awaits_restart: Callable[[], list[str]]
    """What of the new configuration only a restart takes up."""
