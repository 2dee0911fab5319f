"""A disk that is full or fails, under a hub at work."""

from __future__ import annotations

import errno
import time
from functools import partial
from pathlib import Path

from tests.torture.shim import ALL, Shim
from tests.torture.stage import Stage, wait
from tests.torture.steps import Progress, Result


def full_disk(folder: Path, seed: int, *, rounds: int, messages: int, progress: Progress = print) -> Result:
    """No space for a while, under load, then there is again: nothing acknowledged meanwhile is lost, and the hub goes on by
    itself, without a new start."""
    with Stage(folder, seed) as stage:
        shim = Shim(folder / "shim")
        stage.hub.environment = shim.environment
        stage.hub.start()
        faults: list[str] = []
        for number in range(1, rounds + 1):
            share = messages * number // rounds
            before = stage.acknowledged()
            stage.budget(share)
            stage.reach(before + stage.dice.randint(0, (share - before) // 2))
            shim.arm("write", "fail", 1, ALL, error=errno.ENOSPC)
            wait(lambda: shim.hits > 20, "writes that fail")
            time.sleep(stage.dice.random())
            shim.disarm()
            stage.extra_hits += shim.hits
            if not stage.hub.alive():
                faults.append("the hub ended over a full disk")
                stage.hub.start()
        progress(f"{rounds} times full, {stage.acknowledged()} acknowledged")
        stage.drain()
        return {**stage.check(), "faults": faults}


def failing_sync(folder: Path, seed: int, *, rounds: int, messages: int, progress: Progress = print) -> Result:
    """EIO on one fsync under load: what is on the disk is unknown, so the hub ends and lets a new start read it."""
    with Stage(folder, seed) as stage:
        shim = Shim(folder / "shim")
        stage.hub.environment = shim.environment
        faults: list[str] = []
        for number in range(1, rounds + 1):
            share = messages * number // (rounds + 1)
            before = stage.acknowledged()
            if not stage.hub.alive():
                stage.hub.start()
            stage.budget(share)
            stage.reach(before + stage.dice.randint(0, (share - before) // 2))
            shim.arm("sync", "fail", stage.dice.randint(1, 6))
            wait(partial(_hurt_or_done, stage, shim, share), "a sync that fails")
            stage.extra_hits += shim.hits
            if shim.hits and not stage.ends_or_goes_on(before):
                faults.append("after a failed fsync the hub neither ended nor went on")
                stage.hub.kill()
            shim.disarm()
        progress(f"{rounds} failed syncs, {stage.acknowledged()} acknowledged")
        if not stage.hub.alive():
            stage.hub.start()
        stage.budget(messages)
        stage.drain()
        return {**stage.check(), "faults": faults}


def _hurt_or_done(stage: Stage, shim: Shim, count: int) -> bool:
    return bool(shim.hits) or (stage.acknowledged() >= count and stage.hub.settled())
