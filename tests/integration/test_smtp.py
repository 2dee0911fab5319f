"""Mail: the contract against a real Postfix and against a sink that says what no real server says at will."""

from __future__ import annotations

import email
import email.policy
import smtplib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
from pydantic import ValidationError

from connectors import smtp
from connectors._mail import Mail
from connectors.smtp import Options, Outlet
from hub.endpoint import is_certain
from hub.errors import Misconfigured, Permanent, Temporary, TooLarge
from hub.message import Delivery
from tests.integration.contract import (
    APPLICATION,
    MESSAGE,
    Arrival,
    Effect,
    NetworkContract,
    make_delivery,
)
from tests.services import wait_until
from tests.services.mailsink import MailSink
from tests.services.postfix import Postfix
from tests.services.proxy import Proxy

TO = "antraege@musterstadt.example"


class Authority:
    """A test CA, and a server certificate for localhost."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        ca.cert_pem.write_to_path(str(self.ca_file))
        self.certificate = ca.issue_cert("localhost")

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.certificate.configure_cert(context)
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def postfix(authority: Authority) -> Iterator[Postfix]:
    server = Postfix(b"".join(pem.bytes() for pem in authority.certificate.cert_chain_pems),
                     authority.certificate.private_key_pem.bytes())
    yield server
    server.close()


def parsed(content: bytes) -> email.message.EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.default)


def as_arrival(content: bytes) -> Arrival:
    """As a mail program shows it; line ends of texts as in the file."""
    message, bodies = parsed(content), {}
    for part in message.walk():
        if part.is_multipart():
            continue
        body = part.get_payload(decode=True)
        assert isinstance(body, bytes)
        if part.get_content_disposition() == "attachment":
            bodies[str(part.get_filename())] = body
        elif b"liegt dieser Mail als Datei bei" not in body:
            bodies[part.get_content_subtype()] = body.replace(b"\r\n", b"\n").rstrip(b"\n")
    return Arrival(str(message["Message-ID"]), bodies, content)


class Mailbox:
    """A mail server behind a proxy."""

    def __init__(self, server: MailSink | Postfix, authority: Authority) -> None:
        self.server = server
        self.authority = authority
        self.proxy = Proxy(server.port)
        self.outlets: list[Outlet] = []

    def close(self) -> None:
        for outlet in self.outlets:
            outlet.close()
        self.proxy.close()
        if isinstance(self.server, MailSink):
            self.server.close()

    def outlet(self, **options: Any) -> Outlet:
        values: dict[str, Any] = {"host": "localhost", "port": self.proxy.port,
                                  "ca_file": self.authority.ca_file,
                                  "from": "Drehscheibe Sachsen <hub@drehscheibe.example>", "to": [TO]}
        self.outlets.append(Outlet(Options(**(values | options))))
        return self.outlets[-1]

    def impatient(self) -> Outlet:
        return self.outlet(timeout=3, final_timeout=3)

    def mails(self) -> list[bytes]:
        return list(self.server.mails) if isinstance(self.server, MailSink) else self.server.mails()

    def arrivals(self) -> list[Arrival]:
        return [as_arrival(mail) for mail in self.mails()]

    def inventory(self) -> object:
        return self.mails()

    def refuse(self) -> None:
        assert isinstance(self.server, MailSink)
        self.server.replies["DATA"] = "554 5.7.1 no"

    def relent(self) -> None:
        assert isinstance(self.server, MailSink)
        del self.server.replies["DATA"]

    def wait_for_arrivals(self, count: int) -> None:
        wait_until(lambda: len(self.mails()) >= count, "the mail has arrived")

    def stop(self) -> None:
        self.proxy.close()

    def drop_connections(self) -> None:
        self.proxy.drop()


@pytest.fixture
def sink(authority: Authority) -> Iterator[Mailbox]:
    server = MailSink(authority.server_context())
    mailbox = Mailbox(server, authority)
    yield mailbox
    mailbox.close()


@pytest.fixture
def post_office(authority: Authority, postfix: Postfix) -> Iterator[Mailbox]:
    postfix.empty()
    mailbox = Mailbox(postfix, authority)
    yield mailbox
    mailbox.close()


class MailContract(NetworkContract):
    """What a mail program makes of it: texts end without empty lines, everything else byte for byte."""

    def same_bytes(self, arrival: Arrival, delivery: Delivery) -> None:
        expected = [delivery.read(part) for part in delivery.manifest.parts]
        texts = len(delivery.manifest.of_role("text", "html"))
        expected[:texts] = [body.rstrip(b"\n") for body in expected[:texts]]
        assert sorted(arrival.bodies.values()) == sorted(expected)

    def test_the_suite_notices_a_new_message_id_per_try(self, receiver: Any,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
        real = smtp.build

        def build(options: Options, delivery: Delivery) -> Mail:
            mail = real(options, delivery)
            fresh = f"{mail.message_id[:-1]}.{delivery.attempt}>"
            first = mail.pieces[0]
            assert isinstance(first, bytes)
            return Mail(fresh, (first.replace(mail.message_id.encode(), fresh.encode()), *mail.pieces[1:]))

        monkeypatch.setattr(smtp, "build", build)
        with pytest.raises(AssertionError):
            self.test_a_second_try_is_the_same_thing(receiver)


class TestSink(MailContract):
    """Against aiosmtpd."""

    @pytest.fixture
    def receiver(self, sink: Mailbox) -> Mailbox:
        return sink


class TestPostfix(MailContract):
    """Against the real thing, which cannot be told to say no after the dot: `TestSink` can."""

    test_a_clear_no_after_the_effect_is_certain = test_the_suite_notices_a_no_that_is_not_marked = None  # type: ignore[assignment]

    @pytest.fixture
    def receiver(self, post_office: Mailbox) -> Mailbox:
        return post_office

    def test_refusals_by_recipient(self, receiver: Mailbox) -> None:
        outlet = receiver.outlet(to=[TO, "weg@musterstadt.example"])
        receipt = outlet.deliver(make_delivery(), Effect())
        assert receipt.detail["to[0]"].startswith("250")
        assert receipt.detail["to[1]"] == "550 5.1.1"
        assert receipt.detail["refused"] == "to[1] (550 5.1.1)"
        assert receipt.detail["queue_id"]
        receiver.wait_for_arrivals(1)
        assert len(receiver.arrivals()) == 1

    def test_everybody_refused_for_now_or_for_ever(self, receiver: Mailbox) -> None:
        for mailbox, kind in (("voll", Temporary), ("spaeter", Temporary), ("weg", Permanent)):
            effect, outlet = Effect(), receiver.outlet(to=[f"{mailbox}@musterstadt.example"])
            with pytest.raises(kind) as raised:
                outlet.deliver(make_delivery(attempt=9), effect)
            assert is_certain(raised.value)
            assert "Mustermann" not in str(raised.value)
            assert mailbox not in str(raised.value)
            assert effect.begun == 0
            assert [finding.severity for finding in outlet.check()][-1] in ("warning", "error")
        assert receiver.arrivals() == []


class TestConversation:
    """What the server says, and what that means."""

    @pytest.mark.parametrize(("step", "reply", "kind", "begun"), [
        ("MAIL", "451 4.3.0 later", Temporary, 0), ("MAIL", "421 4.3.2 closing", Temporary, 0),
        ("MAIL", "550 5.7.1 no", Permanent, 0), ("MAIL", "552 5.3.4 too big", TooLarge, 0),
        ("MAIL", "530 5.7.0 login", Misconfigured, 0),
        (TO, "550 5.1.1 Erika Mustermann moved", Permanent, 0), (TO, "450 4.7.1 greylisted", Temporary, 0),
        (TO, "421 4.3.2 closing", Temporary, 0),
        ("DATA", "451 4.3.0 later", Temporary, 1), ("DATA", "554 5.7.1 virus", Permanent, 1),
        ("MAIL", "554 rejected from 192.0.5.3.4", Permanent, 0),
        (TO, "550 Mail Server 5.3.4 refuses Erika Mustermann", Permanent, 0),
        ("DATA", "554 4.3.4 of another class", Permanent, 1), ("DATA", "554 5.3.4.7 no code", Permanent, 1),
        ("DATA", "554 5.3.4 too big", TooLarge, 1), ("DATA", "552 too big", TooLarge, 1),
        ("DATA", "552 5.2.2 mailbox full", Permanent, 1)])
    def test_the_first_digit_decides(self, sink: Mailbox, step: str, reply: str, kind: type[Exception],
                                     begun: int) -> None:
        assert isinstance(sink.server, MailSink)
        sink.server.replies[step] = reply
        effect, outlet = Effect(), sink.outlet()
        with pytest.raises(kind) as raised:
            outlet.deliver(make_delivery(), effect)
        assert type(raised.value) is kind
        assert is_certain(raised.value), "the server itself said so"
        assert effect.begun == begun
        assert reply[:3] in str(raised.value)
        assert "Mustermann" not in str(raised.value)
        sink.server.replies.clear()
        outlet.deliver(make_delivery(attempt=2), Effect())
        assert len(sink.mails()) == 1

    @pytest.mark.parametrize(("reply", "told"), [
        ("550 rejected from 192.0.2.5.1", "550"), ("550 5.1.1.7 blocked", "550"), ("550 see 5.1.1", "550"),
        ("550 5.1.1", "550 5.1.1"), ("550 5.7.1 from 5.1.1.2", "550 5.7.1"), ("550 2.1.5 no", "550"),
        ("550 5.7.999 rejected", "550 5.7.999"), ("550 (5.1.1) no", "550"), ("550 5.1.1:no", "550")])
    def test_only_a_code_in_its_place_is_told(self, sink: Mailbox, reply: str, told: str) -> None:
        """RFC 2034 §4: first in the text; an address or a version is none."""
        assert isinstance(sink.server, MailSink)
        sink.server.replies[TO] = reply
        with pytest.raises(Permanent) as raised:
            sink.outlet().deliver(make_delivery(), Effect())
        assert f"({told})" in str(raised.value)

    def test_the_envelope_names_everybody_and_where_failures_go(self, sink: Mailbox) -> None:
        outlet = sink.outlet(cc=["Kämmerei <kasse@musterstadt.example>"],
                             bounces="fehler@drehscheibe.example")
        outlet.deliver(make_delivery(), Effect())
        assert isinstance(sink.server, MailSink)
        assert sink.server.envelopes == [("fehler@drehscheibe.example", (TO, "kasse@musterstadt.example"))]

    def test_a_header_that_steers_the_mail_is_refused(self, sink: Mailbox) -> None:
        with pytest.raises(Misconfigured, match="nicht erlaubt"):
            sink.outlet().deliver(make_delivery(manifest={"headers": {"Bcc": "x@example.org"}}), Effect())

    def test_a_no_stays_one_when_the_line_breaks_after_it(self, sink: Mailbox,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise smtplib.SMTPServerDisconnected

        assert isinstance(sink.server, MailSink)
        sink.server.replies[TO] = "550 5.1.1 no"
        monkeypatch.setattr(smtplib.SMTP, "rset", broken)
        monkeypatch.setattr(smtplib.SMTP, "quit", broken)
        with pytest.raises(Permanent):
            sink.outlet().deliver(make_delivery(), Effect())

    def test_one_of_two_for_ever_does_not_keep_the_other_waiting(self, sink: Mailbox) -> None:
        assert isinstance(sink.server, MailSink)
        sink.server.replies["b@musterstadt.example"] = "550 5.1.1 no"
        receipt = sink.outlet(to=[TO, "b@musterstadt.example"]).deliver(make_delivery(), Effect())
        assert receipt.detail["refused"] == "to[1] (550 5.1.1)"
        assert sink.server.envelopes[0][1] == (TO,)

    def test_one_of_two_for_now_holds_the_mail_back_for_a_while(self, sink: Mailbox) -> None:
        assert isinstance(sink.server, MailSink)
        sink.server.replies["b@musterstadt.example"] = "450 4.2.1 later"
        outlet, effect = sink.outlet(to=[TO, "b@musterstadt.example"], wait_for_all=2), Effect()
        for attempt in (1, 2):
            with pytest.raises(Temporary, match=r"to\[1\] \(450 4\.2\.1\)"):
                outlet.deliver(make_delivery(attempt=attempt), effect)
        assert (sink.mails(), effect.begun) == ([], 0)
        receipt = outlet.deliver(make_delivery(attempt=3), effect)
        assert receipt.detail["refused"] == "to[1] (450 4.2.1)"
        assert [envelope[1] for envelope in sink.server.envelopes] == [(TO,)]

    def test_too_large_by_configuration(self, sink: Mailbox) -> None:
        with pytest.raises(TooLarge):
            sink.outlet(max_bytes=1000).deliver(make_delivery(), Effect())
        assert sink.proxy.connections == 0

    def test_too_large_by_the_servers_word(self, authority: Authority) -> None:
        server = MailSink(authority.server_context(), max_bytes=1000)
        mailbox = Mailbox(server, authority)
        effect, outlet = Effect(), mailbox.outlet()
        with pytest.raises(TooLarge, match="1000"):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 0
        assert server.commands == []
        mailbox.close()

    def test_nothing_waits_for_an_acknowledgement_of_tcp(self, sink: Mailbox,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
        """Nagle's algorithm holds the final dot back for 40 ms: 22 mails a second instead of 500."""
        seen: list[int] = []
        getreply = smtplib.SMTP.getreply

        def watching(server: smtplib.SMTP) -> tuple[int, bytes]:
            if server.sock is not None:
                seen.append(server.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            return getreply(server)

        monkeypatch.setattr(smtplib.SMTP, "getreply", watching)
        sink.outlet().deliver(make_delivery(), Effect())
        assert seen[-1], "when the answer to the dot is awaited"

    def test_the_size_is_announced(self, sink: Mailbox) -> None:
        sink.outlet().deliver(make_delivery(), Effect())
        assert isinstance(sink.server, MailSink)
        assert sink.server.commands == [f"MAIL SIZE={len(sink.mails()[0])}"]

    def test_a_damaged_body_never_becomes_half_a_mail(self, sink: Mailbox) -> None:
        def damaged(blob: str) -> Any:
            raise Permanent("Der gespeicherte Inhalt ist beschädigt.")

        outlet = sink.outlet()
        with pytest.raises(Permanent):
            outlet.deliver(make_delivery(APPLICATION[2:], open_blob=damaged), Effect())
        outlet.deliver(make_delivery(), Effect())
        assert len(sink.mails()) == 1


class TestTrust:
    """TLS and login."""

    def test_an_unknown_certificate(self, sink: Mailbox, tmp_path: Path) -> None:
        outlet = sink.outlet(ca_file=Authority(tmp_path).ca_file)
        with pytest.raises(Misconfigured, match="Zertifikat"):
            outlet.deliver(make_delivery(), Effect())
        assert [finding.severity for finding in outlet.check()] == ["error"]

    def test_another_host_name(self, sink: Mailbox) -> None:
        with pytest.raises(Misconfigured, match="Zertifikat"):
            sink.outlet(host="127.0.0.1").deliver(make_delivery(), Effect())

    def test_a_server_without_starttls_gets_nothing(self, authority: Authority) -> None:
        server = MailSink()
        mailbox = Mailbox(server, authority)
        with pytest.raises(Misconfigured, match="STARTTLS"):
            mailbox.outlet().deliver(make_delivery(), Effect())
        mailbox.outlet(security="none").deliver(make_delivery(), Effect())
        assert len(server.mails) == 1
        mailbox.close()

    def test_login(self, authority: Authority, tmp_path: Path) -> None:
        server = MailSink(authority.server_context(), login=("hub", "geheim"))
        mailbox = Mailbox(server, authority)
        secret = tmp_path / "password"
        secret.write_text("falsch\n")
        outlet = mailbox.outlet(user="hub", password=f"file:{secret}")
        with pytest.raises(Misconfigured, match="535") as raised:
            outlet.deliver(make_delivery(), Effect())
        assert "falsch" not in str(raised.value)
        secret.write_text("geheim\n")
        outlet.deliver(make_delivery(), Effect())
        secret.unlink()
        outlet.close()
        with pytest.raises(Misconfigured, match="secret"):
            outlet.deliver(make_delivery(), Effect())
        assert len(server.mails) == 1
        mailbox.close()

    def test_check_names_the_days_of_the_certificate(self, sink: Mailbox) -> None:
        assert "Tage" in sink.outlet().check()[0].text


class TestOptions:
    """What `check` says about a configuration before anything runs."""

    GOOD: ClassVar = {
        "host": "mail.musterstadt.example", "from": "Hub <hub@musterstadt.example>", "to": [TO]}

    @pytest.mark.parametrize(("changes", "complaint"), [
        ({"security": "none"}, "in the clear"), ({"to": []}, "at least 1"),
        ({"to": ["kein Postfach"]}, "no mail address"),
        ({"to": ["a@müster.example"]}, "xn--"),
        ({"from": "a@b.example\nBcc: c@d.example"}, "no mail address"),
        ({"to": ["a@b.example, c@d.example"]}, "no mail address"), ({"user": "hub"}, "belong together"),
        ({"user": "hub", "password": "geheim"}, "named, never written"), ({"hosts": "x"}, "Extra"),
        ({"security": "none", "plaintext_accepted": True, "user": "u", "password": "file:/x"},
         "without TLS")])
    def test_refused(self, changes: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ValidationError, match=complaint):
            Options(**(self.GOOD | changes))

    def test_every_option_is_described(self) -> None:
        assert [name for name, field in Options.model_fields.items() if not field.description] == []

    def test_the_ids_of_the_example_are_what_they_seem(self) -> None:
        assert make_delivery().message_id == MESSAGE
