"""Lives that end at a chosen place: at the n-th system call or at a
fault point; and calls that are counted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.torture.shim import ALL, KINDS, Kind, Shim
from tests.torture.stage import Stage, wait
from tests.torture.steps import Progress, Result


def every_call(folder: Path, seed: int, *, kinds: Sequence[Kind] = KINDS, stride: int = 1,
               progress: Progress = print) -> Result:
    """SIGKILL at the n-th sync, write, rename and send of a life.

    The life takes one message with two recipients and recovers the one before it.
    n grows by `stride` until a life survives.
    """
    with Stage(folder, seed, threads=1) as stage:
        shim = Shim(folder / "shim")
        stage.hub.environment = shim.environment
        sent = 0
        for kind in kinds:
            number, survived = 1, False
            while not survived:
                stage.hub.start()
                shim.arm(kind, "kill", number)
                sent += 1
                stage.budget(sent)
                survived = _outlives(stage, sent)
                stage.kills += not survived
                stage.extra_hits += shim.hits
                shim.disarm()
                if survived:
                    stage.hub.kill()
                number += stride
            progress(f"{kind}: killed at each {stride}. of {number - stride}")
        stage.hub.start()
        stage.drain()
        return stage.check()


def _outlives(stage: Stage, sent: int) -> bool:
    """Whether the hub settles `sent` messages before it dies."""
    def decided() -> bool:
        return not stage.hub.alive() or (stage.acknowledged() >= sent and stage.hub.settled())

    wait(decided, "the life ends one way or the other")
    return stage.hub.alive()


POINTS = ("accept", "stage", "commit", "claim-messages", "work", "record", "due", "claim-deliveries",
          "intent", "effect",
          "settle", "deliver/smtp", "deliver/directory", "probe", "recover")


def fault_points(folder: Path, seed: int, *, share: float = 1.0, messages: int = 8,
                 progress: Progress = print) -> Result:
    """A life for each fault point, before and after it, with kill, exception and hang.

    The fault or SIGKILL ends the life. Another life without a fault follows.
    """
    every = [(point, when, what) for point in POINTS for when in ("before", "after")
             for what in ("kill", "raise", "hang")]
    with Stage(folder, seed) as stage:
        chosen = stage.dice.sample(every, round(len(every) * share))
        sent, faults = 0, []
        for point, when, what in chosen:
            stage.hub.environment = {"DREHSCHEIBE_FAULTS":
                                     f"{point} {when} {what} {stage.dice.randint(1, 3)}"}
            stage.hub.start(ready=False)
            sent += messages
            stage.budget(sent)
            went_on = stage.goes_on(sent, 12 if what == "raise" else 4)
            stage.extra_hits += 1
            if what == "raise" and not went_on and point != "recover":
                faults.append(f"{point} {when} {what}: the hub did not go on by itself")
            if stage.hub.alive():
                stage.hub.kill()
            stage.kills += 1
            stage.hub.environment = {}
        progress(f"{len(chosen)} faults, {stage.acknowledged()} acknowledged")
        stage.hub.start()
        stage.drain()
        return {**stage.check(), "faults": faults}


def durable(folder: Path, seed: int, *, launcher: Sequence[str] = ("-m", "hub"), messages: int,
            progress: Progress = print) -> Result:
    """Count system calls, message by message.

    There is no 202 without a sync, and no delivered folder without syncs of itself and of the folder above
    it. A kill cannot show this. Only a power cut would (`power`), which needs root. The first life brings
    nothing to a worker, so that its syncs are those of the acknowledgement.
    """
    with Stage(folder, seed, threads=1) as stage:
        shim = Shim(folder / "shim")
        stage.hub.launcher = launcher
        stage.hub.environment = {**shim.environment, "DREHSCHEIBE_FAULTS": "claim-messages before hang 1+"}
        stage.hub.start()
        faults: list[str] = []
        for number in range(1, messages + 1):
            shim.arm("sync", "slow", 1, ALL, error=20)
            stage.budget(number)
            stage.reach(number)
            if not shim.counts["sync"]:
                faults.append(f"probe {number}: acknowledged without a sync")
        stage.hub.kill()
        stage.hub.environment = shim.environment
        stage.hub.start()
        stage.settles()
        for number in range(messages + 1, 2 * messages + 1):
            shim.arm("sync", "slow", 1, ALL, error=20)
            stage.budget(number)
            stage.reach(number)
            stage.settles()
            if shim.counts["folder"] < 2:
                faults.append(f"probe {number}: delivered with {shim.counts['folder']} syncs of folders")
            stage.extra_hits += shim.hits
        shim.disarm()
        stage.drain(60)
        return {**stage.check(), "faults": faults}


def short(folder: Path, seed: int, *, launcher: Sequence[str] = ("-m", "hub"), faults: Sequence[str] = (),
          kills: int = 0,
          mail: tuple[str, str] | None = None, messages: int = 24, progress: Progress = print) -> Result:
    """A life for each of `faults`, some random kills, and a last life without injury.

    It is used to show planted faults.
    """
    with Stage(folder, seed) as stage:
        stage.hub.launcher = launcher
        if mail:
            stage.mail_fault(*mail)
        lives = len(faults) + kills
        for number in range(1, lives + 1):
            share = messages * number // (lives + 1)
            before = stage.acknowledged()
            stage.hub.environment = {"DREHSCHEIBE_FAULTS":
                                     faults[number - 1]} if number <= len(faults) else {}
            stage.hub.start(ready=False)
            stage.budget(share)
            if number <= len(faults):
                stage.goes_on(messages + 1, 30)
            else:
                wait(stage.hub.ready, "the hub is ready")
                wait(partial(_answers, stage, before + 1), "answers")
                time.sleep(stage.dice.uniform(0.0, 0.3))
            stage.hub.kill()
            stage.kills += 1
            stage.extra_hits += 1
        stage.hub.environment = {}
        stage.hub.start()
        stage.budget(messages)
        stage.drain(15)
        return stage.check()


def _answers(stage: Stage, count: int) -> bool:
    return stage.acknowledged() >= count
