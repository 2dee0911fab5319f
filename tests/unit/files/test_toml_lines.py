"""On which line of a TOML file a key stands, however it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.files.toml import read_toml
from hub.files.toml_lines import line_at, lines_of

ROOT = Path(__file__).parents[3]
TEXT = '''# title = "no"
title = "a = b [x] # no comment"
"quoted key" = 1
date = 2026-11-22T10:11:12Z
long = """
[[field]]
id = 'no'
""" # over several lines
[owner]
name.first = 'A'
list = [ 1, 2,
  [3, "]"],
  { a = 1, b.c = "}" },
]
[[field]]
id = "one"
[field.more]
x = 1
[[field.sub]]
y = 1
[[field]]
id = "two"
[[field.sub]]
y = 2
[[field.sub]]
y = 3
'''


@pytest.mark.parametrize(("place", "line"), [
    (("title",), 2), (("quoted key",), 3), (("date",), 4), (("long",), 5), (("owner",), 9),
    (("owner", "name", "first"), 10), (("owner", "list", 2), 12), (("owner", "list", 2, 0), 12),
    (("owner", "list", 3, "a"), 13), (("owner", "list", 3, "b", "c"), 13), (("field",), 15),
    (("field", 0), 15), (("field", 0, "id"), 16), (("field", 0, "more", "x"), 18),
    (("field", 0, "sub", 0, "y"), 20), (("field", 1), 21), (("field", 1, "sub", 0, "y"), 24),
    (("field", 1, "sub", 1, "y"), 26),
])
def test_each_key_has_its_line(place: tuple[str | int, ...], line: int) -> None:
    assert lines_of(TEXT)[place] == line


def test_what_does_not_stand_there_is_told_by_what_is_around_it() -> None:
    lines = lines_of(TEXT)
    assert line_at(lines, ("field", 1, "label")) == 21
    assert line_at(lines, ("nothing", "of", "this")) == 0


@pytest.mark.parametrize("file", sorted((ROOT / "mappings").rglob("*.toml"))
                         + sorted((ROOT / "etc").rglob("*.toml")), ids=lambda file: file.name)
def test_every_place_of_a_real_file_is_found(file: Path) -> None:
    lines = lines_of(file.read_text(encoding="utf-8"))

    def places(value: object, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
        inside: list[tuple[str | int, object]] = []
        if isinstance(value, dict):
            inside = list(value.items())
        elif isinstance(value, list):
            inside = list(enumerate(value))
        return [here, *(place for step, each in inside for place in places(each, (*here, step)))]

    wanted = {place for place in places(read_toml(file)) if place}
    unknown = wanted - set(lines)
    assert not {place for place in unknown if not any(known[:len(place)] == place for known in lines)}
    assert set(lines) <= wanted
