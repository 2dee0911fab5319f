"""Which days count in Saxony, and how much of a time lies on them."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from hub.config.business_days import BusinessDays, Season
from hub.message import BERLIN

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(("day", "counts"), [
    ("2026-11-17", True), ("2026-11-18", False), ("2026-10-30", True), ("2026-10-31", False),
    ("2026-11-21", False), ("2026-11-22", False), ("2026-05-14", False), ("2026-06-04", True),
    ("2026-12-24", True), ("2026-12-25", False), ("2027-01-01", False), ("2027-01-06", True),
    ("2030-10-31", False), ("2040-11-21", False)])
def test_weekends_and_the_holidays_of_saxony_do_not_count(day: str, counts: bool) -> None:
    """Repentance and Reformation Day count as holidays, Corpus Christi and Epiphany do not."""
    assert BusinessDays().includes(date.fromisoformat(day)) is counts


@pytest.mark.parametrize(("day", "counts"), [
    ("2026-12-18", True), ("2026-12-21", False), ("2026-12-31", False), ("2027-01-07", False),
    ("2027-01-08", True), ("2026-07-15", False), ("2026-07-16", True)])
def test_quiet_seasons_do_not_count(day: str, counts: bool) -> None:
    assert BusinessDays(("12-20/01-07", "07-13/07-15")).includes(date.fromisoformat(day)) is counts


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(("begin", "end", "hours"), [
    ("2026-11-23 10:00", "2026-11-23 12:30", 2.5), ("2026-11-20 18:00", "2026-11-23 08:00", 14),
    ("2026-11-21 10:00", "2026-11-22 10:00", 0), ("2026-11-17 22:00", "2026-11-19 02:00", 4),
    ("2026-11-23 12:00", "2026-11-23 10:00", 0), ("2026-03-27 00:00", "2026-03-31 00:00", 48),
    ("2026-12-24 00:00", "2026-12-29 00:00", 48)])
def test_only_the_time_on_business_days_counts(begin: str, end: str, hours: float) -> None:
    assert BusinessDays().between(berlin(begin), berlin(end)) == hours * HOUR


@pytest.mark.parametrize("wrong", ["12-20", "20.12./07.01.", "13-01/13-02", "12-32/01-01", ""])
def test_a_season_is_written_in_one_way(wrong: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Season).validate_python(wrong)
