"""Business days in Saxony, by the clock on the wall in Europe/Berlin.

No business days are Saturdays, Sundays, the public holidays of Saxony (by the library `holidays`), and the
days of quiet seasons: spans of the year like ``"12-20/01-07"``, first and last day, in which offices are
closed and little is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from hub.message import BERLIN

_MONTH_DAY = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
Season = Annotated[str, Field(pattern=rf"^{_MONTH_DAY}/{_MONTH_DAY}$")]
"""A span of the year, ``MM-DD/MM-DD``; it may go over the new year."""

_DAY = timedelta(days=1)


class BusinessDays:
    """Which days count, and how much of a time lies on them."""

    def __init__(self, quiet: Sequence[Season] = ()) -> None:
        self._quiet = [tuple(season.split("/")) for season in quiet]

    def includes(self, day: date) -> bool:
        """Whether it is a business day."""
        return day.weekday() < 5 and not self._is_quiet(f"{day:%m-%d}") and day not in _holidays(day.year)

    def between(self, begin: datetime, end: datetime) -> timedelta:
        """How much of the time from `begin` to `end` (both aware) lies on business days; at least 0."""
        total, day = timedelta(), begin.astimezone(BERLIN).date()
        while (midnight := _midnight(day)) < end:
            following = _midnight(day + _DAY)
            if self.includes(day):
                total += max(timedelta(), min(end, following) - max(begin, midnight))
            day += _DAY
        return total

    def _is_quiet(self, day: str) -> bool:
        return any(first <= day <= last if first <= last else day >= first or day <= last
                   for first, last in self._quiet)


def _midnight(day: date) -> datetime:
    """In UTC: the days on which clocks are set have 23 and 25 hours."""
    return datetime.combine(day, time(), BERLIN).astimezone(UTC)


@lru_cache(maxsize=8)
def _holidays(year: int) -> frozenset[date]:
    import holidays  # half a second, and only the running hub asks

    return frozenset(holidays.country_holidays("DE", subdiv="SN", years=year))
