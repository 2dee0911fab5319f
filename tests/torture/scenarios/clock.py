"""A clock that jumps."""

from __future__ import annotations

from pathlib import Path

from tests.torture.shim import Shim
from tests.torture.stage import Stage
from tests.torture.steps import Progress, Result


def clock_jumps(folder: Path, seed: int, *, rounds: int, messages: int, progress: Progress = print) -> Result:
    """The clock jumps by hours, forwards and back, under load. Every second jump comes with a SIGKILL."""
    with Stage(folder, seed) as stage:
        shim = Shim(folder / "shim")
        stage.hub.environment = shim.environment
        stage.hub.start()
        for number in range(1, rounds + 1):
            share = messages * number // (rounds + 1)
            before = stage.acknowledged()
            stage.budget(share)
            stage.reach(before + stage.dice.randint(0, share - before))
            shim.clock(stage.dice.choice((-1, 1)) * stage.dice.choice((1, 3600, 90_000)))
            stage.extra_hits += 1
            if number % 2:
                stage.hub.kill()
                stage.kills += 1
                stage.hub.start()
        shim.clock(0)
        progress(f"{rounds} jumps, {stage.acknowledged()} acknowledged")
        stage.budget(messages)
        stage.drain()
        return stage.check()
