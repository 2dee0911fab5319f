"""The retry policy is a pure function: a table says it all."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hub.config.retry import RetryPolicy, parse_duration

POLICY = RetryPolicy(first=timedelta(minutes=1), factor=2, longest=timedelta(hours=4),
                     give_up_after=timedelta(days=14), spread=0)


@pytest.mark.parametrize(("attempts", "minutes"),
                         [(1, 1), (2, 2), (3, 4), (8, 128), (9, 240), (10, 240), (5000, 240)])
def test_waits_double_up_to_the_longest(attempts: int, minutes: int) -> None:
    assert POLICY.delay(attempts, timedelta(0)) == timedelta(minutes=minutes)


def test_gives_up_by_age_not_by_attempts() -> None:
    assert POLICY.delay(5000, timedelta(days=13, hours=23)) is not None
    assert POLICY.delay(1, timedelta(days=14)) is None


def test_the_receivers_wish_is_a_minimum_of_at_most_a_day() -> None:
    assert POLICY.delay(1, timedelta(0), asked=1800) == timedelta(seconds=1800)
    assert POLICY.delay(9, timedelta(0), asked=5) == timedelta(hours=4)
    assert POLICY.delay(1, timedelta(0), asked=1e12) == timedelta(days=1)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_spread_stays_within_its_bounds(attempts: int, dice: float) -> None:
    plain = POLICY.delay(attempts, timedelta(0))
    spread = POLICY.model_copy(update={"spread": 0.1}).delay(attempts, timedelta(0), dice=dice)
    assert plain is not None
    assert spread is not None
    assert plain * 0.9 <= spread <= plain * 1.1


@pytest.mark.parametrize(("text", "seconds"),
                         [("90s", 90), ("5m", 300), ("4h", 14400), ("14d", 1209600), (7, 7), ("1.5h", 5400)])
def test_durations_are_readable(text: object, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["5", "5 weeks", "m", "", True, "-5m"])
def test_a_wrong_duration_says_how_to_write_one(text: object) -> None:
    with pytest.raises(ValidationError, match="no duration: write '90s'"):
        RetryPolicy(first=text)  # type: ignore[arg-type]
