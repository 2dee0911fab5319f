"""The configuration is checked as a whole, and every fault says where, what and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from hub import endpoint
from hub.administration.prices import BillingFile
from hub.authoring.examples import ExampleFile
from hub.config import loader
from hub.config.configuration import Configuration
from hub.config.loader import FILES
from hub.config.municipality_file import Policy
from hub.config.rules import rules_for
from hub.endpoint import build_outlet
from hub.errors import ConfigError
from hub.files.problems import _PLAIN_SHAPES
from hub.i18n import problems_german
from hub.mapping.model import MappingFile
from hub.store.database.postgresql import Served

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


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A small configuration that is in order."""
    (tmp_path / "municipalities").mkdir()
    for version in ("v1", "v2"):
        (tmp_path / "mappings" / "hund" / version).mkdir(parents=True)
        (tmp_path / "mappings" / "hund" / version / "a.xsl").write_text("<x/>")
    (tmp_path / "hub.toml").write_text(HUB)
    (tmp_path / "defaults.toml").write_text(DEFAULTS)
    (tmp_path / "municipalities" / "14999010.toml").write_text(MUNICIPALITY)
    (tmp_path / "mappings" / "hund" / "mapping.toml").write_text(MAPPING)
    return tmp_path


def load(etc: Path, *overrides: str) -> Configuration:
    return loader.load(etc / "hub.toml", overrides)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def problems(etc: Path) -> str:
    with pytest.raises(ConfigError) as error:
        load(etc)
    for line in error.value.problems:
        assert line.count(": ") >= 3, f"not 'file: key: what: what to do': {line}"
    return "\n".join(error.value.problems)


def test_defaults_are_inherited_and_paths_are_relative_to_the_configuration(etc: Path) -> None:
    found = load(etc).destination("musterstadt/ablage")
    assert found is not None
    assert found.options["path"] == etc / "drop"
    assert found.options["name"] == "{day}_{id}"
    assert found.policy.retry.give_up_after.days == 3
    assert found.in_doubt == "ask"


@pytest.mark.parametrize(("drop", "key", "path"), [
    ('connector = "directory"\npath = "drop"', "path", "drop"),
    ('connector = "sftp"\nhost = "h"\nuser = "u"\nkey = "file:k"\npath = "eingang"\nhost_key = ["file:/x"]',
     "key", "file:k"),
])
def test_a_destination_within_a_destination(etc: Path, drop: str, key: str, path: str) -> None:
    """Its paths are judged by the connector that it names, and the options survive being plain data."""
    (etc / "municipalities" / "14999010.toml").write_text(
        MUNICIPALITY + '[destinations.dms]\nconnector = "xdomea"\nreceiver = "Stadt '
               f'Musterstadt"\n[destinations.dms.drop]\n{drop}\n')
    found = load(etc).destination("musterstadt/dms")
    assert found is not None
    kind, _, name = path.rpartition(":")
    assert str(found.options["drop"][key]) == (f"{kind}:" if kind else "") + str(etc / name)
    assert build_outlet("xdomea", found.options).options.model_dump(by_alias=True) == found.options
    if key == "key":
        assert found.options["drop"]["path"] == "eingang"


def test_every_way_is_a_rule_route_times_version_times_test(etc: Path) -> None:
    rules = rules_for(load(etc).take_snapshots(), "14999010", "hund")
    assert [rule.id for rule in rules] == ["musterstadt/hund/v1", "musterstadt/hund/v1/test",
                                           "musterstadt/hund/v2", "musterstadt/hund/v2/test"]
    assert rules[0].valid_from == date(2025, 1, 1)
    assert Path(rules[0].package).parent == etc / "state" / "snapshots"
    assert {recipient.destination for rule in rules if rule.test
            for recipient in rule.recipients} == {"musterstadt/test"}


def test_a_retired_ags_still_routes(etc: Path) -> None:
    assert rules_for(load(etc), "14999011", "hund") == rules_for(load(etc), "14999010", "hund")
    assert rules_for(load(etc), "14999012", "hund") == ()


@pytest.mark.parametrize(("file", "old", "new", "words"), [
    ("hub.toml", "[hub]", "[hub]\nstat = 1", "hub.stat: unknown key: did you mean 'state'?"),
    ("hub.toml", '"14999010"', '"14999019"', "unknown '14999019': did you mean '1499901"),
    ("hub.toml", "[hub]", "[hub", "is no TOML"),
    ("hub.toml", 'mappings = "mappings"', 'mappings = "nowhere"', "hub.mappings: there is no folder"),
    ("municipalities/14999010.toml", 'ags = "14999010"', 'ags = 14999010',
     "ags: is no text: write it in quotes"),
    ("municipalities/14999010.toml", 'ags = "14999010"', 'ags = "14999012"', "in a file named 14999010"),
    ("municipalities/14999010.toml", '["hund"]', '["hunt"]', "unknown service 'hunt': did you mean 'hund'?"),
    ("municipalities/14999010.toml", '"directory"', '"directroy"',
     "unknown connector 'directroy': did you mean 'directory'?"),
    ("municipalities/14999010.toml", 'path = "drop"', 'pth = "drop"',
     "destinations.ablage.pth: unknown key: did you mean 'path'?"),
    ("municipalities/14999010.toml", 'path = "drop"', 'path = "drop"\nfallback = "ablge"',
     "unknown destination 'ablge': did you mean 'ablage'?"),
    ("defaults.toml", '"ablage"', '"ablag"', "unknown destination 'ablag': did you mean 'ablage'?"),
    ("defaults.toml", '["xml", "attachments"]', '["xmml"]',
     "'xmml' is no rendering of every version of the mapping: did you mean 'xml'?"),
    ("defaults.toml", '"test", send', '"ablage", send', "is no test destination: set test = true there"),
    ("defaults.toml", 'recipients = [{ destination = "ablage"', 'recipients = [{ destination = "test"',
     "is for tests only"),
    ("defaults.toml", '"3d"', '"3 weeks"', "is no duration: write '90s'"),
    ("municipalities/14999010.toml", 'path = "drop"', 'path = "drop"\nwindow = ["Mon-Fri 6-20"]',
     "destinations.ablage.window.0: 'Mon-Fri 6-20' is no window: write 'Mo-Fr 06:00-20:00'"),
    ("municipalities/14999010.toml", 'path = "drop"', 'path = "drop"\nrate = "viel"',
     "destinations.ablage.rate: 'viel' is no rate: write '10/s'"),
    ("municipalities/14999010.toml", 'path = "drop"', 'path = "drop"\ntotal = "0s"',
     "destinations.ablage.total: "),
    ("defaults.toml", 'service = "*"', 'service = "*"\norder = "time"', "order: "),
    ("hub.toml", "[hub]", "[hub]\nmax_bytes = true",
     "hub.max_bytes: is no whole number: write a number without quotes"),
    ("hub.toml", "[hub]", '[workers]\ncount = "2"\n[hub]',
     "workers.count: is no whole number: write a number without quotes"),
    ("hub.toml", "[hub]", "[workers]\nseconds = true\n[hub]",
     "workers.seconds: is no number: write a number without quotes"),
    ("hub.toml", "[hub]", "[limits]\nmax_depth = true\n[hub]", "limits.max_depth: is no whole number"),
    ("hub.toml", 'state = "state"', 'state = ""', "hub.state: is no path: write it in quotes"),
    ("hub.toml", '"14999010"]', '"14999010"]\ntest = "true"',
     "sender.0.test: is neither true nor false: write true or false"),
    ("defaults.toml", "[policy.retry]", '[retention]\npayload_days = "30"\n[policy.retry]',
     "retention.payload_days: is no whole number: write a number"),
    ("defaults.toml", '"3d"', '"3d"\nfirst = "5h"\nlongest = "4h"',
     "first is longer than longest: make longest"),
    ("municipalities/14999010.toml", '"Musterstadt"', '""', "name: is empty: write something"),
    ("municipalities/14999010.toml", 'path = "drop"', 'path = ""',
     "destinations.ablage.path: is no path: write it in quotes"),
    ("municipalities/14999010.toml", 'path = "drop"', 'path = "drop"\nmount = "false"',
     "destinations.ablage.mount: is neither true nor false: write true or false"),
    ("municipalities/14999010.toml", 'path = "drop"', 'path = "drop"\nfallback = "ablage"',
     "destinations.ablage.fallback: is the destination itself: name another one"),
    ("defaults.toml", 'service = "*"', 'service = "andere"', "has no route for 'hund'"),
    ("mappings/hund/mapping.toml", "a.xsl", "b.xsl", "b.xsl is missing: add the file"),
    ("mappings/hund/mapping.toml", '">=2.0"', '"=>2.0"', "is no comparison of versions"),
])
def test_a_fault_names_file_key_and_remedy(etc: Path, file: str, old: str, new: str, words: str) -> None:
    change(etc / file, old, new)
    found = problems(etc)
    assert words in found
    assert Path(file).name in found or "route hund" in found  # a default route is judged where it is used


def test_windows_rates_and_order(etc: Path) -> None:
    change(etc / "municipalities" / "14999010.toml", 'path = "drop"',
           'path = "drop"\nwindow = ["Mo-Fr 06:00-20:00", "Sa 08:00-12:00"]\nrate = "600/m"\ntotal = "2h"')
    change(etc / "defaults.toml", 'service = "*"', 'service = "*"\norder = "case"')
    configuration = load(etc)
    policy = next(each for each in configuration.all_destinations() if each.key.endswith("/ablage")).policy
    assert ([span.text for span in policy.window], policy.rate, policy.total) == (
        ["Mo-Fr 06:00-20:00", "Sa 08:00-12:00"], 10.0, timedelta(hours=2))
    assert {rule.order for rule in rules_for(configuration, "14999010", "hund")} == {"case"}


@pytest.mark.parametrize("place", ["mappings/hund/v1/a.xsl", "mappings/_common/kopf.xsl",
                                   "municipalities/14999010/own.xsl"])
def test_a_stylesheet_that_was_copied_by_half_is_refused_before_a_message_meets_it(etc: Path,
                                                                                   place: str) -> None:
    (etc / place).parent.mkdir(exist_ok=True)
    (etc / place).write_text("<x>\n")
    assert f"{place}: line 2: is no whole XML (no element found): mend the stylesheet" in problems(etc)


def test_all_faults_of_all_files_are_told_at_once(etc: Path) -> None:
    change(etc / "hub.toml", "14999010", "14999019")
    change(etc / "municipalities/14999010.toml", '"directory"\npath = "drop"', '"directroy"')
    change(etc / "mappings/hund/mapping.toml", "a.xsl", "b.xsl")
    found = problems(etc)
    assert all(words in found for words in ("14999019", "directroy", "b.xsl"))


ROUTES = """
[[route]]
service = "hund"
name = "eins"
versions = "{one}"
recipients = [{{ destination = "ablage", send = ["xml"] }}]
[[route]]
service = "hund"
name = "zwei"
versions = "{two}"
recipients = [{{ destination = "ablage", send = ["xml"] }}]
"""


@pytest.mark.parametrize(("one", "two", "overlap"), [
    (">=1.0,<1.10", ">=1.9", True), ("<1.10", ">=1.10", False), ("*", ">=3", True), (">1.0", "<=1.0", False),
    ("==1.5", ">=1.0", True), (">1.0,<1.1", ">1.0,<1.1", True),
])
def test_doubled_routes_are_found_before_any_message_comes(etc: Path, one: str, two: str,
                                                           overlap: bool) -> None:
    file = etc / "municipalities/14999010.toml"
    file.write_text(file.read_text() + ROUTES.format(one=one, two=two))
    if overlap:
        assert "overlaps another route" in problems(etc)
    else:
        assert len(load(etc).municipalities["musterstadt"].routes["hund"]) == 2


def test_a_faulty_file_is_told_once_and_by_its_own_names(etc: Path) -> None:
    """Not a list that is too short because its entry is faulty, not a sender whose municipality is faulty,
    not the same name."""
    file = etc / "municipalities/14999010.toml"
    file.write_text(file.read_text() + '[[route]]\nservices = ["hund"]\nrecipients = [{ destination = '
                                       '"ablage" }]\n')
    assert problems(etc).splitlines() == [
        f"{file}: route.0.recipients.0.send: is missing: add it",
        f"{file}: route.0.services: unknown key: did you mean 'service'?"]


def test_a_faulty_mapping_is_told_once(etc: Path) -> None:
    """Not again by whoever names its service: municipalities, senders, days of keeping."""
    (etc / "hub.toml").write_text(HUB + 'services = ["hund"]\n')
    (etc / "defaults.toml").write_text(DEFAULTS + "[retention.services.hund]\npayload_days = 3\n")
    change(etc / "mappings/hund/mapping.toml", 'category = "einfach"', 'category = "leicht"')
    assert problems(etc).splitlines() == [
        f"{etc}/mappings/hund/mapping.toml: category: Input should be 'einfach', 'mittel' or 'komplex': "
        "correct the value"]


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
    inlets, outlets = (", ".join(name for name in endpoint.names() if hasattr(endpoint.module(name), side))
                       for side in ("Inlet", "Outlet"))
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
     'destinations.ablage.drop: names a connector that cannot stand here: name one that is a drop, like '
     'connector = "directory"'),
    (MUNICIPALITY_FILE, 'connector = "directory"\npath = "drop"\n',
     'connector = "xdomea"\nreceiver = "Stadt"\n[destinations.ablage.drop]\n'
     'connector = "directory"\npth = "drop"\n',
     "destinations.ablage.drop.pth: unknown key: did you mean 'path'?"),
    ("mappings/hund/mapping.toml", MAPPING,
     MAPPING.split("[[version]]", maxsplit=1)[0] + '[version]\nname = "v1"\n',
     "version: is a table, not a list of tables: write [[version]] instead of [version]"),
])
def test_a_value_of_the_wrong_kind_is_told_once_in_plain_words(etc: Path, file: str, old: str, new: str,
                                                               fault: str) -> None:
    change(etc / file, old, new)
    assert problems(etc).splitlines() == [f"{etc / file}: {fault}"]
    assert not re.search(r"\b(is|write|like|names|the|of)\b", problems_german.german(f"{file}: {fault}"))


def patterns(schema: object) -> Iterator[str]:
    """What pydantic will compare texts with."""
    if isinstance(schema, dict):
        if schema.get("type") == "str" and "pattern" in schema:
            yield schema["pattern"]
        schema = list(schema.values())
    if isinstance(schema, list | tuple):
        for each in schema:
            yield from patterns(each)


def test_every_pattern_is_said_in_words() -> None:
    models = [*FILES.values(), Policy, MappingFile, ExampleFile, BillingFile]
    for name in endpoint.names():
        models += [endpoint.options_model(name, side) for side in ("Inlet", "Outlet")
                   if hasattr(endpoint.module(name), side)]
    assert {pattern for model in models
            for pattern in patterns(model.__pydantic_core_schema__)} == set(_PLAIN_SHAPES)


def test_two_files_may_not_share_a_tenant_or_an_ags(etc: Path) -> None:
    second = MUNICIPALITY.replace("14999010", "14999020").replace('["14999011"]', '["14999010"]')
    (etc / "municipalities" / "14999020.toml").write_text(second)
    assert "tenant: 'musterstadt' is taken" in problems(etc)
    (etc / "municipalities" / "14999020.toml").write_text(second.replace('"musterstadt"', '"anderswo"'))
    assert "14999010 belongs to 'musterstadt' already" in problems(etc)


def test_values_can_be_set_for_one_run(etc: Path) -> None:
    found = load(etc, "status.port=9999", 'defaults.policy.retry.give_up_after="1d"', "hub.name=Probe")
    assert found.settings.status.port == 9999
    assert found.settings.hub.name == "Probe"
    assert found.destination("musterstadt/ablage").policy.retry.give_up_after.days == 1  # type: ignore[union-attr]
    assert found.digest != load(etc).digest
    with pytest.raises(ConfigError, match=r"is no 'section.key=value'"):
        load(etc, "status.port")


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


def test_a_sender_may_send_only_what_it_is_allowed(etc: Path) -> None:
    sender = load(etc).senders["amt24"]
    assert sender.may_send("14999010", "hund")
    assert not sender.may_send("14999020", "hund")


@pytest.mark.parametrize(("inlet", "fault"), [
    ('connector = "https"\ncertificate = "c"\nkey = "file:k"\nsenders = [{ name = "amt24x", subject = "CN=a" '
     '}]',
     "senders.0.name: unknown sender 'amt24x': did you mean 'amt24'?"),
    ('connector = "amqp"\nhost = "h"\npassword = "file:p"\nsenders = [{ name = "amt24", user = "a" }, '
     '{ name = "x", user = "x" }]',
     "senders.1.name: unknown sender 'x': one of amt24"),
    ('connector = "inbox"\nroot = "i"\ndone = "d"\nrejected = "r"\nsender = { name = "amt42" }',
     "sender.name: unknown sender 'amt42': did you mean 'amt24'?"),
])
def test_an_inlet_names_only_senders_that_there_are(etc: Path, inlet: str, fault: str) -> None:
    """Else all that they hand in were refused."""
    (etc / "hub.toml").write_text(HUB + f"[inlets.portal]\n{inlet}\n")
    assert problems(etc).splitlines() == [f"{etc}/hub.toml: inlets.portal.{fault}"]
    (etc / "hub.toml").write_text(HUB.split("[[sender]]", maxsplit=1)[0] + f"[inlets.portal]\n{inlet}\n")
    assert "add a [[sender]] of that name" in problems(etc)


@pytest.mark.parametrize(("file", "old", "new", "taken_over"), [
    ("hub.toml", "", "", ["musterstadt", "neudorf"]),
    ("municipalities/14999040.toml", "Neudorf", "Altdorf", ["musterstadt"]),
    ("municipalities/14999010/own.xsl", "<x/>", "<y/>", ["neudorf"]),
    ("defaults.toml", '"3d"', '"4d"', []),
    ("mappings/hund/mapping.toml", 'title = "Hund"', 'title = "Hunde"', []),
])
def test_a_reload_takes_over_what_is_made_of_unchanged_files(etc: Path, file: str, old: str, new: str,
                                                             taken_over: list[str]) -> None:
    """The result is always that of a fresh start."""
    municipality = MUNICIPALITY.replace("Musterstadt", "Neudorf").replace("14999010",
                                                                          "14999040").replace("musterstadt",
                                                                              "neudorf")
    (etc / "municipalities" / "14999040.toml").write_text(municipality.replace('formerly = ["14999011"]\n',
                                                                               ""))
    (etc / "municipalities" / "14999010").mkdir()
    (etc / "municipalities" / "14999010" / "own.xsl").write_text("<x/>")
    known = load(etc)
    text = (etc / file).read_text()
    (etc / file).write_text(text.replace(old, new) if old else text)
    again, fresh = loader.load(etc / "hub.toml", (), known), load(etc)
    assert again == fresh
    assert again.municipalities == fresh.municipalities
    assert [key for key, municipality in again.municipalities.items()
            if municipality is known.municipalities[key]] == taken_over
    assert (again.digest == known.digest) == (old == "")


def test_what_municipalities_share_is_checked_for_each_that_differs(etc: Path) -> None:
    """Both take the default route; the second has not the destination it names."""
    municipality = MUNICIPALITY.replace("14999010", "14999040").replace("musterstadt",
                                                        "neudorf").replace('formerly = ["14999011"]\n', "")
    (etc / "municipalities" / "14999040.toml").write_text(municipality.replace("[destinations.ablage]",
                                                                       "[destinations.archiv]"))
    assert problems(etc).splitlines() == [
        f"{etc}/municipalities/14999040.toml: route hund: recipients: unknown destination 'ablage': one of "
        "archiv, test"]


def test_what_is_configured_alike_is_shared_when_it_is_right_and_told_of_each_when_it_is_wrong(
    etc: Path) -> None:
    first, second = (etc / "municipalities" / f"{ags}.toml" for ags in ("14999010", "14999040"))
    municipality = MUNICIPALITY.replace("14999010", "14999040").replace("musterstadt",
                                                        "neudorf").replace('formerly = ["14999011"]\n', "")
    second.write_text(municipality)
    one, other = (load(etc).municipalities[tenant].destinations[f"{tenant}/ablage"]
                  for tenant in ("musterstadt", "neudorf"))
    assert (one.options, one.policy, one.repeat) == (other.options, other.policy, other.repeat)
    for file in (first, second):
        change(file, 'path = "drop"', 'pth = "drop"')
    assert problems(etc).count("destinations.ablage.pth: unknown key: did you mean 'path'?") == 2


def test_a_doubled_key_is_told_with_its_line(etc: Path) -> None:
    change(etc / "municipalities" / "14999010.toml", 'path = "drop"', 'path = "drop"\npath = "drop"')
    assert "(file): is no TOML (duplicate key at line 10 column 1): mend that line" in problems(etc)


def test_municipalities_with_the_same_services_share_their_routes(etc: Path) -> None:
    municipality = MUNICIPALITY.replace("14999010", "14999040").replace("musterstadt",
                                                        "neudorf").replace('formerly = ["14999011"]\n', "")
    (etc / "municipalities" / "14999040.toml").write_text(municipality)
    municipalities = load(etc).municipalities
    assert municipalities["musterstadt"].routes is municipalities["neudorf"].routes


def test_a_database_is_named_without_its_secret(etc: Path) -> None:
    (etc / "hub.toml").write_text((etc / "hub.toml").read_text() + """
[store]
url = "postgresql://hub@db-a.example,db-b.example/hub"
password = "file:secrets/database"
ca = "db-ca.pem"
""")
    store = load(etc).settings.store
    assert (store.password, store.ca, store.tls) == (f"file:{etc}/secrets/database", etc / "db-ca.pem",
                                                     "verify-full")
    assert loader.places(etc / "hub.toml").store == store
    shown = Served(store, etc).where
    assert "db-a.example" in shown
    assert "hub@" not in shown


@pytest.mark.parametrize(("section", "words"), [
    ('url = "postgresql://hub:geheim@db/hub"', "a secret is named, never written"),
    ('url = "postgresql://hub@db/hub?password=geheim"', "a secret is named, never written"),
    ('url = "mysql://hub@db/hub"', "store.url"),
    ('url = "postgresql://hub@db/hub"\npassword = "geheim"', "a secret is named, never written"),
    ('url = "postgresql://hub@db/hub"\ntakeover = "2s"', "store.takeover"),
    ('node = "a"', "'url' is missing"),
])
def test_a_faulty_database_is_refused_and_no_secret_shown(etc: Path, section: str, words: str) -> None:
    (etc / "hub.toml").write_text((etc / "hub.toml").read_text() + f"\n[store]\n{section}\n")
    assert words in problems(etc)
    assert "geheim" not in problems(etc)
