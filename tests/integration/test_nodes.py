"""Two nodes on one real PostgreSQL: each message and delivery in one hand, the books right, whoever dies or
freezes.

Both nodes are stores of one process here; `tests/acceptance/test_two_nodes.py` has the real command twice,
and kills it.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import RootTransaction, literal_column, select

from hub.cluster.peers import Silence
from hub.config.sections import StoreSection
from hub.errors import StoreUnavailable
from hub.message import DeliveryState, MessageState
from hub.store.database import tables
from hub.store.database.postgresql import Node
from hub.store.database.statements import Query
from hub.store.store import Store
from hub.store.transitions import deliveries as delivery_transitions
from hub.store.transitions import messages as message_transitions
from hub.store.transitions.deliveries import LostLease, Recovered, Settlement
from hub.store.writer import Writer
from tests.services import wait_until
from tests.services.postgresql import PostgreSQL, postgresql
from tests.services.proxy import Proxy
from tests.unit.store_kit import (
    MINUTE,
    RECEIPT,
    Output,
    abandon,
    accept,
    claim_one,
    incoming,
    routed,
    translated,
    unbalanced,
)

__all__ = ["postgresql"]


@pytest.fixture()
def section(postgresql: PostgreSQL) -> Iterator[StoreSection]:
    database = postgresql.add_database(postgresql.template)
    yield postgresql.section(database)
    postgresql.drop_database(database)


@contextmanager
def node(folder: Path, section: StoreSection, **options: Any) -> Iterator[Store]:
    store = Store.open(folder, served=section, **options)
    try:
        store.recover()
        yield store
    finally:
        store.close()


@pytest.fixture()
def a(tmp_path: Path, section: StoreSection) -> Iterator[Store]:
    with node(tmp_path / "a", section) as store:
        yield store
        assert unbalanced(store) == []
        assert store.check() == []


@pytest.fixture()
def b(tmp_path: Path, section: StoreSection, a: Store) -> Iterator[Store]:
    with node(tmp_path / "b", section) as store:
        yield store


def seen_by(watcher: Store, of: Store) -> Node:
    """A node as another one sees it."""
    return next(each for each in watcher.nodes() if each.fencing == of.fencing)


# -------------------------------------------------------------------- one hand for each thing


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


# -------------------------------------------------------------------- nodes that die, freeze, stop


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


def test_silence_is_judged_by_what_one_saw_oneself() -> None:
    now = [0.0]
    silence = Silence(15, lambda: now[0])

    def dead(*beats: int) -> list[int]:
        now[0] += 5
        return [node.fencing for node in silence.dead(
            [Node(fencing, "x", "x", 0, beat, 99.0, None) for fencing, beat in enumerate(beats)])]

    assert [dead(1, 1), dead(1, 2), dead(1, 3)] == [[], [], []]
    assert dead(1, 4) == [0]
    silence.forget()  # the database was away
    assert [dead(1, 4), dead(1, 4), dead(1, 4)] == [[], [], []]
    assert dead(1, 4) == [0, 1]


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


# -------------------------------------------------------------------- a database that goes away


@contextmanager
def through_proxy(tmp_path: Path, server: PostgreSQL, **options: Any) -> Iterator[tuple[Store, Proxy]]:
    with Proxy(server.port) as proxy, node(tmp_path / "far",
                                           server.section(server.add_database(server.template), proxy.port),
                                           **options) as store:
        yield store, proxy


def refused(act: Callable[[], Any]) -> bool:
    """Whether the store says that it cannot now."""
    try:
        act()
    except StoreUnavailable:
        return True
    return False


def comes_back(store: Store) -> None:
    """A canary: accepted, and read again."""
    found: list[str] = []

    def canary() -> bool:
        try:
            found.append(accept(store, incoming(b"canary")).id)
            return store.get_message(found[-1]).state is MessageState.RECEIVED
        except StoreUnavailable:
            return False

    wait_until(canary, "the store to take messages again", 30)
    # what was answered with an error and is there all the same is a duplicate the second time
    assert len(set(found)) == 1


def test_a_killed_and_a_stopped_database_come_back(tmp_path: Path, postgresql: PostgreSQL) -> None:
    with node(tmp_path / "n", postgresql.section(postgresql.add_database(postgresql.template))) as store:
        for end in (postgresql.crash, lambda: postgresql.stop(signal.SIGINT)):
            before = accept(store, incoming(f"before {end}".encode())).id
            end()
            try:
                assert refused(lambda: accept(store, incoming(b"away")))
                assert refused(partial(store.get_message, before))
                assert refused(store.beat)
            finally:
                postgresql.start()
            comes_back(store)
            assert store.get_message(before).id == before
            assert store.broken is None
        assert unbalanced(store) == []


def test_a_wrong_password_and_a_full_server_pass(tmp_path: Path, postgresql: PostgreSQL) -> None:
    with node(tmp_path / "n", postgresql.section(postgresql.add_database(postgresql.template))) as store:
        for wrong, right in (("PASSWORD 'other'", f"PASSWORD '{postgresql.password.read_text().strip()}'"),
                             ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1")):
            with postgresql.admin() as admin:
                admin.execute(f"ALTER ROLE hub {wrong}")
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hub'")
            assert refused(lambda: accept(store, incoming(b"away")))
            with postgresql.admin() as admin:
                admin.execute(f"ALTER ROLE hub {right}")
            comes_back(store)


def test_reset_sessions_cost_one_refusal_at_most(tmp_path: Path, postgresql: PostgreSQL) -> None:
    with through_proxy(tmp_path, postgresql) as (store, proxy):
        accept(store, incoming())
        proxy.drop()
        comes_back(store)


def test_a_database_that_says_nothing_is_given_up(tmp_path: Path, postgresql: PostgreSQL,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.store.database.postgresql.Session.patience", 1.0)
    with through_proxy(tmp_path, postgresql) as (store, proxy):
        accept(store, incoming())
        proxy.hang()
        assert refused(lambda: accept(store, incoming(b"into the void")))
        proxy.behave()
        comes_back(store)


class Cut:
    """The session is cut while the commit is under way: it is done, and the answer is lost."""

    def __init__(self) -> None:
        self.proxy: Proxy | None = None

    def commit(self, transaction: RootTransaction) -> None:
        """For the writer: with a `proxy`, once, the answer is lost."""
        proxy, self.proxy = self.proxy, None
        if proxy is not None:
            proxy.cut_at_answer()
        transaction.commit()


@pytest.fixture()
def cut(tmp_path: Path,
        postgresql: PostgreSQL) -> Iterator[tuple[Store, Callable[[Callable[[], Any]], None]]]:
    """A store, and a way to do something whose commit nobody hears of."""
    cut = Cut()
    with through_proxy(tmp_path, postgresql, writer=partial(Writer, commit=cut.commit)) as (store, proxy):
        def unheard(act: Callable[[], Any]) -> None:
            cut.proxy = proxy
            assert refused(act)
            proxy.behave()

        yield store, unheard
        assert unbalanced(store) == []


Unheard = tuple[Store, Callable[[Callable[[], Any]], None]]


def test_an_acceptance_nobody_heard_of_is_there_once(cut: Unheard) -> None:
    store, unheard = cut
    unheard(lambda: accept(store, incoming(key="k")))
    again = accept(store, incoming(key="k"))
    assert again.duplicate
    assert [message.id for message in store.find_messages()] == [again.id]


def test_a_settlement_nobody_heard_of_counts_once(cut: Unheard) -> None:
    store, unheard = cut
    message_id = routed(store)
    settlement = [Settlement.done(claim_one(store).delivery.id, RECEIPT)]
    unheard(lambda: store.settle(settlement))
    assert store.settle(settlement) == 0
    assert store.get_message(message_id).state is MessageState.COMPLETED


def test_claims_nobody_heard_of_are_given_back_by_the_next_one(cut: Unheard) -> None:
    store, unheard = cut
    message_id = accept(store, incoming()).id
    unheard(lambda: store.claim_messages(1, MINUTE))
    assert [message.id for message in store.claim_messages(1, MINUTE)] == [message_id]
    output = Output()
    store.record([translated(message_id, output.delivery(b"<r/>"))], output.fd, config_digest="c")
    unheard(lambda: store.claim_deliveries("mail-musterstadt", 1, MINUTE))
    claimed = claim_one(store)
    assert (claimed.delivery.message_id, claimed.attempts) == (message_id, 1)


def test_commits_reach_the_disk_and_sessions_end_by_themselves(a: Store) -> None:
    shown = a.transact(lambda tx: [tx.connection.exec_driver_sql(f"SHOW {name}").scalar() for name in (
        "synchronous_commit", "transaction_isolation", "idle_in_transaction_session_timeout",
        "statement_timeout")])
    assert shown == ["on", "read committed", "10s", "15s"]


def test_a_reader_writes_nothing(a: Store) -> None:
    with pytest.raises(StoreUnavailable), a.reading() as connection:
        connection.execute(tables.message.delete())


def test_an_unreachable_database_is_no_broken_configuration(tmp_path: Path, postgresql: PostgreSQL) -> None:
    with Proxy(1) as proxy, pytest.raises(StoreUnavailable, match="no connection to the database"):
        Store.open(tmp_path, served=postgresql.section("hub", proxy.port))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgresql.url("hub"), password="wrong", connect_timeout=5)
