"""Lives that end by a signal: SIGKILL at any moment, SIGTERM, and SIGSTOP with a second instance."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from pysqlite3 import dbapi2

from tests.torture.stage import Stage, wait
from tests.torture.steps import Progress, Result


def random_kills(folder: Path, seed: int, *, kills: int, messages: int, progress: Progress = print) -> Result:
    """SIGKILL to the whole process group at random moments under load.

    Most come after a random number of answers, one in eight while the hub starts.
    """
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
    """The seconds to wait before the kill: mostly none, sometimes until deliveries are under way."""
    return dice.choice((0.0, 0.02, 0.1, 0.4)) * dice.random()


def graceful(folder: Path, seed: int, *, stops: int, messages: int, progress: Progress = print) -> Result:
    """SIGTERM under load. Nothing was unclear, so there must be no second copy, flagged or not."""
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
    """SIGSTOP under load, with a second instance.

    The second one is refused as long as the frozen one holds the store. When the lock is taken away by force,
    the second one takes over, and the thawed one writes and acknowledges nothing.
    """
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
                while _writes(stage.world.state) or not second.took_over():
                    stage.hub.signal(signal.SIGCONT)
                    time.sleep(stage.dice.uniform(0.0, 0.05))
                    stage.hub.signal(signal.SIGSTOP)
                stage.hub.signal(signal.SIGCONT)
                wait(lambda: not stage.hub.alive() or not stage.hub.serves(),
                     "the thawed one notices that it is too late")
                if stage.hub.alive():
                    stage.hub.kill()
                second.stop()
        progress(f"{rounds} times frozen, {stage.acknowledged()} acknowledged")
        stage.hub.start()
        stage.budget(messages)
        stage.drain()
        return {**stage.check(), "faults": faults}


def _writes(state: Path) -> bool:
    """Whether the hub was frozen inside a transaction. Then it holds
    SQLite's lock, and nobody can take over."""
    connection = dbapi2.connect(state / "store.sqlite3", timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except dbapi2.OperationalError:
        return True
    finally:
        connection.close()
    return False

