"""Destinations and routes of municipalities: inherited, shared, checked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from hub.config.rules import rules_for
from tests.unit.config.kit import MUNICIPALITY, change, load, problems


def test_defaults_are_inherited_and_paths_are_relative_to_the_configuration(etc: Path) -> None:
    found = load(etc).destination("musterstadt/ablage")
    assert found is not None
    options = found.options.model_dump()
    assert options["path"] == etc / "drop"
    assert options["name"] == "{day}_{id}"
    assert found.policy.retry.give_up_after.days == 3
    assert found.in_doubt == "ask"


@pytest.mark.parametrize(("drop", "key", "path"), [
    ('connector = "directory"\npath = "drop"', "path", "drop"),
    ('connector = "sftp"\nhost = "h"\nuser = "u"\nkey = "file:k"\npath = "eingang"\nhost_key = ["file:/x"]',
     "key", "file:k"),
])
def test_a_destination_within_a_destination(etc: Path, drop: str, key: str, path: str) -> None:
    """Its paths are judged by the connector that it names."""
    (etc / "municipalities" / "14999010.toml").write_text(
        MUNICIPALITY + '[destinations.dms]\nconnector = "xdomea"\nreceiver = "Stadt '
               f'Musterstadt"\n[destinations.dms.drop]\n{drop}\n')
    found = load(etc).destination("musterstadt/dms")
    assert found is not None
    kind, _, name = path.rpartition(":")
    options = found.options.model_dump()["drop"]
    assert str(options[key]) == (f"{kind}:" if kind else "") + str(etc / name)
    if key == "key":
        assert options["path"] == "eingang"


def test_windows_rates_and_order(etc: Path) -> None:
    change(etc / "municipalities" / "14999010.toml", 'path = "drop"',
           'path = "drop"\nwindow = ["Mo-Fr 06:00-20:00", "Sa 08:00-12:00"]\nrate = "600/m"\ntotal = "2h"')
    change(etc / "defaults.toml", 'service = "*"', 'service = "*"\norder = "case"')
    configuration = load(etc)
    policy = next(each for each in configuration.all_destinations() if each.key.endswith("/ablage")).policy
    assert ([span.text for span in policy.window], policy.rate, policy.total) == (
        ["Mo-Fr 06:00-20:00", "Sa 08:00-12:00"], 10.0, timedelta(hours=2))
    assert {rule.order for rule in rules_for(configuration, "14999010", "hund")} == {"case"}


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


def test_municipalities_with_the_same_services_share_their_routes(etc: Path) -> None:
    municipality = MUNICIPALITY.replace("14999010", "14999040").replace("musterstadt",
                                                        "neudorf").replace('formerly = ["14999011"]\n', "")
    (etc / "municipalities" / "14999040.toml").write_text(municipality)
    municipalities = load(etc).municipalities
    assert municipalities["musterstadt"].routes is municipalities["neudorf"].routes


STAR = """
[[route]]
service = "*"
recipients = [{ destination = "ablage", send = ["xml"] }]
test_recipients = [{ destination = "test", send = ["xml"] }]
"""


def test_a_route_for_all_services_works_in_a_municipalitys_file(etc: Path) -> None:
    (etc / "municipalities/14999010.toml").write_text(MUNICIPALITY + STAR)
    configuration = load(etc)
    assert set(configuration.municipalities["musterstadt"].routes) == {"hund"}
    rules = [rule for rule in rules_for(configuration, "14999010", "hund") if not rule.test]
    sent = {recipient.send for rule in rules for recipient in rule.recipients}
    assert sent == {("xml",)}, "not the default"


def test_a_route_of_a_services_own_goes_before_the_one_for_all(etc: Path) -> None:
    own = STAR.replace('"*"', '"hund"').replace('"xml"]', '"attachments"]', 1)
    (etc / "municipalities/14999010.toml").write_text(MUNICIPALITY + STAR + own)
    rules = [rule for rule in rules_for(load(etc), "14999010", "hund") if not rule.test]
    assert {recipient.send for rule in rules for recipient in rule.recipients} == {("attachments",)}


def test_a_route_for_all_services_of_none_is_told(etc: Path) -> None:
    (etc / "municipalities/14999010.toml").write_text(MUNICIPALITY.replace('services = ["hund"]', "") + STAR)
    assert "route: '*' stands for what services lists, and that is nothing" in problems(etc)


def test_a_stylesheet_for_no_rendering_is_told(etc: Path) -> None:
    (etc / "municipalities/14999010/hund").mkdir(parents=True)
    (etc / "municipalities/14999010/hund/x.xsl").write_text("<x/>")
    (etc / "municipalities/14999010.toml").write_text(
        MUNICIPALITY + STAR.replace('"*"', '"hund"\nstylesheets = { xlm = "hund/x.xsl" }'))
    assert ("route hund: stylesheets: 'xlm' is no rendering of the mapping: did you mean 'xml'?"
            in problems(etc))
