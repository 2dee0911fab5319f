"""When to try again: a value, not code.

`RetryPolicy.delay` is a pure function from attempts and age to a delay, or to "give up". tenacity's
strategies say how waits grow and when to stop; nothing sleeps here, because a delivery waits in the store.
Horizons are days: a town hall's server is down over a weekend, and FIT-Connect gives 14 days.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

import tenacity
from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from hub.files.model import FileModel

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: Any) -> timedelta:
    """``"90s"``, ``"5m"``, ``"4h"``, ``"14d"`` or a number of seconds. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no duration: write '90s', '5m', '4h' or '14d'")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda value: value.total_seconds(), return_type=float),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]$"}, {"type": "number"}]}),
]


MOST_STEPS = 65
"""Waits grow no further after so many tries. Every sensible `longest` is reached long before."""


def backoff(attempts: int, first: timedelta, factor: float, longest: timedelta) -> timedelta:
    """The wait after the try with this number (from 1 on): `first`, then `factor` times the one before."""
    state = _state(min(max(attempts, 1), MOST_STEPS))
    return timedelta(seconds=tenacity.wait_exponential(
        multiplier=first.total_seconds(), exp_base=factor, max=longest)(state))


def _state(attempts: int, age: timedelta = timedelta(0)) -> tenacity.RetryCallState:
    """What tenacity's strategies look at: the number of the last try, and the time since the first one."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempts
    state.outcome_timestamp = state.start_time + age.total_seconds()
    return state


class RetryPolicy(FileModel):
    """How long to wait after the n-th failed try, and when to stop trying."""

    first: Duration = Field(timedelta(minutes=1), description="wait after the first failed try")
    factor: float = Field(2.0, ge=1.0, description="each wait is this many times the one before")
    longest: Duration = Field(timedelta(hours=4), description="no wait is longer")
    give_up_after: Duration = Field(timedelta(days=14),
                                    description="age of the delivery at which it is parked")
    spread: float = Field(0.1, ge=0.0, le=0.5,
                          description="random part of a wait, so that a thousand do not come at once")

    @model_validator(mode="after")
    def _rises(self) -> RetryPolicy:
        if self.first > self.longest:
            raise ValueError("first is longer than longest: make longest at least as long")
        return self

    def delay(self, attempts: int, age: timedelta, *, asked: float | None = None,
              dice: float = 0.5) -> timedelta | None:
        """The wait after `attempts` tries of a delivery of this `age`, or None: give up.

        `asked` is the receiver's own wish in seconds (Retry-After): it is honoured as a minimum, up to one
        day. `dice` in [0, 1) spreads the wait by ± `spread`.
        """
        if tenacity.stop_after_delay(self.give_up_after)(_state(attempts, age)):
            return None
        wait = backoff(attempts, self.first, self.factor, self.longest) * (1 + self.spread * (2 * dice - 1))
        if asked is not None:
            wait = max(wait, timedelta(seconds=min(asked, 86400.0)))
        return wait
