"""A disk that fails or is full: nothing is promised that may be lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import RootTransaction
from sqlalchemy.exc import DBAPIError

from hub.errors import StoreUnavailable
from hub.store.database import sqlite
from hub.store.store import Store
from hub.store.writer import Writer
from tests.unit.store_kit import (
    MINUTE,
    accept,
    incoming,
    open_store,
    opened,
)

pytestmark = pytest.mark.usefixtures("backend")
only_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def broken_by(store: Store, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Let one fsync of a body fail: why the store takes nothing more."""
    real, failed = os.fsync, []

    def fail_once(fd: int) -> None:
        if not failed:
            failed.append(fd)
            raise OSError(5, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(StoreUnavailable):
        accept(store, incoming(os.urandom(100_000)))
    with pytest.raises(StoreUnavailable, match="broken"):
        accept(store, incoming(b"<small/>"))
    return store.broken


@only_sqlite
def test_after_a_failed_fsync_nothing_is_accepted_and_the_end_is_not_clean(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "store")
    assert "fsync" in (broken_by(store, monkeypatch) or "")
    store.close()
    with opened(tmp_path / "store") as second:
        assert second.unclean
        assert second.find_messages() == []
        assert accept(second, incoming()).id


def test_a_forgotten_claim_is_given_back_also_when_the_next_commit_fails(tmp_path: Path) -> None:
    fails: list[Callable[[], None]] = []

    def commit(transaction: RootTransaction) -> None:
        while fails:
            fails.pop()()
        transaction.commit()

    with opened(tmp_path / "store", writer=partial(Writer, commit=commit)) as store:
        claim_after_a_commit_that_failed(store, fails)


def claim_after_a_commit_that_failed(store: Store, fails: list[Callable[[], None]]) -> None:
    ids = [accept(store, incoming(content)).id for content in (b"<a/>", b"<b/>")]
    claim = store.new_claim()
    assert len(store.claim_messages(1, MINUTE, claim=claim)) == 1
    store.forget_claim(claim)

    def full() -> None:
        error = sqlite.dbapi2.OperationalError("no room")
        error.sqlite_errorname = "SQLITE_FULL"
        raise DBAPIError("COMMIT", {}, error)

    fails.append(full)
    with pytest.raises(StoreUnavailable):
        store.claim_messages(1, MINUTE)
    assert sorted(message.id for message in store.claim_messages(10, MINUTE)) == sorted(ids)
