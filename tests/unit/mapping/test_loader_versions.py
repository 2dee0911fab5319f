"""A mapping's versions beside each other: what the later one inherits, and what no two may share."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.mapping.loader import load_mapping
from hub.mapping.model import MappingFile

HEAD = 'service = "probe"\ntitle = "Probe"\ncategory = "einfach"\n'
XML = """[version.renderings.xml]
role = "xml"
stylesheet = "a.xsl"
file = "a.xml"
media_type = "application/xml"
"""
TEXT = """[version.renderings.text]
role = "text"
stylesheet = "common:mail-text.xsl"
file = "a.txt"
media_type = "text/plain"
"""
SHEET = '<x:stylesheet version="1.0" xmlns:x="http://www.w3.org/1999/XSL/Transform"/>'


def version(name: str, more: str = "", renderings: str = "") -> str:
    return f'[[version]]\nname = "{name}"\nsubject = "Probe"\n{more}\n{renderings}'


def load(folder: Path, *versions: str, sheets: tuple[str, ...] = ()) -> MappingFile:
    for name in ("v1", "v2", "v3"):
        (folder / "probe" / name).mkdir(parents=True, exist_ok=True)
    for sheet in sheets:
        (folder / "probe" / sheet).write_text(SHEET)
    (folder / "probe/mapping.toml").write_text(HEAD + "".join(versions))
    return load_mapping(folder / "probe")


def problems(folder: Path, *versions: str, sheets: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(folder, *versions, sheets=sheets)
    return [problem.partition("mapping.toml: ")[2] for problem in error.value.problems]


ONE, TWO, THREE = 'versions = "<2"', 'versions = ">=2,<3"', 'versions = ">=3"'


def test_a_version_has_the_renderings_of_the_one_before_it(tmp_path: Path) -> None:
    own = XML.replace("a.xml", "b.xml")
    one, two, three = load(tmp_path, version("v1", ONE, XML + TEXT), version("v2", TWO, own),
                           version("v3", THREE), sheets=("v1/a.xsl", "v2/a.xsl", "v3/a.xsl")).version
    assert list(two.renderings) == list(three.renderings) == ["text", "xml"]
    assert two.renderings["text"] == one.renderings["text"]
    assert [each.renderings["xml"].file for each in (one, two, three)] == ["a.xml", "b.xml", "b.xml"]


def test_what_is_made_by_a_file_that_the_next_version_does_not_have_is_not_inherited(tmp_path: Path) -> None:
    _, two = load(tmp_path, version("v1", ONE, XML + TEXT), version("v2", TWO), sheets=("v1/a.xsl",)).version
    assert list(two.renderings) == ["text"]


@pytest.mark.parametrize(("first", "second", "overlap"), [
    (ONE, TWO, False),
    (ONE, 'versions = ">=1.5"', True),
    ('forms = ["A"]', 'forms = ["B"]', False),
    ('forms = ["A", "B"]', 'forms = ["B"]', True),
    ("", 'forms = ["B"]', True),
    ("valid_until = 2026-01-01", "valid_from = 2026-01-01", False),
    ("valid_until = 2026-01-02", "valid_from = 2026-01-01", True),
    ('forms = ["A"]\nversions = "<2 or none"', 'forms = ["B"]\nversions = ">=2 or none"', True)])
def test_no_form_belongs_to_two_versions(tmp_path: Path, first: str, second: str, overlap: bool) -> None:
    versions = version("v1", first, TEXT), version("v2", second)
    if not overlap:
        assert len(load(tmp_path, *versions).version) == 2
        return
    assert problems(tmp_path, *versions) == ["version v2: versions: takes a form that version v1 takes too: "
                                             "separate them by forms, versions or validity dates"]


@pytest.mark.parametrize(("role", "encoding", "fault"), [
    ("html", "UTF-8", ""), ("csv", "utf-8-sig", ""), ("csv", "windows-1252", ""), ("xml", "iso-8859-1", ""),
    ("html", "iso-8859-1", "html is UTF-8 and nothing else"), ("text", "utf-8-sig", "text is UTF-8 and"),
    ("json", "utf-16", "json is UTF-8 and nothing else"), ("csv", "utf-99", "'utf-99' is unknown"),
    ("csv", "rot13", "'rot13' is unknown")])
def test_only_csv_and_xml_have_an_encoding_of_their_own(tmp_path: Path, role: str, encoding: str,
                                                        fault: str) -> None:
    rendering = TEXT.replace('role = "text"', f'role = "{role}"\nencoding = "{encoding}"')
    if not fault:
        assert load(tmp_path, version("v1", "", rendering)).version
        return
    assert fault in problems(tmp_path, version("v1", "", rendering))[0]
