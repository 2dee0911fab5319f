"""The elements of a tier: scenarios, each with its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Progress = Callable[[str], None]
Result = dict[str, Any]
"""The report of `Stage.check`. Its list ``faults`` names what went wrong beside the checker's verdicts."""


def nothing() -> None:
    """The `lacks` of a scenario that runs everywhere."""


@dataclass(frozen=True)
class Step:
    """One scenario with its arguments.

    `unclear`: flagged duplicates are allowed. `parks`: parked messages are allowed. `lacks` names what this
    machine lacks for the scenario. Then the scenario is left out, and with ``CI=true`` the run is invalid.
    """

    name: str
    run: Callable[[Path, int, Progress], Result]
    unclear: bool = True
    parks: bool = False
    lacks: Callable[[], str | None] = nothing


def step(name: str, scenario: Callable[..., Result], *, unclear: bool = True, parks: bool = False,
         lacks: Callable[[], str | None] = nothing, **measure: Any) -> Step:
    """A step, from a scenario's function and its arguments."""
    return Step(name, lambda folder, seed, progress: scenario(folder, seed, progress=progress, **measure),
                unclear, parks, lacks)
