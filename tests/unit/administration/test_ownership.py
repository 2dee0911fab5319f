"""Folders for the hub's user: made by root, by that user, by somebody else, and those that exist already."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.administration import ownership
from hub.administration.ownership import Account
from tests.services import missing

NOBODY, SOMEBODY = Account(65534, 65534), Account(54321, 54321)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder into which everybody may look; pytest's own are for their owner only."""
    with tempfile.TemporaryDirectory(prefix="ownership-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def _as_root() -> None:
    if os.geteuid() != 0:
        missing("root", "run the tests as root: giving a folder away takes it")


def writes_there(account: Account, folder: Path) -> bool:
    """The account makes a file there, for real."""
    made = subprocess.run(["touch", str(folder / "probe")], user=account.uid, group=account.gid,
                          extra_groups=[], cwd="/", check=False, capture_output=True)
    return made.returncode == 0


def state_of(folder: Path, account: Account) -> Path:
    state = folder / "state"
    state.mkdir()
    os.chown(state, account.uid, account.gid)
    return state




@pytest.mark.usefixtures("_as_root")
class TestAsRoot:
    """What root makes is given away."""

    def test_a_folder_made_by_root_belongs_to_the_hub(self, open_folder: Path) -> None:
        account = ownership.hub_account(state_of(open_folder, NOBODY))
        assert account == NOBODY
        made = open_folder / "drop"
        ownership.make_folder(made, account)
        assert (made.stat().st_uid, made.stat().st_gid, made.stat().st_mode & 0o777) == (65534, 65534, 0o750)
        assert writes_there(NOBODY, made)
        assert not writes_there(SOMEBODY, made)
        finding = ownership.judge(made, account)
        assert (finding.severity, "darf dort schreiben" in finding.text) == ("ok", True)

    def test_a_folder_left_to_root_would_be_told(self, open_folder: Path) -> None:
        """As it was: root's, 0750, and nothing could be delivered."""
        (open_folder / "drop").mkdir(mode=0o750)
        assert not writes_there(NOBODY, open_folder / "drop")
        finding = ownership.judge(open_folder / "drop", NOBODY)
        assert finding.severity == "warning"
        assert f"chown {NOBODY} {open_folder / 'drop'}" in finding.remedy

    def test_the_command_that_is_told_helps(self, open_folder: Path) -> None:
        (open_folder / "mit Leerzeichen").mkdir(mode=0o750)
        finding = ownership.judge(open_folder / "mit Leerzeichen", NOBODY)
        command = finding.remedy.removeprefix("Als root ausführen: ").partition(";")[0]
        subprocess.run(command, shell=True, check=True)
        assert writes_there(NOBODY, open_folder / "mit Leerzeichen")
        assert ownership.judge(open_folder / "mit Leerzeichen", NOBODY).severity == "ok"

    def test_a_folder_above_that_lets_nobody_through(self, open_folder: Path) -> None:
        above = open_folder / "above"
        above.mkdir(mode=0o700)
        ownership.make_folder(above / "drop", NOBODY)
        assert ownership.judge(above / "drop", NOBODY).severity == "warning"

    def test_a_group_is_enough(self, open_folder: Path) -> None:
        folder = open_folder / "drop"
        folder.mkdir()
        os.chown(folder, 0, NOBODY.gid)
        folder.chmod(0o770)
        assert writes_there(NOBODY, folder)
        assert ownership.judge(folder, NOBODY).severity == "ok"

    def test_a_link_that_waits_is_not_given_away(self, open_folder: Path) -> None:
        """Where others may write into the parent."""
        secret = open_folder / "secret"
        secret.mkdir(mode=0o700)
        (open_folder / "drop").symlink_to(secret)
        with pytest.raises(FileExistsError):
            ownership.make_folder(open_folder / "drop", NOBODY)
        assert secret.stat().st_uid == 0

    def test_by_the_hubs_own_user_without_root(self, open_folder: Path) -> None:
        state_of(open_folder, NOBODY)
        os.chown(open_folder, NOBODY.uid, NOBODY.gid)
        os.seteuid(NOBODY.uid)
        try:
            ownership.make_folder(open_folder / "drop", NOBODY)
            assert ownership.judge(open_folder / "drop", NOBODY).severity == "ok"
        finally:
            os.seteuid(0)

    def test_by_somebody_else_it_says_what_to_do(self, open_folder: Path) -> None:
        """Without root and without the right: nothing is made, or what is made is not the hub's."""
        open_folder.chmod(0o777)
        shut = open_folder / "shut"
        shut.mkdir()
        os.seteuid(SOMEBODY.uid)
        try:
            ownership.make_folder(open_folder / "drop", NOBODY)
            made = ownership.judge(open_folder / "drop", NOBODY)
            with pytest.raises(PermissionError):
                ownership.make_folder(shut / "drop", NOBODY)
            refused = ownership.judge(shut / "drop", NOBODY)
        finally:
            os.seteuid(0)
        assert f"chown {NOBODY} {open_folder / 'drop'}" in made.remedy
        assert refused.remedy == (
            f"Als root ausführen: install -d -m 0750 -o 65534 -g 65534 {shut / 'drop'}")
        for remedy in (made.remedy, refused.remedy):
            command = remedy.removeprefix("Als root ausführen: ").partition(";")[0]
            subprocess.run(command, shell=True, check=True)
        assert writes_there(NOBODY, open_folder / "drop")
        assert writes_there(NOBODY, shut / "drop")

    def test_without_a_state_the_units_user_is_asked(self, open_folder: Path) -> None:
        assert ownership.hub_account(open_folder / "fehlt", "nobody") == NOBODY
        assert ownership.hub_account(state_of(open_folder, Account(0, 0)), "nobody") == NOBODY
        assert ownership.hub_account(open_folder / "state", "den gibt es nicht") == Account(0, 0)


def test_nobody_knows_the_hubs_user(tmp_path: Path) -> None:
    assert ownership.hub_account(tmp_path / "fehlt", "den gibt es nicht") is None
    ownership.make_folder(tmp_path / "drop", None)
    finding = ownership.judge(tmp_path / "drop", None)
    assert (finding.severity, "nicht bekannt" in finding.text) == ("warning", True)


def test_a_share_that_is_not_mounted_is_told(tmp_path: Path) -> None:
    finding = ownership.judge(tmp_path / "mnt" / "drop", NOBODY)
    assert finding.severity == "warning"
    assert f"{tmp_path / 'mnt'} ist nicht da" in finding.text
