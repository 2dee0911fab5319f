"""The target of a drop as it lies on this machine's disk, behind whatever server; and what a delivery is
called there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hub.endpoint import OutletBase
from tests.integration.contract import Arrival, make_delivery
from tests.services import disks

NAME = f"2026-11-22_hundesteuer_{make_delivery().id}"
OLD = f".{NAME}.0badcafe.part"
"""A hidden name as the hub once made them, with a token by chance."""


class DropFolder:
    """The target as it lies on this machine's disk. `owner` is the user of the server that writes there."""

    def __init__(self, root: Path, owner: int | None = None) -> None:
        self.root = root
        self.owner = owner

    def outlet(self, **options: Any) -> OutletBase[Any]:
        """A new outlet for it."""
        raise NotImplementedError

    def below(self, name: str) -> dict[str, Any]:
        """The options of a target that has this name in the folder."""
        raise NotImplementedError

    @contextmanager
    def disk(self, options: str) -> Iterator[Callable[[str], None]]:
        """The target on a small disk of its own, with the options of mount; what is yielded changes them."""
        with disks.small(self.root, options) as change:
            self._chown(self.root)
            yield change

    def put(self, name: str, content: bytes | None = None) -> Path:
        """Put something there from the side, as the server's user: a file, or without content a folder."""
        path = self.root / name
        for folder in [*reversed(path.relative_to(self.root).parents)][1:]:
            self._own(self.root / folder)
        if content is None:
            return self._own(path)
        path.write_bytes(content)
        self._chown(path)
        return path

    def _own(self, folder: Path) -> Path:
        if not folder.exists():
            folder.mkdir()
            self._chown(folder)
        return folder

    def _chown(self, path: Path) -> None:
        if self.owner is not None:
            os.chown(path, self.owner, -1)

    def arrivals(self) -> list[Arrival]:
        """What a reader who skips hidden names sees."""
        found = []
        for entry in sorted(self.root.glob("[!.]*")):
            if entry.is_dir():
                bodies = {file.name: file.read_bytes() for file in sorted(entry.iterdir())}
                found.append(Arrival(entry.name, bodies))
            else:
                found.append(Arrival(entry.name, {entry.name: entry.read_bytes()}))
        return found

    def inventory(self) -> object:
        """All paths, hidden or not; `st_ino` tells a file that was written anew."""
        return sorted((str(path.relative_to(self.root)), path.lstat().st_mtime_ns, path.lstat().st_ino)
                      for path in self.root.rglob("*"))

    def names(self) -> list[str]:
        """What lies in the target, hidden or not."""
        return sorted(path.name for path in self.root.iterdir())

    def refuse(self) -> None:
        """The final name is taken in the last moment."""
        self.put(f"{NAME}/fremd.txt", b"fremd")

    def relent(self) -> None:
        """It is free again."""
        shutil.rmtree(self.root / NAME)
