"""When a destination may be delivered to, and how fast: values, not code.

A window is written as people say it, ``"Mo-Fr 06:00-20:00"``, by the clock on the wall in Europe/Berlin;
holidays are days like any other. It is open whenever that clock shows a time within it: in the night when an
hour comes twice, twice; in the night when an hour is left out, what lies in it alone is left out. A span over
midnight belongs to the day it begins on.

A rate is ``"10/s"``, ``"600/m"`` or ``"5000/h"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from hub.message import BERLIN

DAYS = ("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So")
_DAY = "|".join(DAYS)
_DAYS = rf"(?:{_DAY})(?:-(?:{_DAY}))?"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"
_SPAN = rf"({_DAYS}(?:,{_DAYS})*) ({_CLOCK})-({_CLOCK}|24:00)"
_RATE = r"([1-9]\d{0,5})/([smh])"
_END = 24 * 60
_UNITS = {"s": 1, "m": 60, "h": 3600}

_LOOK = 15
"""Days to look ahead: a window that is open once a week may lie in the one hour that is left out this
time."""

_LEAP = time(1, tzinfo=UTC)
"""When the wall's clock is put forward or back in the European Union (directive 2000/84/EC, articles 2 and
3)."""


@dataclass(frozen=True, slots=True)
class Span:
    """Some days of the week, and minutes of the day; `end` beyond 24:00 is on the next day."""

    text: str
    days: frozenset[int]
    begin: int
    end: int

    def holds(self, wall: datetime) -> bool:
        """Whether it is open when the clock on the wall shows this."""
        minutes = wall.hour * 60 + wall.minute
        return ((wall.weekday() in self.days and self.begin <= minutes < self.end)
                or ((wall.weekday() - 1) % 7 in self.days and minutes + _END < self.end))


def parse_span(value: Any) -> Span:
    """``"Mo-Fr 06:00-20:00"``, ``"Sa,So 22:00-04:00"``. Raises ValueError."""
    if isinstance(value, Span):
        return value
    match = re.fullmatch(_SPAN, str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no window: write 'Mo-Fr 06:00-20:00' (Mo Di Mi Do Fr Sa So, "
                         "Europe/Berlin)")
    begin, end = (int(clock[:2]) * 60 + int(clock[3:]) for clock in (match[2], match[3]))
    if begin == end:
        raise ValueError(f"{value!r} is empty: write 'Mo-So 00:00-24:00' for always, or leave the window out")
    return Span(match[0], frozenset(_days(match[1])), begin, end if end > begin else end + _END)


def _days(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        start = DAYS.index(first)
        yield from ((start + step) % 7 for step in range((DAYS.index(last or first) - start) % 7 + 1))


Spans = tuple[Span, ...]


def is_open(spans: Spans, moment: datetime) -> bool:
    """Whether a window of these spans is open; one of none always is."""
    wall = moment.astimezone(BERLIN)
    return not spans or any(span.holds(wall) for span in spans)


def opens(spans: Spans, moment: datetime) -> datetime:
    """From when on it is open, in UTC: `moment` itself, or later."""
    return moment if is_open(spans, moment) else _opens(spans, _minute(moment))


def opened(spans: Spans, moment: datetime) -> datetime | None:
    """Since when a window that is open at `moment` is open without a break, in UTC; None: always, or
    closed."""
    return _opened(spans, _minute(moment)) if spans and is_open(spans, moment) else None


def _minute(moment: datetime) -> datetime:
    """Nothing changes within a minute, so what was found holds for all of it, and for all destinations with
    such a window."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


@lru_cache(maxsize=1024)
def _opens(spans: Spans, minute: datetime) -> datetime:
    return min(at for at in _changes(spans, minute) if at > minute and is_open(spans, at))


@lru_cache(maxsize=1024)
def _opened(spans: Spans, minute: datetime) -> datetime | None:
    changes = sorted(at for at in _changes(spans, minute) if at <= minute)
    before = [later for earlier, later in pairwise(changes) if not is_open(spans, earlier)
              and is_open(spans, later)]
    return before[-1] if before else None


def _changes(spans: Spans, moment: datetime) -> Iterator[datetime]:
    """Whenever something may change, in the days around: spans begin and end, the wall's clock leaps."""
    day = moment.astimezone(BERLIN).date()
    for date in (day + timedelta(days=step) for step in range(-_LOOK, _LOOK + 1)):
        yield datetime.combine(date, _LEAP)
        midnight = datetime.combine(date, time())
        for span in spans:
            for minutes in (span.begin, span.end):
                wall = midnight + timedelta(minutes=minutes)
                yield from (wall.replace(tzinfo=BERLIN, fold=fold).astimezone(UTC) for fold in (0, 1))


Window = Annotated[
    Span,
    BeforeValidator(parse_span),
    PlainSerializer(lambda span: span.text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_SPAN}$"}),
]


def parse_rate(value: Any) -> float:
    """``"10/s"``, ``"600/m"``, ``"5000/h"`` as a number per second. Raises ValueError."""
    if isinstance(value, float):
        return value
    match = re.fullmatch(_RATE, str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no rate: write '10/s', '600/m' or '5000/h'")
    return int(match[1]) / _UNITS[match[2]]


Rate = Annotated[float, BeforeValidator(parse_rate),
                 WithJsonSchema({"type": "string", "pattern": f"^{_RATE}$"})]
