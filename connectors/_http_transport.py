"""How a connection is made: trust, our certificate, time-outs, and an end to answers that are too long.

What every connection keeps: TLS is verified against `ca_file` or the system's authorities, always. Nothing
comes from the environment: no proxy, no netrc. No redirect is followed, for a redirected POST may lose its
body or act twice, and a credential would go to somebody else. Nothing is unpacked, so there is no bomb.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from connectors._http_options import HttpOptions
from hub.endpoint import read_secret, secret_path
from hub.errors import Misconfigured

_SEND_BUFFER = 262_144


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of an answer with status 200 is read: bytes, and seconds for all of it.

    It travels with a request as the extension ``limit``; what has none keeps the limits of the options.
    """

    size: int
    seconds: float


def connect(options: HttpOptions) -> httpx2.Client:
    """A client that connects when it is first used. Raises `Misconfigured`, `ConfigError`."""
    return httpx2.Client(**client_settings(options))


def client_settings(options: HttpOptions) -> dict[str, Any]:
    """What such a client is built with. Raises like `connect`."""
    context = ssl_context(options)
    # The kernel swallows whatever fits into its buffer: the smaller it is, the sooner a line cut in the
    # middle
    # is noticed, and the fewer deliveries are in doubt for nothing.
    small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    transport = httpx2.HTTPTransport(verify=context, trust_env=False, socket_options=small)
    return {"transport": _Limited(transport, options), "trust_env": False, "follow_redirects": False,
            "timeout": httpx2.Timeout(options.timeout, connect=options.connect_timeout)}


def ssl_context(options: HttpOptions) -> ssl.SSLContext:
    """Whom we trust and who we are. Raises `Misconfigured`; `ConfigError` for a secret that cannot be
    read."""
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"Die Datei {options.ca_file} (ca_file) ist nicht lesbar.") from error
    if options.certificate is not None and options.key is not None:
        password = read_secret(options.key_password) if options.key_password else ""
        try:
            context.load_cert_chain(options.certificate, secret_path(options.key), lambda: password)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(
                f"Das eigene Zertifikat {options.certificate} oder sein Schlüssel ist nicht lesbar, "
                                "oder sie passen nicht zusammen.") from error
    return context


class _Limited(httpx2.BaseTransport):
    """Ends an answer that is too long, takes too long, or is packed."""

    def __init__(self, transport: httpx2.BaseTransport, options: HttpOptions) -> None:
        self._transport = transport
        self._usual = Limit(options.max_answer, options.timeout)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._transport.handle_request(request)
        packed = response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
        stream = response.stream
        if not isinstance(stream, httpx2.SyncByteStream):
            raise httpx2.ReadError("not a stream")
        response.headers.pop("Content-Encoding", None)
        limit = request.extensions.get("limit", self._usual) if response.status_code == 200 else self._usual
        return httpx2.Response(response.status_code, headers=response.headers, extensions=response.extensions,
                               stream=_LimitedStream(stream, limit, packed))

    def close(self) -> None:
        self._transport.close()


class _LimitedStream(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, limit: Limit, packed: bool) -> None:
        self._stream = stream
        self._left = limit.size
        self._deadline = time.monotonic() + limit.seconds
        self._packed = packed

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._left -= len(chunk)
            if self._packed:
                raise httpx2.ReadError("packed")
            if self._left < 0:
                raise httpx2.ReadError("too large")
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("too slow")
            yield chunk

    def close(self) -> None:
        self._stream.close()
