"""SFTP against a real OpenSSH server."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pydantic import ValidationError

from connectors import _layout, sftp
from connectors._sftp_client import Writing
from connectors._sftp_session import Session
from connectors.sftp import Options, Outlet, fingerprint
from hub.endpoint import Absent
from hub.errors import Misconfigured, Temporary
from tests.integration.contract import Effect, NetworkContract, make_delivery
from tests.integration.drop_contract import DropContract
from tests.integration.drop_folder import NAME, DropFolder
from tests.services import need, wait_until
from tests.services.openssh import OpenSsh
from tests.services.proxy import Proxy

SERVER = "/usr/lib/openssh/sftp-server"
OLDEST = "open,close,read,write,lstat,fstat,opendir,readdir,remove,mkdir,rmdir,stat,rename"
"""What version 3 has and a drop needs: no extension at all."""
FULL = "trap '' XFSZ\nulimit -f 512\nexec /usr/lib/openssh/sftp-server\n"  # no file may grow beyond 512 KB


class Drop(DropFolder):
    """A folder on an SFTP server behind a proxy."""

    def __init__(self, server: OpenSsh) -> None:
        super().__init__(server.files)
        self.server = server
        self.proxy = Proxy(server.port)
        self.outlets: list[Outlet] = []

    def outlet(self, **options: Any) -> Outlet:
        values: dict[str, Any] = {"host": "127.0.0.1", "port": self.proxy.port, "user": self.server.user,
                                  "key": f"file:{self.server.key}", "host_key": [self.server.host_key],
                                  "path": str(self.root), "connect_timeout": 30, "auth_timeout": 30,
                                  "timeout": 30}
        self.outlets.append(Outlet(Options(**(values | options))))
        return self.outlets[-1]

    def impatient(self) -> Outlet:
        return self.outlet(connect_timeout=3, timeout=3)

    def below(self, name: str) -> dict[str, Any]:
        return {"path": str(self.root / name)}

    def wait_for_arrivals(self, count: int) -> None:
        wait_until(lambda: len(self.arrivals()) >= count, "the files have arrived")

    def stop(self) -> None:
        self.server.kill()

    def drop_connections(self) -> None:
        self.proxy.drop()

    def close(self) -> None:
        try:
            for outlet in self.outlets:
                outlet.close()
            self.proxy.close()
        finally:
            self.server.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Drop]]:
    """Starts a server with these settings."""
    drops: list[Drop] = []

    def start(**settings: Any) -> Drop:
        drops.append(Drop(OpenSsh(tmp_path, **settings)))
        return drops[-1]

    yield start
    for drop in drops:
        drop.close()


@pytest.fixture
def receiver(serve: Callable[..., Drop]) -> Drop:
    return serve()


class TestSftp(NetworkContract):
    """Everything every outlet over TCP promises."""

    questions = 2  # whether the hidden name is no link, and the final name still free

    def test_an_answer_lost_before_the_rename(self, receiver: Drop) -> None:
        outlet, effect = receiver.impatient(), Effect(receiver.proxy.lose)
        with pytest.raises(Temporary):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 1
        receiver.proxy.behave()
        assert outlet.probe(make_delivery()) == Absent()

    def test_nothing_waits_for_an_acknowledgement_of_tcp(self, receiver: Drop) -> None:
        """Nagle's algorithm holds 40 KB back: 32 files a second instead of 700."""
        outlet = receiver.outlet()
        assert outlet.place().transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def test_a_killed_server_in_the_middle_of_a_session(self, receiver: Drop) -> None:
        outlet, effect = receiver.outlet(), Effect()
        outlet.deliver(make_delivery(), Effect())
        receiver.server.kill()
        with pytest.raises(Temporary):
            outlet.deliver(make_delivery(number=2), effect)
        assert effect.begun == 0
        receiver.server.start()
        outlet.deliver(make_delivery(number=2, attempt=2), effect)
        assert len(receiver.arrivals()) == 2

    def test_a_server_killed_after_the_effect_began(self, receiver: Drop) -> None:
        """Nothing was renamed, and the probe says so: the hidden folder is still there."""
        outlet, effect = receiver.outlet(collected=True), Effect(receiver.server.kill)
        with pytest.raises(Temporary):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 1
        receiver.server.start()
        assert outlet.probe(make_delivery()) == Absent()
        outlet.deliver(make_delivery(attempt=2), Effect())
        assert [path.name for path in receiver.root.iterdir()] == [NAME]


class TestSftpDrop(DropContract):
    """Everything every drop promises."""

    place = Session


class TestServers:
    """What servers do not take, do not know, or have no room for."""

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_check_leaves_nothing_where_renaming_is_refused(self, serve: Callable[..., Drop],
                                                            layout: str) -> None:
        drop = serve(sftp="internal-sftp -P posix-rename,rename")
        (finding,) = drop.outlet(layout=layout).check()
        assert finding.severity == "error"
        assert "verweigert" in finding.text
        assert drop.names() == []

    def test_a_server_that_takes_nothing(self, serve: Callable[..., Drop]) -> None:
        drop = serve(sftp="internal-sftp -R")
        effect, outlet = Effect(), drop.outlet()
        with pytest.raises(Misconfigured, match="verweigert"):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 0
        assert [finding.severity for finding in outlet.check()] == ["error"]

    @pytest.mark.parametrize("sftp", [
        "internal-sftp -P posix-rename,fsync", f"{SERVER} -P posix-rename,fsync", f"{SERVER} -p {OLDEST}"])
    def test_a_server_without_extensions(self, serve: Callable[..., Drop], sftp: str) -> None:
        """Neither fsync nor posix-rename: as many appliances are. It is delivered, and `check` warns."""
        drop = serve(sftp=sftp)
        outlet = drop.outlet()
        receipts = [outlet.deliver(make_delivery(number=number), Effect()) for number in (1, 2)]
        assert drop.names() == sorted(receipt.reference for receipt in receipts)
        ok, *lacks = outlet.check()
        assert (ok.severity, [finding.severity for finding in lacks]) == ("ok", ["warning", "warning"])
        for finding, name in zip(lacks, ("fsync@openssh.com", "posix-rename@openssh.com"), strict=True):
            assert finding.text.startswith(f"Der Server bietet {name} nicht an")
            assert "Den Betreiber des Servers bitten" in finding.remedy

    def test_a_server_that_lacks_nothing_is_not_complained_of(self, receiver: Drop) -> None:
        assert [finding.severity for finding in receiver.outlet().check()] == ["ok"]

    def test_the_plain_rename_overwrites_nothing(self, serve: Callable[..., Drop]) -> None:
        drop = serve(sftp=f"{SERVER} -P posix-rename,fsync")
        taken = drop.put(f"{NAME}.xml", b"fremd")
        outlet = drop.outlet(layout="single")
        assert outlet.deliver(make_delivery(), Effect()).reference == f"{NAME}-2.xml"
        with pytest.raises(Temporary, match="im letzten Augenblick"):
            outlet.deliver(make_delivery(number=2), Effect(lambda: drop.put(
                f"{NAME.replace(make_delivery().id, make_delivery(number=2).id)}.xml", b"fremd")))
        assert taken.read_bytes() == b"fremd"

    def test_a_login_that_prints_something_is_explained(self, serve: Callable[..., Drop]) -> None:
        outlet = serve(sftp="/bin/echo Willkommen auf dem Server").outlet()
        with pytest.raises(Temporary, match="spricht kein SFTP"):
            outlet.deliver(make_delivery(), Effect())

    def test_a_missing_marker_costs_no_connection(self, receiver: Drop) -> None:
        outlet = receiver.outlet(must_contain=".drehscheibe")
        for _ in range(2):
            with pytest.raises(Temporary, match=r"\.drehscheibe"):
                outlet.deliver(make_delivery(), Effect())
        assert receiver.proxy.connections == 1

    def full(self, serve: Callable[..., Drop]) -> Drop:
        drop = serve(sftp="/bin/sh {root}/full.sh")
        (drop.server.root / "full.sh").write_text(FULL)
        return drop

    @pytest.mark.parametrize("fault", [False, True])
    def test_every_single_write_is_answered_for(self, serve: Callable[..., Drop],
                                                monkeypatch: pytest.MonkeyPatch, fault: bool) -> None:
        """A server without room. The size alone would not tell a hole, so here the size always fits; the
        suite notices when the answers to pipelined writes are not read."""
        big = make_delivery([("xml", "a.xml", "application/xml", b"x" * 2_000_000)])
        sizes = {"xml": 2_000_000, "part": -1}
        monkeypatch.setattr(Session, "size", lambda self, path: sizes.get(path.rpartition(".")[2]))
        if fault:
            monkeypatch.setattr(Writing, "require_success", lambda self: None)
        outlet, effect = self.full(serve).outlet(), Effect()
        if fault:
            outlet.deliver(big, effect)
            assert effect.begun == 1, "the fault went unnoticed, as it must here"
        else:
            with pytest.raises(Temporary, match="voll"):
                outlet.deliver(big, effect)
            assert effect.begun == 0

    def test_no_room(self, serve: Callable[..., Drop]) -> None:
        drop, effect = self.full(serve), Effect()
        big = make_delivery([("xml", "a.xml", "application/xml", b"x" * 2_000_000)])
        with pytest.raises(Temporary):
            drop.outlet().deliver(big, effect)
        assert effect.begun == 0
        assert drop.inventory() == []

    def test_a_size_that_does_not_fit_is_noticed(self, receiver: Drop,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
        """The size is compared before anything becomes visible."""
        real = Session.size
        monkeypatch.setattr(Session, "size",
                            lambda self, path: 7 if path.endswith(".pdf") else real(self, path))
        effect = Effect()
        with pytest.raises(Temporary):
            receiver.outlet().deliver(make_delivery(), effect)
        assert effect.begun == 0
        assert receiver.arrivals() == []


def written_hidden_then_renamed(log: str, root: Path) -> None:
    """What the server itself saw: every file written hidden and closed, then one rename to the final name."""
    opened = re.findall(r'open "([^"]+)" flags WRITE', log)
    renames = re.findall(r'(posix-rename|rename) old "([^"]+)" new "([^"]+)"', log)
    assert opened
    places = {Path(path).relative_to(root).parts[0] for path in opened}
    hidden = all(place.startswith(".") and place.endswith(".part") for place in places)
    assert hidden, "not written below a hidden name"
    assert len(renames) == 1
    assert renames[0][0] == "posix-rename"
    assert Path(renames[0][2]).name == NAME
    assert log.rindex("close ", 0, log.index("posix-rename old")) > log.rindex("flags WRITE")


class TestOnTheServer:
    """The order of steps in the server's own log."""

    def deliver(self, serve: Callable[..., Drop]) -> tuple[str, Path]:
        drop = serve(sftp="/usr/lib/openssh/sftp-server -e -l DEBUG1 2>>{root}/sftp.log")
        drop.outlet().deliver(make_delivery(), Effect())
        drop.outlets[0].close()
        return (drop.server.root / "sftp.log").read_text(), drop.root

    def test_part_then_posix_rename(self, serve: Callable[..., Drop]) -> None:
        log, root = self.deliver(serve)
        written_hidden_then_renamed(log, root)
        assert log.count("fsync") >= 5

    def test_the_suite_notices_a_visible_name(self, serve: Callable[..., Drop],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_layout.Plan, "hidden", lambda self, slot=1: self.final() + "x")
        log, root = self.deliver(serve)
        with pytest.raises(AssertionError, match="hidden name"):
            written_hidden_then_renamed(log, root)


class TestTrust:
    """Host keys and logins."""

    def other_key(self, tmp_path: Path, kind: str = "ed25519") -> str:
        file = tmp_path / f"other_{kind}"
        keygen = need("ssh-keygen", "openssh-client")
        subprocess.run([keygen, "-q", "-t", kind, "-N", "", "-f", str(file)], check=True)
        return file.with_suffix(".pub").read_text().strip()

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_another_host_key_is_named_with_both_fingerprints(self, receiver: Drop, tmp_path: Path,
                                                              kind: str) -> None:
        other, effect = self.other_key(tmp_path, kind), Effect()
        outlet = receiver.outlet(host_key=[other])
        with pytest.raises(Misconfigured) as raised:
            outlet.deliver(make_delivery(), effect)
        for line in (other, receiver.server.host_key):
            assert fingerprint(sftp.key_bytes(line)) in str(raised.value)
        assert "publickey" not in receiver.server.log()
        assert effect.begun == 0

    def test_the_fingerprint_is_openssh_s(self, receiver: Drop) -> None:
        shown = subprocess.run(["ssh-keygen", "-lf", str(receiver.server.root / "host_ed25519.pub")],
                               capture_output=True, text=True, check=True).stdout
        assert fingerprint(sftp.key_bytes(receiver.server.host_key)) in shown

    @pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
    def test_other_kinds_of_key_and_a_change_of_keys(self, serve: Callable[..., Drop], tmp_path: Path,
                                                     kind: str) -> None:
        drop = serve(kind=kind)
        pins = tmp_path / "pins"
        pins.write_text(f"# old and new\n{self.other_key(tmp_path)}\n127.0.0.1 {drop.server.host_key}\n")
        drop.outlet(host_key=[f"file:{pins}"]).deliver(make_delivery(), Effect())
        assert len(drop.arrivals()) == 1

    def test_an_old_server_is_explained_in_plain_words(self, serve: Callable[..., Drop]) -> None:
        drop = serve(kind="rsa", more="HostKeyAlgorithms ssh-rsa")
        outlet = drop.outlet()
        with pytest.raises(Misconfigured, match=r"veraltet.*SHA-1.*aktualisiert"):
            outlet.deliver(make_delivery(), Effect())
        assert "veraltet" in outlet.check()[0].text

    def test_a_refused_key(self, receiver: Drop, tmp_path: Path) -> None:
        self.other_key(tmp_path)
        outlet = receiver.outlet(key=f"file:{tmp_path / 'other_ed25519'}")
        with pytest.raises(Misconfigured, match="Anmeldung"):
            outlet.deliver(make_delivery(), Effect())

    def test_a_missing_or_unreadable_key(self, receiver: Drop, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured, match="fehlt"):
            receiver.outlet(key=f"file:{tmp_path / 'keiner'}").deliver(make_delivery(), Effect())
        (tmp_path / "unfug").write_text("unfug")
        with pytest.raises(Misconfigured, match="nicht lesbar"):
            receiver.outlet(key=f"file:{tmp_path / 'unfug'}").deliver(make_delivery(), Effect())

    def test_a_key_with_a_password(self, receiver: Drop, tmp_path: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "geheim", "-f", str(receiver.server.key)], check=True,
                       stdout=subprocess.DEVNULL)
        with pytest.raises(Misconfigured, match="nicht lesbar"):
            receiver.outlet().deliver(make_delivery(), Effect())
        (tmp_path / "pw").write_text("geheim\n")
        receiver.outlet(key_password=f"file:{tmp_path / 'pw'}").deliver(make_delivery(), Effect())
        assert len(receiver.arrivals()) == 1

    def test_passwords(self, tmp_path: Path) -> None:
        """OpenSSH knows only real accounts, so a small server checks the password here."""
        (tmp_path / "pw").write_text("geheim\n")
        (tmp_path / "wrong").write_text("falsch\n")
        with PasswordServer("hub", "geheim") as server:
            options = {"host": "127.0.0.1", "port": server.port, "user": "hub", "host_key": [server.host_key],
                       "connect_timeout": 30, "auth_timeout": 30, "timeout": 30}
            outlet = Outlet(Options(**options, password=f"file:{tmp_path / 'wrong'}"))
            with pytest.raises(Misconfigured, match="Anmeldung"):
                outlet.deliver(make_delivery(), Effect())
            outlet = Outlet(Options(**options, password=f"file:{tmp_path / 'pw'}"))
            with pytest.raises(Temporary):
                outlet.deliver(make_delivery(), Effect())
            assert server.logins == [False, True]


    def test_a_password_where_only_keys_are_taken(self, receiver: Drop, tmp_path: Path) -> None:
        (tmp_path / "pw").write_text("geheim\n")
        outlet = receiver.outlet(key=None, password=f"file:{tmp_path / 'pw'}")
        with pytest.raises(Misconfigured, match="diese Art der Anmeldung"):
            outlet.deliver(make_delivery(), Effect())

    def test_a_server_that_falls_silent_at_the_login(self, tmp_path: Path) -> None:
        """Silence is no refusal."""
        (tmp_path / "pw").write_text("geheim\n")
        with PasswordServer("hub", "geheim", thinks=2) as server:
            outlet = Outlet(Options(host="127.0.0.1", port=server.port, user="hub",
                                    host_key=[server.host_key], password=f"file:{tmp_path / 'pw'}",
                                    auth_timeout=0.3))
            with pytest.raises(Temporary, match="verstummt"):
                outlet.deliver(make_delivery(), Effect())


class PasswordServer(paramiko.ServerInterface):
    """Takes a password, after `thinks` seconds, and offers nothing after it."""

    def __init__(self, user: str, password: str, thinks: float = 0) -> None:
        self.thinks = thinks
        self.login = (user, password)
        self.logins: list[bool] = []
        self.key = paramiko.RSAKey.generate(2048)
        self.host_key = f"ssh-rsa {self.key.get_base64()}"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.transports: list[paramiko.Transport] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(line)
            transport.add_server_key(self.key)
            self.transports.append(transport)
            transport.start_server(event=threading.Event(), server=self)

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        time.sleep(self.thinks)
        self.logins.append((username, password) == self.login)
        return paramiko.AUTH_SUCCESSFUL if self.logins[-1] else paramiko.AUTH_FAILED

    def __enter__(self) -> PasswordServer:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for transport in self.transports:
            transport.close()
        self.thread.join(5)


class TestOptions:
    """What `check` says about a configuration before anything runs."""

    KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9mSgkr0pXbQ0cZyS6wWmpPzLh0oWJ0m1m0yq0XcYxB"

    @pytest.mark.parametrize(("changes", "complaint"), [
        ({"host_key": []}, "at least 1"), ({"host_key": ["SHA256:abc"]}, "no host key"),
        ({"host_key": ["ssh-ed25519 !!"]}, "no base64"),
        ({"host_key": ["ssh-rsa " + KEY.split()[1]]}, "another kind"),
        ({"key": None}, "exactly one"), ({"password": "file:/x"}, "exactly one"),
        ({"key": "-----BEGIN"}, "never written"),
        ({"name": "{dog}_{id}"}, "unknown placeholder"), ({"pfad": "/"}, "Extra")])
    def test_refused(self, changes: dict[str, Any], complaint: str) -> None:
        good = {"host": "sftp.musterstadt.example", "user": "hub", "key": "file:/etc/key",
                "host_key": [self.KEY]}
        with pytest.raises(ValidationError, match=complaint):
            Options(**(good | changes))

    def test_every_option_is_described(self) -> None:
        assert [name for name, field in Options.model_fields.items() if not field.description] == []
