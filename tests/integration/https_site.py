"""An HTTPS inlet on a port of loopback, and senders with certificates for it."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from connectors import https
from tests.integration.inlet_contract import SMALL, Outcome, Site
from tests.services import wait_until
from tests.services.tls import Authority, KeyPair

XML = {"content-type": "application/xml"}
PATH = "/in/14999010/hundesteuer"


@dataclass
class Posted:
    """A message whose sender posts it until it is told 202, or never to send it again."""

    answers: list[int] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """By the last answer."""
        last = self.answers[-1] if self.answers else 0
        return "acknowledged" if last == 202 else "refused" if 400 <= last < 500 else "open"

    def not_taken(self) -> int:
        """Each request is a transfer."""
        return sum(answer != 202 for answer in self.answers)


class HttpsSite(Site):
    """With a server's certificate of its own."""

    kind = https.Inlet
    conflict = "refuse"

    def __init__(self, folder: Path, authority: Authority, **options: Any) -> None:
        super().__init__(folder)
        self.authority = authority
        self.certificate_file = f"server-{uuid.uuid4().hex}"
        self.server = authority.server(file=self.certificate_file)
        self.portal = authority.client("portal-test")
        self._given = options
        self._over = threading.Event()

    def options(self) -> https.Options:
        given: dict[str, Any] = {
            "port": 0, "certificate": self.server.certificate, "key": f"file:{self.server.key}",
            "client_ca": (self.authority.file,), "senders": ({"name": "amt24", "subject": "CN=portal-test"},)}
        return https.Options(**(given | self._given))

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, as soon as it does. Whatever `run` raised is raised."""
        wait_until(lambda: self.inlet.ready() or bool(self.failures), "the inlet to listen")
        if self.failures:
            raise self.failures[0]
        bound: tuple[str, int] = self.inlet.bound
        return bound

    def tls(self, pair: KeyPair | None) -> ssl.SSLContext:
        """A client's side, with this certificate or none."""
        context = ssl.create_default_context(cafile=self.authority.file)
        if pair:
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    def client(self, pair: KeyPair | None, address: tuple[str, int] | None = None) -> httpx2.Client:
        """A client with this certificate, or none."""
        host, port = address or self.address
        return httpx2.Client(base_url=f"https://{host}:{port}", verify=self.tls(pair), timeout=20)

    def post(self, pair: KeyPair | None, path: str = PATH, content: Any = SMALL,
             headers: dict[str, str] | None = None) -> httpx2.Response:
        """One request on a connection of its own."""
        with self.client(pair) as client:
            return client.post(path, content=content, headers=XML if headers is None else headers)

    def raw(self, pair: KeyPair | None) -> ssl.SSLSocket:
        """A connection after its handshake."""
        plain = socket.create_connection(self.address, timeout=20)
        return self.tls(pair).wrap_socket(plain, server_hostname=self.address[0])

    def served(self) -> bytes:
        """The certificate with which the inlet answers (DER)."""
        with self.raw(self.portal) as sock:
            certificate = sock.getpeercert(True)
            assert certificate
            return certificate

    def send(self, body: bytes, key: str | None = None) -> Posted:
        posted = Posted()
        threading.Thread(target=self._post_until_answered, args=(posted, body, key), daemon=True).start()
        return posted

    def _post_until_answered(self, posted: Posted, body: bytes, key: str | None) -> None:
        headers = XML | ({"idempotency-key": key} if key else {})
        while posted.outcome() == "open" and not self._over.wait(0.05):
            if (bound := self.inlet.bound) is None:
                continue
            try:
                with self.client(self.portal, bound) as client:
                    posted.answers.append(client.post(PATH, content=body, headers=headers).status_code)
            except (OSError, httpx2.TransportError):
                continue  # it went away before it answered: nothing was acknowledged

    def close(self) -> None:
        super().close()
        self._over.set()

    def renew(self) -> None:
        self.server = self.authority.server(file=self.certificate_file)

    def renewed(self) -> bool:
        written = self.server.certificate.read_text().replace("\r\n", "\n")
        return ssl.DER_cert_to_PEM_cert(self.served()) in written

    def hurt(self) -> None:
        shutil.move(self.server.certificate, self.server.certificate.with_suffix(".away"))

    def heal(self) -> None:
        shutil.move(self.server.certificate.with_suffix(".away"), self.server.certificate)
