"""AMQP inlet: messages from RabbitMQ, one queue per sender; and `setup`, which makes the broker ready for it.

What arrives where: senders publish to the topic exchange ``<prefix>.in`` with their own user name as routing key; a
topic permission lets each user do that and nothing else. The queue ``<prefix>.in.<user>`` therefore names the sender,
and nobody can write into another's. Body and properties become the message: ``message_id`` the duplicate key, the
headers ``municipality``, ``service``, ``test``, ``case``, and ``content_type``, ``reply_to``, ``correlation_id``.
What is missing stays empty, and the hub parks the message. A multipart body is taken apart; one that cannot be is
stored as it came and parked. Nothing is ever decompressed or deserialised: the bodies are taken from py-amqp's
channel, below kombu's message.

When it is acknowledged: after `accept` returned, from the connection's own thread. What arrives while a few commits are
under way goes into the next one together, and one acknowledgement tells the broker of all of them.

What a second delivery does: after a lost connection or a death the broker delivers again what was not acknowledged;
the hub knows it by message id or content.

What goes to the dead-letter queue ``<prefix>.dead``: messages over the size limit, those the sender was not allowed
to send, and those that were delivered `delivery_limit` times in vain.

When the store is unavailable: the messages in hand are kept and offered again with a growing pause; the broker sends
no more than `prefetch` meanwhile. They are not given back each time, because every return counts against the delivery
limit. After `hold_seconds` the connection is closed, well before the broker's own deadline for acknowledgements (30
minutes). While the hub has no room on its disk, none is opened: the messages wait at the broker.

`run` mends a lost connection itself, with a growing pause; after `patience` failures in a row, and at once when the
broker refuses user or queue, it raises, so that the hub reports it and starts it again.
"""

from __future__ import annotations

import queue
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import httpx2
from amqp.basic_message import Message
from amqp.exceptions import (
    AMQPError,
    ConsumerCancelled,
    IrrecoverableChannelError,
    IrrecoverableConnectionError,
    RecoverableConnectionError,
)
from amqp.method_framing import frame_handler
from kombu.connection import Connection
from pydantic import Field

from connectors._framing import Body, FramingError, Multipart, OverLimitError, Spool, clean, flag, media_type
from hub.endpoint import (
    Accept,
    Authority,
    Finding,
    InletBase,
    OptionsModel,
    SecretRef,
    SenderName,
    read_secret,
)
from hub.errors import ConfigError, Conflict, NotAllowed, StoreUnavailable
from hub.message import Accepted, Incoming, IncomingPart

UNCODED = ("", "identity", "binary", "utf-8", "utf8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252")


class Sender(OptionsModel):
    """A sender, its user at the broker, and thereby its queue."""

    name: SenderName = Field(min_length=1, description="the sender's name in the hub's configuration")
    user: str = Field(pattern=r"^[A-Za-z0-9_-]{1,60}$", description="its user at the broker, and its routing key")
    password: SecretRef | None = Field(None, description="only for `broker setup`: the password to give the user")


class Options(OptionsModel):
    """The broker, the hub's user there, and who sends."""

    host: str = Field("127.0.0.1", description="the broker's name; with TLS the certificate must have it")
    port: int = Field(5672, gt=0, le=65535, description="usually 5672, with TLS 5671")
    vhost: str = Field("/", description="virtual host")
    user: str = Field("drehscheibe", description="the hub's user: may only read")
    password: SecretRef = Field(description="its password")
    tls: bool = Field(False, description="speak TLS")
    ca: Authority | None = Field(None, description="PEM file of the broker's CA; default: the system's")
    prefix: str = Field("drehscheibe", pattern=r"^[A-Za-z0-9_-]{1,60}$", description="exchange and queues begin so")
    senders: tuple[Sender, ...] = Field(min_length=1, description="who may send")
    prefetch: int = Field(200, gt=0, le=10000, description="unacknowledged messages per queue")
    in_flight_bytes: int = Field(256_000_000, gt=0, description="no more is read while so many bytes are in hand")
    threads: int = Field(8, gt=0, description="commits that are waited for at once; what arrives meanwhile shares the next")
    heartbeat: int = Field(10, gt=0, description="seconds; a broker silent for twice as long is gone")
    reconnect_seconds: float = Field(1, gt=0, description="first pause before connecting again; doubles up to 10 s")
    patience: int = Field(6, gt=0, description="failed connections in a row until the hub is told")
    hold_seconds: float = Field(900, gt=0, description="how long messages are held while the store is unavailable")
    delivery_limit: int = Field(1000, gt=0, description="deliveries until a message goes to the dead-letter queue")
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


Outcome = Literal["done", "refused", "later"]

TOGETHER = 1_000_000
"""Bytes from which on messages are no more handed over together: each large one is synced to the disk beside the others."""


@dataclass(slots=True, eq=False)
class _Delivery:
    """A message in hand. `incoming` is kept between tries, so that a large body is spooled once."""

    tag: int
    channel: Any
    sender: str
    body: bytes
    properties: dict[str, Any]
    size: int
    incoming: Incoming | None = None
    error: BaseException | None = None


class Inlet(InletBase[Options]):
    """Consumes all senders' queues over one connection."""

    def __init__(self, options: Options, name: str, spool: Path, max_bytes: int) -> None:
        super().__init__(options, name, spool, max_bytes)
        self._spool = Spool(spool, name)
        self._consumes = False

    def run(self, accept: Accept, stop: threading.Event) -> None:
        """Raises py-amqp's errors and `OSError`; see the module's text."""
        self._spool.sweep()
        failures = 0
        while not stop.is_set():
            if not self._admitted():
                stop.wait(1)
                continue
            try:
                with self._connected() as link:
                    failures = 0
                    self._consumes = True
                    try:
                        _Session(self, accept, stop, link).serve()
                    finally:
                        self._consumes = False
            except (IrrecoverableConnectionError, IrrecoverableChannelError):
                raise
            except (AMQPError, OSError):
                failures += 1
                if failures > self.options.patience:
                    raise
                stop.wait(min(10, self.options.reconnect_seconds * 2 ** (failures - 1)))

    def _admitted(self) -> bool:
        """Whether there is room at all: on a full disk nothing is fetched, so nothing counts against the delivery limit."""
        try:
            self.admit(0)
        except StoreUnavailable:
            return False
        return True

    def ready(self) -> bool:
        """Whether the broker is connected."""
        return self._consumes

    def check(self) -> Sequence[Finding]:
        """Connect, and look at each sender's queue without touching a message."""
        try:
            with self._connected() as link:
                channel = link.channel()
                for sender in self.options.senders:
                    channel.queue_declare(self.options.queue(sender), passive=True)
        except IrrecoverableChannelError as error:
            return [Finding("error", f"AMQP: Warteschlange nicht nutzbar ({type(error).__name__})",
                            "drehscheibe broker setup ausführen.")]
        except (AMQPError, OSError, ConfigError) as error:
            return [Finding("error", f"AMQP: keine Verbindung zu {self.options.host}:{self.options.port} "
                                     f"({type(error).__name__})", "Adresse, Benutzer, Kennwort und CA prüfen.")]
        return [Finding("ok", f"AMQP: {len(self.options.senders)} Warteschlangen bereit")]

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """py-amqp's connection as kombu makes it. After an error the socket is just dropped: a broker in trouble may
        never answer the goodbye."""
        options = self.options
        tls = {"server_hostname": options.host, "cert_reqs": ssl.CERT_REQUIRED,
               "ca_certs": str(options.ca) if options.ca else None, "tls_minimum_version": ssl.TLSVersion.TLSv1_2}
        connection: Any = Connection(  # type: ignore[no-untyped-call]
            hostname=options.host, port=options.port, virtual_host=options.vhost, userid=options.user,
            password=read_secret(options.password), login_method="PLAIN", ssl=tls if options.tls else False,
            heartbeat=options.heartbeat, connect_timeout=10,
            transport_options={"frame_handler": _tolerant_frames, "write_timeout": options.heartbeat})
        link = connection.transport.establish_connection()
        try:
            link.transport.sock.settimeout(options.heartbeat)  # py-amqp waits for ever for the answer to a request
            yield link
            link.transport.sock.settimeout(min(3, options.heartbeat))
            link.close()
        finally:
            link.collect()

    def read(self, delivery: _Delivery) -> Incoming:
        """What the message says, its body spooled. Raises `OSError` when the spool cannot be written."""
        properties = delivery.properties
        headers: dict[str, Any] = properties.get("application_headers") or {}
        parts, unreadable = self._parts(delivery.body, _text(properties.get("content_type")) or "")
        coding = (_text(properties.get("content_encoding")) or "").lower()
        if coding not in UNCODED or headers.get("compression"):
            unreadable = "Der Inhalt ist komprimiert oder kodiert (content_encoding); der Eingang packt nichts aus."
        elif not properties:
            unreadable = "Die Eigenschaften der AMQP-Nachricht fehlen oder sind nicht lesbar."
        return Incoming(
            inlet=self.name, sender=delivery.sender, ags=_text(headers.get("municipality")) or "",
            service=_text(headers.get("service")) or "", parts=parts, test=flag(headers.get("test")),
            key=_text(properties.get("message_id")), case=_text(headers.get("case")),
            correlation=_text(properties.get("correlation_id")), reply_to=_text(properties.get("reply_to")),
            unreadable=unreadable)

    def release(self, delivery: _Delivery) -> None:
        """Forget what is spooled of a message."""
        if delivery.incoming is not None:
            self._spool.release(delivery.incoming.parts)

    def _parts(self, body: bytes, content_type: str) -> tuple[tuple[IncomingPart, ...], str | None]:
        if not media_type(content_type).startswith("multipart/"):
            return (self._whole(body, content_type),), None
        try:
            return self._multipart(body, content_type), None
        except (FramingError, OverLimitError):
            return (self._whole(body, content_type),), "Die Nachricht lässt sich nicht in ihre Teile zerlegen."

    def _whole(self, body: bytes, content_type: str) -> IncomingPart:
        sink = Body(self._spool)
        try:
            sink.write(body)
            return sink.part("application", media_type(content_type))
        except BaseException:
            sink.discard()
            raise

    def _multipart(self, body: bytes, content_type: str) -> tuple[IncomingPart, ...]:
        sink = Multipart(content_type, self._spool, self.options.max_parts)
        try:
            sink.feed(body)
            return sink.finish()
        except BaseException:
            sink.discard()
            raise


class _Session:
    """One connection, from the first message to its loss. Everything but `_hand_over` happens in one thread."""

    def __init__(self, inlet: Inlet, accept: Accept, stop: threading.Event, link: Any) -> None:
        self.inlet = inlet
        self.accept = accept
        self.stop = stop
        self.link = link
        self.settled: queue.SimpleQueue[list[tuple[_Delivery, Outcome, float]]] = queue.SimpleQueue()
        self.hands: set[_Delivery] = set()
        self.waiting: deque[_Delivery] = deque()
        self.running = 0
        self.bytes = 0
        self.heartbeat_at = self.resume_at = self.pause = 0.0
        self.held_since: float | None = None

    def serve(self) -> None:
        """Until `stop`, or until the connection is lost (raises)."""
        channels = {sender.user: self._consume(sender) for sender in self.inlet.options.senders}
        pool = ThreadPoolExecutor(self.inlet.options.threads, thread_name_prefix=f"{self.inlet.name}-accept")
        try:
            while not self.stop.is_set():
                self._submit(pool)
                self._receive()
                self._settle()
            for user, channel in channels.items():
                channel.basic_cancel(user, nowait=True)
            self._settle(block=True)  # the commits under way; the rest goes back to its queue
        finally:
            pool.shutdown(cancel_futures=True)
            for delivery in self.hands:
                self.inlet.release(delivery)

    def _consume(self, sender: Sender) -> Any:
        """A channel for each sender, and no wait for the answer: after a restart of the broker a quorum queue without
        a leader may leave it open for long, and must not hold up the other senders' queues."""
        channel = self.link.channel()
        channel.basic_qos(0, self.inlet.options.prefetch, a_global=False)
        channel.basic_consume(self.inlet.options.queue(sender), consumer_tag=sender.user, nowait=True,
                              callback=self._arrival(sender), on_cancel=_cancelled)
        return channel

    def _arrival(self, sender: Sender) -> Callable[[Message], None]:
        def arrived(message: Message) -> None:
            body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
            delivery = _Delivery(message.delivery_tag, message.channel, sender.name, body, message.properties,
                                 len(body))
            self.hands.add(delivery)
            self.bytes += delivery.size
            if delivery.size > self.inlet.max_bytes:
                self.inlet.turned_away("too-large")
                self._refuse(delivery)
            else:
                self.waiting.append(delivery)
        return arrived

    def _submit(self, pool: ThreadPoolExecutor) -> None:
        if time.monotonic() < self.resume_at:
            return
        while self.waiting and self.running < self.inlet.options.threads:
            self.running += 1
            pool.submit(self._hand_over, self._next())

    def _next(self) -> list[_Delivery]:
        """The oldest that wait, at least one."""
        chosen: list[_Delivery] = []
        size = 0
        while self.waiting and not (chosen and size + self.waiting[0].size > TOGETHER):
            chosen.append(self.waiting.popleft())
            size += chosen[-1].size
        return chosen

    def _receive(self) -> None:
        """One event of the broker, or a short wait; heartbeats are kept up either way."""
        busy = self.running or self.waiting
        if self.bytes > self.inlet.options.in_flight_bytes:
            self.stop.wait(0.005)  # the broker's bytes stay in the socket meanwhile
        else:
            try:
                self.link.drain_events(timeout=0.005 if busy else 0.25)
            except TimeoutError:
                pass
        if time.monotonic() >= self.heartbeat_at:
            self.heartbeat_at = time.monotonic() + 1
            self.link.heartbeat_tick()

    def _hand_over(self, deliveries: Sequence[_Delivery]) -> None:
        """In a thread of the pool: the acknowledgement follows in `_settle`, never here."""
        answers: dict[_Delivery, Accepted | BaseException] = {}
        try:
            for delivery in deliveries:
                self._read(delivery, answers)
            ready = [delivery for delivery in deliveries if delivery.incoming is not None and delivery not in answers]
            told = self.accept.together([delivery.incoming for delivery in ready if delivery.incoming is not None])
            answers |= zip(ready, told, strict=True)
        except BaseException as error:  # noqa: BLE001 - carried over to the connection's thread, which raises it
            answers |= {delivery: error for delivery in deliveries if delivery not in answers}
        self.settled.put([(delivery, *self._outcome(delivery, answers[delivery])) for delivery in deliveries])

    def _read(self, delivery: _Delivery, answers: dict[_Delivery, Accepted | BaseException]) -> None:
        if delivery.incoming is not None:
            return
        try:
            self.inlet.admit(delivery.size or 1)
            delivery.incoming = self.inlet.read(delivery)
            delivery.body = b""
        except (StoreUnavailable, OSError) as error:
            answers[delivery] = error

    def _outcome(self, delivery: _Delivery, answer: Accepted | BaseException) -> tuple[Outcome, float]:
        """What becomes of a message by the hub's answer, and how long to wait before it is asked again."""
        if isinstance(answer, StoreUnavailable):
            return "later", answer.retry_after
        if isinstance(answer, OSError):
            self.inlet.turned_away("unavailable")
            return "later", 5.0
        if isinstance(answer, NotAllowed | Conflict):
            return "refused", 0.0
        if isinstance(answer, BaseException):
            delivery.error = answer
        return "done", 0.0

    def _settle(self, block: bool = False) -> None:
        while self.running and (block or not self.settled.empty()):
            answered = self.settled.get()
            self.running -= 1
            self._acknowledge([delivery for delivery, outcome, _ in answered if outcome == "done" and delivery.error is None])
            for delivery, outcome, pause in answered:
                if delivery.error is not None:
                    raise delivery.error
                if outcome == "refused":
                    self._refuse(delivery)
                if outcome == "later":
                    self._hold(delivery, pause)
                else:
                    self.held_since, self.pause = None, 0.0

    def _acknowledge(self, done: Sequence[_Delivery]) -> None:
        """One acknowledgement where nothing older is in hand; it counts for all older ones on the channel."""
        for channel in {delivery.channel for delivery in done}:
            tags = sorted(delivery.tag for delivery in done if delivery.channel is channel)
            others = {delivery.tag for delivery in self.hands if delivery.channel is channel} - set(tags)
            oldest = min(others, default=tags[-1] + 1)
            older = [tag for tag in tags if tag < oldest]
            if older:
                channel.basic_ack(older[-1], multiple=True)
            for tag in tags[len(older):]:
                channel.basic_ack(tag)
        for delivery in done:
            self._let_go(delivery)

    def _refuse(self, delivery: _Delivery) -> None:
        delivery.channel.basic_reject(delivery.tag, requeue=False)
        self._let_go(delivery)

    def _let_go(self, delivery: _Delivery) -> None:
        self.hands.discard(delivery)
        self.bytes -= delivery.size
        self.inlet.release(delivery)

    def _hold(self, delivery: _Delivery, asked: float) -> None:
        """Keep it and wait: 1 s, 2 s, 4 s … up to what the store asked for."""
        now = time.monotonic()
        self.waiting.append(delivery)
        self.held_since = self.held_since or now
        if now - self.held_since > self.inlet.options.hold_seconds:
            raise RecoverableConnectionError("the store stays unavailable: the messages go back to their queues")
        if now >= self.resume_at:
            self.pause = min(max(asked, 0.05), self.pause * 2 or 1.0)
            self.resume_at = now + self.pause


def _cancelled(tag: str) -> None:
    """The broker ended the consumer (its queue was deleted, its leader moved): connecting again starts it again."""
    raise ConsumerCancelled(tag)


def _text(value: object) -> str | None:
    """A property or header as clean text, whatever AMQP type the sender chose."""
    if value is None:
        return None
    return clean(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def _tolerant_frames(connection: Any, callback: Callable[..., Any]) -> Callable[[tuple[int, int, Any]], bool]:
    """py-amqp's frame handler, but one message with properties that cannot be decoded does not end the connection.

    Without this it would come back after each reconnect and keep the consumer from ever starting.
    """
    handle = frame_handler(connection, callback)

    def on_frame(frame: tuple[int, int, Any]) -> bool:
        kind, channel, data = frame
        if kind != 2:
            return bool(handle(frame))
        without = kind, channel, bytes(data[:12]) + b"\0\0"  # class, weight, size; no properties
        if not any(data[4:12]):  # no body follows: the message is delivered at once, and an error may be its receiver's
            return bool(handle(frame if _readable(data) else without))
        try:
            return bool(handle(frame))
        except Exception:  # noqa: BLE001 - whatever a sender's bytes make of py-amqp's decoder
            return bool(handle(without))

    return on_frame


def _readable(header: bytes) -> bool:
    try:
        Message().inbound_header(header)
    except Exception:  # noqa: BLE001 - whatever a sender's bytes make of py-amqp's decoder
        return False
    return True


class Admin(OptionsModel):
    """An administrator of RabbitMQ's management API, needed for `setup` alone."""

    url: str = Field("http://127.0.0.1:15672", description="where the management plugin listens")
    user: str = Field(description="a user with the tag administrator")
    password: SecretRef = Field(description="its password")
    ca: Path | None = Field(None, description="PEM file of the CA behind an https url; default: the system's")


def setup(options: Options, admin: Admin) -> list[Finding]:
    """Declare exchanges, queues, limits, dead letters, users and permissions; may be repeated at any time.

    The hub's user may only read the senders' queues; a sender may only publish, with its own routing key. Never deletes
    anything. Raises `ConfigError` when a secret cannot be read.
    """
    verify: Any = ssl.create_default_context(cafile=admin.ca) if admin.ca else True
    with httpx2.Client(base_url=f"{admin.url.rstrip('/')}/api/", auth=(admin.user, read_secret(admin.password)),
                       verify=verify, timeout=30) as client:
        findings = []
        for what, method, path, body in _wishes(options):
            finding = _wish(client, what, method, path, body)
            findings.append(finding)
            if finding.severity == "error":
                break
        return findings


def _wishes(options: Options) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(what, HTTP method, path, body) of everything the broker must have, in order."""
    vhost = quote(options.vhost, safe="")
    exchange, dead = options.exchange, options.dead
    quorum = {"x-queue-type": "quorum"}
    limits = {"x-delivery-limit": options.delivery_limit, "x-dead-letter-exchange": dead,
              "x-overflow": "reject-publish", "x-dead-letter-strategy": "at-least-once"}
    nothing = {"configure": "^$", "write": "^$", "read": "^$"}
    yield f"Exchange {dead}", "PUT", f"exchanges/{vhost}/{dead}", {"type": "fanout", "durable": True}
    yield f"Warteschlange {dead}", "PUT", f"queues/{vhost}/{dead}", {"durable": True, "arguments": quorum}
    yield f"Bindung {dead}", "POST", f"bindings/{vhost}/e/{dead}/q/{dead}", {"routing_key": ""}
    yield f"Exchange {exchange}", "PUT", f"exchanges/{vhost}/{exchange}", {"type": "topic", "durable": True}
    for sender in options.senders:
        name = options.queue(sender)
        yield f"Warteschlange {name}", "PUT", f"queues/{vhost}/{name}", {"durable": True, "arguments": quorum | limits}
        yield f"Bindung {name}", "POST", f"bindings/{vhost}/e/{exchange}/q/{name}", {"routing_key": sender.user}
        if sender.password is not None:
            yield (f"Benutzer {sender.user}", "PUT", f"users/{sender.user}",
                   {"password": read_secret(sender.password), "tags": ""})
        # First the narrow right, then the wide one: in between a sender can do nothing rather than everything.
        yield (f"Routing-Schlüssel von {sender.user}", "PUT", f"topic-permissions/{vhost}/{sender.user}",
               {"exchange": exchange, "write": f"^{sender.user}$", "read": "^$"})
        yield (f"Rechte von {sender.user}", "PUT", f"permissions/{vhost}/{sender.user}",
               nothing | {"write": f"^{exchange.replace('.', '[.]')}$"})
    yield (f"Benutzer {options.user}", "PUT", f"users/{quote(options.user, safe='')}",
           {"password": read_secret(options.password), "tags": ""})
    yield (f"Rechte von {options.user}", "PUT", f"permissions/{vhost}/{quote(options.user, safe='')}",
           nothing | {"read": f"^{exchange.replace('.', '[.]')}[.].+$"})


def _wish(client: httpx2.Client, what: str, method: str, path: str, body: dict[str, Any]) -> Finding:
    try:
        answer = client.request(method, path, json=body)
    except httpx2.TransportError as error:
        return Finding("error", f"{what}: Management-API nicht erreichbar ({type(error).__name__})",
                       "Adresse prüfen und das Plugin rabbitmq_management einschalten.")
    if answer.status_code == 401:
        return Finding("error", f"{what}: Anmeldung an der Management-API abgelehnt",
                       "Benutzer mit dem Merkmal administrator und Kennwort prüfen.")
    if answer.status_code == 400:
        return Finding("error", f"{what}: besteht bereits mit anderen Eigenschaften",
                       "Leeren und löschen, dann erneut ausführen; es wird nie von selbst gelöscht.")
    if answer.is_error:
        return Finding("error", f"{what}: HTTP {answer.status_code}",
                       "Virtuellen Host anlegen (rabbitmqctl add_vhost), fehlende Benutzer mit Kennwort angeben.")
    return Finding("ok", f"{what}: {'angelegt' if answer.status_code == 201 else 'bereit'}")
