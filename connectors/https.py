"""HTTPS inlet: ``POST /in/<AGS>/<service>`` with a client certificate.

What arrives where: the body (one document, or the parts of a multipart) becomes the message's parts; sizes over 64 KiB
are spooled while they arrive. The answer 202 carries the hub's message id and is given only after the commit. Nothing
is refused for its content: an unknown service, municipality or media type is accepted and parked by the hub.

What a second delivery does: the hub knows it by ``Idempotency-Key`` or by its content and answers with the first id and
``"duplicate": true``. Same key with other content: 409.

What the answers mean (RFC 9457 problem+json, German and English): 401 no certificate, or one that belongs to no sender;
403 the sender may not send this here; 404 a path that is not ``/in/…``; 405 not POST; 408 too slow; 409 conflict; 413
too large; 415 a framing that cannot be read; 503 with Retry-After, the store cannot write now.

A sender is recognised by the CA that issued its certificate *and* by subject or subject alternative name. The CA files
must therefore hold the issuing CA itself, not only the root above it. A certificate of a CA that is in no file already
fails in the TLS handshake.

Changed certificate files are noticed by themselves and by `reload`; the new TLS context serves every later connection,
and open connections end after the request they are in. Faulty new files leave the old ones in force. Who called is
never logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import uvicorn
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from pydantic import Field, field_validator, model_validator
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from connectors._framing import Body, FramingError, Multipart, OverLimitError, Spool, clean, flag, media_type
from hub.endpoint import (
    Accept,
    Authority,
    Certificate,
    Client,
    Finding,
    InletBase,
    Needs,
    OptionsModel,
    SecretRef,
    SenderName,
    TurnedAway,
    secret_path,
)
from hub.errors import ConfigError, Conflict, NotAllowed, StoreUnavailable
from hub.message import Accepted, Incoming, IncomingPart

MAX_HEADER_BYTES = 32 * 1024


class Sender(OptionsModel):
    """How one sender is recognised: by the issuing CA, and by subject or SAN."""

    name: SenderName = Field(min_length=1, description="the sender's name in the hub's configuration")
    subject: str | None = Field(None, description="RFC 4514, like 'CN=amt24,O=Land': attributes it must have")
    san: str | None = Field(None, description="DNS name, URI or mail address among the alternative names")
    ca: Authority | None = Field(None, description="PEM file of this sender's issuing CA; default: any of client_ca")

    @field_validator("subject")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        try:
            name = None if value is None else list(x509.Name.from_rfc4514_string(value))
        except ValueError:  # mostly without a word
            raise ValueError(f"{value!r} is no name of a certificate's owner: write e.g. 'CN=amt24'") from None
        if name == []:
            raise ValueError("an empty subject would match every certificate: write e.g. 'CN=amt24'")
        return value

    @model_validator(mode="after")
    def _has_a_mark(self) -> Sender:
        if not (self.subject or self.san):
            raise ValueError("a sender needs subject or san: the CA alone does not tell who it is")
        return self


class Options(OptionsModel):
    """Where the inlet listens, with which certificates, for whom, and its deadlines."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8443, ge=0, le=65535, description="0 takes a free one")
    certificate: Certificate = Field(description="PEM file with the server's certificate and its chain")
    key: SecretRef = Field(description="PEM file with the server's private key")
    client_ca: tuple[Authority, ...] = Field(
        (), description="PEM files of the CAs that issue the senders' certificates")
    senders: tuple[Sender, ...] = Field((), description="who may come in")
    handshake_seconds: float = Field(10, gt=0, description="deadline of the TLS handshake")
    header_seconds: float = Field(10, gt=0, description="deadline of a header, and of draining a refused body")
    body_seconds: float = Field(600, gt=0, description="deadline of a whole body")
    grace_seconds: float = Field(10, gt=0, description="how long a body may fall behind min_rate")
    min_rate: int = Field(1000, gt=0, description="bytes per second a body must bring on average")
    keep_alive_seconds: int = Field(15, gt=0, description="how long an idle connection stays")
    max_connections: int = Field(200, gt=0, description="connections at once, handshakes included")
    max_parts: int = Field(200, gt=0, description="parts of a multipart body")
    threads: int = Field(32, gt=0, description="requests that wait for a commit at once")
    watch_seconds: float = Field(5, gt=0, description="how often the certificate files are looked at")
    shutdown_seconds: int = Field(30, gt=0, description="how long requests in work may take after the stop")


@dataclass(frozen=True, slots=True)
class Trust:
    """The files as they were read together: one TLS context and who is recognised by it."""

    context: ssl.SSLContext
    issuers: dict[Path | None, tuple[x509.Certificate, ...]]
    senders: tuple[Sender, ...]

    def recognise(self, certificate: bytes | None) -> str | None:
        """The sender's name; None when nobody, or more than one, has this mark."""
        if certificate is None:
            return None
        leaf = x509.load_der_x509_certificate(certificate)
        names = {sender.name for sender in self.senders if self._issued(leaf, sender) and _marked(leaf, sender)}
        return names.pop() if len(names) == 1 else None

    def _issued(self, leaf: x509.Certificate, sender: Sender) -> bool:
        """The handshake proved the chain up to *some* CA; this binds it to the CA of this very sender."""
        return any(_is_issuer(ca, leaf) for ca in self.issuers[sender.ca])


def _is_issuer(ca: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _marked(leaf: x509.Certificate, sender: Sender) -> bool:
    if sender.subject is not None:
        wanted = x509.Name.from_rfc4514_string(sender.subject)
        if not set(wanted) <= set(leaf.subject):
            return False
    return sender.san is None or sender.san.lower() in _alternative_names(leaf)


def _alternative_names(leaf: x509.Certificate) -> set[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return set()
    kinds = (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name)
    return {name.value.lower() for name in names if isinstance(name, kinds)}


def load_trust(options: Options) -> Trust:
    """Read all files. Raises `ConfigError` with each file that cannot be used."""
    problems: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL  # required would end in the handshake, and nobody would ever read the 401
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an issuing CA without its root is an anchor, too
    try:
        context.load_cert_chain(options.certificate, secret_path(options.key), password=_no_password)
    except (OSError, ValueError) as error:
        unreadable = [path for path in (options.certificate, secret_path(options.key)) if not os.access(path, os.R_OK)]
        problems += [f"{path}: cannot be read ({_why(error)}): create it, readable for the hub's user" for path in unreadable]
        if not unreadable:
            problems.append(f"{options.certificate}: certificate: cannot be used with its key, {options.key} "
                            f"({_why(error)}): give a PEM chain and the unencrypted PEM key that fits it")
    issuers: dict[Path | None, tuple[x509.Certificate, ...]] = {}
    for path in {*options.client_ca, *(sender.ca for sender in options.senders if sender.ca)}:
        try:
            issuers[path] = tuple(x509.load_pem_x509_certificates(path.read_bytes()))
            context.load_verify_locations(path)
        except (OSError, ValueError) as error:
            problems.append(f"{path}: client_ca: cannot be read ({_why(error)}): give a PEM file with the issuing CA")
    if problems:
        raise ConfigError(problems)
    issuers[None] = tuple(ca for path in options.client_ca for ca in issuers[path])
    return Trust(context, issuers, options.senders)


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # without this OpenSSL would ask on the terminal


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer other than 202. `turned_away`: as what it is counted, where the inlet itself gives it."""

    status: int
    slug: str
    title: str
    detail: str
    remedy: str
    title_en: str
    detail_en: str
    remedy_en: str
    retry_after: float | None = None
    allow: str | None = None
    turned_away: TurnedAway | None = None

    def response(self) -> Response:
        """As RFC 9457 has it: German, with the same in English under ``en``."""
        headers = {"Retry-After": str(math.ceil(self.retry_after))} if self.retry_after is not None else {}
        headers |= {"Allow": self.allow} if self.allow else {}
        headers |= {"WWW-Authenticate": "Certificate"} if self.status == 401 else {}
        return JSONResponse({
            "type": f"urn:datendrehscheibe:problem:{self.slug}", "title": self.title, "status": self.status,
            "detail": self.detail, "next": self.remedy,
            "en": {"title": self.title_en, "detail": self.detail_en, "next": self.remedy_en},
        }, self.status, headers, "application/problem+json")


class RefusedError(Exception):
    """Ends a request with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.slug)
        self.problem = problem


NOT_FOUND = Problem(
    404, "not-found", "Kein Eingang", "Unter diesem Pfad wird nichts angenommen.",
    "An /in/<AGS>/<Leistung> senden.",
    "No inlet", "Nothing is accepted at this path.", "Send to /in/<AGS>/<service>.", turned_away="wrong-address")
METHOD = Problem(
    405, "method", "Falsche Methode", "Der Eingang nimmt nur POST an.", "Mit POST senden.",
    "Wrong method", "The inlet takes POST only.", "Use POST.", allow="POST", turned_away="wrong-address")
UNKNOWN_CLIENT = Problem(
    401, "unknown-client", "Absender nicht erkannt",
    "Es wurde kein Client-Zertifikat vorgelegt, oder es gehört zu keinem eingerichteten Absender.",
    "Client-Zertifikat prüfen (ausstellende CA, Subject, SAN) oder es vom Betrieb der Drehscheibe einrichten lassen.",
    "Sender not recognised", "There was no client certificate, or it belongs to no configured sender.",
    "Check the client certificate (issuing CA, subject, SAN), or ask the hub's operators to configure it.",
    turned_away="unknown-client")
NOT_ALLOWED = Problem(
    403, "not-allowed", "Nicht erlaubt",
    "Dieser Absender darf diese Leistung nicht an diese Kommune senden.",
    "AGS und Leistung im Pfad prüfen; sonst den Betrieb der Drehscheibe um Freischaltung bitten.",
    "Not allowed", "This sender may not send this service to this municipality.",
    "Check AGS and service in the path, or ask the hub's operators for permission.")
TOO_SLOW = Problem(
    408, "too-slow", "Zu langsam", "Die Nachricht kam nicht in der vorgesehenen Zeit an; nichts wurde angenommen.",
    "Erneut senden, mit demselben Idempotency-Key.",
    "Too slow", "The message did not arrive in time; nothing was accepted.",
    "Send again with the same Idempotency-Key.", turned_away="too-slow")


def _too_large(limit: str, limit_en: str) -> Problem:
    return Problem(
        413, "too-large", "Zu groß", f"Die Nachricht überschreitet die Grenze von {limit}; nichts wurde angenommen.",
        "Anlagen verkleinern oder den Betrieb der Drehscheibe nach einer höheren Grenze fragen.",
        "Too large", f"The message is over the limit of {limit_en}; nothing was accepted.",
        "Make attachments smaller or ask the hub's operators for a higher limit.", turned_away="too-large")


def _unreadable(why: str) -> Problem:
    return Problem(
        415, "unreadable-framing", "Übertragung nicht lesbar",
        f"Die Übertragung lässt sich nicht in ihre Teile zerlegen ({why}); nichts wurde angenommen.",
        "Content-Type mit boundary, abschließende Trennzeile und Content-Encoding (nur identity) prüfen.",
        "Framing unreadable", f"The transfer cannot be taken apart ({why}); nothing was accepted.",
        "Check the content type's boundary, the closing boundary, and Content-Encoding (identity only).",
        turned_away="unreadable")


def _conflict(message_id: str) -> Problem:
    return Problem(
        409, "conflict", "Gleicher Schlüssel, anderer Inhalt",
        f"Unter diesem Idempotency-Key liegt bereits die Nachricht {message_id} mit anderem Inhalt.",
        "Für einen neuen Antrag einen neuen Idempotency-Key verwenden.",
        "Same key, other content", f"This Idempotency-Key belongs to message {message_id} with other content.",
        "Use a new Idempotency-Key for a new application.")


def _unavailable(retry_after: float, turned_away: TurnedAway | None = None) -> Problem:
    return Problem(
        503, "unavailable", "Vorübergehend nicht möglich",
        "Die Drehscheibe kann zurzeit nichts dauerhaft speichern; nichts wurde angenommen.",
        "Nach der Zeit in Retry-After erneut senden, mit demselben Idempotency-Key.",
        "Temporarily unavailable", "The hub cannot store anything durably now; nothing was accepted.",
        "Send again after Retry-After with the same Idempotency-Key.", retry_after=retry_after, turned_away=turned_away)


@dataclass(frozen=True, slots=True)
class Target:
    """What the path says."""

    ags: str
    service: str
    test: bool


def read_path(path: str) -> Target | None:
    """``/in/<AGS>/<service>`` or ``/in/test/<AGS>/<service>``; what is missing stays empty, and the hub parks it."""
    if not path.startswith("/in/"):
        return None
    ags, _, service = path.removeprefix("/in/").partition("/")
    test = ags == "test"
    if test:
        ags, _, service = service.partition("/")
    return Target(clean(unquote(ags)) or "", clean(unquote(service)) or "", test)


class _Protocol(H11Protocol):
    """uvicorn's protocol, which also knows the peer's certificate and does not wait for ever for a header."""

    def __init__(self, server: _Server) -> None:
        super().__init__(server.config, server.server_state, {}, asyncio.get_running_loop())
        self.access_log = False
        self._header_seconds = server.inlet.options.header_seconds
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {"certificate": transport.get_extra_info("ssl_object").getpeercert(True)}
        self._watch_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_header()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        begun = self.conn.trailing_data[0] or self.cycle.more_body
        if begun and not self.transport.is_closing():
            self._watch_header()  # an idle connection is uvicorn's own keep-alive timer's

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        super().connection_lost(exc)

    def _between_requests(self) -> bool:
        """No request is in work: bytes are part of a header, or of a refused body that is drained."""
        return self.cycle is None or self.cycle.response_complete

    def _watch_header(self) -> None:
        if not self._between_requests():
            self._stop_header_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self._header_seconds, self._header_overdue)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_overdue(self) -> None:
        self._header_timer = None
        if self._between_requests():
            self.transport.abort()  # close() would wait for a peer that does not read


class _Server(uvicorn.Server):
    """uvicorn's server with its own accept loop: each connection takes the TLS context in force at that moment."""

    def __init__(self, config: uvicorn.Config, inlet: Inlet, listener: socket.socket,
                 stop: threading.Event) -> None:
        super().__init__(config)
        self.inlet = inlet
        self.listener = listener
        self.stop = stop
        self.servers: list[asyncio.Server] = []
        self._handshakes: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        self._accepting = asyncio.create_task(self._accept(self.listener))
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        self.inlet.refresh()
        if self.inlet.take_renewal():
            for connection in list(self.server_state.connections):
                connection.shutdown()
        return await super().on_tick(counter) or self.stop.is_set() or self._accepting.done()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in (self._accepting, *self._handshakes):
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        await super().shutdown(sockets)
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:  # out of descriptors, or the peer has gone already
                await asyncio.sleep(0.5)
                continue
            if len(self._handshakes) + len(self.server_state.connections) >= self.inlet.options.max_connections:
                self.inlet.turned_away("busy")
                connection.close()
                continue
            task = loop.create_task(self._shake_hands(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: _Protocol(self), connection, ssl=self.inlet.trust.context,
                ssl_handshake_timeout=self.inlet.options.handshake_seconds, ssl_shutdown_timeout=5)
        except OSError as error:  # ssl.SSLError and time-outs included: nobody there to be answered
            if isinstance(error, ssl.SSLCertVerificationError):  # ended, or of a foreign CA; not a probe of the port
                self.inlet.turned_away("unknown-client")
            connection.close()


class Inlet(InletBase[Options]):
    """Serves until stopped; `bound` is (host, port) while it listens."""

    bound: tuple[str, int] | None = None
    trust: Trust

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """Its own certificate, one for each sender, a port."""
        return Needs(identity=(options.certificate, options.key), port=options.port,
                     clients=tuple(Client(each.name, each.subject, each.san) for each in options.senders))

    @classmethod
    def takes_at(cls, options: Options) -> str:
        """The URL of this machine."""
        return f"https://localhost:{options.port}"

    def __init__(self, options: Options, name: str, spool: Path, max_bytes: int) -> None:
        super().__init__(options, name, spool, max_bytes)
        self._spool = Spool(spool, name)
        self._lock = threading.Lock()
        self._seen: str | None = None
        self._renewed = False
        self._looked = 0.0

    def run(self, accept: Accept, stop: threading.Event) -> None:
        """Raises `ConfigError` when certificates cannot be used, `OSError` when the address cannot be bound."""
        self._spool.sweep()
        self.reload()
        waiting = ThreadPoolExecutor(self.options.threads, thread_name_prefix=f"{self.name}-accept")
        config = uvicorn.Config(
            self._application(accept, waiting), loop="asyncio", ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, timeout_keep_alive=self.options.keep_alive_seconds,
            timeout_graceful_shutdown=self.options.shutdown_seconds, h11_max_incomplete_event_size=MAX_HEADER_BYTES)
        with socket.create_server((self.options.host, self.options.port), backlog=128,
                                  family=socket.AF_INET6 if ":" in self.options.host else socket.AF_INET) as listener:
            listener.setblocking(False)
            self.bound = listener.getsockname()[:2]
            try:
                _Server(config, self, listener, stop).run()
            finally:
                self.bound = None
                waiting.shutdown(wait=False)

    def ready(self) -> bool:
        """Whether it listens."""
        return self.bound is not None

    def reload(self) -> None:
        """Read the files again. Raises `ConfigError` and keeps the old ones when the new ones are faulty."""
        with self._lock:
            seen = self._fingerprint()
            trust = load_trust(self.options)
            self._renewed = self._seen is not None and seen != self._seen
            self.trust, self._seen = trust, seen

    def refresh(self) -> None:
        """Reload when the files changed; a faulty new set is tried again at the next look."""
        if time.monotonic() - self._looked < self.options.watch_seconds:
            return
        self._looked = time.monotonic()
        if self._fingerprint() != self._seen:
            with contextlib.suppress(ConfigError):  # half written, perhaps; `check` tells the operator
                self.reload()

    def take_renewal(self) -> bool:
        """Whether the files changed since the last call: then open connections must end."""
        renewed, self._renewed = self._renewed, False
        return renewed

    def check(self) -> Sequence[Finding]:
        """Files, days left, and senders."""
        try:
            load_trust(self.options)
        except ConfigError as error:
            return [Finding("error", problem, "Datei berichtigen und neu laden.") for problem in error.problems]
        leaf = x509.load_pem_x509_certificates(self.options.certificate.read_bytes())[0]
        days = (leaf.not_valid_after_utc - datetime.now(UTC)).days
        findings = [Finding("ok", f"Serverzertifikat lesbar, noch {days} Tage gültig") if days > 21 else
                    Finding("warning" if days >= 0 else "error", f"Serverzertifikat noch {days} Tage gültig",
                            "Zertifikat erneuern; es wird ohne Neustart übernommen.")]
        if not self.options.senders:
            findings.append(Finding("warning", "kein Absender eingerichtet: jede Sendung wird mit 401 abgelehnt",
                                    "[[senders]] mit name, subject oder san eintragen."))
        without = [sender.name for sender in self.options.senders if not (sender.ca or self.options.client_ca)]
        findings += [Finding("error", f"Absender {name}: keine CA, er wird nie erkannt", "ca oder client_ca eintragen.")
                     for name in without]
        return findings

    def _fingerprint(self) -> str:
        """Changes with each file's content; missing files count too."""
        files = {self.options.certificate, secret_path(self.options.key), *self.options.client_ca,
                 *(sender.ca for sender in self.options.senders if sender.ca)}
        digest = hashlib.sha256()
        for path in sorted(files):
            try:
                digest.update(path.read_bytes() + b"\0")
            except OSError:
                digest.update(b"missing\0")
        return digest.hexdigest()

    def _application(self, accept: Accept, waiting: ThreadPoolExecutor) -> Callable[..., Any]:
        """The ASGI application."""
        async def application(scope: Any, receive: Any, send: Any) -> None:
            request = Request(scope, receive)
            try:
                response = self._answer(await self._take(request, accept, waiting))
            except RefusedError as refused:
                if refused.problem.turned_away:
                    self.turned_away(refused.problem.turned_away)
                response = refused.problem.response()
            except ClientDisconnect:
                return
            await response(scope, receive, send)

        return application

    async def _take(self, request: Request, accept: Accept, waiting: ThreadPoolExecutor) -> Accepted:
        target = read_path(request.scope["raw_path"].decode("ascii", "replace"))
        if target is None:
            raise RefusedError(NOT_FOUND)
        if request.method != "POST":
            raise RefusedError(METHOD)
        sender = self.trust.recognise(request.scope["state"]["certificate"])
        if sender is None:
            raise RefusedError(UNKNOWN_CLIENT)
        try:
            self.admit(int(request.headers.get("content-length", "1")) or 1)
        except StoreUnavailable as error:  # before the body: on a full disk it must not even be spooled
            raise RefusedError(_unavailable(error.retry_after)) from error
        parts = await self._receive(request)
        try:
            incoming = self._incoming(request, target, sender, parts)
            return await asyncio.get_running_loop().run_in_executor(waiting, accept, incoming)
        except NotAllowed as error:
            raise RefusedError(NOT_ALLOWED) from error
        except Conflict as error:
            raise RefusedError(_conflict(error.message_id)) from error
        except StoreUnavailable as error:
            raise RefusedError(_unavailable(error.retry_after)) from error
        finally:
            self._spool.release(parts)

    @staticmethod
    def _answer(accepted: Accepted) -> Response:
        return JSONResponse({"id": accepted.id, "duplicate": accepted.duplicate}, 202,
                            {"Drehscheibe-Message-Id": accepted.id})

    def _incoming(self, request: Request, target: Target, sender: str, parts: tuple[IncomingPart, ...]) -> Incoming:
        header = request.headers
        return Incoming(
            inlet=self.name, sender=sender, ags=target.ags, service=target.service, parts=parts,
            test=target.test or flag(header.get("drehscheibe-test")),
            key=clean(header.get("idempotency-key", "").strip().strip('"')),
            case=clean(header.get("drehscheibe-case")), correlation=clean(header.get("drehscheibe-correlation-id")),
            reply_to=clean(header.get("drehscheibe-reply-to")), conflict="refuse")

    async def _receive(self, request: Request) -> tuple[IncomingPart, ...]:
        """The body's parts, spooled. Whatever goes wrong, nothing stays in the spool."""
        limit = _too_large(f"{self.max_bytes} Bytes", f"{self.max_bytes} bytes")
        if int(request.headers.get("content-length", "0")) > self.max_bytes:
            raise RefusedError(limit)
        if request.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise RefusedError(_unreadable("Content-Encoding"))
        content_type = request.headers.get("content-type", "")
        multipart = media_type(content_type).startswith("multipart/")
        try:
            sink = Multipart(content_type, self._spool, self.options.max_parts) if multipart else Body(self._spool)
        except FramingError as error:
            raise RefusedError(_unreadable("boundary")) from error
        try:
            await self._drain(request, sink, limit)
            if isinstance(sink, Multipart):
                return sink.finish()
            return (sink.part("application", media_type(content_type)),)
        except FramingError as error:
            sink.discard()
            raise RefusedError(_unreadable("multipart")) from error
        except OverLimitError as error:
            sink.discard()
            most = self.options.max_parts
            raise RefusedError(_too_large(f"{most} Teilen", f"{most} parts")) from error
        except OSError as error:
            sink.discard()
            raise RefusedError(_unavailable(30, "unavailable")) from error
        except BaseException:
            sink.discard()
            raise

    async def _drain(self, request: Request, sink: Body | Multipart, limit: Problem) -> None:
        """Feed the sink, under the deadline of the whole and the least rate on average."""
        loop, received, stream = asyncio.get_running_loop(), 0, request.stream()
        begin = loop.time()
        while True:
            by_rate = self.options.grace_seconds + received / self.options.min_rate
            try:
                async with asyncio.timeout_at(begin + min(self.options.body_seconds, by_rate)):
                    chunk = await anext(stream, None)
            except TimeoutError as error:
                raise RefusedError(TOO_SLOW) from error
            if chunk is None:
                return
            received += len(chunk)
            if received > self.max_bytes:
                raise RefusedError(limit)
            if chunk:
                sink.feed(chunk) if isinstance(sink, Multipart) else sink.write(chunk)
