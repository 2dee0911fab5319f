"""A watched folder with its inlet, and somebody who puts files into it."""

from __future__ import annotations

import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors import inbox
from tests.integration.inlet_contract import Outcome, Site

PLACE = "14999010/hundesteuer"
FASTER = 30.0
"""The inlet's clock runs faster by so much: it waits 30 s where the spool cannot be written."""


def inodes(folder: Path) -> set[int]:
    """Of all files below a folder from which others may take them away."""
    found = set()
    for path in list(folder.rglob("*.xml")):
        with suppress(FileNotFoundError):
            found.add(path.stat().st_ino)
    return found


@dataclass(frozen=True)
class Put:
    """A file that was put in. A move keeps its inode."""

    site: InboxSite
    inode: int

    def outcome(self) -> Outcome:
        """By the folder in which it lies."""
        folders: list[tuple[Path, Outcome]] = [
            (self.site.root, "open"), (self.site.done, "acknowledged"), (self.site.rejected, "refused")]
        for folder, outcome in folders:
            if self.inode in inodes(folder):
                return outcome
        raise AssertionError("the file is lost")

    def not_taken(self) -> int:
        """The inlet itself tries again: it is one transfer."""
        return 1


class InboxSite(Site):
    """Three fresh folders."""

    kind = inbox.Inlet
    conflict = "park"

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder)
        self.root, self.done, self.rejected = (folder / name for name in ("in", "done", "rejected"))
        for place in (self.root, self.done, self.rejected):
            place.mkdir()
        self._given = options

    def options(self) -> inbox.Options:
        given: dict[str, Any] = {
            "root": self.root, "done": self.done, "rejected": self.rejected, "sender": {"name": "town"},
            "scan_seconds": 1, "stable_seconds": 0.000001}
        return inbox.Options(**(given | self._given))

    def build(self, kind: Any) -> Any:
        context = self.fault.context(self.context())
        return kind(self.options(), context, clock=lambda: time.monotonic() * FASTER)

    def send(self, body: bytes, key: str | None = None) -> Put:
        part = self.root / PLACE / f"{key or uuid.uuid4().hex}.xml.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(body)
        put = Put(self, part.stat().st_ino)
        part.rename(part.with_suffix(""))
        return put

    def renew(self) -> None:
        """The options name no files; but the root may be made anew at any time."""
        shutil.rmtree(self.root)
        self.root.mkdir()

    def renewed(self) -> bool:
        return True

    def hurt(self) -> None:
        """Nothing can be moved."""
        self.done.rmdir()
        self.done.write_bytes(b"")

    def heal(self) -> None:
        self.done.unlink()
        self.done.mkdir()
