"""Statements that are compiled once say what SQLAlchemy's Core says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, select, text, update
from sqlalchemy.exc import DBAPIError, StatementError

from hub.store.database import tables
from hub.store.database.statements import Many, Query
from hub.store.store import Store
from tests.unit.store_kit import accept, incoming, opened, routed

FIND = select(tables.message).where(tables.message.c.id.in_(bindparam("ids", expanding=True)),
                                    tables.message.c.test == bindparam("test"), tables.message.c.deaths >= 0)


@pytest.fixture
def store(tmp_path: Path, backend: str) -> Iterator[Store]:
    with opened(tmp_path / "state") as store:
        yield store


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 9])
def test_rows_are_those_of_core(store: Store, count: int) -> None:
    ids = [routed(store, content=str(number).encode()) for number in range(max(count, 3))][:count]
    values = {"ids": [*ids, "nobody"], "test": 0}

    def both(tx: Any) -> tuple[list[Any], list[Any]]:
        return list(Query(FIND)(tx.connection, **values)), list(tx.connection.execute(FIND, values))

    found, core = store.transact(both)
    assert len(found) == count
    assert sorted(row._asdict().items() for row in found) == sorted(row._asdict().items() for row in core)
    assert {row.id for row in found} == set(ids)


def test_an_empty_list_finds_nothing(store: Store) -> None:
    accept(store, incoming())
    assert list(store.transact(lambda tx: Query(FIND)(tx.connection, ids=[], test=0))) == []


def test_an_update_changes_what_it_names(store: Store) -> None:
    ids = [accept(store, incoming(str(number).encode())).id for number in range(3)]
    die = Query(update(tables.message).where(tables.message.c.id.in_(bindparam("ids", expanding=True)))
                .values(deaths=bindparam("number")))
    assert list(store.transact(lambda tx: die(tx.connection, ids=ids[:2], number=2))) == []
    assert [store.get_message(name).deaths for name in ids] == [2, 2, 0]


def test_all_that_is_read_on_a_connection_is_of_one_moment(store: Store) -> None:
    """A reader that did not begin a transaction would see the second message halfway through."""
    first = accept(store, incoming()).id
    with store.reading() as connection:
        assert len(Query(FIND)(connection, ids=[first], test=0)) == 1
        second = accept(store, incoming(b"<b/>")).id
        found = Query(FIND)(connection, ids=[first, second], test=0)
        assert [row.id for row in found] == [first]


def test_an_error_is_that_of_core_without_what_a_citizen_wrote(store: Store) -> None:
    wrong = Query(update(tables.message).where(tables.message.c.id
                                               == bindparam("wanted")).values(state=bindparam("text")))
    message = accept(store, incoming()).id
    with pytest.raises(DBAPIError) as caught:
        store.transact(lambda tx: wrong(tx.connection, wanted=message, text="Erika Mustermann"))
    if not store.shared:
        assert "Erika" not in str(caught.value)
    assert store.get_message(message).state == "received"


def test_a_name_too_few_is_noticed(store: Store) -> None:
    with pytest.raises(StatementError if store.shared else KeyError):
        store.transact(lambda tx: Query(FIND)(tx.connection, ids=["a"]))


def test_many_takes_all_names_or_none(store: Store) -> None:
    statement = update(tables.message).where(tables.message.c.id
                                             == bindparam("b_id")).values(rule=bindparam("rule"))
    change = Many(statement, ("rule",))
    if not store.shared:
        with pytest.raises(TypeError, match="b_id"):
            store.transact(lambda tx: change(tx.connection, [{"rule": "x"}]))
    count = text("SELECT count(*) FROM message")
    assert store.transact(lambda tx: tx.connection.execute(count).scalar()) == 0
