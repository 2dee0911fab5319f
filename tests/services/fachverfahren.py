"""A stand-in for a Fachverfahren: a real HTTP(S) server on loopback, because no vendor's one is available.

It follows documented facts only:

* ePayBL: ``ergebnis.rc`` says whether it worked; ``+…`` is success; HTTP 200 alone proves nothing; the answer
  holds the number;
* RFC 9110: 429 and 503 with Retry-After, redirects, 401; RFC 6749 §4.4: the token endpoint at ``/token``;
* draft-ietf-httpapi-idempotency-key-header: with `dedupe` it acts once per key and repeats its answer;
* SOAP 1.1 §4.4 and SOAP 1.2 part 1 §5.4: faults, with HTTP 500 (1.1) or 400/500 (1.2).

What it took is in `taken`, every request with all its headers in `requests`, whose certificate it came with
in `peers`. Faults are put into a queue by
`misbehave` and used up one per POST.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.services.tls import Authority, KeyPair

OK = {"rc": "+0000", "ergebnistext": "in Ordnung"}


@dataclass
class Taken:
    """One application that the Fachverfahren took."""

    key: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    number: str = ""

    def files(self) -> dict[str, bytes]:
        """The files of a multipart body, by name; or the body as it is."""
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/"):
            return {"body": self.body}
        boundary = b"--" + kind.partition("boundary=")[2].encode()
        found = {}
        for part in self.body.split(boundary)[1:-1]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            names = re.search(rb'; name="([^"]+)"(?:; filename="([^"]+)")?', head)
            assert names, "no form-data (RFC 7578)"
            found[(names[2] or names[1]).decode()] = content.removesuffix(b"\r\n")
        return found


Fault = Callable[["_Handler"], bool]
"""Answers instead of the Fachverfahren. Returns True when the request is answered."""


class Fachverfahren:
    """The server. `tls` and `client_ca` make it HTTPS and mTLS."""

    def __init__(self, tls: KeyPair | None = None, client_ca: Authority | None = None, *,
                 dedupe: bool = True) -> None:
        self.dedupe = dedupe
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.taken: list[Taken] = []
        self.faults: list[Fault] = []
        self.tokens: set[str] = set()
        self.token_faults: list[tuple[int, dict[str, str], bytes]] = []
        self.protected = False
        self.login: str | None = None
        self.client_secret = "geheim"
        self.peers: list[str] = []
        self.answer: Callable[[Taken], tuple[int, str, bytes]] = json_answer
        self.lock = threading.Lock()
        self.lines: list[socket.socket] = []
        self.stopped = threading.Event()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.fachverfahren = self
        self.scheme = "http"
        if tls is not None:
            self.scheme = "https"
            self.server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.server.context.load_cert_chain(tls.certificate, tls.key)
            self.server.context.num_tickets = 0  # to the proxy a session ticket looks like an answer
            if client_ca is not None:
                self.server.context.load_verify_locations(client_ca.file)
                self.server.context.verify_mode = ssl.CERT_REQUIRED
        self.port = int(self.server.server_address[1])
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02},
                                       daemon=True)
        self.thread.start()

    def misbehave(self, *faults: Fault) -> None:
        """Let each of the next requests with a body meet one of these faults."""
        self.faults += faults

    def take(self, key: str, path: str, headers: Mapping[str, str], body: bytes) -> Taken:
        """Take an application. With `dedupe` it is taken once per key."""
        with self.lock:
            if self.dedupe and key:
                for before in self.taken:
                    if before.key == key:
                        return before
            done = Taken(key, path, headers, body, f"AZ-2026-{len(self.taken) + 1:04}")
            self.taken.append(done)
            return done

    def drop_connections(self) -> None:
        """Close all open connections."""
        with self.lock:
            lines, self.lines = self.lines, []
        for line in lines:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self) -> None:
        """Stop the server."""
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()
        self.drop_connections()
        self.thread.join(10)


class _Server(ThreadingHTTPServer):
    fachverfahren: Fachverfahren
    context: ssl.SSLContext | None = None
    daemon_threads = True

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request.settimeout(30)
        if self.context is not None:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:
                return
        with self.fachverfahren.lock:
            self.fachverfahren.lines.append(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self.fachverfahren.lock:
                if request in self.fachverfahren.lines:
                    self.fachverfahren.lines.remove(request)
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: tests cut connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def fach(self) -> Fachverfahren:
        return self.server.fachverfahren

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log."""

    def say(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def refused(self) -> bool:
        """Whether the login is wrong. Then this method has answered."""
        sent = self.headers.get("Authorization", "")
        wrong = self.fach.protected and sent.removeprefix("Bearer ") not in self.fach.tokens
        wrong = wrong or (self.fach.login is not None and sent != self.fach.login)
        if wrong:
            self.say(401, WWW_Authenticate="Bearer")
        return wrong

    def note(self) -> None:
        self.fach.requests.append((self.command, self.path, dict(self.headers.items())))
        peer = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        self.fach.peers += [value for names in (peer or {}).get("subject", ()) for key, value in names
                            if key == "commonName"]

    def do_GET(self) -> None:
        self.note()
        if self.refused():
            return
        if urlsplit(self.path).path == "/status":
            self.say(200, json.dumps({"ergebnis": OK}).encode())
            return
        key = urlsplit(self.path).path.rsplit("/", 1)[-1]
        found = [taken for taken in self.fach.taken if taken.key == key]
        if found:
            status, kind, body = self.fach.answer(found[0])
            self.say(status, body, kind)
        else:
            self.say(404, json.dumps({"ergebnis": {"rc": "-0404"}}).encode())

    def do_OPTIONS(self) -> None:
        self.note()
        if not self.refused():
            self.say(204, Allow="POST, PUT, OPTIONS")

    def do_POST(self) -> None:
        self.note()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            self.close_connection = True
            return
        self.body = body
        if self.path == "/token":
            self.token()
        elif not self.refused() and not (self.fach.faults and self.fach.faults.pop(0)(self)):
            self.act()

    def do_PUT(self) -> None:
        self.do_POST()

    def act(self) -> None:
        """Take the application, and answer."""
        status, kind, body = self.fach.answer(self.take())
        self.say(status, body, kind)

    def take(self) -> Taken:
        key = self.headers.get("Idempotency-Key") or soap_key(self.body) or urlsplit(self.path).path.rsplit(
            "/", 1)[-1]
        return self.fach.take(key, self.path, dict(self.headers.items()), self.body)

    def token(self) -> None:
        """Answer a request for a token (RFC 6749 §4.4.2): check form and login, give a token that expires."""
        if self.fach.token_faults:
            status, headers, body = self.fach.token_faults.pop(0)
            self.say(status, body, **headers)
            return
        form = parse_qs(self.body.decode())
        login = base64.b64encode(f"hub:{self.fach.client_secret}".encode()).decode()
        basic = self.headers.get("Authorization") == f"Basic {login}"
        posted = form.get("client_id") == ["hub"] and form.get("client_secret") == [self.fach.client_secret]
        if form.get("grant_type") != ["client_credentials"] or not (basic or posted):
            self.say(401, b'{"error":"invalid_client"}')
            return
        token = f"token-{len(self.fach.requests)}"
        self.fach.tokens.add(token)
        self.say(200, json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 300}).encode())

    def cut(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        self.connection.close()


def json_answer(taken: Taken) -> tuple[int, str, bytes]:
    """The answer that ePayBL gives."""
    return 200, "application/json", json.dumps({"ergebnis": OK, "vorgang": {"nummer": taken.number}}).encode()


SOAP = {"1.1": "http://schemas.xmlsoap.org/soap/envelope/", "1.2": "http://www.w3.org/2003/05/soap-envelope"}


def soap_answer(taken: Taken) -> tuple[int, str, bytes]:
    """The answer that the tests' WSDL describes, in the SOAP version of the request."""
    version = "1.2" if taken.headers["Content-Type"].startswith("application/soap+xml") else "1.1"
    return 200, "text/xml", soap("<f:einreichenAntwort "
                                 f"xmlns:f='urn:fach'><f:rc>+0000</f:rc><f:nummer>{taken.number}</f:nummer>"
                                 "</f:einreichenAntwort>", version)


def soap(body: str, version: str = "1.1") -> bytes:
    """A SOAP envelope around a body."""
    return f"<s:Envelope xmlns:s='{SOAP[version]}'><s:Body>{body}</s:Body></s:Envelope>".encode()


# --- faults -------------------------------------------------------------------------------------------------


def says(status: int, body: bytes = b"", kind: str = "application/json", *, acts: bool = False,
         **headers: str) -> Fault:
    """A fault that gives this answer, without taking the application; with `acts` after taking it."""

    def fault(handler: _Handler) -> bool:
        if acts:
            handler.take()
        handler.say(status, body, kind, **headers)
        return True

    return fault


def code(rc: str, status: int = 200) -> Fault:
    """A fault that answers with a business code, without taking the application."""
    return says(status,
                json.dumps({"ergebnis": {"rc": rc, "ergebnistext": "Erika Mustermann fehlt"}}).encode())


def soap_fault(code: str, detail: str = "", version: str = "1.1", subcode: str = "",
               status: int = 500) -> Fault:
    """A fault of SOAP 1.1 §4.4 or SOAP 1.2 part 1 §5.4, without taking the application."""
    if version == "1.1":
        body = (f"<s:Fault><faultcode>{code}</faultcode><faultstring>Erika Mustermann fehlt</faultstring>"
                f"<detail>{detail}</detail></s:Fault>")
    else:
        inner = f"<s:Subcode><s:Value>{subcode}</s:Value></s:Subcode>" if subcode else ""
        body = (f"<s:Fault><s:Code><s:Value>{code}</s:Value>{inner}</s:Code><s:Reason><s:Text "
                f"xml:lang='de'>Erika Mustermann</s:Text></s:Reason><s:Detail>{detail}</s:Detail></s:Fault>")
    return says(status, soap(body, version), "text/xml")


def hangs(handler: _Handler, *, acts: bool = False) -> bool:
    """A fault: no answer until the test ends."""
    if acts:
        handler.take()
    handler.fach.stopped.wait(30)
    handler.close_connection = True
    return True


def acts_and_hangs(handler: _Handler) -> bool:
    """A fault: the application is taken, and the answer never comes."""
    return hangs(handler, acts=True)


def cuts(handler: _Handler) -> bool:
    """A fault: the connection is reset instead of an answer."""
    handler.cut()
    return True


def half_an_answer(handler: _Handler) -> bool:
    """A fault: the application is taken, and the answer ends in the middle."""
    _, kind, body = handler.fach.answer(handler.take())
    handler.wfile.write(
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                        + body[: len(body) // 2])
    handler.cut()
    return True


def truncated_json(handler: _Handler) -> bool:
    """A fault: the application is taken; the answer is whole as HTTP and broken as JSON."""
    _, kind, body = handler.fach.answer(handler.take())
    handler.say(200, body[:-3], kind)
    return True


def endless(status: int) -> Fault:
    """A fault: the application is taken, and the answer has a gigabyte, as long as somebody reads."""

    def fault(handler: _Handler) -> bool:
        handler.take()
        handler.wfile.write(f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {10**9}\r\n\r\n".encode())
        handler.close_connection = True
        try:
            for _ in range(10**9 // 65536):
                handler.wfile.write(b" " * 65536)
        except OSError:
            handler.fach.gave_up = True  # type: ignore[attr-defined]
        return True

    return fault


def soap_key(body: bytes) -> str:
    """The delivery's id in a SOAP request of the tests' WSDL."""
    found = re.search(rb"<(?:[\w-]+:)?kennung>([0-9a-f-]{36})<", body)
    return found[1].decode() if found else ""
