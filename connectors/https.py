"""HTTPS inlet: ``POST /in/<AGS>/<service>`` with a client certificate.

What arrives where: the body becomes the message's parts. It is one document, or the parts of a multipart.
Sizes over 64 KiB are spooled while they arrive. The answer 202 carries the hub's message id. It is given only
after the commit. Nothing is refused for its content: an unknown service, municipality or media type is
accepted and parked by the hub.

What a second delivery does: the hub knows it by ``Idempotency-Key`` or by its content. It answers with the
first id and ``"duplicate": true``. Same key with other content: 409.

What the answers mean (RFC 9457 problem+json, German and English): 401 no certificate, one that belongs to no
sender, or one that has ended; 403 the sender may not send this here; 404 a path that is not ``/in/…``; 405
not POST; 408 too slow; 409 conflict; 413 too large; 415 a framing that cannot be read; 503 with Retry-After,
the store cannot write now.

A sender is recognised by the CA that issued its certificate *and* by subject or subject alternative name. The
CA files must therefore hold the issuing CA itself, not only the root above it. A certificate of a CA that is
in no file already fails in the TLS handshake. One that has ended does not: its sender is told (401), and the
hub whose it was.

Changed certificate files are noticed by themselves and by `reload`. The new TLS context serves every later
connection, and open connections end after the request they are in. Faulty new files leave the old ones in
force. Who called is never logged.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

from cryptography import x509
from pydantic import Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from connectors import _problem, _trust
from connectors._framing import (
    Body,
    FramingError,
    OverLimitError,
    Spool,
    case_of,
    clean,
    decoded,
    flag,
    labelled,
    media_type,
    unescaped,
)
from connectors._multipart import Multipart
from connectors._problem import Problem, RefusedError
from connectors._tls_server import Limits, Protocol, Server
from connectors._trust import Sender, TrustFiles
from hub.endpoint import (
    Accept,
    Authority,
    Certificate,
    Client,
    Finding,
    InletBase,
    InletContext,
    Needs,
    OptionsModel,
    SecretRef,
)
from hub.errors import ConfigError, Conflict, NotAllowed, StoreUnavailable
from hub.message import Accepted, Incoming, IncomingPart

SPOOL_RETRY_SECONDS = 30
EXPIRES_SOON_DAYS = 21


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
    header_seconds: float = Field(
        10, gt=0, description="deadline of a header, and of draining a refused body")
    body_seconds: float = Field(600, gt=0, description="deadline of a whole body")
    grace_seconds: float = Field(10, gt=0, description="how long a body may fall behind min_rate")
    min_rate: int = Field(1000, gt=0, description="bytes per second a body must bring on average")
    keep_alive_seconds: int = Field(15, gt=0, description="how long an idle connection stays")
    max_connections: int = Field(200, gt=0, description="connections of known senders at once")
    max_handshakes: int = Field(
        200, gt=0, description="TLS handshakes at once; the oldest gives way to the next")
    max_strangers: int = Field(
        50, gt=0, description="connections of strangers at once; the oldest idle one gives way")
    max_per_address: int = Field(
        100, gt=0, description="handshakes of one address (IPv6: /64) at once, and connections of strangers")
    max_parts: int = Field(200, gt=0, description="parts of a multipart body")
    threads: int = Field(32, gt=0, description="requests that wait for a commit at once")
    watch_seconds: float = Field(5, gt=0, description="how often the certificate files are looked at")
    shutdown_seconds: int = Field(30, gt=0, description="how long requests in work may take after the stop")


@dataclass(frozen=True, slots=True)
class Target:
    """What the path says."""

    ags: str
    service: str
    test: bool


def read_path(path: str) -> Target | None:
    """``/in/<AGS>/<service>`` or ``/in/test/<AGS>/<service>``. What is missing stays empty, and the hub parks
    it. The absolute form ``https://host/in/…`` is the same.

    None for every other path.
    """
    path = _ABSOLUTE.sub("", path)
    if not path.startswith("/in/"):
        return None
    ags, _, service = path.removeprefix("/in/").partition("/")
    test = ags.lower() == "test"
    if test:
        ags, _, service = service.partition("/")
    ags, service = (clean(decoded(unquote_to_bytes(each))) or "" for each in (ags, service))
    return Target(ags, service, test)


_ABSOLUTE = re.compile(r"^https?://[^/]*", re.IGNORECASE)
"""The absolute form of a target (RFC 9112 §3.2.2), which a server must take."""


class Inlet(InletBase[Options]):
    """Serves until stopped; `bound` is (host, port) while it listens."""

    protocol: ClassVar[type[Protocol]] = Protocol

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """Its own certificate, one for each sender, a port."""
        return Needs(identity=(options.certificate, options.key), port=options.port,
                     clients=tuple(Client(each.name, each.subject, each.san) for each in options.senders))

    @classmethod
    def takes_at(cls, options: Options) -> str:
        """The URL of this machine."""
        return f"https://localhost:{options.port}"

    def __init__(self, options: Options, context: InletContext) -> None:
        super().__init__(options, context)
        self.bound: tuple[str, int] | None = None
        self._spool = Spool(context.spool, context.name)
        self._files = TrustFiles(options, options.watch_seconds)

    def run(self, accept: Accept, stop: threading.Event) -> None:
        """Raises `ConfigError` when files cannot be used, `OSError` when the address cannot be bound."""
        self._spool.sweep()
        self.reload()
        options = self.options
        waiting = ThreadPoolExecutor(options.threads, thread_name_prefix=f"{self.name}-accept")
        limits = Limits(
            handshake_seconds=options.handshake_seconds, header_seconds=options.header_seconds,
            keep_alive_seconds=options.keep_alive_seconds, shutdown_seconds=options.shutdown_seconds,
            max_connections=options.max_connections, max_handshakes=options.max_handshakes,
            max_strangers=options.max_strangers, max_per_address=options.max_per_address)
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        with socket.create_server((options.host, options.port), backlog=512, family=family) as listener:
            listener.setblocking(False)
            server = Server(self._application(accept, waiting), listener=listener, files=self._files,
                            limits=limits, turned_away=self.context.turned_away,
                            certificate_seen=self.context.certificate_seen, stop=stop, protocol=self.protocol)
            self.bound = listener.getsockname()[:2]
            try:
                server.run()
            finally:
                self.bound = None
                waiting.shutdown(wait=False)

    def ready(self) -> bool:
        """Whether it listens."""
        return self.bound is not None

    def reload(self) -> None:
        """Read the files again. Raises `ConfigError` and keeps the old ones when the new ones are faulty."""
        self._files.reload()

    def check(self) -> Sequence[Finding]:
        """Files, days left, and senders."""
        try:
            _trust.load(self.options)
        except ConfigError as error:
            return [Finding("error", each, "Datei berichtigen und neu laden.") for each in error.problems]
        return [self._certificate_finding(), *self._sender_findings()]

    def _certificate_finding(self) -> Finding:
        leaf = x509.load_pem_x509_certificates(self.options.certificate.read_bytes())[0]
        days = (leaf.not_valid_after_utc - datetime.now(UTC)).days
        if days > EXPIRES_SOON_DAYS:
            return Finding("ok", f"Serverzertifikat lesbar, noch {days} Tage gültig")
        return Finding("warning" if days >= 0 else "error", f"Serverzertifikat noch {days} Tage gültig",
                       "Zertifikat erneuern; es wird ohne Neustart übernommen.")

    def _sender_findings(self) -> list[Finding]:
        if not self.options.senders:
            return [Finding("warning", "kein Absender eingerichtet: jede Sendung wird mit 401 abgelehnt",
                            "[[senders]] mit name, subject oder san eintragen.")]
        return [Finding("error", f"Absender {sender.name}: keine CA, er wird nie erkannt",
                        "ca oder client_ca eintragen.")
                for sender in self.options.senders if not (sender.ca or self.options.client_ca)]

    def _application(self, accept: Accept, waiting: ThreadPoolExecutor) -> Callable[..., Any]:
        """The ASGI application."""
        async def application(scope: Any, receive: Any, send: Any) -> None:
            request = Request(scope, receive)
            try:
                response = self._answer(await self._take(request, accept, waiting))
            except RefusedError as refused:
                if refused.problem.turned_away:
                    self.context.turned_away(refused.problem.turned_away)
                response = refused.problem.response()
            except ClientDisconnect:
                return
            await response(scope, receive, send)

        return application

    async def _take(self, request: Request, accept: Accept, waiting: ThreadPoolExecutor) -> Accepted:
        target = read_path(request.scope["raw_path"].decode("ascii", "replace"))
        if target is None:
            raise RefusedError(_problem.NOT_FOUND)
        if request.method != "POST":
            raise RefusedError(_problem.METHOD)
        sender = self._sender(request.scope["state"]["certificate"])
        with _translated():  # before the body: on a full disk it must not even be spooled
            self.context.admit(int(request.headers.get("content-length", "1")) or 1)
        parts = await self._receive(request)
        try:
            incoming = self._incoming(request, target, sender, parts)
            with _translated():
                return await asyncio.get_running_loop().run_in_executor(waiting, accept, incoming)
        finally:
            self._spool.release(parts)

    def _sender(self, certificate: bytes | None) -> str:
        """Who is calling, by what is trusted now."""
        shown = self._files.trust.read(certificate)
        if shown.outdated is not None:
            self.context.certificate_refused(shown.sender, shown.outdated)
            raise RefusedError(_problem.OUTDATED[shown.outdated])
        if shown.sender is None:
            raise RefusedError(_problem.UNKNOWN_CLIENT)
        return shown.sender

    @staticmethod
    def _answer(accepted: Accepted) -> Response:
        return JSONResponse({"id": accepted.id, "duplicate": accepted.duplicate}, 202,
                            {"Drehscheibe-Message-Id": accepted.id})

    def _incoming(self, request: Request, target: Target, sender: str,
                  parts: tuple[IncomingPart, ...]) -> Incoming:
        header = {name.decode("ascii").lower(): decoded(value)
                  for name, value in reversed(request.headers.raw)}
        return Incoming(
            inlet=self.name, sender=sender, ags=target.ags, service=target.service, parts=parts,
            test=target.test or flag(header.get("drehscheibe-test")),
            key=clean(header.get("idempotency-key", "").strip().strip('"')),
            case=case_of(header.get("drehscheibe-case")),
            correlation=clean(unescaped(header.get("drehscheibe-correlation-id"))),
            reply_to=clean(unescaped(header.get("drehscheibe-reply-to"))), conflict="refuse")

    async def _receive(self, request: Request) -> tuple[IncomingPart, ...]:
        """The body's parts, spooled. Whatever goes wrong, nothing stays in the spool."""
        most = self.context.max_bytes
        limit = _problem.too_large(f"{most} Bytes", f"{most} bytes")
        if int(request.headers.get("content-length", "0")) > most:
            raise RefusedError(limit)
        if request.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise RefusedError(_problem.unreadable("Content-Encoding"))
        sink = self._sink(request.headers.get("content-type", ""))
        try:
            await self._drain(request, sink, limit)
            if isinstance(sink, Multipart):
                return sink.finish()
            return (sink.part("application", labelled(request.headers.get("content-type", ""))),)
        except FramingError as error:
            sink.discard()
            raise RefusedError(_problem.unreadable("multipart")) from error
        except OverLimitError as error:
            sink.discard()
            parts = self.options.max_parts
            raise RefusedError(_problem.too_large(f"{parts} Teilen", f"{parts} parts")) from error
        except OSError as error:
            sink.discard()
            raise RefusedError(_problem.unavailable(SPOOL_RETRY_SECONDS, "unavailable")) from error
        except BaseException:
            sink.discard()
            raise

    def _sink(self, content_type: str) -> Body | Multipart:
        if not media_type(content_type).startswith("multipart/"):
            return Body(self._spool)
        try:
            return Multipart(content_type, self._spool, self.options.max_parts)
        except FramingError as error:
            raise RefusedError(_problem.unreadable("boundary")) from error

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
                raise RefusedError(_problem.TOO_SLOW) from error
            if chunk is None:
                return
            received += len(chunk)
            if received > self.context.max_bytes:
                raise RefusedError(limit)
            if chunk:
                sink.feed(chunk) if isinstance(sink, Multipart) else sink.write(chunk)


@contextmanager
def _translated() -> Iterator[None]:
    """The border: what the hub's door says becomes an answer."""
    try:
        yield
    except NotAllowed as error:
        raise RefusedError(_problem.NOT_ALLOWED) from error
    except Conflict as error:
        raise RefusedError(_problem.conflict(error.message_id)) from error
    except StoreUnavailable as error:
        raise RefusedError(_problem.unavailable(error.retry_after)) from error
