"""Mail to a municipality's mailbox, over TLS, to the first relay that says 250.

What arrives
    One mail per delivery: the parts ``text`` and ``html`` as its body, every other part as a file. Its
    Message-ID comes from the delivery's id and its date from the delivery's creation, so every try sends the
    same bytes.
A second delivery
    is a second copy with the same Message-ID; mail cannot be asked (``repeat = "ask"``). A marked repetition
    has "möglicherweise doppelt: " before its subject, a test "[TEST] ".
When the effect begins
    Before the dot that ends the mail. A server that has not seen the dot throws away what it has (RFC 5321
    §4.1.1.4).
Several recipients
    Each has its outcome in the receipt. While one is refused with 4xx nobody gets the mail, for the first
    `wait_for_all` tries: it is tried again for all. After that, and when one is refused with 5xx, the others
    get it. The receipt then has the key ``refused``, which names those left out by their place in the
    configuration. Nobody gets it twice. Mailboxes that must not depend on each other are two destinations.
Temporary
    4xx, a lost connection, a time-out, a server that drips or never comes to an end (`_smtp_line`).
Permanent
    5xx for this mail. `TooLarge`: over `max_bytes` or the SIZE the server announced; a fallback destination
    may take it.
Misconfigured
    Certificate, login, a server without STARTTLS or one that turns us away with 5xx before the first mail.

Errors hold the server's codes, never its words: those may name people.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Literal

from pydantic import Field, model_validator

from connectors._mail import Mail, Mailbox, address, build, dots_doubled, gathered
from connectors._smtp_line import Endless, Patient, PatientTls
from hub.endpoint import (
    Authority,
    Finding,
    Needs,
    OptionsModel,
    OutletBase,
    SecretRef,
    is_certain,
    read_secret,
    refused,
)
from hub.errors import ConfigError, DeliveryError, Misconfigured, Permanent, Temporary, TooLarge
from hub.message import Delivery, Receipt


class Options(OptionsModel):
    """``connector = "smtp"``"""

    host: str = Field(description="the mail relay; its certificate must carry this name")
    port: int = Field(587, ge=1, le=65535, description="587 or 25 with starttls, 465 with tls")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="none only on this machine itself")
    plaintext_accepted: bool = Field(False, description="allow security none to another machine")
    ca_file: Authority | None = Field(None, description="certificates to trust instead of the system's")
    user: str | None = Field(None, description="login name")
    password: SecretRef | None = Field(None, description="login password")
    from_: Mailbox = Field(alias="from", description="sender, with or without a name")
    to: tuple[Mailbox, ...] = Field(min_length=1, description="recipients")
    cc: tuple[Mailbox, ...] = Field((), description="recipients of a copy")
    reply_to: Mailbox | None = Field(None, description="where answers go")
    bounces: Mailbox | None = Field(
        None, description="where the mail system reports failures; otherwise the sender")
    helo: str | None = Field(None, description="our name in EHLO; otherwise this machine's")
    timeout: float = Field(60, gt=0, description="seconds for each step as a whole; for the mail itself one "
                                                 "more for every 4 KiB")
    final_timeout: float = Field(300, gt=0, description="seconds for the answer after the last byte")
    max_bytes: int | None = Field(None, gt=0, description="largest mail, as sent (files grow by 37 %)")
    wait_for_all: int = Field(
        5, ge=0, description="tries in which one recipient's 4xx holds the mail back for all")

    @model_validator(mode="after")
    def _safe(self) -> Options:
        if self.security == "none" and not (_is_loopback(self.host) or self.plaintext_accepted):
            raise ValueError("security = \"none\" sends applications in the clear: use starttls or tls")
        if self.security == "none" and self.user is not None and not _is_loopback(self.host):
            raise ValueError("a password never goes over a line without TLS: use starttls or tls")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


Reply = tuple[int, bytes]
_TOO_LARGE = ("552", "552 5.3.4", "552 5.2.3", "554 5.3.4", "554 5.2.3", "550 5.3.4", "550 5.2.3")
"""RFC 3463. 5.2.2 is not among them: that mailbox is full."""
_ENHANCED = re.compile(rb"([245])\.\d{1,3}\.\d{1,3}(?=\s|$)")
"""An enhanced code stands first in the text, before a blank, and is of the reply's class (RFC 2034 §4)."""
_QUEUE_ID = re.compile(rb"queued as ([A-Za-z0-9._-]{4,64})")


def code(reply: Reply) -> str:
    """The codes of an answer, without its words: an address or a version in the text is no code."""
    enhanced = _ENHANCED.match(reply[1])
    if enhanced and enhanced[1] == str(reply[0])[:1].encode():
        return f"{reply[0]} {enhanced[0].decode()}"
    return str(reply[0])


def meaning(reply: Reply, step: str) -> DeliveryError:
    """The first digit decides; 421 closes the channel and is temporary too. The server itself said no."""
    if code(reply) in _TOO_LARGE:
        return refused(TooLarge(f"Der Mailserver lehnt die Mail als zu groß ab ({step}: {code(reply)})."))
    if reply[0] == 530:
        return refused(Misconfigured(f"Der Mailserver verlangt eine Anmeldung ({step}: {code(reply)})."))
    if 500 <= reply[0] < 600:
        return refused(Permanent(f"Der Mailserver lehnt die Mail ab ({step}: {code(reply)})."))
    return refused(Temporary(
        f"Der Mailserver nimmt die Mail im Augenblick nicht an ({step}: {code(reply)})."))


@dataclass
class Outcomes:
    """What the server said to each recipient, by its place in the configuration (``to[0]``)."""

    accepted: dict[str, Reply] = field(default_factory=dict)
    later: dict[str, Reply] = field(default_factory=dict)
    never: dict[str, Reply] = field(default_factory=dict)

    def note(self, place: str, reply: Reply) -> None:
        """Sort by the first digit."""
        row = self.accepted if reply[0] in (250, 251) else self.never if 500 <= reply[0] < 600 else self.later
        row[place] = reply

    def verdict(self, attempt: int, wait_for_all: int) -> DeliveryError | None:
        """Whether the mail may go to those accepted: None, or why not."""
        if self.later and (not self.accepted or attempt <= wait_for_all):
            return refused(Temporary(
                f"Noch nicht angenommen: {self._named(self.later)}; niemand hat die Mail."))
        if not self.accepted:
            return refused(Permanent(f"Kein Empfänger wurde angenommen: {self._named(self.never)}."))
        return None

    def detail(self) -> dict[str, str]:
        """For the receipt; ``refused`` is there when somebody was left out."""
        everyone = self.accepted | self.later | self.never
        left_out = self.later | self.never
        return {place: code(reply) for place, reply in everyone.items()} | (
            {"refused": self._named(left_out)} if left_out else {})

    @staticmethod
    def _named(row: dict[str, Reply]) -> str:
        return ", ".join(f"{place} ({code(reply)})" for place, reply in row.items())


class Outlet(OutletBase[Options]):
    """Mail over one connection that is kept between deliveries."""

    repeat = "ask"
    kind = "mail"
    whom = ("den Betreiber des Mailservers (Adresse, Port, TLS, Anmeldung); bei abgelehnten Adressen die "
            "Poststelle der Kommune")
    in_doubt = "repeat-marked"
    notes = True
    onboards = "mailbox"

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """The port of the relay."""
        return Needs(port=options.port)

    @classmethod
    def arrivals(cls, options: Options, reference: str) -> Sequence[str]:  # noqa: ARG003
        """The mailboxes."""
        return options.to

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._server: Patient | None = None

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Send it. Raises `Temporary`, `Permanent`, `TooLarge`, `Misconfigured`.

        They are marked as `refused` when the server said so.
        """
        mail = build(self.options, delivery)
        try:
            with translated():
                return self._send(mail, delivery, effect_begins)
        except BaseException as error:
            if is_certain(error):
                self.close()
            else:
                self._abandon()  # a goodbye in the middle of DATA would become a line of the mail
            raise

    def check(self) -> Sequence[Finding]:
        """Connect, log in, offer every recipient, and take it back."""
        try:
            with translated():
                server = self._connected()
                outcomes = self._envelope(server, None)
                server.rset()
                expiry = _expiry(server)
        except DeliveryError as error:
            self._abandon()
            return [Finding("error", str(error), f"Mailserver {self.options.host} und Zugang prüfen.")]
        self.close()
        return [*_certificate(expiry), *_recipients(outcomes)]

    def close(self) -> None:
        """Say goodbye, if there is somebody."""
        server, self._server = self._server, None
        if server is not None:
            try:
                server.patience = 5
                server.quit()
            except (OSError, smtplib.SMTPException):
                server.close()

    def _abandon(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _send(self, mail: Mail, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        if self.options.max_bytes is not None and mail.size > self.options.max_bytes:
            raise TooLarge(f"Die Mail hat {mail.size} Byte, erlaubt sind {self.options.max_bytes}.")
        server = self._connected()
        _require_size(server, mail)
        outcomes = self._envelope(server, mail)
        verdict = outcomes.verdict(delivery.attempt, self.options.wait_for_all)
        if verdict is not None:
            raise verdict  # QUIT takes the envelope back; an error of RSET would hide the verdict
        _require(server.docmd("DATA"), (354,), "DATA")
        server.begin_mail(mail.size)
        for chunk in gathered(mail.lines(delivery)):
            server.send(dots_doubled(chunk) if chunk.startswith(b".") or b"\n." in chunk else chunk)
        answer = self._finish(server, effect_begins)
        queue_id = _QUEUE_ID.search(answer[1])
        return Receipt(mail.message_id, {"bytes": str(mail.size), "answer": code(answer), **outcomes.detail(),
                                         **({"queue_id": queue_id[1].decode()} if queue_id else {})})

    def _finish(self, server: Patient, effect_begins: Callable[[], None]) -> Reply:
        """The dot, and the answer that counts."""
        effect_begins()
        server.end_mail()
        server.send(b".\r\n")
        server.patience = self.options.final_timeout
        answer = _require(server.getreply(), (250,), "nach dem Senden")
        server.patience = self.options.timeout
        return answer

    def _envelope(self, server: smtplib.SMTP, mail: Mail | None) -> Outcomes:
        options = self.options
        sized = [f"SIZE={mail.size}"] if mail is not None and server.has_extn("size") else []
        _require(server.mail(address(options.bounces or options.from_), sized), (250,), "MAIL FROM")
        outcomes = Outcomes()
        for kind, row in (("to", options.to), ("cc", options.cc)):
            for no, recipient in enumerate(row):
                reply = server.rcpt(address(recipient))
                if reply[0] == 421:
                    raise meaning(reply, "RCPT TO")
                outcomes.note(f"{kind}[{no}]", reply)
        return outcomes

    def _connected(self) -> Patient:
        """The kept connection if it still answers, else a new one."""
        if self._server is not None:
            try:
                if self._server.rset()[0] == 250:
                    return self._server
            except (OSError, smtplib.SMTPException):
                pass  # the server closed it in between, as it may
            self._abandon()
        self._server = self._connect()
        return self._server

    def _connect(self) -> Patient:
        options = self.options
        if options.security == "tls":
            server: Patient = PatientTls(options.host, options.port, options.helo, options.timeout,
                                         context=self._context())
        else:
            server = Patient(options.host, options.port, options.helo, options.timeout)
        try:
            if server.sock is not None:
                server.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the dot waits 40 ms
            server.ehlo_or_helo_if_needed()
            if options.security == "starttls":
                server.starttls(context=self._context())
                server.ehlo_or_helo_if_needed()
            if options.user is not None and options.password is not None:
                server.login(options.user, read_secret(options.password))
        except BaseException:
            server.close()
            raise
        return server

    def _context(self) -> ssl.SSLContext:
        ca_file = self.options.ca_file
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


_SILENT = "Der Mailserver antwortet nicht (Zeitüberschreitung)."


@contextmanager
def translated() -> Iterator[None]:
    """The border: foreign errors become ours."""
    try:
        yield
    except ConfigError as error:
        raise Misconfigured(str(error)) from error
    except ssl.SSLCertVerificationError as error:
        raise Misconfigured(
            f"Das Zertifikat des Mailservers wird nicht anerkannt: {error.verify_message}.") from error
    except smtplib.SMTPNotSupportedError as error:
        raise Misconfigured("Der Mailserver bietet STARTTLS oder die Anmeldung nicht an.") from error
    except smtplib.SMTPAuthenticationError as error:
        raise _turned_away("Der Mailserver lehnt die Anmeldung ab", error.smtp_code) from error
    except smtplib.SMTPServerDisconnected as error:
        late = isinstance(error.__context__, TimeoutError)  # smtplib wraps it, and so does `Patient`
        raise Temporary(_SILENT if late else "Der Mailserver hat die Verbindung beendet.") from error
    except smtplib.SMTPResponseException as error:
        raise _turned_away("Der Mailserver weist die Verbindung ab", error.smtp_code) from error
    except Endless as error:
        raise Temporary("Die Antwort des Mailservers nimmt kein Ende.") from error
    except smtplib.SMTPException as error:
        raise Temporary(f"Gespräch mit dem Mailserver gescheitert ({type(error).__name__}).") from error
    except TimeoutError as error:
        raise Temporary(_SILENT) from error
    except ssl.SSLError as error:
        raise Temporary(f"TLS mit dem Mailserver kommt nicht zustande ({error.reason}).") from error
    except OSError as error:
        raise Temporary(
            f"Der Mailserver ist nicht erreichbar ({error.strerror or type(error).__name__}).") from error


def _turned_away(text: str, code: int) -> DeliveryError:
    kind = Misconfigured if 500 <= code < 600 else Temporary
    return kind(f"{text} ({code}).")


def _require(reply: Reply, expected: tuple[int, ...], step: str) -> Reply:
    if reply[0] not in expected:
        if reply[0] == -1:
            raise smtplib.SMTPServerDisconnected(step)
        raise meaning(reply, step)
    return reply


def _require_size(server: smtplib.SMTP, mail: Mail) -> None:
    announced = server.esmtp_features.get("size", "")
    if announced.isdigit() and 0 < int(announced) < mail.size:
        raise TooLarge(f"Die Mail hat {mail.size} Byte, der Mailserver nimmt {announced}.")


def _expiry(server: smtplib.SMTP) -> datetime | None:
    if not isinstance(server.sock, ssl.SSLSocket):
        return None
    certificate = server.sock.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)


def _certificate(expiry: datetime | None) -> list[Finding]:
    if expiry is None:
        return [Finding("warning", "Die Verbindung ist nicht verschlüsselt.",
                        "security auf starttls oder tls setzen.")]
    days = (expiry - datetime.now(UTC)).days
    if days < 21:
        return [Finding("warning", f"Das Zertifikat des Mailservers gilt nur noch {days} Tage.",
                        "Erneuern lassen.")]
    return [Finding("ok", f"TLS geprüft; das Zertifikat gilt noch {days} Tage.")]


def _recipients(outcomes: Outcomes) -> list[Finding]:
    findings = [Finding("ok", f"{len(outcomes.accepted)} Empfänger angenommen.")] if outcomes.accepted else []
    findings += [Finding("warning", f"{place} wird im Augenblick nicht angenommen ({code(reply)}).",
                         "Später prüfen.")
                 for place, reply in outcomes.later.items()]
    findings += [Finding("error", f"{place} wird abgelehnt ({code(reply)}).", "Adresse prüfen.")
                 for place, reply in outcomes.never.items()]
    return findings
