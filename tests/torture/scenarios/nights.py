"""The wall clock jumps, and the nights in which summer time begins and ends (libfaketime).

Nothing is stuck, lost or doubled, and there is no storm of retries. Only the hub's main process has the false
time. Its monotonic clock stays true, as in every kernel.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.services import missing
from tests.torture.peers import rows
from tests.torture.stage import NotInTime, Stage, wait
from tests.torture.steps import Progress, Result

NIGHTS = {"2026-03-29": datetime(2026, 3, 29, 0, 59, 50, tzinfo=UTC),
          "2026-10-25": datetime(2026, 10, 25, 0, 59, 50, tzinfo=UTC)}
"""Ten seconds before 2:00 becomes 3:00, and before 3:00 becomes 2:00, in Germany."""

HOUR, DAY = 3600, 86_400
JUMPS = (HOUR, -HOUR, DAY, -DAY)
SOON = 60.0
"""After a jump and an outage of three seconds, something more must be delivered within each such
span (seconds), until everything is delivered."""

MOST_TRIES = 12
"""How often one delivery may be tried in an outage of a few seconds, with waits of one and two seconds."""


class Clock:
    """The hub's wall clock."""

    def __init__(self, folder: Path) -> None:
        found = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
        if found is None:
            missing("libfaketime", "apt-get install faketime")
        folder.mkdir()
        self._file = folder / "faketime"
        self.ahead = 0
        self.set(0)
        self.environment = {"LD_PRELOAD": str(found), "FAKETIME_TIMESTAMP_FILE": str(self._file),
                            "FAKETIME_CACHE_DURATION": "1",
                            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1", "TZ": "Europe/Berlin"}

    def set(self, ahead: int) -> None:
        """Set the clock so many seconds ahead of the true time."""
        self.ahead = ahead
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead:+d}s\n")
        fresh.replace(self._file)

    def show(self, moment: datetime) -> None:
        """Set the clock to this moment."""
        self.set(round(moment.timestamp() - time.time()))


def jumps_and_nights(folder: Path, seed: int, *, nights: int = len(NIGHTS), steps: Sequence[int] = JUMPS,
                     rounds: int,
                     messages: int, soon: float = SOON, launcher: Sequence[str] = ("-m", "hub"),
                     progress: Progress = print) -> Result:
    """First the nights, then each jump `rounds` times. `messages` is the load of each night and jump."""
    with Stage(folder, seed) as stage:
        false = Clock(folder / "clock")
        stage.hub.environment, stage.hub.launcher = false.environment, launcher
        defaults = stage.world.config.parent / "defaults.toml"
        defaults.write_text(defaults.read_text().replace('give_up_after = "1d"', 'give_up_after = "14d"'))
        faults: list[str] = []
        for day, moment in list(NIGHTS.items())[:nights]:
            false.show(moment)
            stage.hub.start()
            faults += _night(stage, day, messages)
            faults += [] if stage.hub.stop() == 0 else [f"{day}: the stop was not clean"]
            progress(f"night of {day}: {stage.acknowledged()} acknowledged")
        false.set(0)
        stage.hub.start()
        jumps = [jump for _ in range(rounds) for jump in stage.dice.sample(steps, len(steps))]
        for jump in jumps:
            faults += _jump(stage, false, jump, messages, soon)
        progress(f"{len(jumps)} jumps, {stage.acknowledged()} acknowledged")
        most = rows(stage.world.state / "store.sqlite3", "SELECT max(attempts) FROM delivery")[0][0]
        faults += [f"a delivery was tried {most} times"] if most > MOST_TRIES else []
        stage.drain(15 if faults else 300)
        return {**stage.check(), "faults": faults + _complaints(stage), "most tries": most}


_TRIED = "SELECT count(*) FROM delivery WHERE state = 'due' AND attempts > 0"


def _night(stage: Stage, day: str, messages: int) -> list[str]:
    """Send a steady load from ten seconds before the change until ten seconds after it."""
    before = stage.acknowledged()
    for number in range(1, 21):
        stage.budget(before + messages * number // 20)
        time.sleep(1)
    stage.extra_hits += 1
    faults = _settled(stage, day, before + messages)
    days = {row[0] for row in rows(stage.world.state / "store.sqlite3",
                                   "SELECT DISTINCT accepted_day FROM message ORDER BY no DESC LIMIT 1")}
    return faults if days == {day} else [*faults, f"accepted on {days} instead of {day}"]


def _jump(stage: Stage, false: Clock, jump: int, messages: int, soon: float) -> list[str]:
    """Jump while the mail server answers 4xx, so that deliveries wait."""
    before = stage.acknowledged()
    stage.mail_fault("RCPT", "4xx")
    stage.budget(before + messages)
    stage.reach(before + messages // 2)
    file = stage.world.state / "store.sqlite3"
    try:
        wait(lambda: rows(file, _TRIED)[0][0] > 0, "a delivery is tried")
    except NotInTime as error:  # an earlier jump holds them all up
        stage.mail_faults([])
        return [f"before a jump by {jump} s: {error}"]
    false.set(false.ahead + jump)
    stage.extra_hits += 1
    time.sleep(3)
    stage.mail_faults([])
    return _settled(stage, f"jump by {jump} s", before + messages, soon)


def _settled(stage: Stage, what: str, count: int, soon: float = SOON) -> list[str]:
    """Wait until everything is delivered, as long as there is progress."""
    file = stage.world.state / "store.sqlite3"

    def delivered() -> int:
        return int(rows(file, "SELECT count(*) FROM delivery WHERE state = 'done'")[0][0])

    done = -1
    while not (stage.acknowledged() >= count and stage.hub.settled()):
        try:
            wait(lambda: delivered() > done or stage.hub.settled(),  # noqa: B023
                 "something is delivered", soon)
        except NotInTime as error:
            stage.hub.signal(signal.SIGHUP)
            return [f"{what}: {error}"]
        done = delivered()
    return []


def _complaints(stage: Stage) -> list[str]:
    """The log lines in which the hub asks to report a fault of its own."""
    lines = [json.loads(line) for line in stage.world.log.read_text().splitlines() if line.startswith("{")]
    return sorted({line["event"] for line in lines if line["level"] in ("error", "critical")})
