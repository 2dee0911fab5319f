"""A table for people: rows below headings in the caller's language.

No cell is cut, and no word of a cell is broken, so that an id can be copied whatever the width. A terminal
that is too narrow shows each row in several lines: the columns that fit stand in the first one, the others
below it. Text of several words goes on in the next line. A pipe has no width: there a row is one line.

Widths are those of the rows so far. Who streams hands in the rows page by page; the headings stand once.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

import click
from rich.cells import cell_len

from hub.i18n.texts import _

GAP = "  "
DEEPER = "    "
"""Before what of a row stands in a line of its own."""
LEAST = 24
"""Columns that a text of several words gets at least, before it goes to a line of its own."""


class Table:
    """Prints rows on standard output. `width` is the terminal's; None is a pipe."""

    def __init__(self, columns: Sequence[str], width: int | None = None) -> None:
        self._headings = [_(column) for column in columns]
        self._widths = [cell_len(heading) for heading in self._headings]
        self._width = width if width is not None else terminal_width()
        self._lines: list[list[int]] = []
        self._begun = False

    def rows(self, rows: Sequence[Sequence[object]]) -> None:
        """Print these rows. The headings come before the first ones."""
        cells = [[_plain(cell) for cell in row] for row in rows]
        for row in cells:
            for no, cell in enumerate(row):
                self._widths[no] = max(self._widths[no], cell_len(cell))
        if not self._begun:
            self._begun, self._lines = True, self._laid_out(cells)
            self._print(self._headings, bold=True)
        for row in cells:
            self._print(row)

    def _laid_out(self, cells: Sequence[Sequence[str]]) -> list[list[int]]:
        """Which columns stand in which line of a row."""
        if self._width is None:
            return [list(range(len(self._headings)))]
        lines: list[list[int]] = [[]]
        room = self._width  # what is left in the last line
        for no, width in enumerate(self._widths):
            gap = len(GAP) if lines[-1] else 0
            wordy = any(" " in row[no] for row in cells)
            if lines[-1] and room < gap + (min(width, LEAST) if wordy else width):
                lines.append([])
                room, gap = self._width - len(DEEPER), 0
            lines[-1].append(no)
            room -= gap + width  # a long text goes on in further lines, so nothing stands beside it
        return lines

    def _print(self, row: Sequence[str], *, bold: bool = False) -> None:
        for no, line in enumerate(self._lines):
            if no and not any(row[column] for column in line):
                continue
            for text in self._folded(row, line, DEEPER if no else ""):
                click.secho(text.rstrip(), bold=True) if bold else click.echo(text.rstrip())

    def _folded(self, row: Sequence[str], line: Sequence[int], indent: str) -> list[str]:
        """One line of a row; where its last cell is a long text, the lines that follow it."""
        start = indent + "".join(_padded(row[column], self._widths[column]) + GAP for column in line[:-1])
        last = row[line[-1]]
        room = None if self._width is None else self._width - cell_len(start)
        if room is None or cell_len(last) <= room:
            return [start + last]
        pieces = textwrap.wrap(last, max(room, LEAST), break_long_words=False, break_on_hyphens=False)
        return [start + pieces[0], *(" " * cell_len(start) + piece for piece in pieces[1:])]


def terminal_width() -> int | None:
    """The columns of the terminal that standard output is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _plain(cell: object) -> str:
    """A cell in one line."""
    text = str(cell)
    if text.isprintable():
        return text
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
