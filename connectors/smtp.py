"""Mail to a municipality's mailbox, over TLS, to the first relay that says 250.

What arrives
    One mail per delivery: the parts ``text`` and ``html`` as its body, every other part as a file. Its Message-ID comes
    from the delivery's id and its date from the delivery's creation, so every try sends the same bytes.
A second delivery
    is a second copy with the same Message-ID; mail cannot be asked (``repeat = "ask"``). A marked repetition has
    "möglicherweise doppelt: " before its subject, a test "[TEST] ".
When the effect begins
    Before the dot that ends the mail. A server that has not seen the dot throws away what it has (RFC 5321 §4.1.1.4).
Several recipients
    Each has its outcome in the receipt. While one is refused with 4xx nobody gets the mail (it is tried again for all),
    for the first `wait_for_all` tries; after that, and when one is refused with 5xx, the others get it and the
    receipt has the key ``refused``, which names those left out by their place in the configuration. Nobody gets it
    twice.
    Mailboxes that must not depend on each other are two destinations.
Temporary
    4xx, a lost connection, a time-out.
Permanent
    5xx for this mail. `TooLarge`: over `max_bytes` or the SIZE the server announced; a fallback destination may take
    it.
Misconfigured
    Certificate, login, a server without STARTTLS or one that turns us away with 5xx before the first mail.

Errors hold the server's codes, never its words: those may name people.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, getaddresses
from functools import lru_cache
from html import escape
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

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
from hub.message import BERLIN, NOTE, Delivery, ManifestPart, Receipt, unique_names

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@lru_cache(maxsize=1024)
def _one_mailbox(value: str) -> str:
    if _ADDRESS.fullmatch(value):
        return value  # nothing around it: a country's thousands need no parser of headers
    mailboxes = getaddresses([value])
    if len(mailboxes) != 1 or not _ADDRESS.fullmatch(mailboxes[0][1]) or not value.isprintable():
        raise ValueError("is no mail address such as 'Amt <amt@musterstadt.example>' (domain in ASCII: xn--…)")
    return value


Mailbox = Annotated[str, AfterValidator(_one_mailbox)]


class Options(OptionsModel):
    """``connector = "smtp"``"""

    host: str = Field(description="the mail relay; its certificate must carry this name")
    port: int = Field(587, ge=1, le=65535, description="587 or 25 with starttls, 465 with tls")
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="none only on this machine itself")
    plaintext_accepted: bool = Field(False, description="allow security none to another machine")
    ca_file: Authority | None = Field(None, description="certificates to trust instead of the system's")
    user: str | None = Field(None, description="login name")
    password: SecretRef | None = Field(None, description="login password")
    from_: Mailbox = Field(alias="from", description="sender, with or without a name")
    to: tuple[Mailbox, ...] = Field(min_length=1, description="recipients")
    cc: tuple[Mailbox, ...] = Field((), description="recipients of a copy")
    reply_to: Mailbox | None = Field(None, description="where answers go")
    bounces: Mailbox | None = Field(None, description="where the mail system reports failures; otherwise the sender")
    helo: str | None = Field(None, description="our name in EHLO; otherwise this machine's")
    timeout: float = Field(60, gt=0, description="seconds for each step")
    final_timeout: float = Field(300, gt=0, description="seconds for the answer after the last byte")
    max_bytes: int | None = Field(None, gt=0, description="largest mail, as sent (files grow by 37 %)")
    wait_for_all: int = Field(5, ge=0, description="tries in which one recipient's 4xx holds the mail back for all")

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


# --- the mail -------------------------------------------------------------------------------------------------------

_LINE = 57  # bytes of a base64 line of 76 characters
_CHUNK = _LINE * 4096
_EXTRA_HEADER = re.compile(r"X-[A-Za-z0-9-]{1,60}|Importance|Priority|Keywords|Sensitivity|Organization")
_MEDIA_TYPE = re.compile(r"(application|audio|font|image|model|text|video)/[A-Za-z0-9.+_-]{1,100}")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as a row of finished pieces (whole lines) and parts still to be encoded, and its exact size."""

    message_id: str
    pieces: tuple[bytes | ManifestPart, ...]

    @property
    def size(self) -> int:
        """Bytes on the wire, dots not doubled: what SIZE means (RFC 1870 §5)."""
        return sum(len(piece) if isinstance(piece, bytes) else base64_size(piece.size) for piece in self.pieces)

    def lines(self, delivery: Delivery) -> Iterator[bytes]:
        """The bytes in chunks of whole lines; files are read and encoded on the way."""
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                with closing(delivery.open(piece)) as file:
                    while chunk := file.read(_CHUNK):
                        yield base64_lines(chunk)


def base64_size(size: int) -> int:
    """Length of `base64_lines` for so many bytes."""
    return (size + 2) // 3 * 4 + (size + _LINE - 1) // _LINE * 2


def base64_lines(chunk: bytes) -> bytes:
    """Base64 in lines of 76 characters. A chunk that is not the last one has a multiple of 57 bytes."""
    text = binascii.b2a_base64(chunk, newline=False)
    return b"\r\n".join([text[at:at + 76] for at in range(0, len(text), 76)]) + b"\r\n"


def plain(text: str) -> str:
    """One line: everything that is no visible character (line separators of all kinds, controls, lone surrogates,
    direction marks) becomes a single space."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def encoded(text: str) -> str:
    """Text for a header, folded: as it is when short ASCII, else RFC 2047 words of UTF-8 in base64."""
    text = plain(text)
    if text.isascii() and len(text) <= 70 and "=?" not in text:
        return text
    words, word = [], b""
    for char in text:
        if len(word) + len(char.encode()) > 39:
            words.append(word)
            word = b""
        word += char.encode()
    return "\r\n ".join(f"=?utf-8?b?{binascii.b2a_base64(piece, newline=False).decode()}?=" for piece in [*words, word])


def mailbox(value: str) -> str:
    """A configured mailbox as a header wants it."""
    (name, address), = getaddresses([value])
    if not name:
        return address
    return f"{encoded(name)} <{address}>" if re.fullmatch(r"[A-Za-z0-9 ]+", name) or not name.isascii() else (
        '"' + re.sub(r'(["\\])', r"\\\1", name) + f'" <{address}>')


def address(value: str) -> str:
    """The bare address."""
    return getaddresses([value])[0][1]


def subject(delivery: Delivery) -> str:
    """With its warnings in front."""
    marks = ("[TEST] " if delivery.test else "") + ("möglicherweise doppelt: " if delivery.repeat_marked else "")
    return marks + plain(delivery.manifest.subject)[:200]


def build(options: Options, delivery: Delivery) -> Mail:
    """The mail: the same delivery gives the same bytes. Raises `Misconfigured` for a header that may not be set."""
    domain = address(options.from_).rpartition("@")[2]
    message_id = f"<{delivery.id}@{domain}>"
    boundary = "=_" + hashlib.sha256(delivery.id.encode()).hexdigest()[:32]  # "=_" occurs neither in base64 nor in QP
    bodies = [*delivery.manifest.of_role("text"), *delivery.manifest.of_role("html")]
    files = [part for part in delivery.manifest.parts if part not in bodies]
    body = _bodies(delivery, bodies, f"{boundary}_b")
    if files:
        content: list[bytes | ManifestPart] = [f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode()]
        content += [f"--{boundary}\r\n".encode(), body]
        for name, part in zip(unique_names([part.name for part in files]), files, strict=True):
            content += [_file_header(boundary, name, part), part]
        content.append(f"\r\n--{boundary}--\r\n".encode())
    else:
        content = [body]
    return Mail(message_id, (_header(options, delivery, message_id), *content))


def _header(options: Options, delivery: Delivery, message_id: str) -> bytes:
    rows = [("Date", format_datetime(delivery.created_at.astimezone(BERLIN))), ("From", mailbox(options.from_)),
            ("To", ",\r\n ".join(map(mailbox, options.to)))]
    if options.cc:
        rows.append(("Cc", ",\r\n ".join(map(mailbox, options.cc))))
    if options.reply_to:
        rows.append(("Reply-To", mailbox(options.reply_to)))
    rows += [("Message-ID", message_id), ("Subject", encoded(subject(delivery))), ("Auto-Submitted", "auto-generated")]
    for name, value in delivery.manifest.headers.items():
        if not _EXTRA_HEADER.fullmatch(name):
            raise Misconfigured("Die Route setzt eine Kopfzeile, die nicht erlaubt ist; erlaubt sind X-… und Keywords.")
        rows.append((name, encoded(value)))
    rows.append(("MIME-Version", "1.0"))
    return "".join(f"{name}: {value}\r\n" for name, value in rows).encode("ascii")


def _bodies(delivery: Delivery, parts: Sequence[ManifestPart], boundary: str) -> bytes:
    note = delivery.manifest.properties.get(NOTE)
    texts = [_text(part.role, _noted(part.role, delivery.read(part), note)) for part in parts]
    if not texts:
        texts = [_text("text", note.encode() if note else b"Der Antrag liegt dieser Mail als Datei bei.\n")]
    if len(texts) == 1:
        return texts[0]
    inner = b"".join(f"--{boundary}\r\n".encode() + text + b"\r\n" for text in texts)
    return (f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'.encode() + inner
            + f"--{boundary}--\r\n".encode())


def _noted(role: str, content: bytes, note: str | None) -> bytes:
    """With the hub's words for the clerk in front."""
    if note is None:
        return content
    if role == "text":
        return f"{note}\n\n".encode() + content
    words = f"<p>{escape(note)}</p>".replace("\n", "<br>").encode()
    body = re.search(rb"<body[^>]*>", content, re.IGNORECASE)
    place = body.end() if body else 0
    return content[:place] + words + content[place:]


def _text(role: str, content: bytes) -> bytes:
    """A text part in quoted-printable, so that no lone CR and no long line is left."""
    kind = "html" if role == "html" else "plain"
    text = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    body = b"\r\n".join(binascii.b2a_qp(line).replace(b"\n", b"\r\n") for line in text.encode().split(b"\n"))
    return (f"Content-Type: text/{kind}; charset=utf-8\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n").encode() + body + b"\r\n"


def _file_header(boundary: str, name: str, part: ManifestPart) -> bytes:
    media_type = part.media_type if _MEDIA_TYPE.fullmatch(part.media_type) else "application/octet-stream"
    return (f"\r\n--{boundary}\r\nContent-Type: {media_type};\r\n name=\"{name}\"\r\n"
            "Content-Transfer-Encoding: base64\r\n"
            f"Content-Disposition: attachment;\r\n filename=\"{name}\"\r\n\r\n").encode("ascii")


# --- the conversation -----------------------------------------------------------------------------------------------

Reply = tuple[int, bytes]
_TOO_LARGE = ("552", "552 5.3.4", "552 5.2.3", "554 5.3.4", "554 5.2.3", "550 5.3.4", "550 5.2.3")  # 5.2.2 is full
_ENHANCED = re.compile(rb"\b([245]\.\d{1,3}\.\d{1,3})\b")
_QUEUE_ID = re.compile(rb"queued as ([A-Za-z0-9._-]{4,64})")


def code(reply: Reply) -> str:
    """The codes of an answer, without its words."""
    enhanced = _ENHANCED.search(reply[1][:200])
    return f"{reply[0]} {enhanced[1].decode()}" if enhanced else str(reply[0])


def meaning(reply: Reply, step: str) -> DeliveryError:
    """The first digit decides; 421 closes the channel and is temporary too. The server itself said no."""
    if code(reply) in _TOO_LARGE:
        return refused(TooLarge(f"Der Mailserver lehnt die Mail als zu groß ab ({step}: {code(reply)})."))
    if reply[0] == 530:
        return refused(Misconfigured(f"Der Mailserver verlangt eine Anmeldung ({step}: {code(reply)})."))
    if 500 <= reply[0] < 600:
        return refused(Permanent(f"Der Mailserver lehnt die Mail ab ({step}: {code(reply)})."))
    return refused(Temporary(f"Der Mailserver nimmt die Mail im Augenblick nicht an ({step}: {code(reply)})."))


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
            return refused(Temporary(f"Noch nicht angenommen: {self._named(self.later)}; niemand hat die Mail."))
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
        self._server: smtplib.SMTP | None = None

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Send it. Raises `Temporary`, `Permanent`, `TooLarge`, `Misconfigured`; `refused` when the server said so."""
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
                _set_timeout(server, 5)
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
            raise verdict  # QUIT takes the envelope back: RSET before it could fail, and its error would hide the verdict
        _require(server.docmd("DATA"), (354,), "DATA")
        for chunk in gathered(mail.lines(delivery)):
            server.send(dots_doubled(chunk) if chunk.startswith(b".") or b"\n." in chunk else chunk)
        answer = self._finish(server, effect_begins)
        queue_id = _QUEUE_ID.search(answer[1])
        return Receipt(mail.message_id, {"bytes": str(mail.size), "answer": code(answer), **outcomes.detail(),
                                         **({"queue_id": queue_id[1].decode()} if queue_id else {})})

    def _finish(self, server: smtplib.SMTP, effect_begins: Callable[[], None]) -> Reply:
        """The dot, and the answer that counts."""
        effect_begins()
        server.send(b".\r\n")
        _set_timeout(server, self.options.final_timeout)
        answer = _require(server.getreply(), (250,), "nach dem Senden")
        _set_timeout(server, self.options.timeout)
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

    def _connected(self) -> smtplib.SMTP:
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

    def _connect(self) -> smtplib.SMTP:
        options = self.options
        if options.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(options.host, options.port, options.helo, timeout=options.timeout,
                                                    context=self._context())
        else:
            server = smtplib.SMTP(options.host, options.port, options.helo, timeout=options.timeout)
        try:
            if server.sock is not None:
                server.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the dot waits 40 ms for an ACK
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
        context = ssl.create_default_context(cafile=None if self.options.ca_file is None else str(self.options.ca_file))
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
        raise Misconfigured(f"Das Zertifikat des Mailservers wird nicht anerkannt: {error.verify_message}.") from error
    except smtplib.SMTPNotSupportedError as error:
        raise Misconfigured("Der Mailserver bietet STARTTLS oder die Anmeldung nicht an.") from error
    except smtplib.SMTPAuthenticationError as error:
        raise _turned_away("Der Mailserver lehnt die Anmeldung ab", error.smtp_code) from error
    except smtplib.SMTPServerDisconnected as error:
        late = isinstance(error.__context__, TimeoutError)  # smtplib wraps it
        raise Temporary(_SILENT if late else "Der Mailserver hat die Verbindung beendet.") from error
    except smtplib.SMTPResponseException as error:
        raise _turned_away("Der Mailserver weist die Verbindung ab", error.smtp_code) from error
    except smtplib.SMTPException as error:
        raise Temporary(f"Gespräch mit dem Mailserver gescheitert ({type(error).__name__}).") from error
    except TimeoutError as error:
        raise Temporary(_SILENT) from error
    except ssl.SSLError as error:
        raise Temporary(f"TLS mit dem Mailserver kommt nicht zustande ({error.reason}).") from error
    except OSError as error:
        raise Temporary(f"Der Mailserver ist nicht erreichbar ({error.strerror or type(error).__name__}).") from error


def _turned_away(text: str, code: int) -> DeliveryError:
    kind = Misconfigured if 500 <= code < 600 else Temporary
    return kind(f"{text} ({code}).")


def gathered(chunks: Iterator[bytes], least: int = 1 << 16) -> Iterator[bytes]:
    """Larger chunks of the same bytes: each costs a TLS record and a system call."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= least:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def dots_doubled(lines: bytes) -> bytes:
    """RFC 5321 §4.5.2, for whole lines."""
    return re.sub(rb"(?m)^\.", b"..", lines)


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


def _set_timeout(server: smtplib.SMTP, seconds: float) -> None:
    if server.sock is not None:
        server.sock.settimeout(seconds)


def _expiry(server: smtplib.SMTP) -> datetime | None:
    if not isinstance(server.sock, ssl.SSLSocket):
        return None
    certificate = server.sock.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)


def _certificate(expiry: datetime | None) -> list[Finding]:
    if expiry is None:
        return [Finding("warning", "Die Verbindung ist nicht verschlüsselt.", "security auf starttls oder tls setzen.")]
    days = (expiry - datetime.now(UTC)).days
    if days < 21:
        return [Finding("warning", f"Das Zertifikat des Mailservers gilt nur noch {days} Tage.", "Erneuern lassen.")]
    return [Finding("ok", f"TLS geprüft; das Zertifikat gilt noch {days} Tage.")]


def _recipients(outcomes: Outcomes) -> list[Finding]:
    findings = [Finding("ok", f"{len(outcomes.accepted)} Empfänger angenommen.")] if outcomes.accepted else []
    findings += [Finding("warning", f"{place} wird im Augenblick nicht angenommen ({code(reply)}).", "Später prüfen.")
                 for place, reply in outcomes.later.items()]
    findings += [Finding("error", f"{place} wird abgelehnt ({code(reply)}).", "Adresse prüfen.")
                 for place, reply in outcomes.never.items()]
    return findings
