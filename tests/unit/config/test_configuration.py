"""A configuration is a snapshot, which no edit reaches."""

from __future__ import annotations

from pathlib import Path

from hub.config.rules import rules_for
from tests.unit.config.kit import load


def test_a_snapshot_that_a_power_cut_emptied_is_made_anew(etc: Path) -> None:
    package = Path(rules_for(load(etc).take_snapshots(), "14999010", "hund")[0].package)
    files = {file: file.read_bytes() for file in package.rglob("*") if file.is_file()}
    for file in files:
        file.write_bytes(b"")
    again = Path(rules_for(load(etc).take_snapshots(), "14999010", "hund")[0].package)
    assert again == package
    assert files == {file: file.read_bytes() for file in package.rglob("*") if file.is_file()} != {}


def test_a_snapshot_keeps_what_an_edit_changes(etc: Path) -> None:
    before = rules_for(load(etc).take_snapshots(), "14999010", "hund")[0]
    (etc / "mappings" / "hund" / "v1" / "a.xsl").write_text("<edited/>")
    assert (Path(before.package) / "v1" / "a.xsl").read_text() == "<x/>"
    after = rules_for(load(etc).take_snapshots(), "14999010", "hund")[0]
    assert (Path(after.package) / "v1" / "a.xsl").read_text() == "<edited/>"
    assert after.mapping_digest != before.mapping_digest
