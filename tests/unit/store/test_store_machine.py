"""Anything in any order: the books balance, and no message is lost or settled twice."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hub.message import RESTORED, DeliveryState, MessageState
from hub.store.database.ledger import Ledger
from hub.store.store import Store
from hub.store.transitions import case_order
from hub.store.transitions import messages as message_transitions
from hub.store.transitions.deliveries import Settlement
from hub.store.transitions.operator_actions import NotNow
from tests.unit.store_kit import (
    MINUTE,
    RECEIPT,
    Clock,
    Output,
    abandon,
    accept,
    incoming,
    parked,
    prepare,
    translated,
    unbalanced,
)

DESTINATIONS = ("dms", "mail", "ordner")
FINAL = {MessageState.COMPLETED, MessageState.DISCARDED}
CONFIG = settings(max_examples=15, stateful_step_count=40, deadline=None,
                  suppress_health_check=list(HealthCheck))
PLANTED = settings(CONFIG, database=None, print_blob=False, phases=[Phase.generate], max_examples=100)
MEMORY = Path("/dev/shm")
pick = st.integers(0, 1000)


class StoreMachine(RuleBasedStateMachine):
    """A small hub with one municipality and three destinations, killed now and then."""

    def __init__(self) -> None:
        super().__init__()
        # in memory where there is such a place: thousands of commits, and no power cut to survive
        self.folder = Path(tempfile.mkdtemp(prefix="store-machine-", dir=MEMORY if MEMORY.is_dir() else None))
        self.clock = Clock()
        self.store = Store.open(prepare(self.folder), now=self.clock)
        self.accepted: set[str] = set()
        self.messages: list[str] = []
        self.claimed: list[str] = []
        self.done: set[str] = set()
        self.cases: dict[str, str | None] = {}
        self.saved: set[str] | None = None
        self.count = self.actions = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(same=st.booleans(), park=st.booleans(), case=st.sampled_from([None, "fall-1", "fall-2"]))
    def accept(self, same: bool, park: bool, case: str | None) -> None:
        self.count += not same
        answer = accept(self.store, incoming(b"%d" % self.count, case=case), park=("invalid", "x") if park
                        else None)
        assert answer.duplicate == (answer.id in self.accepted)
        self.accepted.add(answer.id)
        self.cases.setdefault(answer.id, case)  # in the order in which they were accepted

    @rule(limit=st.integers(1, 4))
    def claim_messages(self, limit: int) -> None:
        self.messages += [message.id for message in self.store.claim_messages(limit, MINUTE)]

    @precondition(lambda self: self.messages)
    @rule(data=st.lists(st.sets(st.sampled_from(DESTINATIONS)), min_size=1, max_size=3), good=st.booleans())
    def record(self, data: list[set[str]], good: bool) -> None:
        output = Output()
        outcomes = [translated(name, *(output.delivery(b"<r/>", place, place)
                                       for place in sorted(places))).model_copy(
update={"order": "case"}) if good
                    else parked(name) for name, places in zip(self.messages, data, strict=False)]
        self.store.record(outcomes, output.fd, config_digest="c")
        del self.messages[: len(outcomes)]

    @precondition(lambda self: self.messages)
    @rule()
    def release(self) -> None:
        self.store.release_messages([self.messages.pop()])

    @rule(destination=st.sampled_from(DESTINATIONS), limit=st.integers(1, 4))
    def claim_deliveries(self, destination: str, limit: int) -> None:
        for claimed in self.store.claim_deliveries(destination, limit, MINUTE):
            assert claimed.delivery.id not in self.done, "done, and handed out again"
            self.claimed.append(claimed.delivery.id)
            if not claimed.probe:
                assert not self.earlier(claimed.delivery.message_id, destination), "it is not its turn"

    def earlier(self, message_id: str, destination: str) -> list[str]:
        """What of a message's case was accepted before it and is still to come to a destination, as far as
        anybody knows."""
        case, before = self.cases[message_id], list(self.cases)[:list(self.cases).index(message_id)]
        same = [name for name in before if case is not None and self.cases[name] == case]
        return [name for name in same
                if self.store.get_message(name).state in {MessageState.RECEIVED, MessageState.PARKED}
                or any(row.destination == destination
                       and row.state not in {DeliveryState.DONE, DeliveryState.DISCARDED}
                       for row in self.store.deliveries_of(name))]

    @precondition(lambda self: self.claimed)
    @rule(number=pick)
    def lose(self, number: int) -> None:
        """A thread vanished: what it had in hand is found, and nothing else."""
        self.claimed.pop(number % len(self.claimed))
        assert self.store.recover_lost((), self.store.new_claim(), set(self.claimed),
                                       lambda _: number % 2 == 0) == 1

    @rule(minutes=st.integers(1, 300))
    def set_the_clock_back(self, minutes: int) -> None:
        step = timedelta(minutes=minutes)
        before = {row.id: row.due_at for name in self.accepted for row in self.store.deliveries_of(name)}
        self.clock.now -= step
        self.store.set_back(step)
        for name, due in before.items():
            after = self.store.get_delivery(name).due_at
            assert (after is None) == (due is None)
            assert after is None or due is None or after <= max(self.clock.now, due - step)

    @precondition(lambda self: self.claimed)
    @rule(how=st.sampled_from(["done", "later", "in_doubt", "ask", "parked", "again", "release"]),
          begin=st.booleans())
    def settle(self, how: str, begin: bool) -> None:
        name = self.claimed.pop(0)
        probing = self.store.get_delivery(name).state == DeliveryState.IN_DOUBT
        if begin and not probing:
            self.store.begin_effect(name)
        if how == "release" and not begin:
            self.store.release_deliveries([name])
            return
        soon = self.clock.now + timedelta(seconds=30)
        settlement = {
            "done": Settlement.done(name, RECEIPT), "later": Settlement.later(name, soon, "Temporary", "451"),
            "in_doubt": Settlement.in_doubt(name, "?", soon), "ask": Settlement.in_doubt(name, "?", None),
            "parked": Settlement.parked(name, "permanent", "550"),
            "again": Settlement.again(name, soon, repeat_marked=True),
        }.get(how, Settlement.done(name, RECEIPT))
        assert self.store.settle([settlement, settlement]) == 1
        if settlement.state == "done":
            self.done.add(name)

    @rule(seconds=st.integers(0, 90))
    def wait(self, seconds: int) -> None:
        self.clock.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.accepted)
    @rule(number=pick, verb=st.sampled_from(["replay", "discard"]))
    def operate_message(self, number: int, verb: str) -> None:
        name = sorted(self.accepted)[number % len(self.accepted)]
        try:
            if verb == "replay":
                self.store.replay(name, "erika")
            else:
                self.store.discard(name, "erika", "Test")
        except NotNow:
            pass

    @precondition(lambda self: self.accepted)
    @rule(number=pick, verb=st.sampled_from(["replay", "discard", "confirm", "resend"]))
    def operate_delivery(self, number: int, verb: str) -> None:
        deliveries = [row.id for name in sorted(self.accepted) for row in self.store.deliveries_of(name)]
        if not deliveries:
            return
        name = deliveries[number % len(deliveries)]
        self.actions += 1
        try:
            if verb == "replay":
                action = f"action-{self.actions}"
                assert self.store.replay_delivery(name, "erika", action=action) == 1
                events = len(self.store.events_of(self.store.get_delivery(name).message_id))
                assert self.store.replay_delivery(name, "erika", action=action) == 1
                assert len(self.store.events_of(
                    self.store.get_delivery(name).message_id)) == events, "a double click"
            elif verb == "discard":
                self.store.discard(name, "erika", "Test")
            elif verb == "confirm":
                self.store.confirm(name, "erika", "Anruf")
                self.done.add(name)
            else:
                self.store.resend_as_new(name, "erika")
        except NotNow:
            pass

    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        if killed:
            abandon(self.store)
        else:
            self.store.close()
        self.store = Store.open(self.folder, now=self.clock)
        assert self.store.unclean == killed
        self.store.recover()
        self.messages = [message.id for name in self.store.suspects()
                         for message in self.store.claim_messages(1, MINUTE, only=[name])]
        self.claimed.clear()

    @rule()
    def save(self) -> None:
        (self.folder / "saved").unlink(missing_ok=True)
        self.store.copy(self.folder / "saved", lambda *_: None)
        self.saved = set(self.accepted)

    @precondition(lambda self: self.saved is not None)
    @rule()
    def restore(self) -> None:
        """The last backup is put into the store's place: what it holds stays, and nothing of it is plainly
        due."""
        above = self.store.fencing
        abandon(self.store)
        for name in ("store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "saved").rename(self.folder / "store.sqlite3")
        self.store = Store.open(self.folder, now=self.clock)
        self.store.raise_fencing(above + 1)
        assert self.saved is not None
        self.accepted, self.saved = self.saved, None
        self.cases = {name: case for name, case in self.cases.items() if name in self.accepted}
        self.messages.clear()
        self.claimed.clear()
        rows = [row for name in self.accepted for row in self.store.deliveries_of(name)]
        self.done = {row.id for row in rows if row.state == DeliveryState.DONE}
        assert not {row.state for row in rows} & {DeliveryState.DUE, DeliveryState.DELIVERING}
        assert all(row.error == RESTORED for row in rows
                   if row.state in {DeliveryState.IN_DOUBT, DeliveryState.PARKED})

    @invariant()
    def nobody_waits_for_a_turn_that_has_come(self) -> None:
        assert self.store.free_missed() == 0
        for name in self.accepted:
            for row in self.store.deliveries_of(name):
                if row.state == DeliveryState.DUE and row.due_at is None:
                    assert self.earlier(name, row.destination)

    @invariant()
    def books_balance(self) -> None:
        assert unbalanced(self.store) == []

    @invariant()
    def nothing_is_lost(self) -> None:
        messages = {message.id: message for message in self.store.find_messages(limit=10_000)}
        assert set(messages) == self.accepted
        for name, message in messages.items():
            states = [row.state for row in self.store.deliveries_of(name)]
            final = bool(states) and all(state in {DeliveryState.DONE, DeliveryState.DISCARDED}
                                         for state in states)
            if states:
                assert (
                    message.state in FINAL) == final, "a message is finished exactly when its deliveries are"
                if final:
                    assert (message.state == MessageState.COMPLETED) == (DeliveryState.DONE in states)

    @invariant()
    def whoever_waits_for_the_hub_is_found_by_it(self) -> None:
        waiting = {row.destination for name in self.accepted for row in self.store.deliveries_of(name)
                   if row.state == DeliveryState.DUE and row.due_at is not None}
        assert waiting <= {name for name, _ in self.store.due_destinations()}


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = CONFIG
TestStoreMachine.pytestmark = [pytest.mark.slow]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_planted_a_forgotten_tally_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Ledger.moved

    def forgetful(self: Ledger, kind: str, service: str, destination: str, before: str | None,
                  after: str | None) -> None:
        if before != "parked":
            real(self, kind, service, destination, before, after)

    monkeypatch.setattr(Ledger, "moved", forgetful)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(StoreMachine, settings=PLANTED)


@pytest.mark.slow
def test_planted_a_lost_message_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = message_transitions.insert_messages

    def losing(tx: object, new: list[Any]) -> None:
        real(tx, [row for row in new if row[1].incoming.parts[0].content != b"3"])  # type: ignore[arg-type]

    monkeypatch.setattr(message_transitions, "insert_messages", losing)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(StoreMachine, settings=PLANTED)


def test_planted_a_turn_that_nobody_calls_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_order, "free", lambda tx, keys: 0)
    machine = StoreMachine()
    try:
        for _ in range(2):
            machine.accept(same=False, park=False, case="fall-1")
        machine.claim_messages(limit=2)
        machine.record(data=[{"dms"}, {"dms"}], good=True)
        machine.claim_deliveries(destination="dms", limit=2)
        machine.settle(how="done", begin=True)
        with pytest.raises(AssertionError):
            machine.nobody_waits_for_a_turn_that_has_come()
    finally:
        machine.teardown()
