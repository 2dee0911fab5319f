"""The case of a finished application: it stays with the proof, or as a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from hub.administration.retention import Retention
from hub.store.database.tables import delivery, message
from hub.store.store import Store
from tests.unit.retention_kit import DAY, Periods, application
from tests.unit.store_kit import Clock, opened

CASE = "Az. 32/2026-0815"
KEY = "0123456789abcdef" * 4


def run(store: Store, clock: Clock, key: Path | None) -> Any:
    periods = Periods()
    periods.defaults.retention.case_key = f"file:{key}" if key else None
    return Retention(store, lambda: periods, now=clock).run()  # type: ignore[arg-type, return-value]


def cases(store: Store) -> list[str | None]:
    with store.reading() as connection:
        return [*connection.execute(select(message.c.case).order_by(message.c.no)).scalars(),
                *connection.execute(select(delivery.c.case).order_by(delivery.c.id)).scalars()]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "case.key").write_text(f"{KEY}\n")
    return tmp_path / "case.key"


def hashed(tenant: str = "musterstadt", key: str = KEY) -> str:
    """As an operator computes it: docs/operate-retention.md."""
    return "hmac-sha256:" + hmac.new(key.encode(), f"{tenant}\0{CASE}".encode(), hashlib.sha256).hexdigest()


def test_without_a_key_the_case_stays_until_the_proof_goes(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        application(store, 1, case=CASE)
        clock.now += 31 * DAY
        assert run(store, clock, None).messages == 1
        assert cases(store) == [CASE, CASE]
        clock.now += 730 * DAY
        assert run(store, clock, None).proofs == 1
        assert cases(store) == []


def test_with_a_key_only_its_hash_stays_once_the_content_is_gone(tmp_path: Path, key: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        application(store, 1, case=CASE)
        application(store, 2)
        assert run(store, clock, key).cases == 0
        assert cases(store)[0] == CASE, "the content is still there"
        clock.now += 31 * DAY
        assert run(store, clock, key).cases == 1
        assert sorted(filter(None, cases(store))) == [hashed()] * 2
        assert run(store, clock, key).cases == 0, "it is not hashed again"


def test_what_was_deleted_before_there_was_a_key_is_hashed_too(tmp_path: Path, key: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        for number in range(120):  # more than one batch
            application(store, number, case=CASE)
        clock.now += 31 * DAY
        assert run(store, clock, None).messages == 120
        assert run(store, clock, key).cases == 120
        assert set(cases(store)) == {hashed()}


@pytest.mark.parametrize("content", ["", "short", None])
def test_a_key_that_cannot_be_used_is_said_and_the_content_goes_all_the_same(
        tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    clock, key = Clock(), tmp_path / "k"
    if content is not None:
        key.write_text(content)
    with opened(tmp_path / "s", now=clock) as store:
        application(store, 1, case=CASE)
        clock.now += 31 * DAY
        report = run(store, clock, key)
        assert (report.messages, report.cases) == (1, 0)
        assert cases(store)[0] == CASE
    assert "the key cannot be used" in capsys.readouterr().out
