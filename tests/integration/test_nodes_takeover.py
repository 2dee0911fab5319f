"""A node that dies, freezes or stops: what it had in hand is looked into, and it writes nothing any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hub.config.sections import StoreSection
from hub.errors import StoreUnavailable
from hub.store.store import Store
from hub.store.transitions import deliveries as delivery_transitions
from hub.store.transitions import messages as message_transitions
from hub.store.transitions.deliveries import LostLease, Recovered
from tests.integration.nodes import a, b, node, postgresql, section, seen_by
from tests.unit.store_kit import (
    MINUTE,
    abandon,
    accept,
    claim_one,
    incoming,
    routed,
)

__all__ = ["a", "b", "postgresql", "section"]


def in_hand(store: Store) -> dict[str, str]:
    """A node's life: one message in work, one delivery claimed, one begun."""
    claimed = routed(store, ["ordner"], b"claimed"), routed(store, ["mail"], b"begun")
    claim_one(store, "ordner")
    store.begin_effect(claim_one(store, "mail").delivery.id)
    working = accept(store, incoming(b"working")).id
    store.claim_messages(1, MINUTE, only=[working])
    return {"claimed": claimed[0], "begun": claimed[1], "working": working}


def after_takeover(b: Store, ids: dict[str, str]) -> dict[str, str]:
    """Where the three things are."""
    return {"working": "suspect" if ids["working"] in b.suspects() else "not free",
            **{name: b.deliveries_of(ids[name])[0].state.value for name in ("claimed", "begun")}}
AS_AFTER_AN_UNCLEAN_START = {"working": "suspect", "claimed": "due", "begun": "in_doubt"}


def test_a_node_that_died_is_taken_over(tmp_path: Path, section: StoreSection, a: Store) -> None:
    dying = Store.open(tmp_path / "dying", served=section)
    ids = in_hand(dying)
    abandon(dying)
    recovered = a.take_over(seen_by(a, dying), lambda _: False)
    assert recovered == Recovered(1, 1, 1, None)
    assert after_takeover(a, ids) == AS_AFTER_AN_UNCLEAN_START
    assert claim_one(a, "mail").probe
    assert a.take_over(seen_by(a, dying), lambda _: False) is None


def test_a_node_that_died_finds_its_own_things_at_its_new_start(tmp_path: Path, section: StoreSection,
                                                                a: Store) -> None:
    dying = Store.open(tmp_path / "dying", served=section)
    ids = in_hand(dying)
    abandon(dying)
    again = Store.open(tmp_path / "dying", served=section)
    assert again.unclean
    assert again.recover().suspects == 1
    assert after_takeover(again, ids) == AS_AFTER_AN_UNCLEAN_START
    again.close()
    with node(tmp_path / "dying", section) as third:
        assert not third.unclean


def test_planted_a_forgotten_recovery_is_noticed(tmp_path: Path, section: StoreSection, a: Store,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    dying = Store.open(tmp_path / "dying", served=section)
    ids = in_hand(dying)
    abandon(dying)
    monkeypatch.setattr(delivery_transitions, "recover", lambda *_, **__: Recovered(0, 0, 0, None))
    a.take_over(seen_by(a, dying), lambda _: False)
    assert after_takeover(a, ids) != AS_AFTER_AN_UNCLEAN_START


def test_a_thawed_node_writes_and_delivers_nothing(a: Store, tmp_path: Path, section: StoreSection) -> None:
    with node(tmp_path / "frozen", section.model_copy(update={"takeover": MINUTE * 0})) as frozen:
        ids = in_hand(frozen)
        begun = frozen.deliveries_of(ids["claimed"])[0].id
        assert a.take_over(seen_by(a, frozen), lambda _: False)
        with pytest.raises(LostLease):  # before it asks anybody: it knows that it did not beat
            frozen.still_ours()
        with pytest.raises(StoreUnavailable):  # its session was cut
            frozen.begin_effect(begun)
        for late in (b"late", b"later"):
            with pytest.raises(StoreUnavailable, match="another node"):
                accept(frozen, incoming(late))
        assert frozen.broken
        assert after_takeover(a, ids) == AS_AFTER_AN_UNCLEAN_START


def frozen_inside(a: Store, b: Store, act: Callable[[str], Any]) -> int:
    """Node b freezes in the middle of a transaction that has changed a message, then `act`; the message's
    deaths at the end."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(tx: Any) -> None:
        message_transitions.count_death(tx, message_id)
        inside.set()
        go_on.wait(60)
        message_transitions.count_death(tx, message_id)

    message_id = accept(a, incoming()).id
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(b.transact, slow)
        inside.wait(60)
        act(message_id)
        go_on.set()
        assert isinstance(writing.exception(60), StoreUnavailable)
    return a.get_message(message_id).deaths


def test_what_a_frozen_node_had_begun_is_undone_and_holds_nobody_up(a: Store, b: Store) -> None:
    def take_over(message_id: str) -> None:
        assert a.take_over(seen_by(a, b), lambda _: False) is not None
        assert a.count_death(message_id) == 1  # the row is free

    assert frozen_inside(a, b, take_over) == 1
    with pytest.raises(StoreUnavailable, match="another node"):
        accept(b, incoming(b"late"))


def test_a_node_beats_while_its_writer_waits_for_a_frozen_one(a: Store, b: Store) -> None:
    def wait(message_id: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(a.count_death, message_id)
            assert [node.fencing for node in a.beat()] == [a.fencing, b.fencing]
            assert not waiting.done()
            assert a.take_over(seen_by(a, b), lambda _: False) is not None
            assert waiting.result(30) == 1

    assert frozen_inside(a, b, wait) == 1


def test_a_node_that_was_ended_hears_it_at_its_next_beat(a: Store, b: Store) -> None:
    b.beat()
    assert a.take_over(seen_by(a, b), lambda _: False) is not None
    with pytest.raises(StoreUnavailable):  # its session was cut
        b.beat()
    with pytest.raises(StoreUnavailable, match="another node"):
        b.beat()
    assert b.broken


def test_a_node_that_beats_is_not_taken_over(a: Store, b: Store) -> None:
    before = seen_by(a, b)
    b.beat()
    assert a.take_over(before, lambda _: False) is None
    accept(b, incoming())


def test_a_clean_stop_hands_back_at_once(tmp_path: Path, section: StoreSection, a: Store) -> None:
    with node(tmp_path / "leaving", section) as leaving:
        ids = in_hand(leaving)
    assert [message.id for message in a.claim_messages(5, MINUTE)] == [ids["working"]]
    assert claim_one(a, "ordner").delivery.message_id == ids["claimed"]
    assert a.suspects() == []
    assert seen_by(a, leaving).ended == "stopped"
