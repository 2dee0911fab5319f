"""The answers of the HTTPS inlet (RFC 9457)."""

from __future__ import annotations

import json

import pytest

from connectors import _problem
from connectors._problem import Problem

ALL = [_problem.NOT_FOUND, _problem.METHOD, _problem.UNKNOWN_CLIENT, _problem.NOT_ALLOWED, _problem.TOO_SLOW,
       _problem.too_large("1 Byte", "1 byte"), _problem.unreadable("boundary"), _problem.conflict("0190-id"),
       _problem.unavailable(1.2)]


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.slug)
def test_each_says_in_two_languages_what_to_do(problem: Problem) -> None:
    response = problem.response()
    data = json.loads(bytes(response.body))
    assert response.media_type == "application/problem+json"
    assert (data["status"], response.status_code) == (problem.status, problem.status)
    assert data["type"] == f"urn:datendrehscheibe:problem:{problem.slug}"
    assert all((data["title"], data["detail"], data["next"]))
    assert set(data["en"]) == {"title", "detail", "next"} and all(data["en"].values())


def test_headers_that_http_asks_for() -> None:
    assert _problem.unavailable(1.2).response().headers["retry-after"] == "2"
    assert _problem.METHOD.response().headers["allow"] == "POST"
    assert _problem.UNKNOWN_CLIENT.response().headers["www-authenticate"] == "Certificate"


def test_what_the_hub_refuses_is_not_counted_by_the_inlet() -> None:
    assert {problem.slug for problem in ALL if problem.turned_away is None} == {
        "not-allowed", "conflict", "unavailable"}
    assert _problem.unavailable(30, "unavailable").turned_away == "unavailable"
