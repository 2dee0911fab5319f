"""Sentences that hold nothing a citizen wrote: fixed words of the hub's, with typed holes.

A reason, a line of a trace and whatever else says why a message stands still is a `Sentence`. `say` makes it
of words that stand in the code and of pieces. The type of a piece says what it may be::

    say("{place}: ist länger als {most} Zeichen", place=place, most=40)

    int, date    a number, a day
    Name         a name of ours: of a file, a rule, an output, an element of an installed schema
    Words        a sentence of ours that stands in a file: the text of a rule, a problem of a configuration
    Place        where something is in the message: by labels of ours and by numbers
    Shape        what a value is like: its type and its length, never the value
    Version      the version of a form: up to four numbers
    Address      the AGS or the service that a sender named: a few printable characters
    Sentence     what was said before

A plain str is refused, by mypy and by `say` itself. ``tests/unit/i18n/test_sentence.py`` reads the hub's
code: the words of each `say` are a literal, and each place that makes a `Name` or `Words` stands in a list
there.

BUGS: a type cannot know where its text came from. Who writes ``Name(value)`` with a citizen's value deceives
it; the list in the test is there so that somebody looks at each such place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Self

LONGEST = 4000
"""Characters of a sentence (`hub.job.Line`)."""

_VERSION = re.compile(r"\d{1,6}(?:\.\d{1,6}){0,3}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?", re.ASCII)


def _plain(text: str, limit: int) -> str:
    """One printable line of at most `limit` characters."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else "?" for sign in line)
    return line if len(line) <= limit else f"{line[:limit]} …"


class Name(str):
    """A name of ours, on one line, cut after 200 characters."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, _plain(text, 200))


class Words(str):
    """Words of ours that stand in a file (rule, stylesheet, configuration), cut after 1,500 characters."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, _plain(text, 1500))


class Address(str):
    """What a sender named as AGS or service: quoted, printable, cut after 60 characters."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, f"'{_plain(text, 60)}'")

    @property
    def bare(self) -> str:
        """Without the quotes, for a field of a log line."""
        return self[1:-1]


class Version(str):
    """The version of a form, up to four numbers with dots; anything else is ``(unbekannt)``."""

    __slots__ = ()

    def __new__(cls, text: str | None) -> Self:
        return super().__new__(cls, text if text and _VERSION.fullmatch(text) else "(unbekannt)")


class Shape(str):
    """What a value is like: ``Text mit 12 Zeichen``, ``Zahl mit 3 Zeichen``, ``leer``."""

    __slots__ = ()

    def __new__(cls, value: str | None) -> Self:
        value = value or ""
        kind = "Zahl" if _NUMBER.fullmatch(value) else "Text"
        return super().__new__(cls, f"{kind} mit {len(value)} Zeichen" if value else "leer")


class Sentence(str):
    """Words for an operator, free of what a citizen wrote. `say` and `lines` make it; never call it."""

    __slots__ = ()

    @classmethod
    def heard(cls, text: str) -> Self:
        """As another process of the hub said it. Signs that are not printable, but the line feed, go."""
        return cls("".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text[:LONGEST]))


class Place(Sentence):
    """Where something is in a message. `place` makes it."""

    __slots__ = ()


Piece = int | date | Name | Words | Address | Version | Shape | Sentence
_PIECES = (int, date, Name, Words, Address, Version, Shape, Sentence)


def say(words: str, /, **pieces: Piece) -> Sentence:
    """The words with their holes ``{name}`` filled. Raises TypeError for a piece that is none."""
    return Sentence(_filled(words, pieces))


def place(words: str, /, **pieces: Piece) -> Place:
    """`say` for a place."""
    return Place(_filled(words, pieces))


def lines(sentences: Iterable[Sentence], between: str = "\n") -> Sentence:
    """Sentences one after the other. What is longer than `LONGEST` is cut."""
    pieces = {f"s{number}": sentence for number, sentence in enumerate(sentences)}
    return Sentence(_filled(between.join(f"{{{name}}}" for name in pieces), pieces))


def _filled(words: str, pieces: dict[str, Piece] | dict[str, Sentence]) -> str:
    for name, piece in pieces.items():
        if not isinstance(piece, _PIECES):
            raise TypeError(f"{name}: a sentence has no room for a {type(piece).__name__}")
    text = words.format(**pieces)
    return text if len(text) <= LONGEST else f"{text[:LONGEST - 2]} …"
