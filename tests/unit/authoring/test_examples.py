"""The runner of examples: what it says when a mapping does not do what is expected of it."""

import shutil
from pathlib import Path

import pytest

from hub.authoring.examples import preview, run_examples
from hub.errors import ConfigError
from tests.services import need_pango

MAPPINGS = Path(__file__).parents[3] / "mappings"
MAPPING = """
service = "probe"
title = "Probe"
category = "einfach"
[[version]]
name = "v1"
subject = "Probe"
rules = "rules.sch"
[version.renderings.text]
role = "text"
stylesheet = "common:mail-text.xsl"
file = "antrag.txt"
media_type = "text/plain"
[version.renderings.pdf]
role = "pdf"
stylesheet = "common:pdf.xsl"
file = "antrag.pdf"
media_type = "application/pdf"
"""
RULES = """<schema xmlns="http://purl.oclc.org/dsdl/schematron"><pattern><rule context="halter/instance">
<assert test="name">Der Name fehlt.</assert></rule></pattern></schema>"""
MESSAGE = ("<serviceportal-fields><halter><instance_0><{0}>Erika</{0}></instance_0></halter>"
           "</serviceportal-fields>")


@pytest.fixture
def mappings(tmp_path: Path) -> Path:
    need_pango()
    shutil.copytree(MAPPINGS / "_common", tmp_path / "_common")
    service = tmp_path / "probe"
    for name, field, settings in (("gut", "name", ""), ("schlecht", "vorname", 'parked = "invalid"\n')):
        folder = service / "examples" / name
        folder.mkdir(parents=True)
        (folder / "example.toml").write_text(settings)
        (folder / "message.xml").write_text(MESSAGE.format(field))
    (service / "mapping.toml").write_text(MAPPING)
    (service / "v1").mkdir()
    (service / "v1/rules.sch").write_text(RULES)
    return tmp_path


@pytest.mark.slow
def test_expected_outputs_are_written_and_hold(mappings: Path) -> None:
    first = run_examples(mappings)
    assert [(result.name, result.ok) for result in first] == [("gut", False), ("schlecht", False)]
    assert all("--update" in result.difference for result in first)
    assert all(result.ok for result in run_examples(mappings, update=True))
    assert all(result.ok for result in run_examples(mappings)), "a second run gives the same bytes"
    expected = mappings / "probe/examples"
    assert {file.name for file in (expected / "gut/expected").iterdir()} == {"canonical.xml", "antrag.txt",
                                                                             "delivery.txt"}
    assert (expected / "schlecht/expected/reason.txt").read_text().startswith("invalid\n\n")
    assert "- Der Name fehlt." in (expected / "schlecht/expected/reason.txt").read_text()
    assert "pdf: antrag.pdf (application/pdf, erzeugt)" in (
        expected / "gut/expected/delivery.txt").read_text()


def test_a_difference_is_readable(mappings: Path) -> None:
    run_examples(mappings, update=True)
    file = mappings / "probe/examples/gut/message.xml"
    file.write_text(file.read_text().replace("Erika", "Jürgen"))
    result, = run_examples(mappings, "probe", "gut")
    lines = result.difference.splitlines()
    assert "--- erwartet/antrag.txt" in lines and "+++ gekommen/antrag.txt" in lines
    assert "-name: Erika" in lines and "+name: Jürgen" in lines


def test_an_outcome_that_turned_is_told(mappings: Path) -> None:
    run_examples(mappings, update=True)
    rules = mappings / "probe/v1/rules.sch"
    rules.write_text(RULES.replace('"name"', '"vorname"'))
    good, bad = run_examples(mappings)
    assert "Erwartet: zugestellt. Gekommen: geparkt (invalid)" in good.difference
    assert "Erwartet: geparkt (invalid). Gekommen: zugestellt." in bad.difference
    assert "reason.txt: erwartet, aber nicht entstanden." in bad.difference


def test_the_version_reached_is_checked(mappings: Path) -> None:
    run_examples(mappings, update=True)
    (mappings / "probe/examples/gut/example.toml").write_text('version = "v2"\n')
    assert "Erwartet: Fassung v2. Gekommen: Fassung v1." in run_examples(mappings, "probe",
                                                                         "gut")[0].difference


def test_a_wrong_example_file_is_told_with_its_key(mappings: Path) -> None:
    (mappings / "probe/examples/gut/example.toml").write_text('parkd = "invalid"\n')
    with pytest.raises(ConfigError, match=r"example\.toml: parkd: unknown key"):
        run_examples(mappings)
    (mappings / "probe/examples/gut/example.toml").write_text("")
    (mappings / "probe/examples/gut/message.json").write_text("{}")
    with pytest.raises(ConfigError, match="2 documents"):
        run_examples(mappings)


def test_preview_takes_an_example_or_a_file(mappings: Path) -> None:
    shown = preview(mappings, "probe", "gut")
    assert shown["antrag.pdf"].startswith(b"%PDF") and b"name: Erika" in shown["antrag.txt"]
    assert preview(mappings, "probe", str(mappings / "probe/examples/gut/message.xml")).keys() == shown.keys()
    with pytest.raises(ConfigError, match="choose one of: gut, schlecht"):
        preview(mappings, "probe", "gibtsnicht")
