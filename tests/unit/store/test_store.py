"""Opening and closing: one process writes, and an unclean end is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hub.errors import ConfigError, StoreUnavailable
from hub.store.database import sqlite, tables
from hub.store.database.sqlite import StoreInUse
from hub.store.store import Store
from tests.unit.store_kit import (
    abandon,
    accept,
    claim_one,
    incoming,
    open_store,
    opened,
    routed,
)

pytestmark = pytest.mark.usefixtures("backend")
only_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@only_sqlite
def test_an_old_sqlite_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"3\.40\.1 can lose committed transactions"):
        sqlite.check_sqlite((3, 40, 1))
    sqlite.check_sqlite()


@only_sqlite
def test_commits_reach_the_disk(store: Store) -> None:
    names = ("journal_mode", "synchronous", "foreign_keys")
    pragmas = store.transact(lambda tx: [tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                                         for name in names])
    assert pragmas == ["wal", 2, 1]


def test_the_migrations_make_the_tables(store: Store) -> None:
    def compare(tx: object) -> list[object]:
        context = MigrationContext.configure(tx.connection)  # type: ignore[attr-defined]
        return list(compare_metadata(context, tables.metadata))

    assert store.transact(compare) == []


def test_the_first_migration_has_what_is_expensive_to_add_later() -> None:
    message, delivery = tables.message.c, tables.delivery.c
    assert {"tenant", "sender", "case", "correlation", "reply_to", "order_key", "lease_owner", "lease_until",
            "lease_fencing",
            "config_digest", "mapping_digest", "deaths"} <= set(message.keys())
    assert {"tenant", "order_key", "lease_owner", "lease_until", "lease_fencing", "generation",
            "config_digest",
            "mapping_digest"} <= set(delivery.keys())
    assert "tenant" in tables.blob.c


def test_an_old_program_refuses_a_newer_store(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        newer = text("UPDATE alembic_version SET version_num = '9999'")
        store.transact(lambda tx: tx.connection.execute(newer))
    for read_only in (False, True):
        with pytest.raises(ConfigError, match="9999"):
            open_store(tmp_path / "store", read_only=read_only)


@pytest.mark.slow
def test_only_one_process_writes(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreInUse):
        open_store(tmp_path / "store")
    with opened(tmp_path / "store", read_only=True) as reader:
        assert reader.find_messages() == []
        with pytest.raises(StoreUnavailable):
            accept(reader, incoming())


@only_sqlite
def test_a_thawed_process_writes_nothing(tmp_path: Path) -> None:
    frozen = open_store(tmp_path / "store")
    routed(frozen)
    claimed = claim_one(frozen)
    (tmp_path / "store" / "lock").unlink()  # as if the lock had been lost: another node, a restored folder
    with opened(tmp_path / "store") as second:
        assert second.fencing == frozen.fencing + 1
        with pytest.raises(StoreUnavailable, match="another process"):
            frozen.begin_effect(claimed.delivery.id)
        with pytest.raises(StoreUnavailable, match="broken"):
            accept(frozen, incoming(b"late"))
        assert frozen.broken
        assert [event.name for event in second.events_of(claimed.delivery.message_id)][-1] == "claimed"
        frozen.close()
    with opened(tmp_path / "store") as third:
        assert not third.unclean


@only_sqlite
def test_planted_without_the_fencing_check_a_thawed_process_writes(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Shows that it is the fencing number that stops it, and nothing else."""
    monkeypatch.setattr(sqlite.Embedded, "owns", lambda self, connection, fencing: True)
    frozen = open_store(tmp_path / "store")
    (tmp_path / "store" / "lock").unlink()
    with opened(tmp_path / "store") as second:
        accept(frozen, incoming(b"late"))
        assert len(second.find_messages()) == 1
    frozen.close()


def test_an_unclean_end_is_noticed_and_a_clean_one_too(tmp_path: Path) -> None:
    first = open_store(tmp_path / "store")
    assert not first.unclean
    abandon(first)
    with opened(tmp_path / "store") as second:
        assert second.unclean
        second.recover()
    with opened(tmp_path / "store") as third:
        assert not third.unclean


def test_a_closed_store_takes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable):
        accept(store, incoming())


def test_history_is_final(store: Store) -> None:
    accept(store, incoming())
    with pytest.raises(DBAPIError, match="final"):
        store.transact(lambda tx: tx.connection.execute(text("UPDATE event SET name = 'x'")))
