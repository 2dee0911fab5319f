"""Small disks in memory, mounted where a test wants one that is full or read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services import missing


@contextmanager
def small(folder: Path, options: str) -> Iterator[Callable[[str], None]]:
    """A tmpfs over an existing folder, with options of mount(8); what is yielded changes them."""
    if os.geteuid() != 0:
        missing("root", "run the tests as root: mounting a small file system takes it")

    def mount(options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False,
                              capture_output=True, text=True)

    result = mount(options)
    if result.returncode != 0:
        missing("the right to mount", result.stderr.strip())

    def change(options: str) -> None:
        mount(f"remount,{options}").check_returncode()

    try:
        yield change
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
