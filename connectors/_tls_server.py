"""A uvicorn server over TLS that knows the peer's certificate, cuts off the slow, and takes up new
certificates.

Each connection takes the TLS context that is in force at that moment. When the files were renewed, open
connections end after the request they are in. A connection that brings no whole header in time is closed
without an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import tenacity
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from connectors._trust import TrustFiles
from hub.endpoint import TurnedAway

MAX_HEADER_BYTES = 32 * 1024
ACCEPT_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how many. All times in seconds."""

    handshake_seconds: float
    header_seconds: float
    keep_alive_seconds: int
    shutdown_seconds: int
    max_connections: int


class Protocol(H11Protocol):
    """uvicorn's protocol. It also knows the peer's certificate and does not wait for ever for a header."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.config, server.server_state, {}, asyncio.get_running_loop())
        self.access_log = False
        self._header_seconds = server.limits.header_seconds
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is done: keep the certificate (DER, or None) for the application."""
        super().connection_made(transport)
        self.app_state = {"certificate": transport.get_extra_info("ssl_object").getpeercert(True)}
        self.watch_header()

    def data_received(self, data: bytes) -> None:
        """Bytes of a header or of a body."""
        super().data_received(data)
        self.watch_header()

    def on_response_complete(self) -> None:
        """The answer is out: what comes next is a header."""
        super().on_response_complete()
        begun = self.conn.trailing_data[0] or self.cycle.more_body
        if begun and not self.transport.is_closing():
            self.watch_header()  # an idle connection is uvicorn's own keep-alive timer's

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_header_timer()
        super().connection_lost(exc)

    def watch_header(self) -> None:
        """Start the deadline of a header when one has begun, stop it when it is whole."""
        if not self._between_requests():
            self._stop_header_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self._header_seconds, self._header_overdue)

    def _between_requests(self) -> bool:
        """No request is in work: bytes are part of a header, or of a refused body that is drained."""
        return self.cycle is None or self.cycle.response_complete

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_overdue(self) -> None:
        self._header_timer = None
        if self._between_requests():
            self.transport.abort()  # close() would wait for a peer that does not read


class Server(uvicorn.Server):
    """uvicorn's server with an accept loop of its own.

    `application` is called with ``scope["state"]["certificate"]``. `turned_away` hears of connections over
    the limit, and of certificates that no CA file knows. `run` returns after `stop` is set.
    """

    def __init__(self, application: Callable[..., Any], *, listener: socket.socket, files: TrustFiles,
                 limits: Limits, turned_away: Callable[[TurnedAway], None], stop: threading.Event,
                 protocol: type[Protocol] = Protocol) -> None:
        super().__init__(uvicorn.Config(
            application, loop="asyncio", ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, timeout_keep_alive=limits.keep_alive_seconds,
            timeout_graceful_shutdown=limits.shutdown_seconds,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES))
        self.limits = limits
        self._listener = listener
        self._files = files
        self._turned_away = turned_away
        self._stop = stop
        self._protocol = protocol
        self._handshakes: set[asyncio.Task[None]] = set()
        self._closing = False
        self.servers: list[asyncio.Server] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Accept connections from now on."""
        self._accepting = asyncio.create_task(self._accept())
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: take up renewed files. True ends the server."""
        self._files.refresh()
        if self._files.take_renewal():
            for connection in list(self.server_state.connections):
                connection.shutdown()
        return await super().on_tick(counter) or self._stop.is_set() or self._accepting.done()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, and bring the requests in work to their end."""
        self._closing = True
        asyncio.get_running_loop().remove_reader(self._listener)
        await asyncio.sleep(0)  # who was accepted just now is taken in hand, so that it is let go below
        for task in (self._accepting, *self._handshakes):
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        await super().shutdown(sockets)
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        patiently = tenacity.AsyncRetrying(  # out of descriptors, or the peer has gone already
            retry=tenacity.retry_if_exception_type(OSError), wait=tenacity.wait_fixed(ACCEPT_PAUSE_SECONDS))
        while not self._closing:
            connection: socket.socket = (await patiently(loop.sock_accept, self._listener))[0]
            if len(self._handshakes) + len(self.server_state.connections) >= self.limits.max_connections:
                self._turned_away("busy")
                connection.close()
                continue
            task = loop.create_task(self._shake_hands(connection))
            self._handshakes.add(task)
            task.add_done_callback(partial(self._shaken, connection))

    def _shaken(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        if task.cancelled():  # perhaps before it began: its peer would wait for ever
            connection.close()

    async def _shake_hands(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: self._protocol(self), connection, ssl=self._files.trust.context,
                ssl_handshake_timeout=self.limits.handshake_seconds, ssl_shutdown_timeout=5)
        except OSError as error:  # ssl.SSLError and time-outs included: nobody there to be answered
            if isinstance(error, ssl.SSLCertVerificationError):  # of a foreign CA, or expired
                self._turned_away("unknown-client")
            connection.close()
