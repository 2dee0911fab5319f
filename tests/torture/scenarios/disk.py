"""A disk that is full, slow, read-only or failing, and file descriptors that run out, while the hub works."""

from __future__ import annotations

import errno
import resource
import signal
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal

from tests.torture.drives import Drive, Shelf, beneath
from tests.torture.shim import ALL, Shim
from tests.torture.stage import Stage, wait
from tests.torture.steps import Progress, Result


def full_disk(folder: Path, seed: int, *, rounds: int, messages: int, progress: Progress = print) -> Result:
    """There is no space for a while, under load. Nothing acknowledged is
    lost, and the hub goes on by itself."""
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


def failing_sync(folder: Path, seed: int, *, rounds: int, messages: int,
                 progress: Progress = print) -> Result:
    """One fsync fails with EIO under load. What the disk holds is
    unknown, so the hub ends and starts anew."""
    with Stage(folder, seed) as stage:
        shim = Shim(folder / "shim")
        stage.hub.environment = shim.environment
        faults: list[str] = []
        for number in range(1, rounds + 1):
            share = messages * number // (rounds + 1)
            before = stage.acknowledged()
            stage.budget(share)
            _reach(stage, before + stage.dice.randint(0, (share - before) // 2))
            shim.arm("sync", "fail", stage.dice.randint(1, 6))
            wait(partial(_hurt_or_done, stage, shim, share), "a sync that fails")
            stage.extra_hits += shim.hits
            if shim.hits and not stage.ends_or_goes_on(before):
                faults.append("after a failed fsync the hub neither ended nor went on")
                stage.hub.kill()
            shim.disarm()
        progress(f"{rounds} failed syncs, {stage.acknowledged()} acknowledged")
        stage.budget(messages)
        _reach(stage, messages)
        stage.drain()
        return {**stage.check(), "faults": faults}


def _reach(stage: Stage, count: int) -> None:
    """Wait for so many answers. A hub that ends late because of the failed sync is started again."""
    def reached() -> bool:
        if not stage.hub.alive():
            stage.hub.start()
        return stage.acknowledged() >= count

    wait(reached, f"{count} answers")


def _hurt_or_done(stage: Stage, shim: Shim, count: int) -> bool:
    return bool(shim.hits) or (stage.acknowledged() >= count and stage.hub.settled())


def slow_sync(folder: Path, seed: int, *, rounds: int, messages: int, progress: Progress = print) -> Result:
    """Each sync takes long for a while. The hub gets slower, and nothing else happens."""
    with Stage(folder, seed) as stage:
        shim = Shim(folder / "shim")
        stage.hub.environment = shim.environment
        stage.hub.start()
        faults: list[str] = []
        for number in range(1, rounds + 1):
            share = begin_round(stage, number, rounds, messages)
            shim.arm("sync", "slow", 1, ALL, error=stage.dice.choice((20, 100, 500)))
            work(stage, share)
            stage.extra_hits += shim.hits
            shim.disarm()
            faults += goes_on(stage, share)
        progress(f"{rounds} times slow, {stage.acknowledged()} acknowledged")
        stage.drain()
        return {**stage.check(), "faults": faults}


def no_room(folder: Path, seed: int, *, of: Literal["space", "inodes"], rounds: int, messages: int,
            progress: Progress = print) -> Result:
    """Somebody else takes the last block or inode below the store, the receivers' folders, or both."""
    with Shelf(folder / "drives") as shelf, Stage(folder / "stage", seed) as stage:
        drives = beneath(stage.world, shelf, inodes=10_000)
        stage.hub.start()
        faults: list[str] = []
        for number in range(1, rounds + 1):
            share = begin_round(stage, number, rounds, messages)
            before = stage.complaints()
            with ExitStack() as hurt:
                for drive in (drives[:1], drives[1:], drives)[number % 3]:
                    hurt.enter_context(drive.full(of))
                work(stage, share)
            stage.extra_hits += stage.complaints() - before
            faults += goes_on(stage, share)
        progress(f"{rounds} times without {of}, {stage.acknowledged()} acknowledged")
        stage.drain()
        return {**stage.check(), "faults": faults}


def read_only(folder: Path, seed: int, *, rounds: int, messages: int, progress: Progress = print) -> Result:
    """A file system becomes read-only, alternately that of the receivers and that of the store.

    The receivers' one is repaired, and the hub reloads. The store's one becomes read-only because ext4
    finds damage. The hub may then end; it is started again when the disk is repaired. This happens between
    two loads, because at the moment of such an error ext4 may lose what it has just reported as synced
    (Linux 6.18, bare calls of pwrite and fdatasync: once in twelve).
    """
    with Shelf(folder / "drives") as shelf, Stage(folder / "stage", seed) as stage:
        state, drop = beneath(stage.world, shelf)
        stage.hub.start()
        faults: list[str] = []
        for number in range(1, rounds + 1):
            share = begin_round(stage, number, rounds, messages)
            before = stage.complaints()
            if number % 2:
                wait(partial(_remounts, drop), "the receivers' folders are read-only")
                work(stage, share)
                drop.remount("rw")
                stage.hub.signal(signal.SIGHUP)
            else:
                stage.settles()
                state.break_down()
                work(stage, share)
                if stage.hub.alive():
                    stage.hub.kill()
                state.repair()
                stage.hub.start()
            stage.extra_hits += stage.complaints() - before
            faults += goes_on(stage, share)
        progress(f"{rounds} times read-only, {stage.acknowledged()} acknowledged")
        stage.drain()
        return {**stage.check(), "faults": faults}


def _remounts(drive: Drive) -> bool:
    try:
        drive.remount("ro")
    except OSError:  # a file is being written
        return False
    return True


def no_descriptors(folder: Path, seed: int, *, rounds: int, messages: int,
                   progress: Progress = print) -> Result:
    """The main process can open hardly any file for a while: no connection, no body, no file for a worker."""
    with Stage(folder, seed) as stage:
        stage.hub.start()
        faults: list[str] = []
        for number in range(1, rounds + 1):
            share = begin_round(stage, number, rounds, messages)
            before = stage.complaints()
            assert stage.hub.process is not None
            pid = stage.hub.process.pid
            usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            few = len(list(Path(f"/proc/{pid}/fd").iterdir())) + stage.dice.choice((-10, 0, 1, 2, 4))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, usual[1]))
            work(stage, share)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
            stage.extra_hits += stage.complaints() - before
            faults += goes_on(stage, share)
        progress(f"{rounds} times without descriptors, {stage.acknowledged()} acknowledged")
        stage.drain()
        return {**stage.check(), "faults": faults}


def begin_round(stage: Stage, number: int, rounds: int, messages: int) -> int:
    """Send the load of the first half of a round, until a random part is acknowledged.

    Returns the number of messages at the end of the round.
    """
    share = messages * number // rounds - 1
    before = stage.acknowledged()
    half = before + (share - before) // 2
    stage.budget(half)
    stage.reach(stage.dice.randint(before, half))
    return share


def work(stage: Stage, share: int) -> None:
    """Send the rest of the round's load during the injury."""
    stage.budget(share)
    time.sleep(stage.dice.uniform(1.0, 3.0))


def goes_on(stage: Stage, share: int, seconds: float = 30.0) -> list[str]:
    """After the injury the load of the round and a canary come through soon, without a new start."""
    stage.budget(share + 1)
    if stage.goes_on(share + 1, seconds):
        return []
    if stage.hub.alive():
        return [f"no canary came through {seconds:.0f} s after it was well again ({share + 1} sent)"]
    stage.hub.start()
    return [f"the hub ended by itself ({share + 1} sent)"]
