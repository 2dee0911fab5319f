"""py-amqp's connection to the broker, as kombu makes it from an inlet's options."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from kombu.connection import Connection

from connectors._amqp_message import tolerant_frames
from hub.endpoint import SecretRef, read_secret


class Line(Protocol):
    """The options that say where the broker is, and as whom to come."""

    @property
    def host(self) -> str:
        """The broker's name."""

    @property
    def port(self) -> int:
        """Its port."""

    @property
    def vhost(self) -> str:
        """Virtual host."""

    @property
    def user(self) -> str:
        """The hub's user there."""

    @property
    def password(self) -> SecretRef:
        """Its password."""

    @property
    def tls(self) -> bool:
        """Whether to speak TLS."""

    @property
    def ca(self) -> Path | None:
        """PEM file of the broker's CA."""

    @property
    def heartbeat(self) -> int:
        """Seconds."""


@contextmanager
def connected(line: Line, user: tuple[str, SecretRef] | None = None) -> Iterator[Any]:
    """A connection as `user` (name, password), else as the hub's. Raises py-amqp's errors, `OSError`, and
    `ConfigError` for a secret.

    After an error the socket is just dropped: a broker in trouble may never answer the goodbye.
    """
    name, password = user or (line.user, line.password)
    tls = {"server_hostname": line.host, "cert_reqs": ssl.CERT_REQUIRED,
           "ca_certs": str(line.ca) if line.ca else None, "tls_minimum_version": ssl.TLSVersion.TLSv1_2}
    connection: Any = Connection(  # type: ignore[no-untyped-call]
        hostname=line.host, port=line.port, virtual_host=line.vhost, userid=name,
        password=read_secret(password), login_method="PLAIN", ssl=tls if line.tls else False,
        heartbeat=line.heartbeat, connect_timeout=10,
        transport_options={"frame_handler": tolerant_frames, "write_timeout": line.heartbeat})
    link = connection.transport.establish_connection()
    try:
        link.transport.sock.settimeout(line.heartbeat)  # py-amqp waits for ever for an answer
        yield link
        link.transport.sock.settimeout(min(3, line.heartbeat))
        link.close()
    finally:
        link.collect()
