"""What a delivery is called in a drop: names of files and folders, the final ones and the hidden ones.

Shared by all drops; `connectors._drop` has the steps that use these names.

Layouts
    ``folder``  a "Vorgangsordner": one folder per delivery with all parts of the manifest in it
    ``single``  one file: the part with the role `DropOptions.role`, nothing else
Index
    with the option `DropOptions.index` a folder holds an index file, too (`connectors._index`)

Final names
    hold the delivery's id, so a second try meets its own name, and two deliveries never share one.
Hidden names
    are ``.<name>.try<number><ending>``: they follow from the delivery and the number of the try, so whoever
    comes later can compute them. A try that was not counted may have left a name of the same number; then
    ``try<number>-2`` is free. Two tries never write below one name: a name of number n is removed by tries of
    higher numbers only, and once such a number was given, no try is called n again.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Literal

from pydantic import Field, field_validator, model_validator

from connectors._index import index_of
from connectors._template import FILE_NAME, PIECE_LIMIT, file_name, keys, pieces
from hub.endpoint import OptionsModel
from hub.errors import Permanent
from hub.message import Delivery, ManifestPart, safe_name, unique_names

_LONGEST_NAME = 255  # bytes, on the file systems that there are
_NAME_LIMIT = 180  # the hidden name and the suffix need some


LINKED = ("Unterhalb des Ziels liegt eine Verknüpfung (Symlink), wo ein Ordner oder eine Datei sein muss. "
          "Ihr wird nie gefolgt: die Verknüpfung entfernen, einen Ordner anlegen.")
"""The hub follows no link below a target: it could lead into another recipient's folder."""
TOO_LONG = ("Ein Name ist für das Ziel zu lang: in name kürzere oder weniger Platzhalter wählen, dann erneut "
            "zustellen.")
"""The target's file system takes fewer than the 255 bytes of most (an encrypted one, for instance)."""


def is_too_long(error: OSError) -> bool:
    """Whether a file system did not take a name because it is too long."""
    return error.errno == errno.ENAMETOOLONG


def check_pattern(pattern: str) -> str:
    """A name pattern such as ``{day}_{service}_{id}``; raises ValueError that says what is wrong."""
    names = keys(FILE_NAME.check(pattern))
    if "id" not in names:
        raise ValueError(f"{pattern!r} needs {{id}}: without it two applications could want the same name")
    literals = "".join(literal for literal, _ in pieces(pattern))
    if not re.fullmatch(r"[A-Za-z0-9._-]*", literals) or pattern.startswith(".") or pattern.endswith("."):
        raise ValueError(f"{pattern!r}: between placeholders only letters, digits and . _ - , "
                         "and no dot at either end")
    if len(literals) + PIECE_LIMIT * len(names) > _NAME_LIMIT:
        raise ValueError(f"{pattern!r} can grow longer than {_NAME_LIMIT} characters: use fewer placeholders")
    return pattern


class DropOptions(OptionsModel):
    """What all drops have in common."""

    layout: Literal["folder", "single"] = Field("folder", description="a folder per delivery, or one file")
    role: str = Field(
        "xml", description="with layout single: which part is the file (xml, pdf, csv, json, original)")
    name: str = Field("{day}_{service}_{id}", description="name of the folder or file, without extension")
    hidden_ending: str = Field(
        ".part", pattern=r"^(\.[A-Za-z0-9_-]{1,16})?$",
        description="ending of hidden names; another one where the server refuses .part")
    must_contain: str | None = Field(
        None, description="file that proves the target is mounted, e.g. .drehscheibe")
    index: bool = Field(
        False, description="with layout folder: an index file, _inhalt.txt (what, when, digests); the short "
                           "number of mails' subjects is {short} in name")
    collected: bool = Field(False, description="a reader takes things away, so their absence proves nothing")

    @field_validator("name")
    @classmethod
    def _pattern(cls, value: str) -> str:
        return check_pattern(value)

    @model_validator(mode="after")
    def _index_in_a_folder(self) -> DropOptions:
        if self.index and self.layout != "folder":
            raise ValueError('index needs layout = "folder": a single file has nothing beside it')
        return self

    @field_validator("must_contain")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and ("/" in value or value in ("", ".", "..")):
            raise ValueError("is the name of a file in the target, not a path")
        if value is not None and len(value.encode()) > _LONGEST_NAME:
            raise ValueError("is longer than 255 bytes: no file can have that name")
        return value


SLOTS = (1, 2)
"""How many tries of one number find a hidden name of their own."""

_HIDDEN = re.compile(
    r"\.(?P<name>.+)\.(?:[0-9a-f]{8}|try(?P<number>[0-9]+)(?:-[0-9]+)?)(?:\.[A-Za-z0-9_-]+)?")


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a delivery goes.

    `folder` is relative to the target ("" is the target itself). `files` are the parts with their names,
    below `name` when `whole` (folder layout), else the one file that is called `name`. `attempt` is the
    number of the try, `ending` that of its hidden names. `index` is what the index file holds; none: there is
    no such file.
    """

    folder: str
    name: str
    whole: bool
    files: tuple[tuple[str, ManifestPart], ...]
    attempt: int = 1
    ending: str = ".part"
    index: bytes | None = None

    def final(self, count: int = 1) -> str:
        """The path below the target; from the second choice on with ``-2`` before the extension."""
        if count == 1:
            return join(self.folder, self.name)
        stem, dot, extension = (self.name, "", "") if self.whole else self.name.rpartition(".")
        return join(self.folder, f"{stem}-{count}{dot}{extension}" if dot else f"{self.name}-{count}")

    def hidden(self, slot: int = 1) -> str:
        """The path for writing in this try; the next `slot` where that one is taken."""
        return self.hidden_of(self.attempt, slot)

    def hidden_of(self, attempt: int, slot: int) -> str:
        """The path in which the try of that number wrote, or writes."""
        second = "" if slot == 1 else f"-{slot}"
        return join(self.folder, f".{self.name}.try{attempt}{second}{self.ending}")

    def hidden_until(self, attempt: int) -> Iterator[str]:
        """All paths in which the tries up to that number may have written, the newest first."""
        for number in range(attempt, 0, -1):
            yield from (self.hidden_of(number, slot) for slot in SLOTS)


def hidden_name(name: str) -> tuple[str, int] | None:
    """Whose hidden name this is, and the number of the try; None: it is no hidden name.

    The number is 0 where the name does not tell it: the hub once took eight random digits. Endings do not
    matter, for the option may have been changed.
    """
    found = _HIDDEN.fullmatch(name)
    return (found["name"], int(found["number"] or 0)) if found else None


def join(folder: str, name: str) -> str:
    """A relative path with slashes."""
    return f"{folder}/{name}" if folder else name


def steps(folder: str) -> Iterator[str]:
    """A relative folder and those above it, the uppermost first; none for "", the target itself."""
    above = ""
    for step in folder.split("/") if folder else ():
        above = join(above, step)
        yield above


def plan(options: DropOptions, delivery: Delivery) -> Plan:
    """Where this delivery goes, the same on every try. Raises `Permanent` where the part is missing."""
    manifest = delivery.manifest
    steps = [step for step in PurePosixPath(manifest.path or "").parts if step not in ("/", ".", "..")]
    folder = "/".join(safe_name(step) for step in steps)
    name = file_name(options.name, delivery)
    if options.layout == "folder":
        files = tuple(zip(unique_names([part.name for part in manifest.parts]), manifest.parts, strict=True))
        return Plan(folder, name, True, files, delivery.attempt, options.hidden_ending,
                    index_of(delivery, files) if options.index else None)
    chosen = manifest.of_role(options.role)
    if len(chosen) != 1:
        raise Permanent(
            f"Es gibt {len(chosen)} Teile der Rolle {options.role!r}, das Ziel braucht genau einen.")
    _, dot, extension = safe_name(chosen[0].name).rpartition(".")
    return Plan(folder, f"{name}{dot}{extension}" if dot else name, False, ((chosen[0].name, chosen[0]),),
                delivery.attempt, options.hidden_ending)


def chunks(source: BinaryIO, size: int = 1 << 18) -> Iterator[bytes]:
    """A file in pieces."""
    while piece := source.read(size):
        yield piece
