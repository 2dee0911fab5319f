"""The virtual environment is built beside the one that runs, and switched to only when it is whole.

Here the "hub" prints the version of its one library, of which there are two releases in a folder.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

HUB = "import library; print(library.VERSION)"


def wheel(folder: Path, version: str) -> str:
    """Write a release of the library; its line in a lock file."""
    file = folder / f"library-{version}-py3-none-any.whl"
    about = f"library-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("library.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: library\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return f"library=={version} --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


class Checkout:
    """A clone of the project with a library of two releases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        wheels = folder.with_name("wheels")
        wheels.mkdir()
        self.locks = {version: wheel(wheels, version) for version in ("1.0", "2.0")}
        (folder / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / "Makefile", folder)
        shutil.copy(ROOT / ".ci/environment.py", folder / ".ci")
        (folder / "hub").mkdir()
        (folder / "hub/__init__.py").touch()
        (folder / "hub/__main__.py").write_text(HUB)
        self._environment = {key: value for key, value in os.environ.items()
                             if not key.startswith(("PIP_", "MAKE", "PYTHON"))}
        self._environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        self.clock = 1.0

    def lock(self, text: str, name: str = "requirements.txt") -> None:
        """Change a lock file, as an update of the clone does."""
        (self.folder / name).write_text(text)

    def make(self, target: str = ".venv/run",
             limited: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
        base = Path(sys.executable).resolve()  # not that of a virtual environment
        return subprocess.run(["make", target, f"PYTHON={base}"], cwd=self.folder, env=self._environment,
                              preexec_fn=limited, check=False, capture_output=True, text=True, timeout=300)

    def hub(self) -> str:
        """What the command of the environment says."""
        return subprocess.run([self.folder / ".venv/bin/drehscheibe"], check=False, capture_output=True,
                              text=True).stdout.strip()

    def environments(self) -> list[str]:
        return sorted(each.name for each in self.folder.glob(".venv-*"))

    def upgraded(self, version: str) -> subprocess.CompletedProcess[str]:
        """Make the environment of this release."""
        self.lock(self.locks[version])
        result = self.make()
        assert result.returncode == 0, result.stdout + result.stderr
        assert self.hub() == version
        return result


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "clone")
    made.upgraded("1.0")
    return made


def as_earlier_releases_made_it(checkout: Checkout) -> None:
    """Let `.venv` be a folder instead of a link."""
    link = checkout.folder / ".venv"
    place = link.resolve()
    link.unlink()
    place.rename(link)


def full_disk() -> None:
    """No file may get longer than some kilobytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.parametrize("folder", [False, True], ids=["link", "folder of an earlier release"])
@pytest.mark.parametrize("fault", ["no such library", "another digest", "full disk"])
def test_a_failed_upgrade_leaves_the_old_environment_working(checkout: Checkout, fault: str,
                                                             folder: bool) -> None:
    if folder:
        as_earlier_releases_made_it(checkout)
    before = checkout.environments()
    good = checkout.locks["2.0"]
    checkout.lock({"no such library": good.replace("library", "nobody-has-it"),
                   "another digest": good[:-9] + "00000000\n", "full disk": good}[fault])
    result = checkout.make(limited=full_disk if fault == "full disk" else None)
    assert result.returncode != 0
    assert checkout.hub() == "1.0"
    assert "the environment that was there is as it was" in result.stderr
    assert checkout.environments() == before, "nothing of the failed attempt is left"
    checkout.upgraded("2.0")
    assert len(checkout.environments()) == 1, "the old one is removed after the switch"


def test_the_same_lock_makes_nothing_anew(checkout: Checkout) -> None:
    place = (checkout.folder / ".venv").resolve()
    made = place.stat().st_ctime_ns
    os.utime(checkout.folder / "requirements.txt")
    assert "Making" not in checkout.make().stdout
    assert (checkout.folder / ".venv").resolve() == place
    assert (place / "pyvenv.cfg").stat().st_ctime_ns <= made


@pytest.fixture
def running(checkout: Checkout) -> Iterator[subprocess.Popen[str]]:
    """A hub that runs from the first environment, and has not loaded everything yet."""
    (checkout.folder / "hub/__main__.py").write_text("print('up', flush=True); input(); " + HUB)
    process = subprocess.Popen([checkout.folder / ".venv/bin/drehscheibe"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    (checkout.folder / "hub/__main__.py").write_text(HUB)
    yield process
    process.kill()
    process.communicate()


def test_what_runs_keeps_its_environment_and_is_named(checkout: Checkout,
                                                      running: subprocess.Popen[str]) -> None:
    (old,) = checkout.environments()
    assert f"{old} stays: process {running.pid} still runs from it" in checkout.upgraded("2.0").stdout
    assert running.communicate("\n")[0] == "1.0\n", "it goes on with the libraries that it was started with"
    checkout.lock(checkout.locks["2.0"] + "# again\n")
    assert checkout.make().returncode == 0
    assert old not in checkout.environments()


def test_tools_never_change_a_library_of_the_hub(checkout: Checkout) -> None:
    checkout.lock(checkout.locks["2.0"], "requirements-dev.txt")
    assert checkout.make(".venv/dev").returncode != 0
    assert checkout.hub() == "1.0"
    checkout.lock(checkout.locks["1.0"], "requirements-dev.txt")
    assert checkout.make(".venv/dev").returncode == 0


def test_without_the_venv_module_its_package_is_named(tmp_path: Path) -> None:
    """Debian has it in a package of its own; `.ci/fresh-machine` looks for these words, too."""
    blocked = ("import runpy, sys; sys.modules['ensurepip'] = None; sys.argv = ['environment.py', 'run']; "
               f"runpy.run_path({str(ROOT / '.ci/environment.py')!r}, run_name='__main__')")
    result = subprocess.run([sys.executable, "-c", blocked], cwd=tmp_path, check=False, capture_output=True,
                            text=True)
    assert result.returncode != 0
    assert "sudo apt-get install python3-venv" in result.stderr
