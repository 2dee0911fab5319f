"""Ranges of form versions beside each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.mapping.versions import spans_overlap, takes_any, version_in


@pytest.mark.parametrize(("one", "other", "overlap"), [
    (">=1.0,<2.0", ">=2.0", False), (">=1.0,<=2.0", ">=2.0", True), ("<2.0", ">1.9", True),
    ("*", ">=7", True), ("==1.0", "==1", True), ("<1.0", ">=1.0", False), (">1.0,<1.1", ">=1.0.5", True),
    ("*", "==3 or none", True), (">=1,<2 or none", ">=2 or none", True), (">=1,<2 or none", ">=2", False)])
def test_ranges_overlap_where_some_form_lies_in_both(one: str, other: str, overlap: bool) -> None:
    assert spans_overlap(one, other) is spans_overlap(other, one) is overlap


@pytest.mark.parametrize(("span", "takes"), [("*", True), (">=2.0,<1.0", False), ("==1,==2", False),
                                             (">=2,<1 or none", True), ("<0", False), (">=1,<=1", True)])
def test_a_range_may_take_nothing(span: str, takes: bool) -> None:
    assert takes_any(span) is takes


NUMBERS = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(lambda each: ".".join(map(str, each)))
SPANS = st.lists(st.tuples(st.sampled_from([">=", ">", "<", "<=", "=="]), NUMBERS).map("".join), min_size=1,
                 max_size=2).map(",".join)


@given(SPANS, SPANS, NUMBERS)
def test_no_version_lies_in_both_of_two_that_do_not_overlap(one: str, other: str, version: str) -> None:
    if version_in(version, one) and version_in(version, other):
        assert spans_overlap(one, other)
