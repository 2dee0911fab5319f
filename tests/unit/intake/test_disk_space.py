"""Room on the disk: where accepting ends and begins again, and when the reserve is laid by and given back."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from hub.config.sections import DiskSection
from hub.errors import StoreUnavailable
from hub.intake.disk_space import AGAIN, COPIES, LARGE, Room, Space, room_of

MIB = 1 << 20


class Disk:
    """A file system of 1000 MiB whose free space is what a test says, less the reserve that lies on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.free, self.inodes, self.looks, self.now = folder, 500 * MIB, 100_000, 0, 0.0

    def look(self, folder: Path) -> Room:
        self.looks += 1
        reserve = folder / "reserve"
        return Room(max(0, self.free - (reserve.stat().st_size if reserve.exists() else 0)), 1000 * MIB,
                    self.inodes)

    def space(self, **settings: float) -> Space:
        section = DiskSection(**{"min_free_mb": 100, "min_free_percent": 0, "reserve_mb": 8, **settings})
        return Space(self.folder, lambda: section, self.look, lambda: self.now)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def accepts(space: Space, disk: Disk, free: int) -> bool:
    """What the next look says, with so many MiB free beside the reserve."""
    disk.free = free * MIB + space.reserve
    disk.now += 1
    return space.why is None


def test_accepting_ends_below_the_minimum_and_begins_again_well_above_it(disk: Disk) -> None:
    space = disk.space()
    assert [accepts(space, disk, free) for free in (500, 100, 99, 110, 124, 125, 110, 100, 99)] == [
        True, True, False, False, False, True, True, True, False]
    with pytest.raises(StoreUnavailable, match="99 MiB are free") as refused:
        space.admit()
    assert refused.value.retry_after > 0


def flutters(space: Space, disk: Disk) -> int:
    """How often accepting ends while the free space goes up and down around the minimum."""
    answers = [accepts(space, disk, 100 + (-1) ** number) for number in range(20)]
    return sum(before and not after for before, after in itertools.pairwise(answers))


def test_it_does_not_flutter(disk: Disk) -> None:
    assert flutters(disk.space(), disk) <= 1


def test_planted_without_hysteresis_it_flutters(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.intake.disk_space.AGAIN", 1.0)
    assert flutters(disk.space(), disk) > 5


def test_the_share_of_the_whole_and_the_number_of_files_count_too(disk: Disk) -> None:
    assert not accepts(disk.space(min_free_percent=20), disk, 199)
    space = disk.space(min_free_inodes=1000)
    assert accepts(space, disk, 500)
    disk.inodes = 999
    assert not accepts(space, disk, 500)
    assert "999 files" in (space.why or "")
    disk.inodes = int(1000 * AGAIN)
    assert accepts(space, disk, 500)


def test_a_large_body_is_weighed_before_it_comes_in(disk: Disk) -> None:
    space = disk.space(reserve_mb=0)
    assert accepts(space, disk, 150)
    space.admit(LARGE - 1)
    with pytest.raises(StoreUnavailable, match="no room for"):
        space.admit(50 * MIB // COPIES + 1)
    space.admit(50 * MIB // COPIES)
    assert space.why is None, "smaller ones are still taken"


def test_it_looks_once_a_second_and_before_what_is_large(disk: Disk) -> None:
    space = disk.space(reserve_mb=0)
    for _ in range(50):
        space.admit(10)
    assert disk.looks == 1
    space.admit(LARGE)
    assert disk.looks == 2


def test_the_reserve_has_blocks_and_is_given_back_when_hardly_anything_is_free(disk: Disk) -> None:
    space = disk.space()
    assert accepts(space, disk, 500)
    reserve = disk.folder / "reserve"
    assert reserve.stat().st_blocks * 512 >= space.reserve == 8 * MIB
    assert reserve.stat().st_mode & 0o777 == 0o600
    assert not accepts(space, disk, 50)
    assert space.reserve and space.may_translate(), "nothing is accepted, but there is room for renderings"
    assert not accepts(space, disk, 7)
    assert not reserve.exists()
    assert not space.may_translate(), "what was given back is for outcomes alone"
    assert not accepts(space, disk, 20)
    assert not space.may_translate() and not reserve.exists()
    assert accepts(space, disk, 400)
    assert space.may_translate() and space.reserve == 8 * MIB


def test_no_reserve_where_it_would_take_the_room_for_accepting(disk: Disk) -> None:
    space = disk.space(reserve_mb=200)
    assert accepts(space, disk, 250)
    assert space.reserve == 0 and space.why is None


def test_a_file_system_that_gives_no_reserve_is_told_of_once(disk: Disk,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def refuse(*arguments: int) -> None:
        tries.append(arguments)
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    space = disk.space()
    assert all(accepts(space, disk, 500) for _ in range(10))
    assert (len(tries), space.reserve, list(disk.folder.iterdir())) == (1, 0, [])
    disk.now += 600
    assert accepts(space, disk, 500) and len(tries) == 2


def test_a_changed_size_is_taken_up(disk: Disk) -> None:
    first, second, none = disk.space(), disk.space(reserve_mb=4), disk.space(reserve_mb=0)
    sizes = []
    for space in (first, second, none):
        assert accepts(space, disk, 500)
        sizes.append(space.reserve // MIB)
    assert sizes == [8, 4, 0]
    assert none.may_translate()


def test_a_file_system_that_is_gone_raises_nothing(tmp_path: Path) -> None:
    def gone(_: Path) -> Room:
        raise OSError(5, "Input/output error")

    space = Space(tmp_path, DiskSection, gone)
    space.admit()
    assert space.why is None


def test_the_real_look(tmp_path: Path) -> None:
    room = room_of(tmp_path)
    assert 0 < room.free <= room.size
