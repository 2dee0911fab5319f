"""The injuries. Each scenario builds its own stage below a folder, hurts the hub, lets it come to rest, and has it checked."""

from __future__ import annotations

import errno
import random
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.torture.shim import ALL, KINDS, Kind, Shim
from tests.torture.stage import Stage, wait

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


def every_call(folder: Path, seed: int, *, kinds: Sequence[Kind] = KINDS, stride: int = 1, progress: Progress = print) -> Result:
    """SIGKILL at the n-th sync, write, rename and send of a life that takes one message with two recipients and recovers the
    one before it, for every n (every `stride`-th one) until a life outlives its n."""
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


def graceful(folder: Path, seed: int, *, stops: int, messages: int, progress: Progress = print) -> Result:
    """SIGTERM under load: nothing was unclear, so there must not be one second copy, flagged or not."""
    with Stage(folder, seed) as stage:
        faults = []
        for number in range(1, stops + 1):
            share = messages * number // (stops + 1)
            before = stage.acknowledged()
            stage.hub.start()
            stage.budget(share)
            stage.reach(before + stage.dice.randint(0, share - before))
            stage.extra_hits += not stage.hub.settled()
            code = stage.hub.stop()
            if code != 0:
                faults.append(f"exit code {code} after SIGTERM")
        progress(f"{stops} stops, {stage.acknowledged()} acknowledged")
        stage.hub.start()
        stage.budget(messages)
        stage.drain()
        return {**stage.check(), "stops": stops, "faults": faults + _unclean(stage)}


def _unclean(stage: Stage) -> list[str]:
    return [] if not stage.log_has("did not end cleanly") else ["a stop by SIGTERM left something behind"]


def frozen(folder: Path, seed: int, *, rounds: int, messages: int, progress: Progress = print) -> Result:
    """SIGSTOP under load. A second instance is refused as long as the frozen one holds the store. When its lock is taken away
    all the same, the second one takes over, and the thawed one writes and acknowledges nothing any more."""
    with Stage(folder, seed) as stage:
        faults: list[str] = []
        for number in range(1, rounds + 1):
            share = messages * number // (rounds + 1)
            before = stage.acknowledged()
            if not stage.hub.alive():
                stage.hub.start()
            stage.budget(share)
            stage.reach(before + stage.dice.randint(0, (share - before) // 2))
            stage.hub.signal(signal.SIGSTOP)
            stage.extra_hits += 1
            second = stage.second()
            if number % 2:
                if second.run_to_end() == 0:
                    faults.append("a second instance beside the frozen one was not refused")
                stage.hub.signal(signal.SIGCONT)
                stage.hub.kill()
                stage.kills += 1
            else:
                (stage.world.state / "lock").unlink()
                while not second.took_over():  # frozen in the middle of a transaction, the first one holds SQLite's lock
                    stage.hub.signal(signal.SIGCONT)
                    time.sleep(0.05)
                    stage.hub.signal(signal.SIGSTOP)
                stage.hub.signal(signal.SIGCONT)
                wait(lambda: not stage.hub.alive() or not stage.hub.serves(), "the thawed one notices that it is too late")
                if stage.hub.alive():
                    stage.hub.kill()
                second.stop()
        progress(f"{rounds} times frozen, {stage.acknowledged()} acknowledged")
        stage.hub.start()
        stage.budget(messages)
        stage.drain()
        return {**stage.check(), "faults": faults}


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


POINTS = ("accept", "stage", "commit", "claim-messages", "work", "record", "due", "claim-deliveries", "intent", "effect",
          "settle", "deliver/smtp", "deliver/directory", "probe", "recover")


def fault_points(folder: Path, seed: int, *, share: float = 1.0, messages: int = 8, progress: Progress = print) -> Result:
    """Each named fault point times before and after, times kill, exception and hang: a life with that fault, ended by it or by
    SIGKILL, and another one without."""
    every = [(point, when, what) for point in POINTS for when in ("before", "after") for what in ("kill", "raise", "hang")]
    with Stage(folder, seed) as stage:
        chosen = stage.dice.sample(every, round(len(every) * share))
        sent, faults = 0, []
        for point, when, what in chosen:
            stage.hub.environment = {"DREHSCHEIBE_FAULTS": f"{point} {when} {what} {stage.dice.randint(1, 3)}"}
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


COMMANDS = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY")
KINDS_OF_NO = ("4xx", "5xx", "421", "cut", "hang")


def bad_mail_server(folder: Path, seed: int, *, messages: int, progress: Progress = print) -> Result:
    """Every command of SMTP answered 4xx, 5xx, 421, cut or not at all, and the mail kept but the answer lost."""
    cases = [(command, kind) for command in COMMANDS for kind in KINDS_OF_NO] + [("BODY", "kept-cut"), ("BODY", "kept-hang")]
    with Stage(folder, seed, smtp_timeout=1) as stage:
        stage.hub.start()
        sent = 0
        for command, kind in cases:
            stage.mail_fault(command, kind, every=1 + stage.dice.randrange(3))
            sent += messages
            stage.budget(sent)
            stage.reach(sent)
            time.sleep(1.0)
            stage.extra_hits += 1
        stage.mail_fault("nothing", "4xx")
        stage.hub.signal(signal.SIGHUP)  # whoever answered 5xx at the door was mended
        progress(f"{len(cases)} faults, {stage.acknowledged()} acknowledged")
        stage.drain()
        return stage.check()


def clock_jumps(folder: Path, seed: int, *, rounds: int, messages: int, progress: Progress = print) -> Result:
    """The clock jumps by hours, forwards and back, under load; every second time with a SIGKILL."""
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
