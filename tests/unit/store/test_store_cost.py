"""What waits is found by an index, however much lies beside it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from hub.store.store import OLDEST_MESSAGE, SUSPECTS, Store
from hub.store.transitions import deliveries, messages, waiting

pytestmark = pytest.mark.usefixtures("backend")
only_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def plan(store: Store, statement: object, **values: object) -> str:
    """SQLite's plan, in one text."""
    def explain(tx: object) -> str:
        connection = tx.connection  # type: ignore[attr-defined]
        compiled = getattr(statement, "statement", statement).compile(dialect=connection.dialect)
        parameters = tuple({**compiled.params, **values}[name] for name in compiled.positiontup or ())
        return "\n".join(row[3]
                         for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", parameters))

    return store.transact(explain)


@only_sqlite
@pytest.mark.parametrize(("statement", "values", "index"), [
    (messages.WAITING, {"now": 0, "limit": 1}, "message_waiting"),
    (deliveries.DUE_NOW, {"d": "x", "fresh": 1, "now": 0, "limit": 1}, "delivery_waiting"),
    (waiting.FIRST_DUE, {"d": "x"}, "delivery_waiting"),
    (waiting.NEXT_DESTINATION, {}, "delivery_waiting"),
    (waiting.OLDEST_OPEN, {}, "delivery_open"),
])
def test_waiting_work_is_found_by_index(store: Store, statement: object, values: dict[str, object],
                                        index: str) -> None:
    steps = plan(store, statement, **values)
    assert index in steps
    assert [line for line in steps.splitlines() if line.startswith("SCAN")
            and line.split()[1] in {"message", "delivery"}
            and "USING" not in line] == []
    assert "TEMP B-TREE" not in steps


@only_sqlite
def test_planted_a_lost_index_is_noticed(store: Store) -> None:
    store.transact(lambda tx: tx.connection.execute(text("DROP INDEX delivery_waiting")))
    assert "TEMP B-TREE" in plan(store, deliveries.DUE_NOW, d="x", fresh=1, now=0, limit=1)


@only_sqlite
def test_other_plans(store: Store) -> None:
    assert "message_open" in plan(store, OLDEST_MESSAGE)
    assert "message_waiting" in plan(store, SUSPECTS)
