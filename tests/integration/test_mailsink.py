"""The mail server for trying out, as the process that the demo starts."""

from __future__ import annotations

import mailbox
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from threading import Barrier

import pytest

from hub.demo.certificates import Authority

ROOT = Path(__file__).parents[2]


@dataclass
class Sink:
    """A running mail server."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    context: ssl.SSLContext

    def connect(self, *, tls: bool = True) -> smtplib.SMTP:
        """A session, with TLS unless asked otherwise."""
        session = smtplib.SMTP("localhost", self.port, timeout=10)
        if tls:
            session.starttls(context=self.context)
        return session

    def mails(self, address: str) -> list[mailbox.MaildirMessage]:
        """What lies in a mailbox; no mailbox is no mail."""
        place = self.folder / address
        return list(mailbox.Maildir(place, create=False)) if place.is_dir() else []


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    authority = Authority(tmp_path / "pki")
    pair = tmp_path / "pki/mail.pem", tmp_path / "pki/mail.key"
    authority.server(*pair)
    process = subprocess.Popen([sys.executable, "-m", "hub.demo.mail_server", "0", *map(str, pair),
                                str(tmp_path / "mail")],
                               cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    with process:
        try:
            port = int(process.stdout.readline())
            yield Sink(process, port, tmp_path / "mail",
                       ssl.create_default_context(cafile=str(authority.file)))
        finally:
            process.terminate()


def mail(*to: str, body: str = "Sehr geehrte Damen und Herren") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "hub@example.org", ", ".join(
        to), "Antrag auf Änderung"
    message.set_content(body)
    return message


def test_a_mail_lies_in_the_mailbox_of_each_recipient(sink: Sink) -> None:
    with sink.connect() as session:
        session.send_message(mail("Steuer@musterstadt.example", "kopie@musterstadt.example"))
    for address in ("steuer@musterstadt.example", "kopie@musterstadt.example"):
        [kept] = sink.mails(address)
        parsed = message_from_bytes(kept.as_bytes(), policy=policy.default)
        assert parsed["Subject"] == "Antrag auf Änderung"
        assert b"Sehr geehrte" in kept.as_bytes()


def test_mails_at_the_same_moment_all_find_a_new_mailbox(sink: Sink) -> None:
    """A mailbox is made in steps: half of it stood there when two connections brought its first mails at
    once."""
    addresses = [f"amt{number}@musterstadt.example" for number in range(25)]
    with ThreadPoolExecutor(4) as pool, ExitStack() as sessions:
        together = Barrier(4)

        def send(session: smtplib.SMTP) -> None:
            for address in addresses:
                together.wait(30)
                session.send_message(mail(address))

        for done in [pool.submit(send, sessions.enter_context(sink.connect())) for _ in range(4)]:
            done.result(60)
    assert [len(sink.mails(address)) for address in addresses] == [4] * len(addresses)


def test_a_mailbox_that_cannot_be_written_is_no_fault_of_the_mail(sink: Sink) -> None:
    (sink.folder / "voll@musterstadt.example").write_bytes(b"")
    with sink.connect() as session, pytest.raises(smtplib.SMTPDataError,
                                                  match="could not be kept") as refused:
        session.send_message(mail("voll@musterstadt.example"))
    assert refused.value.smtp_code == 451


def test_a_large_mail_is_kept_whole(sink: Sink) -> None:
    message = mail("steuer@musterstadt.example")
    message.add_attachment(bytes(range(256)) * 60_000, maintype="application", subtype="octet-stream",
                           filename="a.bin")
    with sink.connect() as session:
        session.send_message(message)
    [kept] = sink.mails("steuer@musterstadt.example")
    assert kept.get_payload()[1].get_payload(decode=True) == bytes(range(256)) * 60_000


def test_without_tls_nothing_is_taken(sink: Sink) -> None:
    with sink.connect(tls=False) as session, pytest.raises(smtplib.SMTPException, match="STARTTLS"):
        session.send_message(mail("steuer@musterstadt.example"))
    assert sink.mails("steuer@musterstadt.example") == []


@pytest.mark.parametrize("address",
                         ["../../etc@example.org", "a/b@example.org", ".@example.org", '"a b"@example.org'])
def test_a_mailbox_name_never_becomes_a_path(sink: Sink, address: str) -> None:
    with sink.connect() as session, pytest.raises(smtplib.SMTPRecipientsRefused):
        session.sendmail("hub@example.org", [address], b"Subject: x\r\n\r\nx\r\n")
    assert list(sink.folder.iterdir()) == []


def test_it_ends_with_who_started_it(sink: Sink) -> None:
    assert sink.process.stdin
    sink.process.stdin.close()
    assert sink.process.wait(10) == 0


def test_it_ends_on_sigterm(sink: Sink) -> None:
    sink.process.terminate()
    assert sink.process.wait(10) == 0
