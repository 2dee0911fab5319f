"""The configuration is checked as a whole, and every fault says where, what and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.config import loader
from hub.errors import ConfigError
from tests.unit.config.kit import DEFAULTS, HUB, MUNICIPALITY, change, load, problems


@pytest.mark.parametrize(("file", "old", "new", "words"), [
    ("hub.toml", "[hub]", "[hub]\nstat = 1", "hub.stat: unknown key: did you mean 'state'?"),
    ("hub.toml", '"14999010"', '"14999019"', "unknown '14999019': did you mean '1499901"),
    ("hub.toml", "[hub]", "[hub", "is no TOML"),
    ("hub.toml", 'mappings = "mappings"', 'mappings = "nowhere"', "hub.mappings: there is no folder"),
    ("hub.toml", 'mappings = "mappings"', 'mappings = "mappings"\nown_mappings = "nowhere"',
     "hub.own_mappings: there is no folder"),
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
    ("defaults.toml", 'service = "*"', 'service = "*"\npdf_embeds = ["xmll"]',
     "pdf_embeds: 'xmll' is no rendering with the role xml, csv, json of every version of the mapping: did "
     "you mean 'xml'?"),
    ("defaults.toml", '"test", send', '"ablage", send', "is no test destination: set test = true there"),
    ("defaults.toml", 'recipients = [{ destination = "ablage"', 'recipients = [{ destination = "test"',
     "is for tests only"),
    ("defaults.toml", '"3d"', '"3 weeks"', "is no duration: write '90s'"),
    ("municipalities/14999010.toml", 'path = "drop"', 'path = "drop"\nwindow = ["Mon-Fri 6-20"]',
     "destinations.ablage.window.0: 'Mon-Fri 6-20' is no window: write 'Mo-Fr 06:00-20:00'"),
    ("municipalities/14999010.toml", 'path = "drop"', 'path = "drop"\nwindow = []',
     "destinations.ablage.window: names no time: leave it out, or write ['Mo-So 00:00-24:00']"),
    ("defaults.toml", "[policy.retry]", "[policy]\nwindow = []\n[policy.retry]",
     "policy.window: names no time: leave it out"),
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
    ("defaults.toml", '"attachments"]', '"attachments"], reply_to = "applicant"',
     "recipients: reply_to: the mapping does not say in every version who applies: write applicant = true"),
    ("defaults.toml", '"attachments"]', '"attachments"], subject_with = ["case", "name"]',
     "recipients: subject_with: the mapping does not say in every version who applies"),
    ("mappings/hund/mapping.toml", "a.xsl", "b.xsl", "b.xsl is missing: add the file"),
    ("mappings/hund/mapping.toml", '">=2.0"', '"=>2.0"', "is no comparison of versions"),
])
def test_a_fault_names_file_key_and_remedy(etc: Path, file: str, old: str, new: str, words: str) -> None:
    change(etc / file, old, new)
    found = problems(etc)
    assert words in found
    assert Path(file).name in found or "route hund" in found  # a default route is judged where it is used


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


def test_a_faulty_mapping_is_told_once(etc: Path) -> None:
    """Not again by whoever names its service: municipalities, senders, days of keeping."""
    (etc / "hub.toml").write_text(HUB + 'services = ["hund"]\n')
    (etc / "defaults.toml").write_text(DEFAULTS + "[retention.services.hund]\npayload_days = 3\n")
    change(etc / "mappings/hund/mapping.toml", 'category = "einfach"', 'category = "leicht"')
    assert problems(etc).splitlines() == [
        f"{etc}/mappings/hund/mapping.toml: line 4: category: Input should be 'einfach', 'mittel' or "
        "'komplex': "
        "correct the value"]


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
    assert {each.policy.retry.give_up_after.days for each in found.all_destinations()} == {1}
    assert found.digest != load(etc).digest
    with pytest.raises(ConfigError, match=r"is no 'section.key=value'"):
        load(etc, "status.port")


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


def test_a_mapping_that_says_who_applies_may_be_asked(etc: Path) -> None:
    change(etc / "defaults.toml", '"attachments"]',
           '"attachments"], subject_with = ["name"], reply_to = "applicant"')
    for version in ("v1", "v2"):
        change(etc / "mappings/hund/mapping.toml", f'name = "{version}"',
               f'name = "{version}"\nfields = "fields.toml"')
        (etc / "mappings/hund" / version / "fields.toml").write_text(
            'group = [{ id = "halter", title = "Halter", applicant = true }]\nfield = []\n', encoding="utf-8")
    recipient = load(etc).municipalities["musterstadt"].routes["hund"][0].recipients[0]
    assert (recipient.subject_with, recipient.reply_to) == (("name",), "applicant")
    (etc / "mappings/hund/v2/fields.toml").write_text('group = [{ id = "halter", title = "Halter" }]\nfield '
                                                      '= []\n',
                                                      encoding="utf-8")
    assert "who applies" in problems(etc)


def test_a_case_in_the_subject_asks_for_nobody(etc: Path) -> None:
    change(etc / "defaults.toml", '"attachments"]', '"attachments"], subject_with = ["case"]')
    recipient = load(etc).municipalities["musterstadt"].routes["hund"][0].recipients[0]
    assert recipient.subject_with == ("case",)
