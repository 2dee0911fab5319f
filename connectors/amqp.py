"""AMQP inlet: messages from RabbitMQ, one queue per sender; and `setup`, which makes the broker ready for it.

What arrives where: senders publish to the topic exchange ``<prefix>.in``, with their own user name as routing
key. A topic permission lets each user do that and nothing else. The queue ``<prefix>.in.<user>`` therefore
names the sender, and nobody can write into another's. Body and properties become the message: ``message_id``
the duplicate key, the headers ``municipality``, ``service``, ``test``, ``case``, and ``content_type``,
``reply_to``, ``correlation_id``. What is missing stays empty, and the hub parks the message. A multipart body
is taken apart; one that cannot be is stored as it came and parked. Nothing is ever decompressed or
deserialised, and nothing is decoded by its ``content_encoding``: the bytes that were sent are stored.

When it is acknowledged: after `accept` returned, from the connection's own thread. What arrives while a few
commits are under way goes into the next one together, and one acknowledgement tells the broker of all of
them.

What a second delivery does: after a lost connection or a death the broker delivers again what was not
acknowledged. The hub knows it by message id or content.

What goes to the dead-letter queue ``<prefix>.dead``: messages over the size limit, those the sender was not
allowed to send, those that were delivered `delivery_limit` times in vain, and those whose sender or broker
lets them expire. Their number is looked at every `watch_seconds` over the same connection.

When the store is unavailable: the messages in hand are kept and offered again with a growing pause. The
broker sends no more than `prefetch` meanwhile. They are not given back each time, because every return counts
against the delivery limit. After `hold_seconds` the connection is closed, well before the broker's own
deadline for acknowledgements (30 minutes). While the hub has no room on its disk, none is opened: the
messages wait at the broker.

`run` mends a lost connection itself, with a growing pause. After `patience` failures in a row, and at once
when the broker refuses user or queue, it raises, so that the hub reports it and starts it again.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import tenacity
from amqp.exceptions import AMQPError, IrrecoverableChannelError, IrrecoverableConnectionError
from kombu.connection import Connection
from pydantic import Field

from connectors import _amqp_dead
from connectors._amqp_depth import Depth
from connectors._amqp_message import Reader, tolerant_frames
from connectors._amqp_session import Limits, SenderQueue, Session
from connectors._amqp_setup import Admin, Topology, User, declare
from connectors._framing import Spool
from hub.endpoint import (
    Accept,
    Authority,
    DeadLetters,
    Finding,
    InletBase,
    InletContext,
    OptionsModel,
    SecretRef,
    SenderName,
    read_secret,
)
from hub.errors import ConfigError, StoreUnavailable

__all__ = ["Admin", "Inlet", "Options", "Sender", "dead_letters", "setup"]

LONGEST_PAUSE = 10.0
NO_ROOM_PAUSE = 1.0


class Sender(OptionsModel):
    """A sender, its user at the broker, and thereby its queue."""

    name: SenderName = Field(min_length=1, description="the sender's name in the hub's configuration")
    user: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,60}$", description="its user at the broker, and its routing key")
    password: SecretRef | None = Field(
        None, description="only for `broker setup`: the password to give the user")


class Options(OptionsModel):
    """The broker, the hub's user there, and who sends."""

    host: str = Field("127.0.0.1", description="the broker's name; with TLS the certificate must have it")
    port: int = Field(5672, gt=0, le=65535, description="usually 5672, with TLS 5671")
    vhost: str = Field("/", description="virtual host")
    user: str = Field("drehscheibe", description="the hub's user: may only read")
    password: SecretRef = Field(description="its password")
    tls: bool = Field(False, description="speak TLS")
    ca: Authority | None = Field(None, description="PEM file of the broker's CA; default: the system's")
    prefix: str = Field(
        "drehscheibe", pattern=r"^[A-Za-z0-9_-]{1,60}$", description="exchange and queues begin so")
    senders: tuple[Sender, ...] = Field(min_length=1, description="who may send")
    prefetch: int = Field(200, gt=0, le=10000, description="unacknowledged messages per queue")
    in_flight_bytes: int = Field(
        256_000_000, gt=0, description="no more is read while so many bytes are in hand")
    threads: int = Field(
        8, gt=0, description="commits that are waited for at once; what arrives meanwhile shares the next")
    heartbeat: int = Field(10, gt=0, description="seconds; a broker silent for twice as long is gone")
    reconnect_seconds: float = Field(
        1, gt=0, description="first pause before connecting again; doubles up to 10 s")
    patience: int = Field(6, gt=0, description="failed connections in a row until the hub is told")
    hold_seconds: float = Field(
        900, gt=0, description="how long messages are held while the store is unavailable")
    delivery_limit: int = Field(
        1000, gt=0, description="deliveries until a message goes to the dead-letter queue")
    watch_seconds: float = Field(30, gt=0, description="how often the dead letters are counted")
    max_parts: int = Field(200, gt=0, description="parts of a multipart body")

    @property
    def exchange(self) -> str:
        """Where senders publish."""
        return f"{self.prefix}.in"

    @property
    def dead(self) -> str:
        """The dead-letter exchange and its queue."""
        return f"{self.prefix}.dead"

    def queue(self, sender: Sender) -> str:
        """The queue that names this sender."""
        return f"{self.prefix}.in.{sender.user}"


class Inlet(InletBase[Options]):
    """Consumes all senders' queues over one connection."""

    def __init__(self, options: Options, context: InletContext) -> None:
        super().__init__(options, context)
        self._spool = Spool(context.spool, context.name)
        self._consumes = False

    def run(self, accept: Accept, stop: threading.Event) -> None:
        """Raises py-amqp's errors and `OSError`; see the module's text."""
        self._spool.sweep()

        def given_up(state: tenacity.RetryCallState) -> None:
            if not stop.is_set() and state.outcome is not None:
                state.outcome.result()  # raises

        for attempt in tenacity.Retrying(
                retry=tenacity.retry_if_exception(_passes), sleep=tenacity.sleep_using_event(stop),
                wait=tenacity.wait_exponential(self.options.reconnect_seconds, max=LONGEST_PAUSE),
                stop=tenacity.stop_any(tenacity.stop_when_event_set(stop),
                                       tenacity.stop_after_attempt(self.options.patience + 1)),
                retry_error_callback=given_up):
            with attempt:
                self._await_room(stop)
                if stop.is_set():
                    return
                with connected(self.options) as link:
                    attempt.retry_state.attempt_number = 1  # connected: what failed before counts no more
                    self._consume(link, accept, stop)

    def _await_room(self, stop: threading.Event) -> None:
        """On a full disk nothing is fetched, so nothing counts against the delivery limit."""
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StoreUnavailable), wait=tenacity.wait_fixed(NO_ROOM_PAUSE),
            sleep=tenacity.sleep_using_event(stop), stop=tenacity.stop_when_event_set(stop),
            retry_error_callback=lambda _: None)(self.context.admit, 0)

    def _consume(self, link: Any, accept: Accept, stop: threading.Event) -> None:
        options = self.options
        self._consumes = True
        try:
            Session(
                link, [SenderQueue(each.name, each.user, options.queue(each)) for each in options.senders],
                Limits(prefetch=options.prefetch, in_flight_bytes=options.in_flight_bytes,
                       threads=options.threads, hold_seconds=options.hold_seconds),
                Reader(self._spool, self.name, options.max_parts), self.context, accept, stop,
                Depth(link, options.dead, options.watch_seconds, self.context.dead_letters).tick).serve()
        finally:
            self._consumes = False

    def ready(self) -> bool:
        """Whether the broker is connected."""
        return self._consumes

    def check(self) -> Sequence[Finding]:
        """Connect, and look at each sender's queue and the dead letters' without touching a message."""
        try:
            with connected(self.options) as link:
                channel = link.channel()
                for sender in self.options.senders:
                    channel.queue_declare(self.options.queue(sender), passive=True)
                dead = self._dead_findings(channel)
        except IrrecoverableChannelError as error:
            return [Finding("error", f"AMQP: Warteschlange nicht nutzbar ({type(error).__name__})",
                            "drehscheibe broker setup ausführen.")]
        except (AMQPError, OSError, ConfigError) as error:
            return [Finding("error", f"AMQP: keine Verbindung zu {self.options.host}:{self.options.port} "
                                     f"({type(error).__name__})",
                            "Adresse, Benutzer, Kennwort und CA prüfen.")]
        return [Finding("ok", f"AMQP: {len(self.options.senders)} Warteschlangen bereit"), *dead]

    def _dead_findings(self, channel: Any) -> list[Finding]:
        """Without the queue, what is rejected would be gone."""
        dead = self.options.dead
        try:
            count = channel.queue_declare(dead, passive=True).message_count
        except IrrecoverableChannelError as error:
            return [Finding("warning", f"AMQP: Warteschlange {dead} nicht nutzbar ({type(error).__name__}): "
                                       "Abgewiesenes ginge verloren", "drehscheibe broker setup ausführen.")]
        return [Finding("warning", f"AMQP: {count} nicht angenommene Nachrichten in {dead}",
                        "drehscheibe broker dead list")] if count else []


@contextmanager
def connected(options: Options, user: tuple[str, SecretRef] | None = None) -> Iterator[Any]:
    """py-amqp's connection as kombu makes it, as `user` (name, password), else as the hub's.

    Raises py-amqp's errors, `OSError`, and `ConfigError` for a secret. After an error the socket is just
    dropped: a broker in trouble may never answer the goodbye.
    """
    name, password = user or (options.user, options.password)
    tls = {"server_hostname": options.host, "cert_reqs": ssl.CERT_REQUIRED,
           "ca_certs": str(options.ca) if options.ca else None,
           "tls_minimum_version": ssl.TLSVersion.TLSv1_2}
    connection: Any = Connection(  # type: ignore[no-untyped-call]
        hostname=options.host, port=options.port, virtual_host=options.vhost, userid=name,
        password=read_secret(password), login_method="PLAIN", ssl=tls if options.tls else False,
        heartbeat=options.heartbeat, connect_timeout=10,
        transport_options={"frame_handler": tolerant_frames, "write_timeout": options.heartbeat})
    link = connection.transport.establish_connection()
    try:
        link.transport.sock.settimeout(options.heartbeat)  # py-amqp waits for ever for an answer
        yield link
        link.transport.sock.settimeout(min(3, options.heartbeat))
        link.close()
    finally:
        link.collect()


def _passes(error: BaseException) -> bool:
    """Whether connecting again may help: not when the broker refuses user or queue."""
    return (isinstance(error, AMQPError | OSError)
            and not isinstance(error, IrrecoverableConnectionError | IrrecoverableChannelError))


def setup(options: Options, admin: Admin) -> list[Finding]:
    """Make the broker ready for these options (`connectors._amqp_setup`); may be repeated at any time.

    Raises `ConfigError` when a secret cannot be read.
    """
    return declare(Topology(
        vhost=options.vhost, exchange=options.exchange, dead=options.dead,
        delivery_limit=options.delivery_limit, reader=User(options.user, options.password),
        senders=[(User(each.user, each.password), options.queue(each)) for each in options.senders]), admin)


def dead_letters(options: Options, user: str | None = None,
                 password: SecretRef | None = None) -> AbstractContextManager[DeadLetters]:
    """The dead letters of these options, seen by `user` with `password`, else by the hub's own user.

    Raises `Busy` when there is no line to the broker, `ConfigError` when it says no.
    """
    asked = (user, password) if user is not None and password is not None else None
    return _amqp_dead.letters(connected(options, asked), f"{options.host}:{options.port}",
                              user or options.user, options.dead,
                              {options.queue(each) for each in options.senders})
