"""The line to the database, or the database itself, goes away and comes back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import RootTransaction

from hub.errors import StoreUnavailable
from hub.message import MessageState
from hub.store.store import Store
from hub.store.transitions.deliveries import Settlement
from hub.store.writer import Writer
from tests.integration.nodes import a, comes_back, node, postgresql, refused, section
from tests.services.postgresql import PostgreSQL
from tests.services.proxy import Proxy
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

__all__ = ["a", "postgresql", "section"]


@contextmanager
def through_proxy(tmp_path: Path, server: PostgreSQL, **options: Any) -> Iterator[tuple[Store, Proxy]]:
    with Proxy(server.port) as proxy, node(tmp_path / "far",
                                           server.section(server.add_database(server.template), proxy.port),
                                           **options) as store:
        yield store, proxy


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


def test_an_unreachable_database_is_no_broken_configuration(tmp_path: Path, postgresql: PostgreSQL) -> None:
    with Proxy(1) as proxy, pytest.raises(StoreUnavailable, match="no connection to the database"):
        Store.open(tmp_path, served=postgresql.section("hub", proxy.port))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgresql.url("hub"), password="wrong", connect_timeout=5)
