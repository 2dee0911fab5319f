"""What is told of senders' certificates: when they end, and which were refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry

from hub.telemetry.sender_certificates import MOST, SenderCertificates

NOW = datetime(2026, 12, 1, tzinfo=UTC)
HOUR = 3600.0


class Bench:
    """The metrics beside a clock of the test's own."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.registry = CollectorRegistry()
        self.certificates = SenderCertificates(self.registry, now=lambda: self.clock)
        self.certificates.begin("portal", ["amt24"])
        self.seen = self.certificates.seen("portal")
        self.refused = self.certificates.refused("portal")

    def days_left(self, sender: str) -> float | None:
        value = self.registry.get_sample_value(
            "drehscheibe_sender_certificate_expiry_timestamp_seconds", {"inlet": "portal", "sender": sender})
        return None if value is None else (value - NOW.timestamp()) / 86400

    def count(self, sender: str, reason: str = "expired") -> float | None:
        return self.registry.get_sample_value(
            "drehscheibe_sender_certificates_refused_total",
            {"inlet": "portal", "sender": sender, "reason": reason})


def test_the_soonest_end_of_a_senders_machines_counts_until_it_is_replaced() -> None:
    bench = Bench()
    assert bench.days_left("amt24") is None, "nothing is said of who has not come yet"
    for hour, left, told in ((0, 20, 20), (1, 90, 20), (23, 90, 20), (26, 90, 90), (300, 89, 89)):
        bench.clock = hour * HOUR
        bench.seen("amt24", NOW + timedelta(days=left))
        assert bench.days_left("amt24") == told, hour


def test_what_is_remembered_of_one_sender_is_bounded() -> None:
    bench = Bench()
    for left in range(1, 2 * MOST):
        bench.seen("amt24", NOW + timedelta(days=left))
    assert bench.days_left("amt24") == MOST


def test_each_refusal_counts_and_the_log_says_it_once_an_hour() -> None:
    bench = Bench()
    assert (bench.count("amt24"), bench.count("unknown")) == (0, 0), "there before the first"
    with structlog.testing.capture_logs() as logs:
        for second in (0, 1, 2, HOUR + 1):
            bench.clock = float(second)
            bench.refused("amt24", "expired")
        bench.refused(None, "expired")
        bench.refused("amt24", "not-yet-valid")
    assert (bench.count("amt24"), bench.count("unknown"), bench.count("amt24", "not-yet-valid")) == (4, 1, 1)
    assert [(line["log_level"], line["inlet"], line["sender"], line["reason"]) for line in logs] == [
        ("warning", "portal", "amt24", "expired"), ("warning", "portal", "amt24", "expired"),
        ("warning", "portal", "unknown", "expired"), ("warning", "portal", "amt24", "not-yet-valid")]
