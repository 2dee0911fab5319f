"""A small configuration that is in order, and what tests do with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.config import loader
from hub.config.configuration import Configuration
from hub.errors import ConfigError

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HUB = """
[hub]
state = "state"
mappings = "mappings"
[[sender]]
name = "amt24"
municipalities = ["14999010"]
"""
MUNICIPALITY = """
name = "Musterstadt"
ags = "14999010"
tenant = "musterstadt"
services = ["hund"]
formerly = ["14999011"]
[destinations.ablage]
connector = "directory"
path = "drop"
[destinations.test]
connector = "directory"
path = "drop-test"
test = true
"""
DEFAULTS = """
[policy.retry]
give_up_after = "3d"
[connectors.directory]
name = "{day}_{id}"
[[route]]
service = "*"
recipients = [{ destination = "ablage", send = ["xml", "attachments"] }]
test_recipients = [{ destination = "test", send = ["xml"] }]
"""
MAPPING = """
service = "hund"
title = "Hund"
category = "einfach"
[[version]]
name = "v1"
versions = ">=1.0,<2.0"
subject = "Hund"
valid_from = 2025-01-01
[version.renderings.xml]
role = "xml"
stylesheet = "a.xsl"
file = "hund.xml"
media_type = "application/xml"
[[version]]
name = "v2"
versions = ">=2.0"
subject = "Hund"
[version.renderings.xml]
role = "xml"
stylesheet = "a.xsl"
file = "hund.xml"
media_type = "application/xml"
"""


def write(folder: Path) -> Path:
    """The configuration in files, below an empty folder."""
    (folder / "municipalities").mkdir()
    for version in ("v1", "v2"):
        (folder / "mappings" / "hund" / version).mkdir(parents=True)
        (folder / "mappings" / "hund" / version / "a.xsl").write_text("<x/>")
    (folder / "hub.toml").write_text(HUB)
    (folder / "defaults.toml").write_text(DEFAULTS)
    (folder / "municipalities" / "14999010.toml").write_text(MUNICIPALITY)
    (folder / "mappings" / "hund" / "mapping.toml").write_text(MAPPING)
    return folder


def load(etc: Path, *overrides: str) -> Configuration:
    """The configuration in the folder `etc`."""
    return loader.load(etc / "hub.toml", overrides)


def change(file: Path, old: str, new: str) -> None:
    """Put `new` in the place of `old`, which must be there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def problems(etc: Path) -> str:
    """What is wrong with the configuration, a line each; every line has its four parts."""
    with pytest.raises(ConfigError) as error:
        load(etc)
    for line in error.value.problems:
        assert line.count(": ") >= 3, f"not 'file: key: what: what to do': {line}"
    return "\n".join(error.value.problems)
