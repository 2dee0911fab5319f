"""Two nodes on one real PostgreSQL: each message and delivery in one hand, and the books right."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import literal_column, select

from hub.errors import StoreUnavailable
from hub.message import DeliveryState, MessageState
from hub.store.database import arrivals, tables
from hub.store.database.statements import Query
from hub.store.store import Store
from hub.store.transitions import deliveries as delivery_transitions
from hub.store.transitions import messages as message_transitions
from hub.store.transitions.deliveries import Settlement
from tests.integration.nodes import a, b, postgresql, section
from tests.unit.store_kit import (
    MINUTE,
    RECEIPT,
    Output,
    accept,
    claim_one,
    incoming,
    routed,
    translated,
    unbalanced,
)

__all__ = ["a", "b", "postgresql", "section"]


def work_off(store: Store, hands: Counter[str]) -> None:
    """Everything there is, as dispatcher and deliverer do it; `hands` counts who was given what."""
    while messages := store.claim_messages(5, MINUTE):
        hands.update(message.id for message in messages)
        output = Output()
        store.record([translated(message.id,
                                 *(output.delivery(b"<r/>", name, name) for name in ("dms", "mail")))
                      for message in messages], output.fd, config_digest="c")
    for destination in ("dms", "mail"):
        while claimed := store.claim_deliveries(destination, 3, MINUTE):
            hands.update(item.delivery.id for item in claimed)
            store.settle([Settlement.done(item.delivery.id, RECEIPT) for item in claimed])


def contend(a: Store, b: Store, count: int = 60) -> tuple[Counter[str], Counter[str]]:
    """Both accept the same applications in opposite order, and work them off at once: ids by application, and
    hands."""
    numbers = list(range(count))
    answers: Counter[str] = Counter()
    hands: Counter[str] = Counter()

    def serve(store: Store, order: list[int]) -> None:
        for number in order:
            answers[accept(store, incoming(b"%d" % number, key=f"k{number}")).id] += 1
        for _ in range(3):
            work_off(store, hands)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(serve, store, order) for store in (a, b)
                       for order in (numbers, numbers[::-1])]:
            future.result(120)
    work_off(a, hands)
    return answers, hands


def test_each_thing_is_in_one_hand_and_the_books_are_right(a: Store, b: Store) -> None:
    answers, hands = contend(a, b)
    assert set(answers.values()) == {4}  # four times handed in, each time the same id
    assert len(answers) == 60
    assert set(hands.values()) == {1}
    assert len(hands) == 60 * 3
    messages, deliveries = b.balances()
    assert (messages.states["completed"], deliveries.states["done"]) == (60, 120)
    assert unbalanced(b) == []


def test_planted_a_claim_that_ignores_leases_and_locks_is_noticed(a: Store, b: Store,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    blind = select(tables.delivery.c.no).where(
        tables.delivery.c.destination == delivery_transitions.bindparam("d"),
        tables.delivery.c.state.in_(["due", "delivering"]),
        literal_column("1") == delivery_transitions.bindparam("fresh"),
        literal_column("0") <= delivery_transitions.bindparam("now")).order_by(
tables.delivery.c.no).limit(delivery_transitions.bindparam("limit"))
    monkeypatch.setattr(delivery_transitions, "DUE_NOW", Query(blind))
    message_id = routed(a)
    for store in (a, b):
        claimed = [item.delivery.message_id for item in store.claim_deliveries("mail-musterstadt", 1, MINUTE)]
        assert claimed == [message_id]


def test_planted_a_duplicate_check_without_the_key_held_is_noticed(a: Store, b: Store,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look, both find nothing: only the unique key is left, and it refuses what should have been a
    duplicate."""
    met = threading.Barrier(2, timeout=30)
    real = message_transitions.known_keys

    def together(tx: Any, arrivals: Any) -> Any:
        known = real(tx, arrivals)
        if not known:
            met.wait()
        return known

    def both() -> list[BaseException | None]:
        with ThreadPoolExecutor(2) as pool:
            return [future.exception(60)
                    for future in [pool.submit(accept, store, incoming(key="k")) for store in (a, b)]]

    monkeypatch.setattr(message_transitions, "known_keys", together)
    monkeypatch.setattr("hub.store.database.transaction.Transaction.one_by_one", lambda self, names: None)
    assert [error for error in both() if error is not None]


def test_the_last_two_deliveries_of_a_message_end_on_two_nodes_at_once(a: Store, b: Store) -> None:
    for number in range(10):
        message_id = routed(a, ["mail", "dms"], b"%d" % number)
        claims = [(store, claim_one(store, name)) for store, name in ((a, "mail"), (b, "dms"))]
        start = threading.Barrier(2, timeout=30)

        def settle(store: Store, delivery_id: str, start: threading.Barrier = start) -> int:
            start.wait()
            return store.settle([Settlement.done(delivery_id, RECEIPT)])

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda claim: settle(claim[0], claim[1].delivery.id), claims)) == [1, 1]
        assert a.get_message(message_id).state is MessageState.COMPLETED


def test_planted_without_holding_the_message_it_stays_open(a: Store, b: Store,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    met = threading.Barrier(2, timeout=30)
    real = delivery_transitions.close_messages

    def together(tx: Any, ids: Any) -> None:
        met.wait()  # both have written their own delivery, neither sees the other's
        real(tx, ids)
        met.wait()

    message_id = routed(a, ["mail", "dms"])
    claims = [(store, claim_one(store, name)) for store, name in ((a, "mail"), (b, "dms"))]
    monkeypatch.setattr(delivery_transitions, "close_messages", together)
    monkeypatch.setattr("hub.store.database.transaction.Transaction.hold", lambda self, column, ids: None)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda claim: claim[0].settle([Settlement.done(claim[1].delivery.id, RECEIPT)]),
                      claims))
    assert {row.state for row in a.deliveries_of(message_id)} == {DeliveryState.DONE}
    assert a.get_message(message_id).state is MessageState.ROUTED


def test_a_double_click_on_two_nodes_happens_once(a: Store, b: Store) -> None:
    message_id = routed(a)
    claimed = claim_one(a)
    a.settle([Settlement.done(claimed.delivery.id, RECEIPT)])
    with ThreadPoolExecutor(2) as pool:
        new = list(pool.map(lambda store: store.resend_as_new(claimed.delivery.id, "erika", action="click"),
                            (a, b)))
    assert new[0] == new[1]
    assert len(a.deliveries_of(message_id)) == 2


def test_what_two_nodes_do_to_each_other_is_done_anew(a: Store, b: Store) -> None:
    """A deadlock on purpose: each changes its own row first and then the other's."""
    ids = [accept(a, incoming(name)).id for name in (b"1", b"2")]
    met = threading.Barrier(2, timeout=30)
    tries: Counter[str] = Counter()

    def cross(store: Store, order: list[str]) -> None:
        def work(tx: Any) -> None:
            first = tries[order[0]] == 0
            tries[order[0]] += 1
            message_transitions.count_death(tx, order[0])
            if first:
                met.wait()
            message_transitions.count_death(tx, order[1])
        store.transact(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: cross(*pair), ((a, ids), (b, ids[::-1]))))
    # more when the other one had no processor to go on with in time: it meets it once more
    assert sum(tries.values()) >= 3
    assert [a.get_message(name).deaths for name in ids] == [2, 2]


def test_nodes_hear_of_new_work_at_once(a: Store, b: Store) -> None:
    heard, ended = threading.Semaphore(0), threading.Event()
    listening = threading.Thread(target=b.listen, args=(heard.release, ended.is_set))
    listening.start()
    assert heard.acquire(timeout=30)  # that it listens
    assert len(a.beat()) == 2
    accept(a, incoming())
    assert heard.acquire(timeout=30)
    accept(b, incoming(b"own"))
    ended.set()
    listening.join(30)
    assert not heard.acquire(blocking=False)


def test_a_job_is_done_by_one_at_a_time(a: Store, b: Store) -> None:
    with a.alone("retention") as first, b.alone("retention") as second, b.alone("other") as other:
        assert (first, second, other) == (True, False, True)
    with b.alone("retention") as now:
        assert now


def test_commits_reach_the_disk_and_sessions_end_by_themselves(a: Store) -> None:
    shown = a.transact(lambda tx: [tx.connection.exec_driver_sql(f"SHOW {name}").scalar() for name in (
        "synchronous_commit", "transaction_isolation", "idle_in_transaction_session_timeout",
        "statement_timeout")])
    assert shown == ["on", "read committed", "10s", "15s"]


def test_a_reader_writes_nothing(a: Store) -> None:
    with pytest.raises(StoreUnavailable), a.reading() as connection:
        connection.execute(tables.message.delete())


def test_both_nodes_know_the_gaps_of_a_sender(a: Store, b: Store) -> None:
    for number in range(3):
        accept(a if number % 2 else b, incoming(b"%d" % number))
    for store in (a, b):
        with store.reading() as connection:
            last = arrivals.last(connection, "portal")
            assert last is not None
            found = arrivals.history(connection, "portal", last - timedelta(days=1), timedelta(), 9)
            assert found is not None
            assert (found.count, len(found.gaps), found.gaps[-1][1]) == (3, 2, last)
            assert arrivals.history(connection, "portal", found.first, timedelta(days=1), 9) == (
                arrivals.History(found.first, 3, ()))
            assert arrivals.last(connection, "nobody") is None
