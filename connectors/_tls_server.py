"""A uvicorn server over TLS that knows the peer's certificate, cuts off the slow, and takes up new
certificates.

Nobody without a certificate can shut the door: handshakes, connections of strangers and those of known
senders have places of their own. Where a handshake or a stranger has no more place, the oldest idle one gives
way (`connectors._crowd`).

Each connection takes the TLS context that is in force at that moment. When the files were renewed, open
connections end after the request they are in. A connection that brings no whole header in time is closed
without an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import h11
import tenacity
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from connectors import _problem
from connectors._crowd import Crowd, network_of
from connectors._http1 import Connection
from connectors._trust import TrustFiles
from hub.endpoint import TurnedAway

ACCEPT_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how many. All times in seconds."""

    handshake_seconds: float
    header_seconds: float
    keep_alive_seconds: int
    shutdown_seconds: int
    max_connections: int
    """Of known senders."""
    max_handshakes: int
    max_strangers: int
    """Connections after a handshake with no certificate, or one of nobody."""
    max_per_address: int
    """Handshakes, and connections of strangers, from one address."""


class Protocol(H11Protocol):
    """uvicorn's protocol. It also knows the peer's certificate and does not wait for ever for a header."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.config, server.server_state, {}, asyncio.get_running_loop())
        self.access_log = False
        self.conn = Connection()
        self.address = ""
        self._door = server
        self._known = False
        self._header_seconds = server.limits.header_seconds
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is done: keep the certificate (DER, or None) for the application."""
        super().connection_made(transport)
        certificate = transport.get_extra_info("ssl_object").getpeercert(True)
        self.app_state = {"certificate": certificate}
        self.address = network_of(str((transport.get_extra_info("peername") or ("",))[0]))
        self._known = self._door.welcome(certificate)
        if self._door.crowd(known=self._known).admit(self):
            self.watch_header()
        else:
            transport.abort()

    def is_idle(self) -> bool:
        """A stranger's without a request in work. A sender's never gives way: it may just be sending."""
        return not self._known and self._between_requests()

    def put_out(self) -> None:
        """Somebody else needs its place."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """What is no HTTP, or too much of it, is answered and ends the connection."""
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        problem = _problem.BY_STATUS.get(status, _problem.MALFORMED)
        told = problem.turned_away if self._known else None
        self._door.turned_away(told or "unknown-client")
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        response = problem.response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        for event in (h11.Response(status_code=problem.status, headers=headers),
                      h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

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
        self._door.crowd(known=self._known).leave(self)
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


class _Handshake:
    """A connection that is no TLS yet."""

    def __init__(self, connection: socket.socket, address: str) -> None:
        self.connection = connection
        self.address = address
        self.task: asyncio.Task[None] | None = None

    def is_idle(self) -> bool:
        """Nothing was promised to it."""
        return True

    def put_out(self) -> None:
        """Somebody else needs its place."""
        if self.task is not None:
            self.task.cancel()


class Server(uvicorn.Server):
    """uvicorn's server with an accept loop of its own.

    `application` is called with ``scope["state"]["certificate"]``. `turned_away` hears of connections over
    the limit, and of certificates that no CA file knows; `certificate_seen` of each sender that comes in, and
    when its certificate ends. `run` returns after `stop` is set.
    """

    def __init__(self, application: Callable[..., Any], *, listener: socket.socket, files: TrustFiles,
                 limits: Limits, turned_away: Callable[[TurnedAway], None],
                 certificate_seen: Callable[[str, datetime], None], stop: threading.Event,
                 protocol: type[Protocol] = Protocol) -> None:
        super().__init__(uvicorn.Config(
            application, loop="asyncio", ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, timeout_keep_alive=limits.keep_alive_seconds,
            timeout_graceful_shutdown=limits.shutdown_seconds))
        self.limits = limits
        self._listener = listener
        self._files = files
        self.turned_away = turned_away
        self._certificate_seen = certificate_seen
        self._shaking = Crowd(limits.max_handshakes, turned_away, limits.max_per_address)
        self._crowds = {True: Crowd(limits.max_connections, turned_away),
                        False: Crowd(limits.max_strangers, turned_away, limits.max_per_address)}
        self._stop = stop
        self._protocol = protocol
        self._handshakes: set[asyncio.Task[None]] = set()
        self._closing = False
        self.servers: list[asyncio.Server] = []

    def welcome(self, certificate: bytes | None) -> bool:
        """Whether a certificate is a sender's and valid, by what is trusted now; then its end is told."""
        shown = self._files.trust.read(certificate)
        if shown.known is None or shown.ends is None:
            return False
        self._certificate_seen(shown.known, shown.ends)
        return True

    def crowd(self, *, known: bool) -> Crowd:
        """The connections of known senders, or of strangers."""
        return self._crowds[known]

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
            accepted: tuple[socket.socket, Any] = await patiently(loop.sock_accept, self._listener)
            guest = _Handshake(accepted[0], network_of(accepted[1][0]))
            if not self._shaking.admit(guest):
                guest.connection.close()
                continue
            guest.task = task = loop.create_task(self._shake_hands(guest.connection))
            self._handshakes.add(task)
            task.add_done_callback(partial(self._shaken, guest))

    def _shaken(self, guest: _Handshake, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        self._shaking.leave(guest)
        if task.cancelled():  # perhaps before it began: its peer would wait for ever
            guest.connection.close()

    async def _shake_hands(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: self._protocol(self), connection, ssl=self._files.trust.context,
                ssl_handshake_timeout=self.limits.handshake_seconds, ssl_shutdown_timeout=5)
        except OSError as error:  # ssl.SSLError and time-outs included: nobody there to be answered
            if isinstance(error, ssl.SSLCertVerificationError):  # of a foreign CA
                self.turned_away("unknown-client")
            connection.close()
