"""A worker that says a message holds several applications is believed only where nothing can get lost."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hub.job import Body, Facts, Job, JobPart, Split, SplitGroup
from hub.workers.answers import check


def job(**changes: Any) -> Job:
    parts = tuple(JobPart(name=f"p{number}", filename=None, media_type="text/xml",
                          sha256=hashlib.sha256(b"x").hexdigest(), body=Body(length=1))
                  for number in range(4))
    return Job(**({"message_id": "m", "tenant": "t", "ags": "14999010", "service": "s", "test": False,
                   "received_at": datetime(2026, 11, 22, tzinfo=UTC), "accepted_day": date(2026, 11, 22),
                   "case": None, "parts": parts, "several": "split"} | changes))


def groups(*pairs: tuple[tuple[int, ...], tuple[int, ...]]) -> Split:
    return Split(message_id="m", facts=Facts(),
                 groups=tuple(SplitGroup(parts=parts, shared=shared) for parts, shared in pairs))


GOOD = (((0, 1), (3,)), ((1, 2), (3,)))


def test_an_honest_answer_is_believed() -> None:
    assert check(job(), groups(*GOOD), 0) is None


@pytest.mark.parametrize("lie", [
    (((0,), ()), ((1, 2), ())),  # a part is left out
    (((0, 1, 2), ()), ((3, 4), ())),  # a part that is not there
    (((0, 1, 2, 3), ()), ((1,), ())),  # the whole again, without an end
    (((0, 1, 2), (3,)), ((1,), (3,))),  # the same, with what is shared
    (((0, 1), (3,)), ((2,), ())),  # what is shared goes to one only
    (((0, 1, 3), (3,)), ((2,), (3,))),  # both its own and shared
    (((0, 0, 1), (3,)), ((2,), (3,))),  # twice
    (((0, -1), (3,)), ((1, 2), (3,)))])
def test_a_lie_is_not(lie: Any) -> None:
    assert check(job(), groups(*lie), 0) is not None


def test_nobody_splits_what_its_sender_wants_parked() -> None:
    assert check(job(several="park"), groups(*GOOD), 0) is not None


def test_a_split_of_another_message_or_that_makes_a_test_real_is_not_believed() -> None:
    assert check(job(message_id="other"), groups(*GOOD), 0) is not None
    assert check(job(test=True), groups(*GOOD), 0) is not None
    assert check(job(test=True), groups(*GOOD).model_copy(update={"facts": Facts(test=True)}), 0) is None
