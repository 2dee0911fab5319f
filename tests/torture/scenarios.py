"""The injuries. Each scenario builds its own stage below a folder, hurts the hub, lets it come to rest, and has it checked."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.torture.stage import Stage

Progress = Callable[[str], None]
Result = dict[str, Any]


def random_kills(folder: Path, seed: int, *, kills: int, messages: int, progress: Progress = print) -> Result:
    """SIGKILL to the whole process group at random moments under load: mostly after a random number of answers, one in eight
    while it starts."""
    with Stage(folder, seed) as stage:
        _kill_again_and_again(stage, kills, messages, progress)
        stage.hub.start()
        stage.budget(messages)
        stage.drain()
        return stage.check()


def _kill_again_and_again(stage: Stage, kills: int, messages: int, progress: Progress) -> None:
    for number in range(1, kills + 1):
        share = messages * number // (kills + 1)
        before = stage.acknowledged()
        early = stage.dice.random() < 0.125
        stage.hub.start(ready=not early)
        stage.budget(share)
        if early:
            time.sleep(stage.dice.uniform(0.0, 2.5))
        else:
            wanted = before + stage.dice.randint(0, max(1, share - before))
            stage.reach(min(wanted, share))
            time.sleep(_pause(stage.dice))
        stage.hub.kill()
        stage.kills += 1
        if number % 10 == 0:
            progress(f"{number} kills, {stage.acknowledged()} acknowledged")


def _pause(dice: random.Random) -> float:
    """Mostly at once, sometimes when the deliveries are under way."""
    return dice.choice((0.0, 0.02, 0.1, 0.4)) * dice.random()
