"""What one seed's world stands on: its clock, its dice, its tasks and its trace."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hub.config.configuration import Configuration
from hub.store.store import Store
from tests.simulation.judge import Judge, Sent
from tests.simulation.municipalities import MEMORY, VARIANTS, configurations
from tests.simulation.tasks import Killed, Task
from tests.simulation.transports import Peer

START = datetime(2026, 5, 4, 5, 30, tzinfo=UTC)
"""A Monday, 7:30 in Berlin."""


class Notes:
    """Stands for the log of a module. A line that asks to be reported is a fault."""

    def __init__(self, world: Ground) -> None:
        self._world = world

    def error(self, line: str, **fields: Any) -> None:
        self._world.note(f"error: {line}")
        if "please report this" in line and not line.startswith("a connector raised"):
            self._world.judge.fault("failed", f"{line} {fields}")

    def warning(self, line: str, **_: Any) -> None:
        self._world.note(f"warning: {line}")

    def info(self, *_: Any, **__: Any) -> None:
        pass

    critical = error


class Ground:
    """Time, chance and threads of one seed. Whoever is killed does nothing more (`breathe`)."""

    store: Store

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda line: None) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.judge = Judge()
        self.now, self.steady = START, 1000.0
        self.tasks: list[Task] = []
        self.task: Task | None = None
        self.in_worker: set[str] = set()
        self.peers: dict[str, Peer] = {}
        self.variant = VARIANTS[0]
        self.lives = self.steps = self.kills = self.hits = self.restored = 0
        self.full_until = 0
        self.calm = False
        self.clumsy = self.dice.choice([0.0, 0.0, 0.05, 0.2])
        self.until_death = self._next_death()
        self.deaths_left = self.dice.choice([0, 1, 2, 2])
        self.backup: Path | None = None
        self.acknowledged_then: set[str] = set()
        self._tell = tell
        self._digest = hashlib.sha256()
        self._ids = 0
        self._actions = self._replayed = 0
        self._sends = 0
        self._open: dict[tuple[Any, ...], Sent] = {}
        self.dead = False
        self._poison = self.dice.choice([None, None, "worker", "hub"])
        self._folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=MEMORY if MEMORY.is_dir() else None))

    @property
    def store_is_full(self) -> bool:
        """Whether the store cannot write now."""
        return self.steps < self.full_until

    def figures(self) -> dict[str, int]:
        """How often each thing happened."""
        copies = self.judge.copies.values()
        return {"acknowledged": len(self.judge.ids), "kills": self.kills, "lives": self.lives,
                "hits": self.hits,
                "tries": sum(sum(peer.tries.values()) for peer in self.peers.values()),
                "arrived": sum(map(len, copies)),
                "flagged": sum(any(marked for marked, _ in each) and len(each) > 1 for each in copies),
                "restored": self.restored}

    @property
    def digest(self) -> str:
        """The digest of the trace so far."""
        return self._digest.hexdigest()

    # ---------------------------------------------------------------- what the hub is given

    def clock(self) -> datetime:
        """The wall clock."""
        return self.now

    def monotonic(self) -> float:
        """Seconds that only pass."""
        return self.steady

    def configuration(self) -> Configuration:
        """The configuration in force."""
        return configurations()[self.variant.name]

    def new_id(self) -> str:
        """A new id, as `hub.message.new_message_id` makes it."""
        self._ids += 1
        return f"{self._ids:08x}-5eed-7000-8000-{self.seed & 0xFFFFFFFFFFFF:012x}"

    def peer(self, name: str) -> Peer:
        """The receiver behind a destination."""
        return self.peers.setdefault(name, Peer(name))

    def pick(self, weights: Mapping[str, int]) -> str:
        """Choose one of these by weight."""
        return self.dice.choices(list(weights), list(weights.values()))[0]

    def note(self, line: str) -> None:
        """Add a line to the trace."""
        if self.dead:
            return
        place = self.task.name if self.task else "world"
        line = f"{self.steps:4} {self.steady:10.1f} {self.now:%m-%d %H:%M:%S} {place:9} {line}"
        self._digest.update(line.encode())
        self._tell(line)

    # ---------------------------------------------------------------- where it can die

    def breathe(self) -> None:
        """What a dying thread still does in its ``finally`` reaches nothing. Raises `Killed`."""
        if self.dead:
            raise Killed

    def _next_death(self) -> int:
        return self.dice.randint(1, 60) if self.dice.random() < 0.3 else self.dice.randint(60, 700)

    def point(self, name: str, *, waits: bool = True) -> None:
        """A place where the hub may die, or another of its threads may go on."""
        if not self.calm and self.deaths_left:
            self.until_death -= 1
            if self.until_death <= 0:
                self.deaths_left -= 1
                self.until_death = self._next_death()
                for message_id in self.in_worker:
                    self.judge.innocent[message_id] += 1
                self.note(f"the hub is killed {name}")
                self.hits += bool(self.tasks)
                raise Killed
        if waits and self.task is not None and self.dice.random() < 0.25:
            self._wait()

    def sleep(self, seconds: float) -> None:
        """Let the calling thread sleep."""
        if self.task is not None:
            self.task.not_before = self.steady + seconds
            self._wait()

    def _wait(self) -> None:
        task = self.task
        assert task is not None
        task.wait()

    def begin(self, name: str, work: Callable[[], object]) -> None:
        """Begin another thread of the hub."""
        self.tasks.append(Task(f"{name}-{len(self.tasks)}", work))

    def resume(self, task: Task, thrown: BaseException | None = None) -> None:
        """Let a task go on until it waits or ends. Raises `Killed`."""
        self.task = task
        try:
            task.resume(thrown)
        finally:
            self.task = None
            if task.over:
                self.tasks.remove(task)
