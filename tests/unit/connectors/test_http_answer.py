"""What an answer tells besides its content."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from connectors._http_answer import Answer, certificate_finding, retry_after

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize(("value", "seconds"), [
    ("120", 120), (" 0 ", 0), ("Sun, 22 Nov 2026 10:02:00 GMT", 120), ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
    ("Sunday, 22-Nov-26 10:02:00 GMT", 120), ("bald", None), ("-5", None), ("1e9", None), ("9" * 30, None),
    (None, None), ("Sun, 22 Nov 2026 10:02:00 +99999999999999999999", None),
    ("Sun, 22 Nov 99999999999 10:02:00 GMT", None), ("Sun, 22 Nov 2026 10:02:" + "9" * 30 + " GMT", None),
    ("Mon, 01 Jan 0001 00:00:00 +2359", 0)])
def test_retry_after_in_seconds_and_as_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_an_answer_says_when_to_come_again() -> None:
    assert Answer(503, httpx2.Headers({"Retry-After": "7"}), b"").retry_after == 7
    assert Answer(503, httpx2.Headers(), b"").retry_after is None


@pytest.mark.parametrize(("days", "severity"), [(400, "ok"), (31, "ok"), (29, "warning"), (-1, "warning")])
def test_a_certificate_that_ends_soon(days: int, severity: str) -> None:
    (finding,) = certificate_finding(datetime.now(UTC) + timedelta(days=days, hours=1))
    assert finding.severity == severity
    assert f"({days} Tage)" in finding.text
    assert bool(finding.remedy) == (severity == "warning")


def test_no_certificate_no_finding() -> None:
    assert certificate_finding(None) == []
