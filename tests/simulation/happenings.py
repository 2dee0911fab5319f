"""What may happen in one world: people send, receivers have moods, clocks leap, somebody operates."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta

from hub.errors import Conflict, StoreUnavailable
from hub.message import Accepted, Incoming, IncomingPart
from hub.store.store import Store
from hub.store.transitions.operator_actions import NotFound, NotNow
from tests.simulation.judge import Sent, rows
from tests.simulation.lives import Lives
from tests.simulation.municipalities import NORD, ORDERED, PLAIN, SUED, VARIANTS


class Happenings(Lives):
    """One step each; the dice choose."""

    def _anything(self) -> None:
        getattr(self, self.pick({
            "send": 18, "dispatch": 18, "look": 20, "go_on": 34, "time": 14, "operate": 8, "mood": 5,
            "reconfigure": 2, "leap": 1,
            "full_store": 1, "restart": 1, "save": 1, "put_back": 1}))()

    def send(self) -> None:
        """Send one or two applications, new ones or repetitions."""
        batch = [self._application() for _ in range(self.dice.choice([1, 1, 2, 3]))]
        if self.dice.random() < 0.15:
            batch.append(batch[0])
        for sent in batch:
            self.judge.sends(sent)
        answers = self.receiver.together([self._incoming(sent) for sent in batch])
        for sent, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Accepted):
                self.note(f"sent {sent.number} {sent.ags} {sent.service} {sent.key or ''}: "
                          f"{answer.id[:8]}{' known' if answer.duplicate else ''}")
                self.judge.answered(sent, answer)
            elif isinstance(answer, Conflict):
                self.judge.refused(sent)
            elif not isinstance(answer, StoreUnavailable):
                self.judge.fault("failed", f"{sent}: {answer!r}")

    def _application(self) -> Sent:
        """A new application; sometimes one that was sent before, or another one under its key."""
        dice = self.dice
        ags, service = dice.choice([NORD, NORD, SUED]), dice.choice([PLAIN, ORDERED])
        if self._poison and self._sends > 5 and dice.random() < 0.1:
            poison, self._poison = self._poison, None
        else:
            poison = None
        known = list(self._open.values())
        if known and poison is None and dice.random() < 0.25:
            before = dice.choice(known)
            if before.poison is None and before.key and dice.random() < 0.3:
                return replace(before, number=self._number())
            return before
        sent = Sent(self._number(), dice.choice(["portal", "portal", "zweites"]), ags, service,
                    test=dice.random() < 0.1,
                    form="2.0" if dice.random() < 0.05 else "1.0",
                    key=f"k{dice.randint(1, 12)}" if dice.random() < 0.6 else None,
                    case=f"fall-{dice.randint(1, 3)}" if dice.random() < 0.7 else None, poison=poison)
        if poison:
            sent = replace(sent, key=None, test=False)
        elif sent.identity in self._open:
            return self._open[sent.identity]
        self._open[sent.identity] = sent
        return sent

    def _number(self) -> int:
        self._sends += 1
        return self._sends

    def _incoming(self, sent: Sent) -> Incoming:
        return Incoming("https", sent.sender, sent.ags, sent.service, (IncomingPart.of(sent.content()),),
                        test=sent.test,
                        key=sent.key, case=sent.case, conflict="refuse" if sent.sender == "portal"
                        else "park")

    def dispatch(self) -> None:
        """Let a thread of the dispatcher do one round."""
        if sum(task.name.startswith("dispatch") for task in self.tasks) < 2:
            self.begin("dispatch", self.dispatcher.turn)
            self.resume(self.tasks[-1])

    def look(self) -> None:
        """Let the deliverer's scheduler look for due deliveries."""
        self.deliverer.round()
        self.threads.hire()

    def go_on(self) -> None:
        """Let one of the threads go on."""
        for _ in range(self.dice.randint(1, 6)):
            self.threads.hire()
            ready = [task for task in self.tasks if task.not_before <= self.steady]
            if ready:
                self.resume(self.dice.choice(ready))

    def time(self) -> None:
        """Let time pass."""
        self._pass(self.dice.choice([0.5, 2, 5, 15, 40, 70, 130, 600, 3000, 7200, 30000]))

    def _pass(self, seconds: float) -> None:
        self.steady += seconds
        self.now += timedelta(seconds=seconds)

    def leap(self) -> None:
        """Set the clock forwards or back."""
        step = self.dice.choice([-7200, -600, -90, 300, 7200, 86400])
        self.note(f"the clock leaps by {step} s")
        self.now += timedelta(seconds=step)

    def mood(self) -> None:
        """Change the mood of a receiver."""
        if self.peers:
            peer = self.peers[self.dice.choice(sorted(self.peers))]
            peer.mood = self.pick({"well": 10, "flaky": 14, "down": 4, "misconfigured": 2, "full": 3})
            self.note(f"{peer.name} is {peer.mood}")

    def reconfigure(self) -> None:
        """Change the configuration, as `hub.daemon.Daemon.reload` does."""
        self._take(self.dice.choice(VARIANTS).name)

    def _take(self, name: str) -> None:
        self.variant = next(variant for variant in VARIANTS if variant.name == name)
        self.note(f"configuration: {name}")
        self.deliverer.reset()
        self._wake_all()

    def full_store(self) -> None:
        """Let the disk be full for some time."""
        self.full_until = self.steps + self.dice.randint(2, 12)
        self.note("the disk is full")

    def restart(self) -> None:
        """Stop the hub in order, and start it again."""
        if not self.store_is_full:
            self.stop()

    def save(self) -> None:
        """Take a backup."""
        self.backup = self._folder / "backup"
        self.backup.unlink(missing_ok=True)
        self.store.copy(self.backup, lambda *_: None)
        self.acknowledged_then = set(self.judge.known)
        self.note("a backup is made")

    def put_back(self) -> None:
        """Lose the store, and restore it from the backup."""
        if self.backup is None or self.dice.random() < 0.5:
            return
        self.note("the backup is put back")
        self.restored += 1
        before = {row["id"] for row in rows(self.store, "SELECT id FROM delivery")}
        fencing = self.store.fencing
        self.die()
        for name in ("store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm"):
            (self._folder / name).unlink(missing_ok=True)
        shutil.move(self.backup, self._folder / "store.sqlite3")
        self.backup = None
        # `hub.store.backup.restore` builds the store in another folder first
        left, self.deaths_left = self.deaths_left, 0
        self.full_until = 0
        store = self.open()
        store.raise_fencing(fencing + 1)
        self._forget(store, before)
        store.close()
        self.deaths_left = left
        self.live_again()

    def _forget(self, store: Store, before: set[str]) -> None:
        judge = self.judge
        judge.known = {name: sent for name, sent in judge.known.items() if name in self.acknowledged_then}
        judge.ids = {key: name for key, name in judge.ids.items() if name in judge.known}
        now = {row["id"]: row["attempts"] for row in rows(store, "SELECT id, attempts FROM delivery")}
        judge.forgotten |= before - set(now)
        for name in judge.begun:
            judge.begun[name] = min(judge.begun[name], now.get(name, 0))

    def operate(self) -> None:
        """Let an operator do something, perhaps twice."""
        deliveries = rows(self.store, "SELECT id FROM delivery WHERE state IN ('parked', 'in_doubt', 'due', "
                                      "'done') ORDER BY no")
        messages = rows(self.store, "SELECT id FROM message WHERE state IN ('parked', 'routed') ORDER BY no")
        verb = self.pick({"replay": 10, "discard": 1, "confirm": 1, "resend": 1})
        found = messages if verb == "replay" and self.dice.random() < 0.4 else deliveries
        if not found:
            return
        name = self.dice.choice(found)["id"]
        self._actions += 1
        action = f"action-{self._actions}"
        self._act(verb, name, action)
        if self.dice.random() < 0.5:
            before = rows(self.store, "SELECT max(no) AS no FROM event")
            self._act(verb, name, action)
            if rows(self.store, "SELECT max(no) AS no FROM event") != before and self.acted:
                self.judge.fault("action", f"{verb} {name} again")

    acted = False

    def _act(self, verb: str, name: str, action: str | None) -> None:
        why = {"discard": ("Test",), "confirm": ("Anruf",)}.get(verb, ())
        self.acted = False
        if verb == "confirm":
            self.judge.confirmed.add(name)  # also when the hub dies before it answers
        try:
            answer = getattr(self.operator, verb)(name, "erika", *why, action)
        except (NotNow, NotFound) as error:
            self.note(f"{verb} {name[:8]}: {type(error).__name__}")
            return
        self.acted = True
        self._replayed += 1
        self.note(f"{verb} {name[:8]}: {answer.get('changed', answer.get('new'))}")
