"""On which line of a TOML file a key stands: the reader of TOML does not tell.

A place is a path as pydantic names it: ``("field", 15, "type")`` is the key ``type`` of the sixteenth table
in the list ``field``, however it is written (``[[field]]``, or ``field = [{…}, …]``).

BUGS: for files that have been read as TOML already; what is no TOML gives any answer. A key with an escape is
found only as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

Place = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'"
    r"|\#[^\n]*|\n|[\[\]{}=,.]|[^\s\[\]{}=,.\#\"']+", re.DOTALL)


def lines_of(text: str) -> Mapping[Place, int]:
    """The line of each key, table and item of a list, counted from 1."""
    scan = _Scan(text)
    scan.file()
    return scan.lines


def line_at(lines: Mapping[Place, int], place: Sequence[str | int]) -> int:
    """The line of a place, or of the nearest around it that stands in the file; 0 where there is none."""
    here = tuple(place)
    while here and here not in lines:
        here = here[:-1]
    return lines.get(here, 0)


class _Scan:
    """Reads tokens from the first to the last, and notes where keys stand."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self.lists: dict[Place, int] = {}
        self.tokens = list(_tokens(text))
        self.at = 0

    def file(self) -> None:
        prefix: Place = ()
        while self.at < len(self.tokens):
            if self._peek() == "\n":
                self.at += 1
            elif self._peek() == "[":
                prefix = self._header()
            else:
                self._pair(prefix)

    def _header(self) -> Place:
        line = self.tokens[self.at][1]
        self.at += 1
        several = self._peek() == "["
        self.at += several
        *above, last = self._key("]")
        self.at += 1 + several
        prefix: Place = ()
        for step in above:
            prefix = self._within((*prefix, step))
        prefix = (*prefix, last)
        if several:
            self.lists[prefix] = self.lists.get(prefix, -1) + 1
            self.lines.setdefault(prefix, line)
        prefix = self._within(prefix)
        self.lines.setdefault(prefix, line)
        return prefix

    def _within(self, place: Place) -> Place:
        """The table itself, or the newest of a list of tables."""
        return (*place, self.lists[place]) if place in self.lists else place

    def _key(self, end: str) -> list[str]:
        steps: list[str] = []
        while self.at < len(self.tokens) and self._peek() != end:
            if self._peek() != ".":
                steps.append(self._peek().strip("\"'"))
            self.at += 1
        return steps or [""]

    def _pair(self, prefix: Place) -> None:
        line = self.tokens[self.at][1]
        place: Place = (*prefix, *self._key("="))
        self.at += 1
        self.lines.setdefault(place, line)
        self._value(place)

    def _value(self, place: Place) -> None:
        opening = self._peek()
        if opening not in ("[", "{"):
            while self._peek() not in ("\n", ",", "]", "}", ""):
                self.at += 1
            return
        self.at += 1
        number = 0
        while self._peek() not in ("]", "}", ""):
            if self._peek() in ("\n", ","):
                self.at += 1
            elif opening == "{":
                self._pair(place)
            else:
                self.lines[*place, number] = self.tokens[self.at][1]
                self._value((*place, number))
                number += 1
        self.at += 1

    def _peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Tokens with their lines; comments are left out."""
    line, before = 1, 0
    for found in _TOKEN.finditer(text):
        line += text.count("\n", before, found.start())
        before = found.start()
        if not found[0].startswith("#"):
            yield found[0], line
