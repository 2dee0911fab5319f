"""Cells of a table for a spreadsheet in German: semicolons, CRLF, and no text that becomes a formula.

The rule is that of the mappings' tables (``mappings/_common/zelle.xsl``); a test holds both to it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any, TextIO

_BLANKS = re.compile("[ \t\r\n\xa0]+")
_NO_FORMULA = re.compile(r"[+-][0-9 ()/.,€%-]*")


class TableWriter:
    """Writes rows into a text that was opened with ``newline=""``."""

    def __init__(self, out: TextIO) -> None:
        self._writer = csv.writer(out, delimiter=";", lineterminator="\r\n")

    def write(self, row: Iterable[Any]) -> None:
        """One row. A text is guarded, a number stays."""
        self._writer.writerow([guarded(value) if isinstance(value, str) else value for value in row])


def guarded(text: str) -> str:
    """The text, with an apostrophe in front where a spreadsheet could take it for a formula.

    That is a text that begins with ``=`` or ``@``, with a tab or a line's end, or with ``+`` or ``-`` before
    anything else than a number. A telephone number (``+49 351 …``) and an amount (``-12,50 €``) are none.
    """
    core = _BLANKS.sub(" ", text).strip(" ")
    if not core:
        return text
    if text[0] in "\t\r\n" or core[0] in "=@＝＠＋－":
        return f"'{text}"
    return f"'{text}" if core[0] in "+-" and not _NO_FORMULA.fullmatch(core) else text
