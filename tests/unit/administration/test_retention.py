"""A run of the retention: when it comes again, what it keeps for how long, and what it says."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.administration.retention import Retention
from hub.config.configuration import Kept
from hub.errors import StoreUnavailable
from hub.message import BERLIN
from hub.store.transitions.erasure import Erased
from tests.unit.retention_kit import DAY, Periods, application, found, retention
from tests.unit.store_kit import (
    Clock,
    opened,
)


def test_the_days_are_the_services_and_the_municipalities(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s", now=clock) as store:
        application(store, 1, service="kurz")
        application(store, 2, service="lang")
        days = {"kurz": 0, "lang": 365}
        assert retention(store, clock, lambda tenant, service: Kept(days[service], 365)).run().messages == 1
        assert found(tmp_path / "s") == {2}
        clock.now += 364 * DAY
        assert retention(store, clock, lambda tenant, service: Kept(days[service], 400)).run().messages == 0
        clock.now += DAY
        assert retention(store, clock, lambda tenant, service: Kept(days[service], 400)).run().messages == 1


def test_it_runs_again_the_next_night() -> None:
    clock = Clock()
    runner = Retention(None, Periods, now=clock)  # type: ignore[arg-type, return-value]
    for at, expected in ((datetime(2026, 11, 22, 1, 0, tzinfo=BERLIN), 22),
                         (datetime(2026, 11, 22, 2, 30, tzinfo=BERLIN), 23),
                         (datetime(2026, 11, 22, 23, 0, tzinfo=BERLIN), 23),
                         (datetime(2026, 3, 29, 0, 30, tzinfo=BERLIN), 29)):
        clock.now = at.astimezone(UTC)
        moment = runner.next_run().astimezone(BERLIN)
        assert (moment.day, moment > at) == (expected, True)


class Impatient(threading.Event):
    """For a reader that never ends nobody waits half a second."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def test_a_run_says_when_it_ended_and_what_it_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = Clock(), []
    with opened(tmp_path / "s", now=clock) as store:
        for number in range(3):
            application(store, number)
        clock.now += 31 * DAY
        runner = Retention(store, Periods, lambda *run: told.append(run), now=clock,
                           stopping=Impatient())
        monkeypatch.setattr(store, "erase", lambda ids: Erased())
        monkeypatch.setattr(store, "truncate_log", lambda: False)
        runner.run()
        monkeypatch.undo()
        runner.run()
        monkeypatch.setattr(store, "due_for_retention", _broken)
        with pytest.raises(StoreUnavailable):
            runner.run()
    assert told == [(clock.now, {"content": 3, "proofs": 0, "log": 1}),
                    (clock.now, {"content": 0, "proofs": 0, "log": 0})]


def _broken(*_: object, **__: object) -> list[str]:
    raise StoreUnavailable("disk")
