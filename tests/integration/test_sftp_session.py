"""SFTP as servers other than OpenSSH answer it: against a simulator (`tests.services.odd_sftp`)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors._layout import Plan
from connectors._sftp_client import FSYNC, POSIX_RENAME
from connectors._sftp_session import Session
from connectors.sftp import Options, Outlet
from hub.endpoint import Absent, Done, is_certain
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary
from tests.integration.contract import Effect, OutletContract, make_delivery
from tests.integration.drop_contract import DropContract
from tests.integration.drop_folder import NAME, DropFolder
from tests.services.odd_sftp import PASSWORD, USER, Manners, OddSftp

BARE = {errno.ENOENT: 2, errno.EACCES: 3, errno.EROFS: 12, errno.ENAMETOOLONG: 20}
"""Version 3 with what everybody has: "exists" and "full" are 4."""
LATER = {errno.ENOENT: 10, errno.EACCES: 3, errno.EEXIST: 11, errno.EROFS: 12, errno.ENOSPC: 14,
         errno.EDQUOT: 15, errno.ENOTDIR: 19, errno.ENAMETOOLONG: 20, errno.ELOOP: 21}
"""Codes of version 6, which some servers send in version 3 as well."""
LATIN = "Zugriff verweigert: Größe überschritten".encode("latin-1")


class Drop(DropFolder):
    """A folder that the simulator serves."""

    def __init__(self, root: Path, **manners: Any) -> None:
        (root / "files").mkdir(exist_ok=True)
        super().__init__(root / "files")
        self.manners = Manners(**manners)
        self.server = OddSftp(self.root, self.manners)
        self.password = root / "password"
        self.password.write_text(PASSWORD)
        self.outlets: list[Outlet] = []

    def outlet(self, **options: Any) -> Outlet:
        values: dict[str, Any] = {
            "host": "127.0.0.1", "port": self.server.port, "user": USER, "password": f"file:{self.password}",
            "host_key": [self.server.host_key], "path": str(self.root), "timeout": 30}
        self.outlets.append(Outlet(Options(**(values | options))))
        return self.outlets[-1]

    def below(self, name: str) -> dict[str, Any]:
        return {"path": str(self.root / name)}

    def close(self) -> None:
        for outlet in self.outlets:
            outlet.close()
        self.server.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Drop]]:
    """Starts a server with these manners."""
    drops: list[Drop] = []

    def start(**manners: Any) -> Drop:
        drops.append(Drop(tmp_path, **({"codes": BARE} | manners)))
        return drops[-1]

    yield start
    for drop in drops:
        drop.close()


class Bare:
    """No extensions, no texts."""

    @pytest.fixture
    def receiver(self, serve: Callable[..., Drop]) -> Drop:
        return serve(text=None)


class TestBareServer(Bare, OutletContract):
    """Everything every outlet promises."""


class TestBareServerDrop(Bare, DropContract):
    """Everything every drop promises."""

    place = Session


class TestLaterServerDrop(DropContract):
    """Codes of version 6, texts that are no UTF-8, no kinds of things, and names of one case only."""

    place = Session

    @pytest.fixture
    def receiver(self, serve: Callable[..., Drop]) -> Drop:
        return serve(codes=LATER, text=LATIN, shows_modes=False, one_case=True)


def delivered(drop: Drop, **options: Any) -> Outlet:
    """It arrives, once, and is found again."""
    outlet = drop.outlet(**options)
    receipt = outlet.deliver(make_delivery(), Effect())
    assert drop.names() == [receipt.reference]
    assert outlet.probe(make_delivery()) == Done(receipt)
    return outlet


def lacking(outlet: Outlet) -> list[str]:
    """What `check` warns of, by its first words; each with a next step."""
    ok, *warnings = outlet.check()
    assert ok.severity == "ok"
    assert {finding.severity for finding in warnings} <= {"warning"}
    assert all(finding.remedy for finding in warnings)
    return [finding.text.partition(":")[0] for finding in warnings]


class TestWhatAServerLacks:
    """It delivers all the same, and `check` says it."""

    def test_what_is_not_announced_is_never_asked_for(self, serve: Callable[..., Drop]) -> None:
        drop = serve()
        outlet = delivered(drop)
        assert not [name for name in drop.manners.asked if "@" in name]
        assert lacking(outlet) == ["Der Server bietet fsync@openssh.com nicht an",
                                   "Der Server bietet posix-rename@openssh.com nicht an"]

    def test_what_is_announced_is_used(self, serve: Callable[..., Drop]) -> None:
        drop = serve(announced=(FSYNC, POSIX_RENAME))
        outlet = delivered(drop)
        asked = drop.manners.asked
        assert (asked.count(FSYNC.decode()), asked.count(POSIX_RENAME.decode()), asked.count("rename")) == (
            5, 1, 0)
        assert lacking(outlet) == []

    @pytest.mark.parametrize("code", [3, 4, 5, 8])
    @pytest.mark.parametrize("text", [None, b"", LATIN, b"Operation unsupported", b"Failure"])
    def test_a_rename_that_is_announced_and_fails(self, serve: Callable[..., Drop], code: int,
                                                  text: bytes | None) -> None:
        drop = serve(announced=(POSIX_RENAME,), answers={POSIX_RENAME.decode(): code}, text=text)
        outlet = delivered(drop)
        outlet.deliver(make_delivery(number=2), Effect())
        assert drop.manners.asked.count("rename") == 2

    @pytest.mark.parametrize("code", [3, 5, 8])
    def test_a_sync_that_is_announced_and_not_there(self, serve: Callable[..., Drop], code: int) -> None:
        drop = serve(announced=(FSYNC,), answers={FSYNC.decode(): code})
        outlet = delivered(drop)
        assert drop.manners.asked.count(FSYNC.decode()) == 1
        assert "Der Server bietet fsync@openssh.com nicht an" in lacking(outlet)

    @pytest.mark.parametrize(("code", "text"), [(4, b"unsupported"), (14, None), (15, LATIN)])
    def test_a_sync_that_fails_is_an_error(self, serve: Callable[..., Drop], code: int,
                                           text: bytes | None) -> None:
        """Whatever its text says: the disk there did not take the file."""
        drop = serve(announced=(FSYNC,), answers={FSYNC.decode(): code}, text=text)
        nothing_begins(drop, Temporary, "Server")

    def test_without_lstat_links_stay_unseen_and_it_is_said(self, serve: Callable[..., Drop]) -> None:
        outlet = delivered(serve(answers={"lstat": 8}))
        assert "Der Server kennt lstat nicht" in lacking(outlet)

    def test_without_folders_one_file_goes(self, serve: Callable[..., Drop]) -> None:
        drop = serve(answers={"mkdir": 8})
        nothing_begins(drop, Misconfigured, 'layout = "single"')
        delivered(drop, layout="single")

    def test_without_any_rename(self, serve: Callable[..., Drop]) -> None:
        drop = serve(answers={"rename": 8})
        error, *_ = drop.outlet().check()
        assert error.severity == "error"
        assert "rename" in error.text
        assert drop.names() == []

    @pytest.mark.parametrize("overwrites", [False, True])
    def test_the_plain_rename_never_meets_a_name_that_is_taken(self, serve: Callable[..., Drop],
                                                               overwrites: bool) -> None:
        """Whatever the server would do then."""
        drop = serve(overwrites=overwrites)
        taken = drop.put(f"{NAME}.xml", b"fremd")
        outlet = drop.outlet(layout="single")
        assert outlet.deliver(make_delivery(), Effect()).reference == f"{NAME}-2.xml"
        assert taken.read_bytes() == b"fremd"

    @pytest.mark.parametrize("code", [4, 5, 11])
    def test_a_name_taken_at_the_very_rename_is_found_by_looking(self, serve: Callable[..., Drop],
                                                                 code: int) -> None:
        """The server says no by whatever code: nothing was renamed, for certain."""
        drop = serve(codes=BARE | {errno.EEXIST: code})

        def at_the_rename(name: str) -> None:
            if name == "rename":
                drop.put(f"{NAME}/fremd.txt", b"fremd")

        drop.manners.before = at_the_rename
        with pytest.raises(Temporary, match="im letzten Augenblick vergeben") as raised:
            drop.outlet().deliver(make_delivery(), Effect())
        assert is_certain(raised.value)
        assert drop.names() == [NAME]

    def test_a_rename_that_acts_and_fails_is_in_doubt(self, serve: Callable[..., Drop]) -> None:
        drop = serve(answers={"rename": 4})

        def act(name: str) -> None:
            if name == "rename":
                (drop.root / Plan("", NAME, True, ()).hidden()).rename(drop.root / NAME)

        drop.manners.before = act
        outlet = drop.outlet()
        with pytest.raises(Temporary) as raised:
            outlet.deliver(make_delivery(), Effect())
        assert not is_certain(raised.value)
        assert isinstance(outlet.probe(make_delivery()), Done)


def nothing_begins(drop: Drop, kind: type[DeliveryError], text: str) -> None:
    """The right kind of error before the effect, and nothing stays."""
    effect = Effect()
    with pytest.raises(kind, match=text):
        drop.outlet().deliver(make_delivery(), effect)
    assert effect.begun == 0
    assert drop.names() == []


class TestWhatAServerSays:
    """Every code has its meaning, whatever the text."""

    @pytest.mark.parametrize("text", [None, LATIN, b"No such file", b"unsupported"])
    @pytest.mark.parametrize(("code", "kind", "said"), [
        (2, Misconfigured, "fehlt"), (3, Misconfigured, "verweigert"), (4, Temporary, "ohne Angabe"),
        (5, Temporary, "SFTP-Code 5"), (6, Temporary, "abgerissen"), (7, Temporary, "abgerissen"),
        (8, Misconfigured, "kennt eine Anfrage nicht"), (9, Temporary, "SFTP-Code 9"),
        (10, Misconfigured, "fehlt"), (12, Misconfigured, "nur lesbar"), (13, Temporary, "Datenträger"),
        (14, Temporary, "voll"), (15, Temporary, "Kontingent"), (17, Temporary, "SFTP-Code 17"),
        (19, Misconfigured, "kein Ordner"), (20, Permanent, "zu lang"), (21, Misconfigured, "Verknüpfung"),
        (4711, Temporary, "SFTP-Code 4711")])
    def test_of_a_new_file(self, serve: Callable[..., Drop], code: int, kind: type[DeliveryError], said: str,
                           text: bytes | None) -> None:
        nothing_begins(serve(answers={"open": code}, text=text), kind, said)

    @pytest.mark.parametrize("request_name", ["mkdir", "write", "close"])
    @pytest.mark.parametrize(("code", "kind", "said"), [
        (4, Temporary, "ohne Angabe"), (14, Temporary, "voll"), (15, Temporary, "Kontingent"),
        (12, Misconfigured, "nur lesbar"), (4711, Temporary, "SFTP-Code 4711")])
    def test_of_folders_pieces_and_ends(self, serve: Callable[..., Drop], request_name: str, code: int,
                                        kind: type[DeliveryError], said: str) -> None:
        """A quota may speak only when a file is closed, which paramiko would not tell."""
        nothing_begins(serve(answers={request_name: code}), kind, said)

    def test_everything_is_a_failure(self, serve: Callable[..., Drop]) -> None:
        """Also "there is nothing": then the folder is listed."""
        drop = serve(codes={})
        outlet = delivered(drop)
        assert outlet.probe(make_delivery(number=2)) == Absent()
        drop.put(f"{NAME.replace(make_delivery().id, make_delivery(number=3).id)}/x", b"fremd")
        assert outlet.deliver(make_delivery(number=3, attempt=2), Effect()).reference.endswith("-2")

    def test_names_that_are_no_utf_8(self, serve: Callable[..., Drop]) -> None:
        """A clerk's file among the deliveries, and one in a left-over: neither stops anything."""
        drop = serve()
        clerk = os.fsencode(drop.root) + "/Größe.txt".encode("latin-1")
        Path(os.fsdecode(clerk)).write_bytes(b"fremd")
        left = drop.put(f".{NAME}.0badcafe.part")
        Path(os.fsdecode(os.fsencode(left) + "/ä.pdf".encode("latin-1"))).write_bytes(b"halb")
        drop.outlet().deliver(make_delivery(attempt=2), Effect())
        assert {os.fsencode(name) for name in drop.names()} == {clerk.rpartition(b"/")[2], NAME.encode()}
