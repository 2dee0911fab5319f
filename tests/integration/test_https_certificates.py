"""Senders' certificates that end, at the HTTPS inlet: real TLS, real certificates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from tests.integration.https_site import PATH, XML, HttpsSite
from tests.integration.inlet_contract import SMALL
from tests.services.tls import Authority, KeyPair

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def hub(tmp_path: Path, authority: Authority) -> Iterator[HttpsSite]:
    with HttpsSite(tmp_path, authority) as hub:
        yield hub
    assert hub.spooled() == []
    assert hub.failures == []


def test_the_end_of_a_senders_certificate_is_told_when_it_comes_in(hub: HttpsSite,
                                                                   authority: Authority) -> None:
    ends = NOW + 20 * DAY
    soon = authority.client("portal-test", file="soon", not_after=ends)
    with hub.client(soon) as client:
        for _ in range(2):
            assert client.post(PATH, content=SMALL, headers=XML).status_code == 202
    assert hub.gate.certificates == [("amt24", ends.date().isoformat())], "once for a connection"


@pytest.mark.parametrize(("who", "sender"), [("portal-test", "amt24"), ("Erika Musterfrau", None)])
@pytest.mark.parametrize(("begins", "ends", "reason"),
                         [(-9, -1, "expired"), (1, 9, "not-yet-valid")])
def test_a_certificate_at_the_wrong_time_is_told_to_both_sides(
        hub: HttpsSite, authority: Authority, who: str, sender: str | None, begins: int, ends: int,
        reason: str) -> None:
    shown = authority.client(who, "stranger.example", file="outdated", not_before=NOW + begins * DAY,
                             not_after=NOW + ends * DAY)
    answer = hub.post(shown)
    assert (answer.status_code, answer.json()["type"]) == (
        401, "urn:datendrehscheibe:problem:certificate-outdated")
    assert {"expired": "abgelaufen", "not-yet-valid": "noch nicht"}[reason] in answer.json()["detail"]
    assert hub.gate.certificates == [(sender, reason)], "nothing of a stranger's text"
    assert (hub.door.asked, hub.gate.told) == (0, ["unknown-client"])


def test_a_certificate_of_a_foreign_ca_is_no_senders_whatever_it_says(hub: HttpsSite,
                                                                      other: Authority) -> None:
    forged = other.client("portal-test", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    with pytest.raises(httpx2.TransportError):
        hub.post(forged)
    hub.wait(lambda: hub.gate.told == ["unknown-client"], "the refusal to be counted")
    assert (hub.gate.certificates, hub.door.asked) == ([], 0)


def test_an_ended_certificate_has_no_place_of_a_sender(tmp_path: Path, authority: Authority,
                                                       portal: KeyPair) -> None:
    ended = authority.client("portal-test", file="ended", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    with (HttpsSite(tmp_path, authority, max_connections=1, max_strangers=1) as hub, hub.raw(ended),
          hub.raw(ended)):
        assert hub.post(portal).status_code == 202
