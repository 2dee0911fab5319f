"""Drives whose power can be cut: ext4 images on a copy-on-write file system, cloned while they are written.

An image is used through a loop device with direct I/O, so the page cache of its file system is not in the
image. A clone (FICLONE, at one moment) therefore holds only what was written back or synced by then. Mounting
the clone replays its journal, as after a power cut. ``commit=60`` and ``noauto_da_alloc`` turn off what ext4
does by itself for programs that forget to sync.

This needs root, loop devices, and Debian's e2fsprogs and xfsprogs. `unavailable` says what is missing.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Self

from tests.torture.document import MUNICIPALITIES
from tests.torture.world import World

FICLONE = 0x40049409
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"
TOOLS = {"losetup": "mount", "mkfs.ext4": "e2fsprogs", "e2fsck": "e2fsprogs", "mkfs.xfs": "xfsprogs"}
BLOCK = 4096


def unavailable() -> str | None:
    """Why there can be no drives here, or None."""
    if os.geteuid() != 0:
        return "only root may mount images"
    if not Path("/dev/loop-control").exists():
        return "no /dev/loop-control: loop devices are missing"
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=SBIN) is None:
            return f"{tool} is missing: apt-get install {package}"
    return None


def release(folder: Path) -> None:
    """Unmount what an interrupted run left mounted below `folder`. Its loop devices are freed too."""
    places = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed([place for place in places if Path(place).is_relative_to(folder.absolute())]):
        _run("umount", "--lazy", place)


def _run(*command: str, fine: int = 0) -> str:
    """Run a command. Returns what it printed. Raises `OSError` when its exit code is above `fine`."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          env={**os.environ, "PATH": SBIN})
    if done.returncode > fine:
        raise OSError(f"{' '.join(command)}: {done.returncode}: {done.stdout.strip()}")
    return done.stdout.strip()


def _mount(image: Path, place: Path, options: str) -> None:
    device = _run("losetup", "--find", "--show", "--direct-io=on", str(image))
    try:
        _run("mount", "-o", options, device, str(place))
    finally:
        _run("losetup", "--detach", device)  # it is in use: it is detached at the unmount


def _unmount(place: Path) -> None:
    patience = time.monotonic() + 30
    while True:
        try:
            return _run("umount", str(place)) and None
        except OSError:  # a killed process has not ended yet
            if time.monotonic() > patience:
                raise
            time.sleep(0.05)


class Shelf:
    """A copy-on-write file system in one sparse file below `folder`, for the images of drives.

    A context manager: it cleans up.
    """

    def __init__(self, folder: Path, megabytes: int = 2048) -> None:
        folder.mkdir(parents=True)
        self.place = folder / "shelf"
        self.place.mkdir()
        self._drives: list[Drive] = []
        file = folder / "shelf.img"
        _sparse(file, megabytes)
        _run("mkfs.xfs", "-q", "-m", "reflink=1", str(file))
        _run("mount", "-o", "loop", str(file), str(self.place))

    def drive(self, name: str, place: Path, *, megabytes: int = 192, inodes: int | None = None) -> Drive:
        """A new drive, mounted at `place`."""
        image = self.place / name
        _sparse(image, megabytes)
        _run("mkfs.ext4", "-q", "-b", str(BLOCK), "-E", "lazy_itable_init=0,lazy_journal_init=0",
             *(("-N", str(inodes)) if inodes else ()), str(image))
        drive = Drive(image, place)
        self._drives.append(drive)
        drive.plug_in()
        return drive

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for drive in self._drives:
            with suppress(OSError):  # it may be unplugged already
                _run("umount", "--lazy", str(drive.place))
        _run("umount", "--lazy", str(self.place))
        self.place.with_suffix(".img").unlink()


class Drive:
    """One ext4 image, and where it is mounted."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image = image
        self.place = place

    def plug_in(self, options: str = "commit=60,noauto_da_alloc,errors=remount-ro") -> None:
        """Mount the drive. Its journal is replayed."""
        self.place.mkdir(parents=True, exist_ok=True)
        _mount(self.image, self.place, options)

    def unplug(self) -> None:
        """Unmount the drive. Raises `OSError` when it stays in use."""
        _unmount(self.place)

    def sync(self) -> None:
        """Sync the drive: everything is in the image when this returns."""
        _run("sync", "--file-system", str(self.place))

    def clone(self, name: str) -> Path:
        """Clone the image as it is now, on the same shelf. Returns the clone."""
        copy = self.image.with_name(name)
        with self.image.open("rb") as source, copy.open("wb") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        return copy

    @contextmanager
    def full(self, of: Literal["space", "inodes"]) -> Iterator[None]:
        """Use up all space or inodes, and give them back at the end."""
        taken = self.place / "somebody-else"
        taken.mkdir()
        try:
            with suppress(OSError):
                for number in itertools.count():
                    with (taken / str(number)).open("wb") as file:
                        if of == "space":
                            _take(file.fileno())
            yield
        finally:
            shutil.rmtree(taken)

    def break_down(self) -> None:
        """Let the file system find damage. It is read-only from now on, even for open files."""
        device = _run("findmnt", "--noheadings", "--output", "SOURCE", str(self.place))
        (Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error").write_text("planted")

    def repair(self) -> None:
        """Unplug the drive, let e2fsck repair it, and plug it in."""
        self.unplug()
        _run("e2fsck", "-fy", str(self.image), fine=1)
        self.plug_in()

    def remount(self, options: str) -> None:
        """Mount with other options. Raises `OSError` for read-only while files are open for writing."""
        _run("mount", "-o", f"remount,{options}", str(self.place))

    def goes_on_from(self, image: Path) -> list[str]:
        """Unplug the drive, replace its image by this clone, and plug it in. Returns what e2fsck reports."""
        self.unplug()
        image.replace(self.image)
        self.plug_in()  # the journal is replayed
        self.unplug()
        found = check(self.image)
        self.plug_in()
        return found


def _take(descriptor: int) -> None:
    """Allocate blocks for a file, fewer and fewer. Raises `OSError` when none is left."""
    for size in (64 << 20, 1 << 20, 16 << 10):
        with suppress(OSError):
            return os.posix_fallocate(descriptor, 0, size)
    return os.posix_fallocate(descriptor, 0, BLOCK)


def beneath(world: World, shelf: Shelf, *, inodes: int | None = None) -> tuple[Drive, Drive]:
    """Two new drives for a world whose hub never ran: below the store, and below the receivers' folders."""
    state, drop = (shelf.drive(place.name, place, inodes=inodes) for place in (world.state, world.drop))
    for municipality in MUNICIPALITIES.values():
        (world.drop / municipality).mkdir()
    drop.sync()
    return state, drop


def check(image: Path) -> list[str]:
    """What e2fsck reports about an unmounted image."""
    try:
        _run("e2fsck", "-fn", str(image))
    except OSError as error:
        return [str(error)]
    return []


def _sparse(file: Path, megabytes: int) -> None:
    with file.open("wb") as new:
        new.truncate(megabytes << 20)
