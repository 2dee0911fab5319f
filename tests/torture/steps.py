"""What a tier is made of: scenarios, each with its measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Progress = Callable[[str], None]
Result = dict[str, Any]
"""`Stage.check`'s report; a list ``faults`` in it names what went wrong beside the checker's verdicts."""


def nothing() -> None:
    """What a scenario lacks that runs everywhere."""


@dataclass(frozen=True)
class Step:
    """One scenario with its measure.

    `unclear` says that flagged duplicates are right there; `parks` that parked ones are.
    `lacks` names what this machine lacks for it, if anything: it is left out then, with the
    reason, and with ``CI=true`` the run is invalid.
    """

    name: str
    run: Callable[[Path, int, Progress], Result]
    unclear: bool = True
    parks: bool = False
    lacks: Callable[[], str | None] = nothing


def step(name: str, scenario: Callable[..., Result], *, unclear: bool = True, parks: bool = False,
         lacks: Callable[[], str | None] = nothing, **measure: Any) -> Step:
    """A scenario, by its function and the measure it is called with."""
    return Step(name, lambda folder, seed, progress: scenario(folder, seed, progress=progress, **measure),
                unclear, parks, lacks)
