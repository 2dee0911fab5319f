"""What the scenarios of hostile peers share: what the hub's store says of one probe, and the classes it may
fall into.

===========
=====================================================================================================
delivered    at the first try; what the peer did had no effect
retried      a temporary failure, certain; then one copy without a mark
held         a misconfiguration, certain: the destination rests until somebody corrects it; then one copy
             without a mark
parked       a final no, with a reason; no copy
asked        nobody knows: parked for a person (``in_doubt = "ask"``); no copy or one
marked       nobody knows: repeated with a mark (``in_doubt = "repeat-marked"``); a copy with the mark,
             at most one without
probed       nobody knew, and the peer was asked; then one copy without a mark
===========
=====================================================================================================
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pysqlite3 import dbapi2

from tests.torture.checker import RECIPIENTS, folders, mails
from tests.torture.document import MUNICIPALITIES, municipality_of
from tests.torture.stage import Stage, wait
from tests.torture.world import World

DECISIVE = {"later", "in_doubt", "parked", "done", "done_partly"}


@dataclass(frozen=True)
class Story:
    """One delivery: its state, and its events in order, as (event, reason)."""

    state: str
    reason: str | None
    marked: bool
    events: tuple[tuple[str, str | None], ...]

    @property
    def names(self) -> list[str]:
        """The events without their reasons."""
        return [name for name, _ in self.events]

    @property
    def begun(self) -> bool:
        """Whether a first try has ended."""
        return bool(DECISIVE & set(self.names))

    @property
    def kind(self) -> str:
        """Its class (see the module's docstring). ``?`` and the events when it fits none."""
        names = set(self.names)
        if self.state == "parked" and self.reason == "in-doubt" and "in_doubt" in names:
            return "asked"
        if self.state == "parked" and "in_doubt" not in names:
            return "parked"
        if self.state == "done" and "in_doubt" in names:
            return "marked" if self.marked else "probed"
        if self.state == "done" and not self.marked:
            reasons = {reason for name, reason in self.events if name == "later"}
            return "held" if "misconfigured" in reasons else "retried" if reasons else "delivered"
        return f"? {self.state} {self.reason} {' '.join(self.names)}"


def rows(file: Path, question: str, *values: Any) -> list[Any]:
    """Query the hub's store, while the hub runs."""
    with closing(dbapi2.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        return list(connection.execute(question, values))


def stories(world: World, recipient: str, names: Iterable[str]) -> dict[str, Story]:
    """The stories by probe. Probes without a delivery yet are missing."""
    told, file = {}, world.state / "store.sqlite3"
    for name in names:
        found = rows(file, "SELECT d.id, d.message_id, d.state, d.reason, d.repeat_marked FROM delivery d"
                     " JOIN message m ON m.id = d.message_id WHERE m.key = ? AND d.recipient = ?", name,
                     recipient)
        for identity, message, state, reason, marked in found:
            events = rows(file, "SELECT name, reason FROM event WHERE message_id = ? AND delivery_id = ?"
                          " AND name != 'claimed' ORDER BY no", message, identity)
            told[name] = Story(state, reason, bool(marked), tuple(events))
    return told


def copies(world: World, recipient: str) -> dict[str, Counter[bool]]:
    """How many whole copies the recipient has, without (False) and with the mark (True), by probe."""
    found = (mails(world.mails, defaultdict(set)) if recipient == "postfach" else
             (copy for municipality in MUNICIPALITIES.values()
              for copy in folders(world.drop / municipality, municipality)))
    counts: dict[str, Counter[bool]] = {}
    for _, _, what, marked in found:
        if what.name is not None and what.whole:
            counts.setdefault(what.name, Counter())[marked] += 1
    return counts


FEW: dict[str, tuple[range, range]] = {
    "delivered": (range(1, 2), range(1)), "retried": (range(1, 2), range(1)), "held": (range(1, 2), range(1)),
    "parked": (range(1), range(1)), "asked": (range(2), range(1)), "marked": (range(2), range(1, 2)),
    "probed": (range(1, 2), range(1))}
"""How many copies without and with the mark are right, by class."""


class Cells:
    """Sends the probes of one cell after the other, one for each of three municipalities, and judges them."""

    def __init__(self, stage: Stage, recipient: str, names: str) -> None:
        self.stage = stage
        self.recipient = recipient
        self.run = names
        self.sent = 0
        self.judged: list[tuple[str, str, Collection[str]]] = []
        self.faults: list[str] = []
        assert recipient in RECIPIENTS

    def send(self, count: int = len(MUNICIPALITIES)) -> list[str]:
        """Send one probe for each municipality, or `count`. Returns their names."""
        names = [f"{self.run}-{self.sent + number}" for number in range(count)]
        self.sent += len(names)
        self.stage.budget(self.sent)
        self.stage.reach(self.sent)
        return names

    def tried(self, names: list[str]) -> None:
        """Wait until each probe was tried once, with any outcome."""
        wait(lambda: len([1 for story in stories(self.stage.world, self.recipient, names).values()
                          if story.begun]) == len(names),
             "a first try of each")

    def expect(self, cell: str, names: list[str], *classes: str | Collection[str]) -> None:
        """Note the class that each probe must have at the end, one per municipality, or one for all."""
        self.stage.settles()
        wanted = list(classes) if len(classes) > 1 else [*classes] * len(names)
        told = stories(self.stage.world, self.recipient, names)
        for name, right in zip(names, wanted, strict=True):
            allowed = {right} if isinstance(right, str) else set(right)
            kind = told[name].kind if name in told else "no delivery"
            if kind not in allowed:
                self.faults.append(f"{cell}, {MUNICIPALITIES[municipality_of(name)]}: {kind}, expected "
                                   f"{' or '.join(sorted(allowed))}")
            self.judged.append((cell, name, allowed & {kind} or allowed))
        self.stage.extra_hits += 1

    def count(self) -> list[str]:
        """Count the copies of all cells at the end. Returns all faults."""
        there = copies(self.stage.world, self.recipient)
        for cell, name, kinds in self.judged:
            plain, marked = (there.get(name, Counter())[each] for each in (False, True))
            if not any(plain in FEW[kind][0] and marked in FEW[kind][1] for kind in kinds):
                self.faults.append(f"{cell}, {MUNICIPALITIES[municipality_of(name)]}: {plain} copies, "
                                   f"{marked} with a mark")
        return self.faults
