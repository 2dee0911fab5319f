"""What a tier is made of: scenarios, each with its measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Progress = Callable[[str], None]
Result = dict[str, Any]
"""`Stage.check`'s report; a list ``faults`` in it names what went wrong beside the checker's verdicts."""


@dataclass(frozen=True)
class Step:
    """One scenario with its measure. `unclear` says that flagged duplicates are right there; `parks` that parked ones are."""

    name: str
    run: Callable[[Path, int, Progress], Result]
    unclear: bool = True
    parks: bool = False


def step(name: str, scenario: Callable[..., Result], *, unclear: bool = True, parks: bool = False, **measure: Any) -> Step:
    """A scenario, by its function and the measure it is called with."""
    return Step(name, lambda folder, seed, progress: scenario(folder, seed, progress=progress, **measure), unclear, parks)
