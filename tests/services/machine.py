"""A Debian 12 machine with a real systemd, in a container. It is booted once per module and then thrown away.

debootstrap makes the image once, from the mirror that this machine's apt uses. The image has the packages and
the virtual environment that docs/operate-systemd.md asks for. It is kept in $DREHSCHEIBE_MACHINE (default
/var/cache/drehscheibe-machine), one for each state of the lock file. A machine works on a layer above the
image, in memory, and has a network of its own. So it leaves nothing behind, and its ports are its own. It
ends with the process that booted it, however that process ends.

When this machine does not run systemd (it is a container itself), nobody gives the new container a control
group. Then one is made below each hierarchy, and removed afterwards.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.services import missing, need, wait_until

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "operate-systemd.md"
# not below /tmp: that is hidden
IMAGES = Path(os.environ.get("DREHSCHEIBE_MACHINE", "/var/cache/drehscheibe-machine"))
HOME = "/opt/datendrehscheibe"
FIRST, NEXT = "0.1.0", "0.2.0"
"""The versions that the manual installs and upgrades to."""
PLACE = f"{HOME}/{FIRST}"
PARTS = ("requirements.txt", "Makefile", ".ci/environment.py")
"""What of a release makes its virtual environment."""
KEPT = 3
ENVIRONMENT = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
               "LANG=C.UTF-8"]


def manual(name: str) -> str:
    """The commands of one section of the manual, as a reader types them."""
    section = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", MANUAL.read_text(encoding="utf-8"),
                        re.MULTILINE | re.DOTALL)
    found = re.findall(r"^```sh\n(.*?)^```$", section[1] if section else "", re.MULTILINE | re.DOTALL)
    assert found, f"docs/operate-systemd.md has no commands under {name!r}"
    return "".join(found)


def packages() -> list[str]:
    """The packages that the manual names, and the service manager, which its reader has already."""
    words = manual("Packages").replace("\\\n", " ").split()
    return ["systemd", "systemd-sysv",
            *(word for word in words[words.index("install") + 1:] if not word.startswith("-"))]


# --- the image ----------------------------------------------------------------------------------------------


@contextmanager
def image() -> Iterator[Path]:
    """The folder of the image. It is made if it is missing, and locked while it is used."""
    for binary, package in (("systemd-nspawn", "systemd-container"), ("debootstrap", "debootstrap"),
                            ("unshare", "util-linux"), ("make", "make")):
        need(binary, package)
    if os.geteuid() != 0:
        missing("root", "run the tests as root: booting a machine takes it")
    digest = hashlib.sha256("\0".join(packages()).encode())
    for name in PARTS:
        digest.update((ROOT / name).read_bytes())
    place = IMAGES / digest.hexdigest()[:16]
    IMAGES.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            _make(place)
        os.utime(place / "complete")
        fcntl.flock(lock, fcntl.LOCK_SH)
        _forget_old()
        yield place


def _make(place: Path) -> None:
    apt = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)",
                          "Created-By: Packages"],
                         check=True, capture_output=True, text=True).stdout
    mirror = next((line.split()[2] for line in apt.splitlines() if line.startswith("bookworm main ")), None)
    if mirror is None:
        missing("a mirror of bookworm", "add one to apt's sources")
    shutil.rmtree(place, ignore_errors=True)
    _do("debootstrap", "--variant=minbase", f"--include={','.join(packages())}", "bookworm", str(place),
        mirror)
    for file in (place / "var/cache/apt/archives").glob("*.deb"):
        file.unlink()
    for name in PARTS:
        file = place / PLACE[1:] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, file)
    settings = {key: value for key, value in os.environ.items()
                if re.fullmatch(
                    r"PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|DEFAULT_TIMEOUT|CONFIG_FILE)|https?_proxy|no_proxy",
                    key)}
    lent = [Path(name) for name in ("/etc/resolv.conf", "/etc/hosts", settings.get("PIP_CERT", ""),
                                    settings.get("PIP_CONFIG_FILE", "/etc/pip.conf")) if name
            and Path(name).is_file()]
    for file in lent:
        (place / file.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / file.relative_to("/"))
    _do("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc",
        'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"', str(place), *ENVIRONMENT,
        *(f"{key}={value}" for key, value in settings.items()), "sh", "-euc", manual("Release"))
    for file in lent[2:]:
        (place / file.relative_to("/")).unlink()
    (place / "complete").touch()


def _do(*command: str) -> None:
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=900, check=False)
    assert result.returncode == 0, f"{shlex.join(command)[:300]}:\n{result.stdout[-4000:]}"


def _forget_old() -> None:
    """Delete the images of older lock files, unless somebody uses them now."""
    stamps = sorted(IMAGES.glob("*/complete"), key=lambda stamp: stamp.stat().st_mtime, reverse=True)
    for stamp in stamps[KEPT:]:
        with stamp.parent.with_suffix(".lock").open("w") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stamp.parent)


# --- the machine --------------------------------------------------------------------------------------------

# systemd-nspawn that is killed by force leaves its container alive, unless it is the first process of a
# namespace.
BOOT = """
for group in $GROUPS; do mkdir -p "$group"; echo $$ > "$group/cgroup.procs"; done
exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child sh -euc '
    mount -t proc proc /proc
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs tmpfs /run
    exec "$@"' sh "$@"
"""


class Machine:
    """A booted machine. `run` executes commands on it as root."""

    def __init__(self, base: Path) -> None:
        self._name = f"drehscheibe-{os.getpid()}"
        self._console = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        ours = Path("/run/systemd/system").is_dir()
        roots = [Path("/sys/fs/cgroup", name) for name in ("systemd", "unified", ".")]
        self._groups = [] if ours else [root / self._name for root in roots
                                        if (root / "cgroup.procs").exists()]
        command = ["systemd-nspawn", "--directory", str(base), "--volatile=overlay", "--private-network",
                   "--register=no",
                   "--keep-unit", "--link-journal=no", "--machine", self._name, "--boot", "--console=pipe"]
        scope = ["systemd-run", "--scope", "--quiet", "--property=Delegate=yes"] if ours else []
        self._process = subprocess.Popen(
            [*scope, "sh", "-euc", BOOT, "sh", *command], stdin=subprocess.DEVNULL, stdout=self._console,
            stderr=self._console,
            env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "GROUPS": " ".join(map(str, self._groups))},
            start_new_session=True)
        try:
            wait_until(self._up, f"the machine to boot ({base})", 60)
        except BaseException:
            self.close()
            raise

    def run(self, *command: str, check: bool = True, stdin: bytes = b"") -> str:
        """Run a command on the machine. Returns what it printed. It must succeed, unless `check` is false."""
        result = self.tried(*command, stdin=stdin)
        assert not check or result.returncode == 0, (
            f"{shlex.join(command)}: {result.returncode}\n{_text(result)}")
        return result.stdout.decode()

    def tried(self, *command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command on the machine. It may fail."""
        return subprocess.run(["nsenter", "--all", "--target", str(self._leader()), "--", *ENVIRONMENT,
                               *command], input=stdin,
                              capture_output=True, timeout=120, check=False)

    def shell(self, script: str) -> str:
        """Run several lines. The first that fails ends the script."""
        return self.run("sh", "-euc", script)

    def write(self, path: str, content: str | bytes, mode: str = "0644", group: str = "root") -> None:
        """Write a file that belongs to root."""
        self.run("install", "-D", "-o", "root", "-g", group, "-m", mode, "/dev/stdin", path,
                 stdin=content.encode() if isinstance(content, str) else content)

    def unpack(self, tree: Path, into: str) -> None:
        """Copy the project's files to the machine, as a release has them."""
        listing = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                 cwd=tree, check=True, capture_output=True).stdout
        archive = subprocess.run(["tar", "--create", "--null", "--ignore-failed-read", "--files-from=-"],
                                 cwd=tree, check=True, input=listing, capture_output=True).stdout
        self.run("mkdir", "-p", into)
        self.run("tar", "--extract", "--no-same-owner", "--directory", into, stdin=archive)

    def properties(self, unit: str) -> dict[str, str]:
        """The properties of a unit."""
        return dict(line.split("=", 1) for line in self.run("systemctl", "show", unit).splitlines())

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Entries of the journal, selected by fields (``UNIT=…``) or options (``-p err``)."""
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "--no-pager", "--output=json", "--all", *matches).splitlines()
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Power the machine off, and remove what it needed here."""
        nspawn = _child(self._process.pid)
        if nspawn and self._process.poll() is None:
            os.kill(nspawn, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                wait_until(lambda folder=folder: _removed(Path(folder)),  # type: ignore[misc]
                           f"{folder} to be empty")
        self._console.close()

    def _leader(self) -> int:
        nspawn = _child(self._process.pid)
        return _child(nspawn) if nspawn else 0

    def _up(self) -> bool:
        if self._process.poll() is not None:
            self._console.seek(0)
            missing("a container with a systemd of its own",
                    f"systemd-nspawn ended: {self._console.read().decode()[-2000:]}")
        if not self._leader() or not Path(f"/proc/{self._leader()}/root/run/systemd/private").exists():
            return False
        return self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")


def _child(pid: int) -> int:
    """The first child of a process, or 0."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    except (OSError, IndexError):
        return 0


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _text(result: subprocess.CompletedProcess[bytes]) -> str:
    return (result.stdout + result.stderr).decode(errors="replace")[-4000:]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine for the tests of one module."""
    with image() as base:
        booted = Machine(base)
        try:
            yield booted
        finally:
            booted.close()
