"""A folder as a snapshot: copied once, named by the digest of its content."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def tree_digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files below a folder (examples apart), as hex."""
    digest = hashlib.sha256()
    for file in _files(folder):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(folder: Path) -> Iterable[Path]:
    return sorted(file for file in folder.rglob("*")
                  if file.is_file() and not file.is_symlink()
                  and "examples" not in file.relative_to(folder).parts)


def snapshot(folder: Path, into: Path) -> Path:
    """An unchanging copy of a folder, ``into/<digest>``; made once, so that edits take effect at a reload
    only.

    It is not synced: a power cut may leave it empty under its name. So one that does not have its digest is
    made anew.
    """
    digest = tree_digest(folder)
    target = into / digest
    if target.is_dir() and tree_digest(target) != digest:
        shutil.rmtree(target)
    if not target.is_dir():
        into.mkdir(parents=True, exist_ok=True)
        temporary = into / f".{digest}.{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        for file in _files(folder):
            copy = temporary / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        temporary.mkdir(exist_ok=True)
        try:
            temporary.rename(target)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            if not target.is_dir():
                raise
    return target
