"""One connection to the broker: messages come in, are handed to the hub, and are acknowledged after that.

What arrives while a few commits are under way goes into the next one together, and one acknowledgement tells
the broker of all of them.

While the store is unavailable the messages in hand are kept and offered again with a growing pause. The
broker sends no more than `prefetch` meanwhile. They are not given back each time, because every return counts
against the delivery limit. After `hold_seconds` the connection is closed, and they go back to their queues.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import tenacity
from amqp.basic_message import Message
from amqp.exceptions import ConsumerCancelled, RecoverableConnectionError

from connectors._amqp_message import Reader
from hub.endpoint import Accept, InletContext
from hub.errors import Conflict, NotAllowed, StoreUnavailable
from hub.message import Accepted, Incoming

TOGETHER = 1_000_000
"""Bytes. Larger messages are not handed over together: each is synced to the disk beside the others."""

SPOOL_RETRY_SECONDS = 5.0
LEAST_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class SenderQueue:
    """A queue, and whose it is."""

    sender: str
    """The sender's name in the hub's configuration."""
    user: str
    """Its user at the broker."""
    name: str
    """The queue's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is in hand at once, and for how long."""

    prefetch: int
    """Unacknowledged messages per queue."""
    in_flight_bytes: int
    """No more is read while so many bytes are in hand."""
    threads: int
    """Commits that are waited for at once."""
    hold_seconds: float
    """How long a message is held while the store is unavailable."""


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
    counted: bool = False


Answer = Accepted | BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """What a thread of the pool tells the connection's thread."""

    done: Sequence[_Delivery] = ()
    refused: Sequence[_Delivery] = ()
    error: BaseException | None = None
    last: bool = False
    """The thread is free again."""


@dataclass(eq=False)
class Session:
    """One connection, from the first message to its loss. Only `_hand_over` runs in other threads."""

    link: Any
    """py-amqp's connection."""
    queues: Sequence[SenderQueue]
    limits: Limits
    reader: Reader
    context: InletContext
    accept: Accept
    stop: threading.Event
    watch: Callable[[], None] = lambda: None
    """Called about once a second in the connection's thread."""
    _over: threading.Event = field(default_factory=threading.Event)
    _settled: queue.SimpleQueue[_News] = field(default_factory=queue.SimpleQueue)
    _hands: set[_Delivery] = field(default_factory=set)
    _waiting: deque[_Delivery] = field(default_factory=deque)
    _running: int = 0
    _bytes: int = 0
    _heartbeat_at: float = 0.0

    def serve(self) -> None:
        """Until `stop`. Raises py-amqp's errors and `OSError` when the connection is lost."""
        channels = {each.user: self._consume(each) for each in self.queues}
        pool = ThreadPoolExecutor(self.limits.threads, thread_name_prefix=f"{self.context.name}-accept")
        try:
            while not self.stop.is_set():
                self._submit(pool)
                self._receive()
                self._settle()
            for user, channel in channels.items():
                channel.basic_cancel(user, nowait=True)
            self._over.set()
            self._settle(block=True)  # the commits under way; the rest goes back to its queue
        finally:
            self._over.set()
            pool.shutdown(cancel_futures=True)
            for delivery in self._hands:
                self._release(delivery)

    # --- in the connection's thread -------------------------------------------------------------------------

    def _consume(self, source: SenderQueue) -> Any:
        """A channel for each sender, and no wait for the answer.

        After a restart of the broker a quorum queue without a leader may not answer for long. It must not
        hold up the other senders' queues.
        """
        channel = self.link.channel()
        channel.auto_decode = False  # else py-amqp decodes the body by its content_encoding: other bytes
        channel.basic_qos(0, self.limits.prefetch, a_global=False)
        channel.basic_consume(source.name, consumer_tag=source.user, nowait=True,
                              callback=self._arrival(source), on_cancel=_cancelled)
        return channel

    def _arrival(self, source: SenderQueue) -> Callable[[Message], None]:
        def arrived(message: Message) -> None:
            body = bytes(message.body)
            delivery = _Delivery(message.delivery_tag, message.channel, source.sender, body,
                                 message.properties, len(body))
            self._hands.add(delivery)
            self._bytes += delivery.size
            if delivery.size > self.context.max_bytes:
                self.context.turned_away("too-large")
                self._refuse(delivery)
            else:
                self._waiting.append(delivery)
        return arrived

    def _submit(self, pool: ThreadPoolExecutor) -> None:
        while self._waiting and self._running < self.limits.threads:
            self._running += 1
            pool.submit(self._hand_over, self._next())

    def _next(self) -> list[_Delivery]:
        """The oldest that wait, at least one."""
        chosen: list[_Delivery] = []
        size = 0
        while self._waiting and not (chosen and size + self._waiting[0].size > TOGETHER):
            chosen.append(self._waiting.popleft())
            size += chosen[-1].size
        return chosen

    def _receive(self) -> None:
        """One event of the broker, or a short wait; heartbeats are kept up either way."""
        busy = self._running or self._waiting
        if self._bytes > self.limits.in_flight_bytes:
            self.stop.wait(0.005)  # the broker's bytes stay in the socket meanwhile
        else:
            try:
                self.link.drain_events(timeout=0.005 if busy else 0.25)
            except TimeoutError:
                pass
        if time.monotonic() >= self._heartbeat_at:
            self._heartbeat_at = time.monotonic() + 1
            self.link.heartbeat_tick()
            self.watch()

    def _settle(self, block: bool = False) -> None:
        while self._running and (block or not self._settled.empty()):
            news = self._settled.get()
            self._acknowledge(news.done)
            for delivery in news.refused:
                self._refuse(delivery)
            if news.error is not None:
                raise news.error
            self._running -= news.last

    def _acknowledge(self, done: Sequence[_Delivery]) -> None:
        """One acknowledgement where nothing older is in hand: it counts for all older ones on the channel."""
        for channel in {delivery.channel for delivery in done}:
            tags = sorted(delivery.tag for delivery in done if delivery.channel is channel)
            others = {delivery.tag for delivery in self._hands if delivery.channel is channel} - set(tags)
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
        self._hands.discard(delivery)
        self._bytes -= delivery.size
        self._release(delivery)

    def _release(self, delivery: _Delivery) -> None:
        if delivery.incoming is not None:
            self.reader.release(delivery.incoming)

    # --- in a thread of the pool ----------------------------------------------------------------------------

    def _hand_over(self, deliveries: list[_Delivery]) -> None:
        """Offer them until each has its answer. The acknowledgement follows in `_settle`, never here."""
        stop = tenacity.stop_any(tenacity.stop_when_event_set(self._over),
                                 tenacity.stop_after_delay(self.limits.hold_seconds))
        try:
            for attempt in tenacity.Retrying(
                    retry=tenacity.retry_if_exception_type(StoreUnavailable), wait=_growing, stop=stop,
                    sleep=tenacity.sleep_using_event(self._over),
                    retry_error_callback=self._held_for_too_long):
                with attempt:
                    if not self._over.is_set():
                        self._offer(deliveries)
            self._settled.put(_News(last=True))
        except BaseException as error:  # noqa: BLE001 - the connection's thread raises it
            self._settled.put(_News(error=error, last=True))

    def _held_for_too_long(self, _: tenacity.RetryCallState) -> None:
        if not self._over.is_set():
            raise RecoverableConnectionError(
                "the store stays unavailable: the messages go back to their queues")

    def _offer(self, deliveries: list[_Delivery]) -> None:
        """Ask the hub once, and take out of the list what it decided.

        Raises `StoreUnavailable` when some are left, and any error that is no answer.
        """
        answers = self._answers(deliveries)
        later = {each: answer for each, answer in answers.items() if isinstance(answer, StoreUnavailable)}
        unknown = [answer for answer in answers.values() if isinstance(answer, BaseException)
                   and not isinstance(answer, StoreUnavailable | NotAllowed | Conflict)]
        self._settled.put(_News(
            done=[each for each, answer in answers.items() if isinstance(answer, Accepted)],
            refused=[each for each, answer in answers.items() if isinstance(answer, NotAllowed | Conflict)]))
        deliveries[:] = later
        if unknown:
            raise unknown[0]
        if later:
            raise max(later.values(), key=lambda answer: answer.retry_after)

    def _answers(self, deliveries: Sequence[_Delivery]) -> dict[_Delivery, Answer]:
        answers: dict[_Delivery, Answer] = {}
        for delivery in deliveries:
            try:
                self._read(delivery)
            except (StoreUnavailable, OSError) as error:
                answers[delivery] = error
        ready = {each: each.incoming for each in deliveries
                 if each.incoming is not None and each not in answers}
        answers |= zip(ready, self.accept.together(list(ready.values())), strict=True)
        return {each: self._no_room(each) if isinstance(answer, OSError) else answer
                for each, answer in answers.items()}

    def _read(self, delivery: _Delivery) -> None:
        if delivery.incoming is None:
            self.context.admit(delivery.size or 1)
            delivery.incoming = self.reader.read(delivery.sender, delivery.body, delivery.properties)
            delivery.body = b""

    def _no_room(self, delivery: _Delivery) -> StoreUnavailable:
        """The spool cannot be written: counted once, tried again until it can."""
        if not delivery.counted:
            delivery.counted = True
            self.context.turned_away("unavailable")
        return StoreUnavailable("the spool cannot be written", retry_after=SPOOL_RETRY_SECONDS)


def _growing(state: tenacity.RetryCallState) -> float:
    """1 s, 2 s, 4 s … up to what the store asked for."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, StoreUnavailable) else 0.0
    return min(max(asked, LEAST_PAUSE), tenacity.wait_exponential()(state))


def _cancelled(tag: str) -> None:
    """The broker ended the consumer: its queue was deleted, or its leader moved. A new connection starts it
    again.
    """
    raise ConsumerCancelled(tag)
