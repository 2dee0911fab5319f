"""A mail server in a thread (aiosmtpd), with STARTTLS and a login.

On command it answers what no real server would.
"""

from __future__ import annotations

import ssl
import threading
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.services import free_port


class MailSink:
    """Keeps all mails in `mails`. `replies` maps a step (``MAIL``, ``DATA``) or a recipient to an answer."""

    def __init__(self, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None,
                 max_bytes: int = 60_000_000) -> None:
        self.mails: list[bytes] = []
        self.commands: list[str] = []
        self.envelopes: list[tuple[str, tuple[str, ...]]] = []
        self.replies: dict[str, str] = {}
        self.arrived = threading.Condition()
        sink = self

        def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str,
                         data: Any) -> AuthResult:
            good = isinstance(data, LoginPassword) and login == (data.login.decode(), data.password.decode())
            return AuthResult(success=good, handled=False)

        class _Controller(Controller):
            def factory(self) -> SMTP:
                return SMTP(sink, hostname="mail.musterstadt.example", tls_context=tls,
                            require_starttls=tls is not None, data_size_limit=max_bytes, timeout=60,
                            auth_required=login is not None, authenticator=authenticate)

        self._controller = _Controller(self, hostname="127.0.0.1", port=free_port())
        self._controller.start()
        self.port = int(self._controller.port)

    async def handle_MAIL(  # noqa: N802
            self, server: SMTP, session: Session, envelope: Envelope, address: str,
            options: list[str]) -> str:
        self.commands.append("MAIL " + " ".join(options))
        envelope.mail_from = address
        return self.replies.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
            self, server: SMTP, session: Session, envelope: Envelope, address: str,
            options: list[str]) -> str:
        reply = self.replies.get(address, "250 OK")
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = self.replies.get("DATA", "250 2.0.0 Ok: queued as 4XYZ12")
        if reply.startswith("2"):
            with self.arrived:
                self.mails.append(bytes(envelope.content))
                self.envelopes.append((str(envelope.mail_from), tuple(envelope.rcpt_tos)))
                self.arrived.notify_all()
        return reply

    def close(self) -> None:
        """Stop the server."""
        self._controller.stop()
