"""Drives whose power can be cut: ext4 images on a copy-on-write file system, cloned while they are written.

An image is reached through a loop device with direct I/O, so the page cache of the file system
on it is not in the image: a clone (FICLONE, at one moment) holds what was written back or
synced by then, and nothing else. The clone's journal is replayed by mounting it, as after a
power cut. ``commit=60`` and ``noauto_da_alloc`` take away what ext4 would do by itself,
without being asked, for a program that forgets to sync.

Takes root, loop devices, and Debian's e2fsprogs and xfsprogs: `unavailable` says what of it is missing.
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
    """Unmount what an interrupted run left mounted below `folder`; its loop devices go with it."""
    places = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed([place for place in places if Path(place).is_relative_to(folder.absolute())]):
        _run("umount", "--lazy", place)


def _run(*command: str, fine: int = 0) -> str:
    """What it printed. Raises OSError with it when it fails: ends with more than `fine`."""
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
        _run("losetup", "--detach", device)  # in use: it goes at the unmount


def _unmount(place: Path) -> None:
    patience = time.monotonic() + 30
    while True:
        try:
            return _run("umount", str(place)) and None
        except OSError:  # a process that was killed is not quite gone
            if time.monotonic() > patience:
                raise
            time.sleep(0.05)


class Shelf:
    """A copy-on-write file system in one sparse file below `folder`, for the
    images of drives. As a context it cleans up."""

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
        """A new one, mounted at `place`."""
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
            with suppress(OSError):  # it may be unplugged
                _run("umount", "--lazy", str(drive.place))
        _run("umount", "--lazy", str(self.place))
        self.place.with_suffix(".img").unlink()


class Drive:
    """One ext4 image and where it is mounted."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image = image
        self.place = place

    def plug_in(self, options: str = "commit=60,noauto_da_alloc,errors=remount-ro") -> None:
        """Mount it; what its journal holds is replayed."""
        self.place.mkdir(parents=True, exist_ok=True)
        _mount(self.image, self.place, options)

    def unplug(self) -> None:
        """Unmount it. Raises OSError when it stays in use."""
        _unmount(self.place)

    def sync(self) -> None:
        """Everything on it is on the image when this returns."""
        _run("sync", "--file-system", str(self.place))

    def clone(self, name: str) -> Path:
        """What is on it now, as another image on the same shelf."""
        copy = self.image.with_name(name)
        with self.image.open("rb") as source, copy.open("wb") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        return copy

    @contextmanager
    def full(self, of: Literal["space", "inodes"]) -> Iterator[None]:
        """Somebody else takes all that is left, and gives it back."""
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
        """The file system finds itself damaged and is read-only from now on, whoever has files open on it."""
        device = _run("findmnt", "--noheadings", "--output", "SOURCE", str(self.place))
        (Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error").write_text("planted")

    def repair(self) -> None:
        """Unplug it, let e2fsck repair it, plug it in."""
        self.unplug()
        _run("e2fsck", "-fy", str(self.image), fine=1)
        self.plug_in()

    def remount(self, options: str) -> None:
        """With other options. Raises OSError when files are open for writing and it shall be read-only."""
        _run("mount", "-o", f"remount,{options}", str(self.place))

    def goes_on_from(self, image: Path) -> list[str]:
        """Unplug it, throw away what was not in the clone by then, plug it
        in again; what e2fsck has to say of it."""
        self.unplug()
        image.replace(self.image)
        self.plug_in()  # the journal is replayed
        self.unplug()
        found = check(self.image)
        self.plug_in()
        return found


def _take(descriptor: int) -> None:
    """Blocks for this file, fewer and fewer. Raises OSError when there is none."""
    for size in (64 << 20, 1 << 20, 16 << 10):
        with suppress(OSError):
            return os.posix_fallocate(descriptor, 0, size)
    return os.posix_fallocate(descriptor, 0, BLOCK)


def beneath(world: World, shelf: Shelf, *, inodes: int | None = None) -> tuple[Drive, Drive]:
    """Two new drives, one under the store and one under the receivers'
    folders of a world whose hub never ran."""
    state, drop = (shelf.drive(place.name, place, inodes=inodes) for place in (world.state, world.drop))
    for municipality in MUNICIPALITIES.values():
        (world.drop / municipality).mkdir()
    drop.sync()
    return state, drop


def check(image: Path) -> list[str]:
    """What e2fsck finds wrong in an unmounted image."""
    try:
        _run("e2fsck", "-fn", str(image))
    except OSError as error:
        return [str(error)]
    return []


def _sparse(file: Path, megabytes: int) -> None:
    with file.open("wb") as new:
        new.truncate(megabytes << 20)
