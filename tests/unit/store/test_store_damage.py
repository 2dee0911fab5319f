"""Rows and a log that are not what was written: noticed before anything leaves by them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pysqlite3 import dbapi2

from hub.message import DeliveryState, Reason
from hub.store.store import Store
from tests.unit.store_kit import MINUTE, abandon, accept, incoming, opened, routed, unbalanced

PAGE, HEADER = 4096 + 24, 32


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"


def turn(state: Path, statement: str) -> None:
    """Change a row behind the store's back."""
    with closing(dbapi2.connect(str(state / "store.sqlite3"), isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount == 1


def test_a_sound_message_is_not_called_damaged(state: Path) -> None:
    with opened(state) as store:
        accept(store, incoming(b"<a/>"))
        accept(store, incoming(b"<b/>", key="k"))
        accept(store, incoming(b"<c/>", key="k"))  # a conflict: it has no key of its own
        assert [message.damaged for message in store.claim_messages(10, MINUTE)] == [False, False]


@pytest.mark.parametrize("change", ["ags = '14999030'", "service = 'hundesteues'", "sender = 'qortal'",
                                    "content_digest = 'x'",
                                    "tenant = 'musterctadt'"])
def test_a_message_whose_row_was_turned_is_damaged(state: Path, change: str) -> None:
    with opened(state) as store:
        accept(store, incoming(b"<a/>"))
    turn(state, f"UPDATE message SET {change}")
    with opened(state) as store:
        assert [message.damaged for message in store.claim_messages(10, MINUTE)] == [True]


def test_a_message_whose_part_was_turned_is_damaged(state: Path) -> None:
    with opened(state) as store:
        accept(store, incoming(b"<a/>"))
    turn(state, "UPDATE part SET media_type = 'application/xmm'")
    with opened(state) as store:
        assert [message.damaged for message in store.claim_messages(10, MINUTE)] == [True]


@pytest.mark.parametrize("change", ["accepted_day = '2026-13-04'", "received_at = 9000000000000000000"])
def test_a_message_whose_row_cannot_be_read_is_parked_and_those_behind_it_go_on(state: Path,
                                                                                change: str) -> None:
    with opened(state) as store:
        bad, good = (accept(store, incoming(content)).id for content in (b"<a/>", b"<b/>"))
    turn(state, f"UPDATE message SET {change} WHERE id = '{bad}'")
    with opened(state) as store:
        assert [message.id for message in store.claim_messages(10, MINUTE)] == [good]
        store.release_messages([good])
        assert [message.id for message in store.claim_messages(10, MINUTE)] == [good]
        assert not unbalanced(store)


@pytest.mark.parametrize("change", ["created_at = 9000000000000000000", "first_due_at = 9000000000000000000"])
def test_a_delivery_whose_row_cannot_be_read_is_parked_and_those_behind_it_go_on(state: Path,
                                                                                 change: str) -> None:
    with opened(state) as store:
        bad, good = routed(store), routed(store, content=b"<b/>")
    turn(state, f"UPDATE delivery SET {change} WHERE message_id = '{bad}'")
    with opened(state) as store:
        assert [claimed.delivery.message_id
                for claimed in store.claim_deliveries("mail-musterstadt", 10, MINUTE)] == [good]


def test_a_test_that_was_recognised_late_is_not_damaged(state: Path) -> None:
    with opened(state) as store:
        accept(store, incoming(b"<a/>"))
    turn(state, "UPDATE message SET test = 1")
    with opened(state) as store:
        assert [message.damaged for message in store.claim_messages(10, MINUTE)] == [False]


@pytest.mark.parametrize("change",
                         ["tenant = 'musterctadt'", "ags = '149=9010'", "service = 'hundesteues'", "test = 1",
                          """ "case" = 'x'"""])
@pytest.mark.parametrize("table", ["message", "delivery"])
def test_a_delivery_that_does_not_fit_its_message_is_parked(state: Path, table: str, change: str) -> None:
    """Or a file would be named after another municipality, and a real application be left out of the bill as
    a test."""
    with opened(state) as store:
        message = routed(store)
        assert store.examine().sound
    turn(state, f"UPDATE {table} SET {change}")
    with opened(state) as store:
        assert not store.examine().sound
        assert store.claim_deliveries("mail-musterstadt", 10, MINUTE) == []
        [row] = store.deliveries_of(message)
        assert (row.state, row.reason) == (DeliveryState.PARKED, Reason.DAMAGED)


def test_a_delivery_whose_row_was_turned_is_parked(state: Path) -> None:
    with opened(state) as store:
        message = routed(store)
        other = accept(store, incoming(b"<other/>")).id
    turn(state, f"UPDATE delivery SET message_id = '{other}'")
    with opened(state) as store:
        assert store.claim_deliveries("mail-musterstadt", 10, MINUTE) == []
        [row] = store.deliveries_of(other)
        assert (row.state, row.reason) == (DeliveryState.PARKED, Reason.DAMAGED)
        assert not store.deliveries_of(message)


def killed(state: Path, into: Path) -> Path:
    """A copy of a store as a kill leaves it: the log is not in the tables yet."""
    store = Store.open(state)
    for number in range(20):
        accept(store, incoming(b"<a n='%d'/>" % number))
    routed(store)
    shutil.copytree(state, into)
    abandon(store)
    return into


def test_a_log_as_a_kill_left_it_has_lost_nothing(state: Path, tmp_path: Path) -> None:
    with opened(killed(state, tmp_path / "copy")) as store:
        assert store.lost_pages == 0
        assert store.after_restore is None
        assert len(store.find_messages()) == 21


@pytest.mark.parametrize("harm", ["bit", "cut"])
def test_a_log_that_lost_commits_is_noticed_and_nothing_is_sent_plainly(state: Path, tmp_path: Path,
                                                                        harm: str) -> None:
    copy = killed(state, tmp_path / "copy")
    with (copy / "store.sqlite3-wal").open("r+b") as log:
        place = HEADER + PAGE * ((log.seek(0, 2) // PAGE) - 3)
        if harm == "cut":
            log.truncate(place)
        else:
            log.seek(place + 100)
            byte = log.read(1)[0]
            log.seek(place + 100)
            log.write(bytes([byte ^ 1]))
    with opened(copy) as store:
        assert store.lost_pages > 0
        assert store.after_restore is not None
        assert all(row.state is not DeliveryState.DUE for message in store.find_messages()
                   for row in store.deliveries_of(message.id))
    with opened(copy) as store:
        assert store.lost_pages == 0, "it is said once"
