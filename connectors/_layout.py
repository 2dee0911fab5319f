"""What a delivery looks like in a drop: names, folders, and the one order of steps that never shows half a thing.

Shared by `connectors.directory` and `connectors.sftp`, which differ only in their `Place` (a disk, a session).

Layouts
    ``folder``  a "Vorgangsordner": one folder per delivery with all parts of the manifest in it
    ``single``  one file: the part with the role `DropOptions.role`, nothing else

Steps (`deposit`)
    1. everything is written below a hidden name in the same folder, ``.<name>.<token>.part``, and made durable;
    2. if the final name is taken by the same content, that is success and nothing more happens; if it is taken by other
       content, the delivery goes beside it, to ``<name>-2``: nothing is ever overwritten;
    3. ``effect_begins()``, then the rename, then the folder is made durable.

The name holds the delivery's id, so a second try meets its own name, and two deliveries never share one.

A try that was killed leaves its hidden name behind; the next try of the same delivery removes it.
"""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Literal, Protocol

from pydantic import Field, field_validator

from connectors._template import FILE_NAME, PIECE_LIMIT, file_name, keys, pieces
from hub.endpoint import Absent, Done, OptionsModel, ProbeResult, Unknown
from hub.errors import Permanent, Temporary
from hub.message import Delivery, ManifestPart, Receipt, safe_name, unique_names

_NAME_LIMIT = 180  # of 255 bytes; the hidden name and the suffix need some


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
    """What directory and sftp have in common."""

    layout: Literal["folder", "single"] = Field("folder", description="a folder per delivery, or one file")
    role: str = Field("xml", description="with layout single: which part is the file (xml, pdf, csv, json, original)")
    name: str = Field("{day}_{service}_{id}", description="name of the folder or file, without extension")
    must_contain: str | None = Field(None, description="file that proves the target is mounted, e.g. .drehscheibe")
    collected: bool = Field(False, description="a reader takes things away, so their absence proves nothing")

    @field_validator("name")
    @classmethod
    def _pattern(cls, value: str) -> str:
        return check_pattern(value)

    @field_validator("must_contain")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and ("/" in value or value in ("", ".", "..")):
            raise ValueError("is the name of a file in the target, not a path")
        return value


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a delivery goes. `folder` is relative to the target ("" is the target itself); `files` are the parts with
    their names, below `name` when `whole` (folder layout), else the one file that is called `name`."""

    folder: str
    name: str
    whole: bool
    files: tuple[tuple[str, ManifestPart], ...]

    def final(self, count: int = 1) -> str:
        """The path below the target; from the second choice on with ``-2`` before the extension."""
        if count == 1:
            return join(self.folder, self.name)
        stem, dot, extension = (self.name, "", "") if self.whole else self.name.rpartition(".")
        return join(self.folder, f"{stem}-{count}{dot}{extension}" if dot else f"{self.name}-{count}")

    def hidden(self) -> str:
        """A path for writing, new each time: two tries that overlap never write into one file."""
        return join(self.folder, f"{self._hidden_stem()}{secrets.token_hex(4)}.part")

    def is_left_over(self, name: str) -> bool:
        """Whether a name in the folder is a hidden one of an earlier try of this delivery."""
        return name.startswith(self._hidden_stem()) and name.endswith(".part")

    def _hidden_stem(self) -> str:
        return f".{self.name}."


def join(folder: str, name: str) -> str:
    """A relative path with slashes."""
    return f"{folder}/{name}" if folder else name


def plan(options: DropOptions, delivery: Delivery) -> Plan:
    """Where this delivery goes; the same on every try. Raises `Permanent` when the layout's part is missing."""
    manifest = delivery.manifest
    steps = [step for step in PurePosixPath(manifest.path or "").parts if step not in ("/", ".", "..")]
    folder = "/".join(safe_name(step) for step in steps)
    name = file_name(options.name, delivery)
    if options.layout == "folder":
        files = zip(unique_names([part.name for part in manifest.parts]), manifest.parts, strict=True)
        return Plan(folder, name, True, tuple(files))
    chosen = manifest.of_role(options.role)
    if len(chosen) != 1:
        raise Permanent(f"Es gibt {len(chosen)} Teile der Rolle {options.role!r}, das Ziel braucht genau einen.")
    _, dot, extension = safe_name(chosen[0].name).rpartition(".")
    return Plan(folder, f"{name}{dot}{extension}" if dot else name, False, ((chosen[0].name, chosen[0]),))


class Place(Protocol):
    """A folder tree somewhere. Paths are relative to the target, with slashes. Everything may raise `OSError`."""

    def make_folder(self, path: str, *, exist_ok: bool = False) -> None:
        """Make a folder."""

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        """Make a new file with all of `source`, durable before this returns."""

    def sync_folder(self, path: str) -> None:
        """Make the entries of a folder durable."""

    def publish(self, hidden: str, final: str) -> None:
        """Rename; raises FileExistsError instead of overwriting."""

    def names(self, path: str) -> Sequence[str]:
        """The names in a folder."""

    def size(self, path: str) -> int | None:
        """Bytes of a file, -1 for a folder, None when there is nothing."""

    def digest(self, path: str) -> str:
        """SHA-256 of a file, as hex."""

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with the files in it."""


def require_marker(place: Place, options: DropOptions) -> None:
    """Nothing may be written below a missing mount, where nobody would ever find it. Raises `Temporary`."""
    if options.must_contain and place.size(options.must_contain) is None:
        raise Temporary(f"Im Ziel fehlt die Datei {options.must_contain}; vermutlich ist es nicht eingehängt.")


def deposit(place: Place, where: Plan, delivery: Delivery, effect_begins: Callable[[], None],
            hidden: str | None = None) -> Receipt:
    """Bring a delivery to its final name (see the steps above); what was written below `hidden` already is only shown.

    Raises `OSError` of the place, `Permanent`.
    """
    if hidden is None:
        make_folders(place, where.folder)
    final, there = settle(place, where)
    if there:
        place.sync_folder(where.folder)  # whoever brought it may have died before that
        return _receipt(where, final)
    hidden = hidden or conceal(place, where, delivery)
    effect_begins()
    place.publish(hidden, final)
    place.sync_folder(where.folder)
    return _receipt(where, final)


def conceal(place: Place, where: Plan, delivery: Delivery) -> str:
    """Write everything below a hidden name, which is returned; what earlier tries left goes."""
    if delivery.attempt > 1:
        sweep(place, where)
    hidden = where.hidden()
    write(place, where, hidden, delivery)
    return hidden


def make_folders(place: Place, folder: str) -> None:
    """The folders on the way, those that are missing."""
    above = ""
    for step in folder.split("/") if folder else ():
        path = join(above, step)
        if place.size(path) is None:
            place.make_folder(path, exist_ok=True)
            place.sync_folder(above)
        above = path


def write(place: Place, where: Plan, hidden: str, delivery: Delivery) -> None:
    """Everything below the hidden name; what was begun is removed when it cannot be finished."""
    try:
        if where.whole:
            place.make_folder(hidden)
        for name, part in where.files:
            with closing(delivery.open(part)) as source:
                place.write(join(hidden, name) if where.whole else hidden, source, part.size)
        if where.whole:
            place.sync_folder(hidden)
    except BaseException:
        forget(place, hidden)
        raise


def forget(place: Place, hidden: str) -> None:
    """Throw away what was written in vain, if that is possible now."""
    try:
        place.remove(hidden)
    except OSError:
        return  # the disk or the session is gone: the next try sweeps


def sweep(place: Place, where: Plan) -> None:
    """Remove what killed tries of this delivery left. A try still alive elsewhere fails then, which is harmless."""
    for name in place.names(where.folder):
        if where.is_left_over(name):
            place.remove(join(where.folder, name))


def settle(place: Place, where: Plan) -> tuple[str, bool]:
    """The first final path that is free, or already holds this very content (then True). Raises `Permanent`."""
    for count in range(1, 10):
        final = where.final(count)
        if place.size(final) is None:
            return final, False
        if same(place, where, final):
            return final, True
    raise Permanent("Alle Namen dieser Zustellung sind am Ziel mit fremdem Inhalt belegt.")


def same(place: Place, where: Plan, final: str) -> bool:
    """Whether every file is there with its size and SHA-256. What a reader has added to the folder does not matter."""
    if where.whole != (place.size(final) == -1):
        return False
    paths = [(join(final, name) if where.whole else final, part) for name, part in where.files]
    return (all(place.size(path) == part.size for path, part in paths)
            and all(place.digest(path) == part.sha256 for path, part in paths))


def find(place: Place, where: Plan, collected: bool) -> ProbeResult:
    """Whether the delivery is there; changes nothing. Raises `OSError` of the place.

    Where a reader collects things, only a hidden name left behind proves that the rename did not happen.
    """
    if where.folder and place.size(where.folder) is None:
        return Unknown("Der Ordner fehlt; er kann abgeholt worden sein.") if collected else Absent()
    taken = 0
    for count in range(1, 10):
        final = where.final(count)
        if place.size(final) is None:
            break
        if same(place, where, final):
            place.sync_folder(where.folder)  # done means that it will last
            return Done(_receipt(where, final))
        taken += 1
    if taken:
        return Unknown("Unter dem Namen der Zustellung liegt am Ziel anderer Inhalt.")
    if collected and not any(where.is_left_over(name) for name in place.names(where.folder)):
        return Unknown("Am Ziel liegt nichts; es kann schon abgeholt worden sein.")
    return Absent()


def rehearse(place: Place) -> None:
    """Write, rename and remove a hidden file: what `check` does. Raises `OSError` of the place."""
    final = f".drehscheibe-{secrets.token_hex(4)}"
    place.write(f"{final}.part", io.BytesIO(b"x"), 1)
    try:
        place.publish(f"{final}.part", final)
        place.sync_folder("")
    finally:
        place.remove(final)


def _receipt(where: Plan, final: str) -> Receipt:
    return Receipt(final, {"layout": "folder" if where.whole else "single", "files": str(len(where.files)),
                           "bytes": str(sum(part.size for _, part in where.files))})


def chunks(source: BinaryIO, size: int = 1 << 18) -> Iterator[bytes]:
    """A file in pieces."""
    while piece := source.read(size):
        yield piece
