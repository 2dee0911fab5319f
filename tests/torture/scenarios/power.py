"""The power fails. The store and the receivers' folders are on drives that are cloned while the hub works."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pysqlite3 import dbapi2

from tests.torture.checker import folders
from tests.torture.document import MUNICIPALITIES
from tests.torture.drives import Drive, Shelf, beneath
from tests.torture.stage import Stage
from tests.torture.steps import Progress, Result


def power_cuts(folder: Path, seed: int, *, cuts: int, messages: int, looks: int = 1,
               progress: Progress = print) -> Result:
    """Lives under load, each ended by a power cut.

    During a life its drives are cloned `looks` times, and each clone is judged. At the end the hub
    is frozen, the drives are cloned, the hub is killed, and the next life begins on the clones. What
    was only in the page cache is lost. The hub is frozen first, so that it acknowledges and sends
    nothing after the cut. One cut in three comes when everything is delivered and the disks are
    idle. Then no other sync writes what the hub forgot to sync.
    """
    with Shelf(folder / "drives") as shelf, Stage(folder / "stage", seed) as stage:
        drives = Drives(shelf, stage)
        faults: list[str] = []
        for number in range(1, cuts + 1):
            share = messages * number // (cuts + 1)
            before = stage.acknowledged()
            stage.hub.start()
            stage.budget(share)
            for _ in range(looks):
                stage.reach(before + stage.dice.randint(1, max(1, share - before)))
                faults += drives.look()
            if stage.dice.random() < 1 / 3:
                stage.reach(share)
                stage.settles()
            else:
                time.sleep(stage.dice.choice((0.0, 0.02, 0.1)) * stage.dice.random())
            faults += drives.cut()
            if number % 10 == 0:
                progress(f"{number} cuts, {stage.acknowledged()} acknowledged")
        stage.hub.start()
        stage.budget(messages)
        stage.drain()
        return {**stage.check(), "looks": drives.looks, "faults": faults}


def at_rest(folder: Path, seed: int, *, launcher: Sequence[str] = ("-m", "hub"), rounds: int = 2,
            messages: int = 24,
            progress: Progress = print) -> Result:
    """Judge clones of the drives whenever everything is delivered. It is used to show planted faults."""
    with Shelf(folder / "drives") as shelf, Stage(folder / "stage", seed) as stage:
        drives = Drives(shelf, stage)
        stage.hub.launcher = launcher
        stage.hub.start()
        faults: list[str] = []
        for number in range(1, rounds + 1):
            stage.budget(messages * number // rounds)
            stage.reach(messages * number // rounds)
            stage.settles()
            faults += drives.look()
        progress(f"{rounds} looks")
        stage.drain()
        return {**stage.check(), "faults": faults}


@dataclass
class Drives:
    """The two drives of a stage: one below its store, one below the receivers' folders."""

    shelf: Shelf
    stage: Stage
    looks: int = 0
    state: Drive = field(init=False)
    drop: Drive = field(init=False)

    def __post_init__(self) -> None:
        self.state, self.drop = beneath(self.stage.world, self.shelf)

    def cut(self) -> list[str]:
        """Cut the power, and restore it. Returns what e2fsck reports."""
        stage = self.stage
        under_way = not stage.hub.settled()
        stage.hub.freeze()
        state, drop = self.state.clone("state.cut"), self.drop.clone("drop.cut")
        stage.hub.kill()
        stage.kills += 1
        stage.extra_hits += under_way
        return self.state.goes_on_from(state) + self.drop.goes_on_from(drop)

    def look(self) -> list[str]:
        """Clone the drives while the hub works, and judge the clones. Returns what is wrong.

        The store's drive is cloned first, so that everything that it calls delivered is on the other clone.
        """
        self.looks += 1
        self.stage.extra_hits += not self.stage.hub.settled()
        told = dict(acknowledged(self.stage.world.ledger))
        places = [Drive(drive.clone(f"{name}.look"), self.shelf.place / f"look-{name}")
                  for name, drive in (("state", self.state), ("drop", self.drop))]
        for drive in places:
            drive.plug_in()
        try:
            return [f"look {self.looks}: {fault}" for fault in judge(places[0].place, places[1].place, told)]
        except dbapi2.DatabaseError as error:
            return [f"look {self.looks}: SQLite: {error}"]
        finally:
            for drive in places:
                drive.unplug()


def acknowledged(ledger: Path) -> Iterator[tuple[str, str]]:
    """The probes that were answered 202 so far, each with its id."""
    for line in ledger.read_text().splitlines() if ledger.exists() else ():
        if line.startswith('{"ok"') and line.endswith("}"):
            row = json.loads(line)
            yield row["ok"], row["id"]


def judge(state: Path, drop: Path, told: dict[str, str]) -> Iterator[str]:
    """What is wrong on drives after a power cut. `told` was acknowledged before the cut."""
    connection = dbapi2.connect(str(state / "store.sqlite3"))  # for writing, so that SQLite reads its log
    try:
        yield from (f"SQLite: {line}" for line, in connection.execute("PRAGMA integrity_check")
                    if line != "ok")
        there = {name for name, in connection.execute("SELECT id FROM message")}
        yield from (f"{name} was acknowledged and is not there" for name, given in told.items()
                    if given not in there)
        for name, size, sha256, content in connection.execute("SELECT id, size, sha256, content FROM blob"):
            file = state / "blobs" / name[-2:] / name
            stored = content if content is not None else file.read_bytes() if file.exists() else b""
            if (len(stored) - 2, hashlib.sha256(stored[2:]).hexdigest()) != (size, sha256):
                yield f"body {name} is not whole"
        copies = {(municipality, found.name): found.whole for municipality in MUNICIPALITIES.values()
                  for _, _, found, _ in folders(drop / municipality, municipality)}
        yield from (f"a torn copy of {name} at {municipality}"
                    for (municipality, name), whole in copies.items() if not whole)
        for key, ags in connection.execute(
                "SELECT message.key, message.ags FROM delivery JOIN message ON message.id = message_id "
                "WHERE delivery.state = 'done' AND recipient = 'ablage'"):
            if (MUNICIPALITIES[ags], key) not in copies:
                yield f"{key} is said to be delivered to {MUNICIPALITIES[ags]} and is not there"
    finally:
        connection.close()
