"""Controls `shim.c`, which counts the system calls of the hub's main process and injures chosen ones.

It injures the n-th call of a kind, or all from the n-th on. Workers do not load it,
because they start with an empty environment.
"""

from __future__ import annotations

import errno
import mmap
import struct
import subprocess
from pathlib import Path
from typing import Literal

Kind = Literal["sync", "write", "rename", "send"]
KINDS: tuple[Kind, ...] = ("sync", "write", "rename", "send")
ACTIONS = ("count", "kill", "fail", "slow")
ALL = 1 << 62
_LAYOUT = struct.Struct("=4i2q5qq")


class Shim:
    """One control file, used by one process after the other."""

    def __init__(self, folder: Path) -> None:
        if set(str(folder)) & set(" :"):
            raise ValueError(f"{folder}: LD_PRELOAD takes no path with a space or a colon")
        folder.mkdir(parents=True, exist_ok=True)
        self._library = folder / "shim.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(self._library),
                        str(Path(__file__).with_name("shim.c")), "-ldl"], check=True)
        self._file = folder / "shim.control"
        self._file.write_bytes(bytes(mmap.PAGESIZE))
        with self._file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    @property
    def environment(self) -> dict[str, str]:
        """The environment for the process to be injured."""
        return {"LD_PRELOAD": str(self._library), "TORTURE_SHIM": str(self._file)}

    def arm(self, kind: Kind, action: str = "kill", first: int = 1, last: int | None = None, *,
            error: int = errno.EIO) -> None:
        """Count from now on, and injure the calls `first` to `last` of a kind.

        `error` is an errno, or the milliseconds of ``slow``.
        """
        self._write(0, kind, action, error, first, last or first)
        self._map[:4] = struct.pack("=i", 1)

    def clock(self, seconds: int) -> None:
        """Set the wall clock of the process so many seconds ahead."""
        self._map[_LAYOUT.size:_LAYOUT.size + 8] = struct.pack("=q", seconds)

    def disarm(self) -> None:
        """Injure nothing any more."""
        self._map[:4] = struct.pack("=i", 0)

    def _write(self, armed: int, kind: Kind, action: str, error: int, first: int, last: int) -> None:
        row = (armed, KINDS.index(kind), ACTIONS.index(action), error, first, last, 0, 0, 0, 0, 0, 0)
        self._map[:_LAYOUT.size] = _LAYOUT.pack(*row)

    @property
    def counts(self) -> dict[str, int]:
        """The number of calls since `arm`, by kind."""
        return dict(zip((*KINDS, "folder"), _LAYOUT.unpack(self._map[:_LAYOUT.size])[6:11], strict=True))

    @property
    def hits(self) -> int:
        """How many calls were injured since `arm`."""
        return int(_LAYOUT.unpack(self._map[:_LAYOUT.size])[11])
