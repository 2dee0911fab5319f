"""Every way that a message may go."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from hub.config.rules import rules_for, why_none
from hub.message import MessageState, Reason, StoredMessage
from tests.unit.config.kit import NOW, load


def test_every_way_is_a_rule_route_times_version_times_test(etc: Path) -> None:
    rules = rules_for(load(etc).take_snapshots(), "14999010", "hund")
    assert [rule.id for rule in rules] == ["musterstadt/hund/v1", "musterstadt/hund/v1/test",
                                           "musterstadt/hund/v2", "musterstadt/hund/v2/test"]
    assert rules[0].valid_from == date(2025, 1, 1)
    assert Path(rules[0].package).parent == etc / "state" / "snapshots"
    assert rules[0].homes == {"mapping": "mappings/hund", "common": "mappings/_common",
                              "town": "municipalities/14999010"}
    assert {recipient.destination for rule in rules if rule.test
            for recipient in rule.recipients} == {"musterstadt/test"}


def test_a_retired_ags_still_routes(etc: Path) -> None:
    assert rules_for(load(etc), "14999011", "hund") == rules_for(load(etc), "14999010", "hund")
    assert rules_for(load(etc), "14999012", "hund") == ()


def told(etc: Path, ags: str) -> str:
    """Why a message to this AGS has no way."""
    message = StoredMessage(id="1", tenant="", ags=ags, service="hund", sender="amt24", inlet="portal",
                            test=False, state=MessageState.RECEIVED, received_at=NOW, accepted_day=NOW.date())
    reason, text = why_none(load(etc), message)
    assert reason is Reason.UNKNOWN_MUNICIPALITY
    return text


@pytest.mark.parametrize("ags", ["14999910", "1499910", "14990910", "149999910"])
def test_an_ags_that_is_one_slip_away_may_have_been_meant_or_replaced(etc: Path, ags: str) -> None:
    (file,) = (etc / "municipalities").glob("*.toml")
    file.write_text(file.read_text().replace('"14999010"', '"14999910"').replace('"14999011"', '"14000000"'))
    hub = etc / "hub.toml"
    hub.write_text(hub.read_text().replace('"14999010"', '"14999910"'))
    file.rename(file.with_name("14999910.toml"))
    if ags == "14999910":
        ags = "14999901"
    assert f"Keine Kommune hat den AGS '{ags}' (gemeint 14999910?)" in told(etc, ags)
    assert "ihn in municipalities/14999910.toml unter 'formerly' nennen" in told(etc, ags)


@pytest.mark.parametrize("ags", ["14999999", "14612000", "14999099", "", "Musterstadt"])
def test_no_municipality_is_proposed_that_has_nothing_to_do_with_it(etc: Path, ags: str) -> None:
    said = told(etc, ags)
    assert "gemeint" not in said
    assert "14999010" not in said
    assert "municipalities/<AGS>.toml anlegen" in said


def test_one_slip_away_from_two_municipalities_is_near_to_neither(etc: Path) -> None:
    assert "gemeint 14999010?" in told(etc, "14999012"), "as near to the AGS of today as to the one of before"
    other = etc / "municipalities/14999013.toml"
    text = (etc / "municipalities/14999010.toml").read_text()
    for old, new in (("14999010", "14999013"), ('formerly = ["14999011"]', ""),
                     ('"musterstadt"', '"anderswo"')):
        text = text.replace(old, new)
    other.write_text(text)
    assert "gemeint" not in told(etc, "14999012")
