"""Fixtures: a hub as a process and its services. Each is ended in any case.

The log of the hub is shown when a test fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast

import pytest

from tests.acceptance.hub_process import HubProcess
from tests.services.mailsink import MailSink
from tests.services.openssh import OpenSsh
from tests.services.postfix import Postfix
from tests.services.tls import Authority


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub that is not started yet, so that a test can change its configuration."""
    process = HubProcess(tmp_path / "hub")
    yield process
    process.close()


@pytest.fixture
def openssh(tmp_path: Path) -> Iterator[OpenSsh]:
    """A real SFTP server."""
    (tmp_path / "ssh").mkdir()
    server = OpenSsh(tmp_path / "ssh")
    yield server
    server.close()


@dataclass(frozen=True)
class PostOffice:
    """A real Postfix, and the CA of its certificate."""

    server: Postfix
    ca: Path

    def mails(self) -> list[EmailMessage]:
        """All mails that arrived."""
        return [cast("EmailMessage", message_from_bytes(raw, policy=policy.default))
                for raw in self.server.mails()]


@pytest.fixture
def postfix(tmp_path: Path) -> Iterator[PostOffice]:
    """A real mail server with STARTTLS."""
    authority = Authority(tmp_path, "mail-ca")
    pair = authority.server("localhost")
    server = Postfix(pair.certificate.read_bytes(), pair.key.read_bytes())
    yield PostOffice(server, authority.file)
    server.close()


@pytest.fixture
def sink(hub: HubProcess) -> Iterator[MailSink]:
    """A mail server that takes all mail of the example configuration."""
    server = MailSink()
    hub.overrides += [f"defaults.connectors.smtp.port={server.port}",
                      'defaults.connectors.smtp.security="none"',
                      'defaults.connectors.smtp.host="127.0.0.1"']
    yield server
    server.close()
