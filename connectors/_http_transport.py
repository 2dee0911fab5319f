"""How a connection is made: trust, our certificate, time-outs, and an end to answers that are too long.

What every connection keeps: TLS is verified against `ca_file` or the system's authorities, always. Nothing
comes from the environment: no proxy, no netrc. No redirect is followed, for a redirected POST may lose its
body or act twice, and a credential would go to somebody else. What a peer may take and send, and for how
long: `connectors._http_limits`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpcore2
import httpx2

from connectors._http_limits import Allowance, Limit, LimitedBackend, LimitedStream
from connectors._http_options import HttpOptions
from hub.endpoint import read_secret, secret_path
from hub.errors import Misconfigured

_SEND_BUFFER = 262_144
_IDLE = 5  # seconds for which a connection is kept without a request


def connect(options: HttpOptions) -> httpx2.Client:
    """A client that connects when it is first used. Raises `Misconfigured`, `ConfigError`."""
    return httpx2.Client(**client_settings(options))


def client_settings(options: HttpOptions) -> dict[str, Any]:
    """What such a client is built with. Raises like `connect`."""
    return {"transport": _Transport(ssl_context(options), options), "trust_env": False,
            "follow_redirects": False,
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


Versions = tuple[tuple[int, int, int] | None, ...]
"""Of each file that a connection rests on: node, size in bytes, time of its last change; None: it is not
there."""


def versions(options: HttpOptions) -> Versions:
    """The files that `ssl_context` reads, as they lie there now. Never raises."""
    secrets = [secret_path(ref) for ref in (options.key, options.key_password) if ref is not None]
    return tuple(_version(path) for path in (options.ca_file, options.certificate, *secrets)
                 if path is not None)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class _Transport(httpx2.BaseTransport):
    """Connections of httpcore under our limits: httpx's own transport takes no other network than its own."""

    def __init__(self, context: ssl.SSLContext, options: HttpOptions) -> None:
        self._usual = Limit(options.max_answer, options.timeout)
        self._allowance = Allowance(options.timeout)
        # The kernel swallows whatever fits into its buffer: the smaller it is, the sooner a line cut in the
        # middle is noticed, and the fewer deliveries are in doubt for nothing.
        small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER),
                 (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        self._pool = httpcore2.ConnectionPool(ssl_context=context, keepalive_expiry=_IDLE,
                                              socket_options=small,
                                              network_backend=LimitedBackend(self._allowance))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        size = request.headers.get("Content-Length", "")
        self._allowance.begin(int(size) if size.isascii() and size.isdigit() else 0)
        url = httpcore2.URL(scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port,
                            target=request.url.raw_path)
        with _httpx_errors():
            response = self._pool.handle_request(httpcore2.Request(
                request.method, url, headers=request.headers.raw, content=request.stream,
                extensions=request.extensions))
        limit = request.extensions.get("limit", self._usual) if response.status == 200 else self._usual
        self._allowance.answer(limit)
        headers = httpx2.Headers(response.headers)
        packing = headers.pop("Content-Encoding", "")
        return httpx2.Response(response.status, headers=headers, extensions=response.extensions,
                               stream=LimitedStream(_Stream(response), limit, packing))

    def close(self) -> None:
        self._pool.close()


class _Stream(httpx2.SyncByteStream):
    """The answer's bytes; the library's errors are those of httpx."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            stream = self._response.stream
            if not isinstance(stream, Iterable):
                raise httpx2.ReadError("not a stream")
            yield from stream

    def close(self) -> None:
        with _httpx_errors():
            self._response.close()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """httpcore's errors bear the same names as those of httpx."""
    try:
        yield
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError,
            httpcore2.UnsupportedProtocol) as error:
        raise getattr(httpx2, type(error).__name__)(str(error)) from error
