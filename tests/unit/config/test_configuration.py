"""A configuration is a snapshot, which no edit reaches."""

from __future__ import annotations

import shutil
from pathlib import Path

from hub.config.rules import rules_for
from tests.unit.config.kit import change, load


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


def test_services_of_the_operators_own_come_beside_and_before_those_of_the_release(etc: Path) -> None:
    own = etc / "own"
    shutil.copytree(etc / "mappings/hund", own / "hund")
    (own / "hund/v1/a.xsl").write_text("<ours/>")
    shutil.copytree(etc / "mappings/hund", own / "katze")
    mapping = own / "katze/mapping.toml"
    mapping.write_text(mapping.read_text().replace('"hund"', '"katze"'))
    change(etc / "hub.toml", 'mappings = "mappings"', 'mappings = "mappings"\nown_mappings = "own"')
    found = load(etc).take_snapshots()
    assert sorted(found.mappings) == ["hund", "katze"]
    (rule, *_) = rules_for(found, "14999010", "hund")
    assert (Path(rule.package) / "v1/a.xsl").read_text() == "<ours/>"
    assert found.mapping_folder("hund") == own / "hund"
    assert load(etc).digest != _digest_after_an_edit(etc, own / "katze/v1/a.xsl"), "a reload notices it"


def _digest_after_an_edit(etc: Path, file: Path) -> str:
    file.write_text("<edited/>")
    return load(etc).digest
