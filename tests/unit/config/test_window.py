"""Windows by the clock on the wall, in the nights when that clock is changed too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.config.window import DAYS, Span, is_open, opened, opens, parse_rate, parse_span
from hub.message import BERLIN

OFFICE = (parse_span("Mo-Fr 06:00-20:00"),)


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("moment", "opening"), [
    ("2026-11-20 18:59", "2026-11-20 18:59"),  # Friday, 19:59 on the wall: still open
    ("2026-11-20 19:00", "2026-11-23 05:00"),  # 20:00: Monday, 06:00
    ("2026-11-23 04:59:59", "2026-11-23 05:00"),
    ("2026-07-03 18:00", "2026-07-06 04:00"),  # in summer an hour earlier
    ("2026-10-23 20:00", "2026-10-26 05:00"),  # closed in summer time, opens in winter time
    ("2026-03-27 20:00", "2026-03-30 04:00"),  # the other way round
    ("2026-12-25 06:00", "2026-12-25 06:00"),  # Christmas on a Friday: a day like any other
])
def test_office_hours(moment: str, opening: str) -> None:
    assert opens(OFFICE, at(moment)) == at(opening)


@pytest.mark.parametrize(("text", "moment", "opening"), [
    ("So 02:00-03:00", "2026-10-25 00:59", "2026-10-25 00:59"),  # 02:59, the first time
    ("So 02:00-03:00", "2026-10-25 01:59", "2026-10-25 01:59"),  # 02:59, the second time
    ("So 02:00-03:00", "2026-10-25 02:00", "2026-11-01 01:00"),
    ("So 02:30-03:00", "2026-10-25 01:10", "2026-10-25 01:30"),  # 02:10 comes again, so does 02:30
    ("So 01:00-02:30", "2026-10-25 00:45", "2026-10-25 01:00"),  # 02:45, then the clock goes back to 02:00
    ("So 02:15-02:45", "2026-03-29 00:00", "2026-04-05 00:15"),  # there is no such time that night
    # from 01:59 straight to 03:00, which is within
    ("So 02:15-06:00", "2026-03-29 00:59", "2026-03-29 01:00"),
    ("Sa 22:00-04:00", "2026-03-29 01:30", "2026-03-29 01:30"),  # 03:30, and it began on Saturday
    ("Sa 22:00-04:00", "2026-03-29 02:00", "2026-04-04 20:00"),
    ("Mo-So 00:00-24:00", "2026-10-25 00:30", "2026-10-25 00:30"),
    ("Fr-Mo 06:00-07:00", "2026-11-24 12:00", "2026-11-27 05:00"),  # round the end of the week
    ("Mo,Mi,Fr 06:00-07:00", "2026-11-23 12:00", "2026-11-25 05:00"),
])
def test_nights_in_which_the_clock_is_changed_and_other_spans(text: str, moment: str, opening: str) -> None:
    assert opens((parse_span(text),), at(moment)) == at(opening)


def test_several_spans_are_open_together() -> None:
    spans = (parse_span("Mo-Fr 06:00-12:00"), parse_span("Di 12:00-20:00"))
    assert is_open(spans, at("2026-11-24 15:00"))
    assert not is_open(spans, at("2026-11-25 15:00"))
    assert opened(spans,
                  at("2026-11-24 15:00")) == at("2026-11-24 05:00"), "one span goes over into the other"


def test_since_when_it_is_open() -> None:
    assert opened(OFFICE, at("2026-11-23 09:00")) == at("2026-11-23 05:00")
    assert opened(OFFICE, at("2026-11-22 09:00")) is None
    assert opened((), at("2026-11-22 09:00")) is None


CLOCK = st.integers(0, 1439).map(lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}")
SPANS = (st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS), CLOCK,
                   CLOCK).filter(lambda span: span[2] != span[3])
         .map(lambda span: parse_span(f"{span[0]}-{span[1]} {span[2]}-{span[3]}")))
NIGHTS = [at("2026-03-28 20:00"), at("2026-10-24 20:00"), at("2026-06-01 20:00")]


@given(st.lists(SPANS, min_size=1, max_size=3), st.sampled_from(NIGHTS), st.integers(0, 12 * 60))
def test_the_opening_is_the_first_minute_that_is_open(spans: list[Span], night: datetime,
                                                      minutes: int) -> None:
    moment = night + timedelta(minutes=minutes)
    found = opens(tuple(spans), moment)
    minute = moment
    while not any(span.holds(minute.astimezone(BERLIN)) for span in spans):
        minute += timedelta(minutes=1)
    assert found == minute


@pytest.mark.parametrize("text", ["", "Mo", "06:00-20:00", "Mon 06:00-20:00", "Mo 6:00-20:00",
                                  "Mo 06:00-06:00", "Mo 24:00-25:00",
                                  "Mo 06:00-20:00 Uhr", "Mo-Fr  06:00-20:00"])
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no window|is empty"):
        parse_span(text)


def test_rates() -> None:
    assert [parse_rate(text) for text in ("10/s", "600/m", "1800/h")] == [10, 10, 0.5]
    for text in ("", "0/s", "10", "10/d", "1.5/s"):
        with pytest.raises(ValueError, match="is no rate"):
            parse_rate(text)
