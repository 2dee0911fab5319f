"""Every way that a message may go."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from hub.config.rules import rules_for
from tests.unit.config.kit import load


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
