"""Mail and SFTP servers that drip, babble or fall silent end at the time-out, with their thread."""

from __future__ import annotations

import smtplib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from connectors import sftp, smtp
from connectors._smtp_line import Patient
from hub.endpoint import is_certain
from hub.errors import DeliveryError, Temporary
from tests.integration.contract import Effect, make_delivery
from tests.integration.test_http_limits import Ended
from tests.integration.test_sftp_session import Drop
from tests.integration.test_smtp import Authority
from tests.services import wait_until
from tests.services.dripping import Dripping

TIMEOUT = 1.0
HELLO, EHLO, OK = b"220 mx ESMTP\r\n", b"250-mx\r\n250 SIZE 0\r\n", b"250 ok\r\n"
DRIPS = b"250-nochmal\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def dripping() -> Iterator[Callable[..., Dripping]]:
    made: list[Dripping] = []

    def make(*how: Any, **options: Any) -> Dripping:
        made.append(Dripping(*how, **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def ended(outlet: Any, effect: Effect, content: bytes = b"<a/>", most: float = 6 * TIMEOUT) -> Ended:
    """A delivery, which must end by itself, with its threads."""
    delivery = make_delivery([("xml", "a.xml", "application/xml", content)])
    found = Ended(lambda: outlet.deliver(delivery, effect), 20 * TIMEOUT)
    assert found.took < most, found.took
    outlet.close()
    return found


def mail(port: int, **options: Any) -> smtp.Outlet:
    return smtp.Outlet(smtp.Options(**({
        "host": "localhost", "port": port, "security": "none", "timeout": TIMEOUT, "final_timeout": TIMEOUT,
        "from": "hub@example.org", "to": ["amt@musterstadt.example"]} | options)))


STEPS = {"banner": (), "EHLO": (HELLO,), "MAIL FROM": (HELLO, EHLO), "RCPT TO": (HELLO, EHLO, OK),
         "DATA": (HELLO, EHLO, OK, OK)}


class TestMail:
    @pytest.mark.parametrize("step", STEPS)
    @pytest.mark.parametrize(("forever", "pause"), [(DRIPS, 0.05), (b"2", 0.05), (DRIPS, 0)])
    def test_a_reply_that_never_ends(self, dripping: Callable[..., Dripping], step: str, forever: bytes,
                                     pause: float) -> None:
        server, effect = dripping(STEPS[step], forever, pause), Effect()
        found = ended(mail(server.port), effect)
        assert isinstance(found.error, Temporary), found.error
        assert effect.begun == 0
        assert server.gone.wait(5), "the line is still open"
        assert found.closed()

    def test_after_the_dot_nobody_knows(self, dripping: Callable[..., Dripping]) -> None:
        server, effect = dripping((HELLO, EHLO, OK, OK, b"354 go\r\n"), DRIPS), Effect()
        found = ended(mail(server.port), effect)
        assert isinstance(found.error, Temporary)
        assert (effect.begun, is_certain(found.error)) == (1, False)

    def test_starttls_that_never_comes(self, dripping: Callable[..., Dripping]) -> None:
        server, effect = dripping((HELLO, b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"), b"\x16"), Effect()
        assert isinstance(ended(mail(server.port, security="starttls"), effect).error, Temporary)
        assert server.gone.wait(5)

    def test_a_handshake_that_drips(self, dripping: Callable[..., Dripping]) -> None:
        server, effect = dripping((b"\x16\x03\x03\x40\x00",), b"\2"), Effect()
        assert isinstance(ended(mail(server.port, security="tls"), effect).error, Temporary)

    def test_replies_that_drip_within_tls(self, dripping: Callable[..., Dripping],
                                          authority: Authority) -> None:
        server = dripping((HELLO, b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"), DRIPS)
        server.script = (HELLO, b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n")
        server.context, effect = authority.server_context(), Effect()
        found = ended(mail(server.port, security="starttls", ca_file=str(authority.ca_file)), effect)
        assert isinstance(found.error, Temporary)
        assert effect.begun == 0

    def test_a_server_that_takes_nothing_of_the_mail(self, dripping: Callable[..., Dripping]) -> None:
        """One second more for every 4 KiB would be long here, so the mail is as small as fills the line."""
        server, effect = dripping((HELLO, EHLO, OK, OK, b"354 go\r\n"), b""), Effect()
        found = ended(mail(server.port), effect, b"x" * 40_000, 20 * TIMEOUT)
        assert isinstance(found.error, Temporary)

    def test_the_suite_notices_a_line_that_waits_for_ever(self, dripping: Callable[..., Dripping],
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
        """The library alone: each byte comes in time."""
        monkeypatch.setattr(Patient, "getreply", smtplib.SMTP.getreply)
        server, outlet = dripping((), DRIPS), mail(1)
        outlet.options = outlet.options.model_copy(update={"port": server.port})
        with pytest.raises(AssertionError, match="holds the thread"):
            Ended(lambda: outlet.deliver(make_delivery(), Effect()), 5 * TIMEOUT)


def our_transports() -> list[threading.Thread]:
    return [each for each in threading.enumerate()
            if isinstance(each, paramiko.Transport) and not each.server_mode]


class TestSftpBeforeTheSession:
    @pytest.mark.parametrize(("script", "forever", "pause"), [
        ((), b"S", 0.05), ((), b"Willkommen\r\n", 0.01), ((), b"Willkommen\r\n", 0),
        ((b"SSH-2.0-OddSftp\r\n",), b"\0", 0.05), ((b"SSH-2.0-OddSftp\r\n",), b"", 0)])
    def test_it_ends(self, dripping: Callable[..., Dripping], tmp_path: Path, script: tuple[bytes, ...],
                     forever: bytes, pause: float) -> None:
        (tmp_path / "password").write_text("geheim")
        key = paramiko.ECDSAKey.generate()
        server, effect = dripping(script, forever, pause), Effect()
        outlet = sftp.Outlet(sftp.Options(
            host="127.0.0.1", port=server.port, user="hub", password=f"file:{tmp_path / 'password'}",
            host_key=[f"{key.get_name()} {key.get_base64()}"], connect_timeout=TIMEOUT, auth_timeout=TIMEOUT,
            timeout=TIMEOUT))
        found = ended(outlet, effect)
        assert isinstance(found.error, Temporary), found.error
        assert effect.begun == 0
        wait_until(lambda: our_transports() == [], "the end of paramiko's thread")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Drop]]:
    drops: list[Drop] = []

    def start(**manners: Any) -> Drop:
        drops.append(Drop(tmp_path, **manners))
        return drops[-1]

    yield start
    for drop in drops:
        drop.manners.drips.clear()
        drop.manners.babbles.clear()
        drop.close()


def drop_ended(drop: Drop, content: bytes = b"<a/>", most: float = 6 * TIMEOUT) -> DeliveryError:
    found = ended(drop.outlet(timeout=TIMEOUT, connect_timeout=10, auth_timeout=10), Effect(), content, most)
    wait_until(lambda: our_transports() == [], "the end of paramiko's thread")
    assert isinstance(found.error, Temporary), found.error
    return found.error


class TestSftpWithinTheSession:
    @pytest.mark.parametrize("request_", ["version", "stat", "mkdir", "open", "write", "close", "lstat"])
    def test_an_answer_that_drips(self, serve: Callable[..., Drop], request_: str) -> None:
        drop_ended(serve(drips={request_}, pace=0.2))

    @pytest.mark.parametrize("request_", ["stat", "mkdir", "write", "lstat"])
    @pytest.mark.parametrize("pace", [0.05, 0])
    def test_answers_that_nobody_asked_for(self, serve: Callable[..., Drop], request_: str,
                                           pace: float) -> None:
        drop_ended(serve(babbles={request_}, pace=pace))

    def test_a_subsystem_that_is_never_answered(self, serve: Callable[..., Drop]) -> None:
        silent = threading.Event()
        drop = serve(silent=silent)
        drop_ended(drop)
        silent.set()

    @pytest.mark.parametrize("of_nothing", [True, False])
    def test_a_folder_without_end(self, serve: Callable[..., Drop], of_nothing: bool) -> None:
        drop = serve(of_nothing=of_nothing, pace=0.05)
        (drop.root / "endless").mkdir()
        session = drop.outlet(timeout=TIMEOUT).place()
        found = Ended(lambda: session.names(""), 20 * TIMEOUT)
        assert isinstance(found.error, TimeoutError), found.error
        session.close()

    def test_an_answer_of_a_length_that_none_has(self, serve: Callable[..., Drop]) -> None:
        drop_ended(serve(announced=tuple(b"x" * 1000 for _ in range(400))))

    def test_content_that_comes_slowly_enough_is_read(self, serve: Callable[..., Drop]) -> None:
        """A large file takes longer than one time-out, and still comes."""
        drop = serve()
        (drop.root / "a").write_bytes(b"x" * 200_000)
        session = drop.outlet(timeout=TIMEOUT).place()
        drop.manners.before = lambda name: threading.Event().wait(0.2 if name == "read" else 0)
        assert len(session.digest("a")) == 64
        session.close()
