"""Versions of forms, compared as numbers, and the ranges that mappings and routes name."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

_BOUND = re.compile(r"\d+(?:\.\d+)*")
_COMPARISON = re.compile(r"^(>=|<|>|<=|==)\s*(\d+(?:\.\d+)*)$")


def version_key(text: str) -> tuple[int, ...]:
    """A form version as numbers, so that 1.10 > 1.9 and 1.0 == 1. Raises ValueError when it is none."""
    numbers = [int(number) for number in text.removeprefix("v").split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


@lru_cache(maxsize=4096)
def version_in(version: str | None, span: str) -> bool:
    """Whether a form version lies in a range such as ``>=1.0,<2.0``; ``*`` takes every version, also none.

    ``>=1.0,<2.0 or none`` takes a form that names no version as well: before blueprint 1.6 the envelope had
    no form id.
    """
    span, _, also = span.partition(" or ")
    if span.strip() == "*":
        return True
    if version is None:
        return also.strip() == "none"
    try:
        key = version_key(version)
    except ValueError:
        return False
    tests = {"=="  : lambda a, b: a == b, ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b,
             ">": lambda a, b: a > b, "<": lambda a, b: a < b}
    for term in span.split(","):
        match = _COMPARISON.match(term.strip())
        if match is None or not tests[match[1]](key, version_key(match[2])):
            return False
    return True


def spans_overlap(one: str, other: str) -> bool:
    """Whether some form version, or a form that names none, lies in both ranges."""
    # each bound, and a version just above it, stand for all versions between the bounds
    bounds = [bound for span in (one, other) for bound in _BOUND.findall(span)]
    probes = (None, "0", *bounds, *(f"{bound}.0.0.0.1" for bound in bounds))
    return any(version_in(probe, one) and version_in(probe, other) for probe in probes)


def takes_any(span: str) -> bool:
    """Whether a range takes any form at all; ``>=2.0,<1.0`` takes none."""
    return spans_overlap(span, span)


def _check_span(span: str) -> str:
    if span.strip() != "*":
        for term in span.split(","):
            if not _COMPARISON.match(term.strip()):
                raise ValueError(f"{term.strip()!r} is no comparison of versions such as '>=1.0' (joined by "
                                 "commas), or '*'")
    return span


def _check_form_span(span: str) -> str:
    _check_span(span.removesuffix(" or none"))
    return span


VersionSpan = Annotated[str, AfterValidator(_check_span)]
FormVersionSpan = Annotated[str, AfterValidator(_check_form_span)]
