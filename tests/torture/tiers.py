"""Which scenarios a tier runs, and how much of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture import scenarios


@dataclass(frozen=True)
class Step:
    """One scenario with its measure."""

    name: str
    run: Callable[[Path, int, scenarios.Progress], scenarios.Result]
    unclear: bool = True
    parks: bool = False


def _step(name: str, scenario: Callable[..., Any], *, unclear: bool = True, parks: bool = False, **measure: Any) -> Step:
    return Step(name, lambda folder, seed, progress: scenario(folder, seed, progress=progress, **measure), unclear, parks)


TIERS: dict[str, list[Step]] = {
    "commit": [_step("random kills", scenarios.random_kills, kills=30, messages=1500)],
    "nightly": [_step("random kills", scenarios.random_kills, kills=200, messages=6000)],
    "release": [_step("random kills", scenarios.random_kills, kills=1000, messages=20_000)],
}
