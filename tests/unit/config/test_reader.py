"""Data becomes checked models, and every fault is told once, in plain words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from hub import registry
from hub.config import loader
from hub.errors import ConfigError
from hub.i18n import problems_german
from tests.unit.config.kit import HUB, MAPPING, MUNICIPALITY, change, load, problems


def test_a_faulty_file_is_told_once_and_by_its_own_names(etc: Path) -> None:
    """Not a list that is too short because its entry is faulty, not a sender whose municipality is faulty,
    not the same name."""
    file = etc / "municipalities/14999010.toml"
    file.write_text(file.read_text() + '[[route]]\nservices = ["hund"]\nrecipients = [{ destination = '
                                       '"ablage" }]\n')
    assert problems(etc).splitlines() == [
        f"{file}: route.0.recipients.0.send: is missing: add it",
        f"{file}: route.0.services: unknown key: did you mean 'service'?"]


@pytest.mark.parametrize(("old", "new", "faults"), [
    ("[connectors.directory]", "[connectors.directroy]",
     ["connectors.directroy: unknown connector 'directroy': did you mean 'directory'?"]),
    ("[connectors.directory]", '[connectors.directory]\nnme = "x"\nmount = "no"\nparallel = 0',
     ["connectors.directory.mount: is neither true nor false: write true or false, without quotes",
      "connectors.directory.nme: unknown key: did you mean 'name'?",
      "connectors.directory.parallel: Input should be greater than or equal to 1: correct the value"]),
    ("[connectors.directory]", '[connectors.smtp]\nport = "25"\n[connectors.inbox]\n[connectors.directory]',
     ["connectors.smtp.port: is no whole number: write a number without quotes, like 9464",
      "connectors.inbox: 'inbox' has no outlet: choose another connector"]),
    ("[policy.retry]", "[policy.rety]", ["policy.rety: unknown key: did you mean 'retry'?"]),
    ("give_up_after", "give_up", ["policy.retry.give_up: unknown key: did you mean 'give_up_after'?"]),
])
def test_what_municipalities_inherit_is_told_once_and_where_it_stands(etc: Path, old: str, new: str,
                                                                      faults: list[str]) -> None:
    change(etc / "defaults.toml", old, new)
    assert problems(etc).splitlines() == [f"{etc}/defaults.toml: {fault}" for fault in faults]


def test_what_is_missing_in_the_defaults_may_stand_with_the_destinations(etc: Path) -> None:
    change(etc / "defaults.toml", "[connectors.directory]",
           '[connectors.smtp]\nfrom = "a@b.example"\n[connectors.directory]')
    assert load(etc).defaults.connectors["smtp"] == {"from": "a@b.example"}


def test_a_misspelt_key_is_not_told_as_missing_too(etc: Path) -> None:
    file = etc / "municipalities/14999010.toml"
    change(file, 'name = "Musterstadt"', 'nam = "Musterstadt"')
    assert problems(etc).splitlines() == [f"{file}: nam: unknown key: did you mean 'name'?"]
    file.write_text(MUNICIPALITY.replace('connector = "directory"\npath = "drop"',
                                 'conector = "directory"\npath = "drop"', 1))
    assert "destinations.ablage.conector: unknown key: did you mean 'connector'?" in problems(etc)
    assert len(problems(etc).splitlines()) == 1
    file.write_text(MUNICIPALITY.replace('path = "drop"', 'pth = "drop"', 1))
    assert problems(etc).splitlines() == [f"{file}: destinations.ablage.pth: unknown key: did you mean "
                                          "'path'?"]


def test_a_missing_or_unknown_connector_is_told_with_those_that_fit(etc: Path) -> None:
    (etc / "hub.toml").write_text(HUB + '[inlets.portal]\nport = 1\n[inlets.ordner]\nconnector = "sftp2"\n')
    change(etc / "municipalities/14999010.toml", 'connector = "directory"\npath = "drop"\n', "")
    inlets, outlets = (", ".join(name for name in registry.names() if registry.has(name, side))
                       for side in get_args(registry.Side))
    assert "directory" in outlets
    assert "directory" not in inlets
    assert problems(etc).splitlines() == [
        f"{etc}/hub.toml: inlets.portal.connector: is missing: add it, one of {inlets}",
        f"{etc}/hub.toml: inlets.ordner.connector: unknown connector 'sftp2': one of {inlets}",
        f"{etc}/municipalities/14999010.toml: destinations.ablage.connector: is missing: add it, "
        f"one of {outlets}"]


def test_a_value_in_a_sections_place_is_told(etc: Path) -> None:
    (etc / "hub.toml").write_text("hub = 3\n")
    fault = f"{etc}/hub.toml: hub: is no table: write it below a heading of its own, like [section]"
    assert problems(etc) == fault
    with pytest.raises(ConfigError) as error:
        loader.places(etc / "hub.toml")
    assert error.value.problems == (fault,)


MUNICIPALITY_FILE = "municipalities/14999010.toml"


@pytest.mark.parametrize(("file", "old", "new", "fault"), [
    ("hub.toml", "[[sender]]", '[inlets.portal]\nconnector = "https"\ncertificate = "c"\nkey = "file:k"\n'
     'senders = ["amt24"]\n[[sender]]',
     'inlets.portal.senders.0: is no table: write it in braces, like { name = "text" }, or below a heading '
     'of its own, '
     "like [section]"),
    ("hub.toml", "[[sender]]", '[inlets.portal]\nconnector = "https"\ncertificate = "c"\nkey = "file:k"\n'
     'senders = [{ name = "amt24", subject = "amt24.example" }]\n[[sender]]',
     "inlets.portal.senders.0.subject: 'amt24.example' is no name of a certificate's owner: write e.g. "
     "'CN=amt24': "
     "correct the value"),
    ("hub.toml", "[hub]", "workers = 3\n[hub]",
     'workers: is no table: write it in braces, like { name = "text" }, or below a heading of its own, like '
     '[section]'),
    ("hub.toml", 'name = "amt24"', 'name = "Amt 24"',
     'sender.0.name: is no key: write small letters, digits and hyphens, like "musterstadt"'),
    ("hub.toml", "[[sender]]", "[sender]",
     "sender: is a table, not a list of tables: write [[sender]] instead of [sender]"),
    ("defaults.toml", "[[route]]", "[route]",
     "route: is a table, not a list of tables: write [[route]] instead of [route]"),
    ("defaults.toml", "[[route]]", '[[route]]\nvalid_from = "soon"',
     "route.0.valid_from: is no date: write it without quotes, like 2026-01-31"),
    ("defaults.toml", "[policy.retry]", '[retention]\nat = "half past two"\n[policy.retry]',
     "retention.at: is no time of day: write it without quotes, like 02:30:00"),
    (MUNICIPALITY_FILE, 'ags = "14999010"', 'ags = "1499901"',
     'ags: is no AGS: write eight digits (for a district five), like "14999010"'),
    (MUNICIPALITY_FILE, '["14999011"]', "[14999011]",
     'formerly.0: is no text: write it in quotes, like "14999010"'),
    (MUNICIPALITY_FILE, "services", "ars = 149990000010\nservices",
     'ars: is no text: write it in quotes, like "149990000010"'),
    (MUNICIPALITY_FILE, '"musterstadt"', '"Musterstadt"',
     'tenant: is no key: write small letters, digits and hyphens, like "musterstadt"'),
    (MUNICIPALITY_FILE, "[destinations.test]", "[destinations.Test]",
     'destinations.Test: is no key: write small letters, digits and hyphens, like "musterstadt"'),
    (MUNICIPALITY_FILE, "services", "population = { 2024 = 1800 }\nservices",
     "population: is no number of people: write it like 1800, or with the day of the count like { 2024-12-31 "
     "= 1800 }: "
     "correct the value"),
    (MUNICIPALITY_FILE, "services", 'population = "1800"\nservices',
     "population: is no number of people: write it like 1800, or with the day of the count like { 2024-12-31 "
     "= 1800 }: "
     "correct the value"),
    (MUNICIPALITY_FILE, 'path = "drop"', 'path = "drop"\nmode = 640',
     'destinations.ablage.mode: is no text: write it in quotes, like "0640"'),
    (MUNICIPALITY_FILE, 'path = "drop"', 'path = "drop"\nmode = "640"',
     'destinations.ablage.mode: is no mode of a file: write four digits from 0 to 7, the first a 0, like '
     '"0640"'),
    (MUNICIPALITY_FILE, 'path = "drop"', 'path = "drop"\npath2 = 3',
     "destinations.ablage.path2: unknown key: did you mean 'path'?"),
    (MUNICIPALITY_FILE, 'connector = "directory"\npath = "drop"\n',
     'connector = "xdomea"\nreceiver = "Stadt"\ndrop = { connector = "smtp" }\n',
     'destinations.ablage.drop: names a connector that cannot stand here: name one that is a drop '
     '(drehscheibe connector list)'),
    (MUNICIPALITY_FILE, 'connector = "directory"\npath = "drop"\n',
     'connector = "xdomea"\nreceiver = "Stadt"\n[destinations.ablage.drop]\nconnector = "directory"\n'
     'pth = "drop"\n',
     "destinations.ablage.drop.pth: unknown key: did you mean 'path'?"),
    ("mappings/hund/mapping.toml", MAPPING,
     MAPPING.split("[[version]]", maxsplit=1)[0] + '[version]\nname = "v1"\n',
     "line 5: version: is a table, not a list of tables: write [[version]] instead of [version]"),
])
def test_a_value_of_the_wrong_kind_is_told_once_in_plain_words(etc: Path, file: str, old: str, new: str,
                                                               fault: str) -> None:
    change(etc / file, old, new)
    assert problems(etc).splitlines() == [f"{etc / file}: {fault}"]
    assert not re.search(r"\b(is|write|like|names|the|of)\b", problems_german.german(f"{file}: {fault}"))


def test_a_doubled_key_is_told_with_its_line(etc: Path) -> None:
    change(etc / "municipalities" / "14999010.toml", 'path = "drop"', 'path = "drop"\npath = "drop"')
    assert "(file): is no TOML (duplicate key at line 10 column 1): mend that line" in problems(etc)
