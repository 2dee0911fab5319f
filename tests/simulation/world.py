"""One seed's world: senders, receivers and operators around the hub's own code, until nothing waits."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub.errors import StoreUnavailable
from tests.simulation.happenings import Happenings
from tests.simulation.judge import rows
from tests.simulation.lives import template, watched
from tests.simulation.tasks import Killed

STEPS = 90
"""Events before everything works again."""

LOST = 100.0
"""Seconds after which the hub must have found a claim that nobody holds."""

REST = 400
"""How many rounds a world may need to come to rest."""


class Faulty(Exception):
    """A seed found something."""

    def __init__(self, seed: int, faults: Sequence[tuple[str, str]], digest: str) -> None:
        self.seed, self.faults, self.digest = seed, list(faults), digest
        super().__init__(f"seed {seed}: "
                         + "; ".join(f"{verdict}: {what}" for verdict, what in self.faults[:3]))


class World(Happenings):
    """The world. `run` plays the seed and returns the digest of its trace. Raises `Faulty`."""

    def run(self) -> str:
        """Play the seed."""
        try:
            with watched(self):
                self._play()
                return self.digest
        finally:
            self._end()

    def _end(self) -> None:
        self.die()
        shutil.rmtree(self._folder)

    def _play(self) -> None:
        for name, content in template().items():
            file = self._folder / name
            file.write_bytes(content)
            file.chmod(0o600)  # as the store makes it
        self.live_again()
        for _ in range(STEPS):
            self._step(self._anything)
        self._step(self._make_well)
        self.rest()
        self._check()
        for _ in range(3):
            self._step(self._replay_all)
            if not self._replayed:
                break
            self.rest()
            self._check()
        self._all_done()
        self._close_trace()

    def _step(self, what: Callable[[], None]) -> None:
        self.steps += 1
        try:
            what()
        except Killed:
            self.live_again()
        except StoreUnavailable as error:
            self.note(f"unavailable: {error}")
        if self.steps % 20 == 0:
            self.judge.books(self.store)
        if self.judge.faults:
            raise Faulty(self.seed, self.judge.faults, self.digest)

    # ---------------------------------------------------------------- the end

    def _make_well(self) -> None:
        self.note("all is made well")
        self.calm, self.full_until, self.clumsy = True, 0, 0.0
        for peer in self.peers.values():
            peer.mood = "well"
        self._take("base")

    def rest(self) -> None:
        """Go on until nothing waits for the hub any more."""
        patience, before, lost_since = 10.0, -1, None
        for _ in range(REST):
            self._step(self._settle)
            waiting = self.judge.waiting(self.store)
            if not (waiting or self.tasks or self._received()):
                return
            # a window may be closed until Monday
            patience = patience * 1.5 if len(waiting) == before else 10.0
            before = len(waiting)
            lost_since = (lost_since or self.steady) if 0 in waiting and not self.tasks else None
            if lost_since and self.steady - lost_since > LOST:
                break
            soonest = (min(waiting, default=0) / 1e6) - self.now.timestamp()
            self._pass(max(min(patience, 3600.0), min(soonest, 86400.0)))
        self.judge.fault("unexplained", f"no rest: {waiting}, {self._received()} received, "
                                        f"{[each.name for each in self.tasks]}")
        raise Faulty(self.seed, self.judge.faults, self.digest)

    def _received(self) -> int:
        return int(rows(self.store, "SELECT count(*) AS n FROM message WHERE state = 'received'")[0]["n"])

    def _settle(self) -> None:
        self.look()
        for _ in range(30):
            if received := self._received():
                self.dispatch()
            while ready := [task for task in self.tasks if task.not_before <= self.steady]:
                self.resume(self.dice.choice(ready))
                self.threads.hire()
            if not received:
                break
            self.look()

    def _replay_all(self) -> None:
        self.note("what is parked is replayed")
        self._replayed = 0
        for row in rows(self.store, "SELECT id, reason FROM message WHERE state = 'parked' ORDER BY no"):
            if not self._hopeless(row):
                self._act("replay", row["id"], None)
        for row in rows(self.store,
                        "SELECT id FROM delivery WHERE state IN ('parked', 'in_doubt') ORDER BY no"):
            self._act("replay", row["id"], None)

    def _hopeless(self, row: Mapping[str, Any]) -> bool:
        """Whether no replay can bring this message any further."""
        sent = self.judge.known.get(row["id"])
        return row["reason"] == "runaway" or (sent is not None and sent.form != "1.0")

    def _check(self) -> None:
        judge = self.judge
        for look in (judge.books, judge.missing, judge.routed, judge.deaths, judge.rests, judge.held):
            look(self.store)
        if judge.faults:
            raise Faulty(self.seed, judge.faults, self.digest)

    def _all_done(self) -> None:
        """When everything works and was replayed, everything has arrived, except for hopeless messages."""
        for row in rows(self.store, "SELECT id, state, reason FROM message WHERE state NOT IN ('completed', "
                                    "'discarded')"):
            sent = self.judge.known.get(row["id"])
            hopeless = row["state"] == "parked" and self._hopeless(row)
            behind = any(each["reason"] == "order" for each in rows(
                self.store, "SELECT reason FROM delivery WHERE message_id = :id AND state = 'due'",
                id=row["id"]))
            if sent is not None and not hopeless and not behind:
                self.judge.fault("lost",
                                 f"{row['id']} of {sent} never came through: {row['state']} {row['reason']}")
        if self.judge.faults:
            raise Faulty(self.seed, self.judge.faults, self.digest)

    def _close_trace(self) -> None:
        for row in rows(self.store, "SELECT at, message_id, delivery_id, name, before, after, reason, "
                                    "detail, who FROM event "
                                    "ORDER BY no"):
            self.note(" ".join(map(str, row.values())))
