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
    "commit": [
        _step("random kills", scenarios.random_kills, kills=30, messages=1100),
        _step("SIGTERM under load", scenarios.graceful, stops=4, messages=200, unclear=False),
        _step("SIGSTOP and a second instance", scenarios.frozen, rounds=2, messages=100),
        _step("SIGKILL at every 2nd sync and rename", scenarios.every_call, kinds=("sync", "rename"), stride=2),
        _step("disk full", scenarios.full_disk, rounds=3, messages=150, unclear=False),
        _step("EIO on fsync", scenarios.failing_sync, rounds=3, messages=120),
    ],
    "nightly": [
        _step("random kills", scenarios.random_kills, kills=200, messages=6000),
        _step("SIGTERM under load", scenarios.graceful, stops=20, messages=1000, unclear=False),
        _step("SIGSTOP and a second instance", scenarios.frozen, rounds=8, messages=400),
        _step("SIGKILL at every sync, write, rename, send", scenarios.every_call),
        _step("fault points", scenarios.fault_points),
        _step("disk full", scenarios.full_disk, rounds=20, messages=1000, unclear=False),
        _step("EIO on fsync", scenarios.failing_sync, rounds=20, messages=800),
        _step("mail server: every command", scenarios.bad_mail_server, messages=9, parks=True),
        _step("clock jumps", scenarios.clock_jumps, rounds=10, messages=500),
    ],
    "release": [
        _step("random kills", scenarios.random_kills, kills=1000, messages=20_000),
    ],
}
TIERS["release"] += TIERS["nightly"][1:]
