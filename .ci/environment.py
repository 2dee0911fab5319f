"""The virtual environment: the Makefile calls this with the Python that it is made with.

An environment is never changed into another one. It is built whole in a folder of its own beside it,
`.venv-<digest>`. The digest is that of the lock file and of the Python. Only then `.venv`, which is a link,
is switched to it in one step. Whatever fails before leaves the old one as it is, and what runs from it goes
on. A process names the libraries by their folder and not by the link, so it never sees two environments.

The old folder is removed after the switch, unless a process uses it. That is told, and the next switch
removes it. A `.venv` of an earlier release is a folder itself: it is moved aside, and treated like any other
one.

The project is not installed: a relative path file and a launcher find it in its own folder, which needs no
build tool. The stamp `run` is written last, so that an interrupted attempt is repeated. No library other than
Python's own is used here, because there is none yet.

    python3 .ci/environment.py run     # what the hub needs: requirements.txt
    python3 .ci/environment.py dev     # adds the tools of requirements-dev.txt
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = ROOT / ".venv"
LOCK, TOOLS = ROOT / "requirements.txt", ROOT / "requirements-dev.txt"
PIP = ("-P", "-m", "pip", "--disable-pip-version-check", "--quiet")
INSTALL = (*PIP, "install", "--only-binary", ":all:", "--require-hashes")
LAUNCHER = """#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/python" -P -m hub "$@"
"""


class Failed(Exception):
    """The environment could not be made. Its text says what to do."""


def main(what: str) -> None:
    """Make what is missing. Raises `Failed`."""
    fit()
    with alone():
        if what == "run":
            switch_to(built())
            (LINK / "run").touch()
        else:
            add_tools()


def fit() -> None:
    """Raises `Failed` where this Python cannot make an environment for the hub."""
    if sys.version_info < (3, 11):  # noqa: UP036 - it is the caller's Python, not the project's
        raise Failed(f"{sys.executable} is older than 3.11: name a newer one, "
                     "make PYTHON=/path/to/python3.11")
    try:
        import ensurepip  # noqa: F401 - Debian has it in a package of its own
        import venv  # noqa: F401
    except ImportError:
        raise Failed(f"The venv module of {sys.executable} is missing: "
                     "sudo apt-get install python3-venv") from None


@contextmanager
def alone() -> Iterator[None]:
    """One at a time: another `make` waits here, and finds the work done."""
    with LOCK.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def built() -> Path:
    """The environment of this lock file, made now unless it is there already."""
    digest = hashlib.sha256(LOCK.read_bytes() + f"{sys.executable} {sys.version}".encode()).hexdigest()
    place = ROOT / f".venv-{digest[:12]}"
    if (place / "run").exists():
        return place
    print(f"Making the virtual environment {place.name} from {LOCK.name} (once; about a minute) ...",
          flush=True)
    shutil.rmtree(place, ignore_errors=True)  # what an interrupted attempt left
    try:
        do(sys.executable, "-m", "venv", str(place))
        python = str(place / "bin/python")
        do(python, *INSTALL, "-r", str(LOCK))
        do(python, *PIP, "check")
        (packages,) = place.glob("lib/python3.*/site-packages")
        (packages / "datendrehscheibe.pth").write_text("../../../..\n", encoding="utf-8")
        launcher = place / "bin/drehscheibe"
        launcher.write_text(LAUNCHER, encoding="utf-8")
        launcher.chmod(0o755)
        (place / "run").touch()
    except (Failed, OSError) as error:
        shutil.rmtree(place, ignore_errors=True)
        before = "; the environment that was there is as it was" if LINK.exists() else ""
        raise Failed(f"The virtual environment was not made{before}: {error}") from error
    return place


def add_tools() -> None:
    """Install the tools into the environment. They never change one of its libraries.

    Raises `Failed` where `requirements-dev.txt` wants another version of one.
    """
    print(f"Adding the tools of {TOOLS.name}: linters, type checker, tests ...", flush=True)
    do(str(LINK.resolve() / "bin/python"), *INSTALL, "-r", str(TOOLS), "-c", str(LOCK))
    (LINK / "dev").touch()


def switch_to(place: Path) -> None:
    """Let `.venv` be this environment, and remove those that nobody uses any more."""
    if LINK.is_symlink() and LINK.readlink() == Path(place.name):
        return
    fresh = LINK.with_name(".venv-link")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(place.name)
    if LINK.is_dir() and not LINK.is_symlink():
        aside = LINK.with_name(f".venv-before-{os.getpid()}")
        LINK.rename(aside)
        try:
            fresh.rename(LINK)
        except OSError:
            aside.rename(LINK)
            raise
    else:
        fresh.replace(LINK)
    for old in sorted(ROOT.glob(".venv-*")):
        if old.is_symlink() or not old.is_dir() or old == place:
            continue
        users = users_of(old)
        if users:
            print(f"{old.name} stays: {', '.join(users)} still runs from it. Start that anew; the next "
                  "switch removes the folder.", flush=True)
        else:
            shutil.rmtree(old, ignore_errors=True)


def users_of(place: Path) -> list[str]:
    """The processes that run from this environment: by their command, or by a library that they have mapped.

    Only those are seen that this user may look at.
    """
    inside = f"{place}/"
    found = []
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda each: int(each.name)):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            mapped = any(word.startswith(inside) for word in command)
            with suppress(OSError):
                mapped = mapped or inside in (process / "maps").read_text(errors="replace")
            if mapped:
                found.append(f"process {process.name}")
    return found


def do(*command: str) -> None:
    """Run a command. Raises `Failed` when it fails; what it said stands above."""
    result = subprocess.run(command, cwd=ROOT, check=False)
    if result.returncode != 0:
        raise Failed(f"{' '.join(command[1:5])} … ended with {result.returncode} (see above)")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Failed, OSError) as failed:
        sys.exit(str(failed))
