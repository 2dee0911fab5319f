"""The dead letters at the broker: looked at without being taken, and given back to the queues they came from.

A look fetches all letters and lets them go together at its end. To fetch some would change the order of all:
RabbitMQ puts what comes back behind the others. Nothing that a sender wrote is shown, but its id for the
message and what the hub's own logs would show.

To give back: the letter is published to its queue, as its sender sent it, and waits for the broker's
confirmation. Only then it is acknowledged at the dead-letter queue. What breaks off in between leaves two,
which the hub knows by message id or content. From the message go what the broker added to it, the ``user_id``
(the broker would refuse it from another user) and the headers ``CC`` and ``BCC``: by those a sender could
write into another's queue with the rights of whoever gives back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

from amqp import spec
from amqp.basic_message import Message
from amqp.exceptions import AMQPError, IrrecoverableChannelError, MessageNacked

from connectors._amqp_message import text
from connectors._framing import flag, labelled
from hub.endpoint import DeadLetter, Returned
from hub.errors import Busy, ConfigError

CONFIRM_SECONDS = 30
SHOWN = 80
"""Characters of a sender's id that are shown."""
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for when a letter was laid aside that does not say it."""
REASONS = ("rejected", "expired", "maxlen", "delivery_limit")
BROKERS_OWN = re.compile(r"x-(death|first-death-.*|last-death-.*|delivery-count|acquired-count)|CC|BCC")
"""Headers that are not given back."""
WORD = re.compile(r"[\w.:+-]{1,40}", re.ASCII)


@contextmanager
def letters(connection: AbstractContextManager[Any], place: str, user: str, queue: str,
            sources: Collection[str]) -> Iterator[Letters]:
    """The dead letters in `queue` at `place`, seen by `user`; back they go to `sources` alone.

    Raises `Busy` when there is no line to the broker, `ConfigError` when it says no.
    """
    inside = False
    try:
        with connection as link:
            inside = True
            yield Letters(link, queue, sources)
    except IrrecoverableChannelError as error:
        if not inside:
            raise ConfigError.at(place, "user", f"the broker does not let {user!r} in",
                                 "correct user, password or virtual host") from error
        if error.reply_code == 404:
            raise ConfigError.at(place, queue, "there is no such queue",
                                 "run drehscheibe broker setup") from error
        raise ConfigError.at(
            place, queue, f"{user!r} may not do this at the broker",
            "to look, repeat drehscheibe broker setup; to give back, name a user who may "
            "write there (--user, --password-file)") from error
    except (AMQPError, OSError) as error:
        raise Busy(f"{place}: the broker cannot be reached ({type(error).__name__})") from error


class Letters:
    """Implements `hub.endpoint.DeadLetters` over one connection."""

    def __init__(self, link: Any, queue: str, sources: Collection[str]) -> None:
        self._link = link
        self._queue = queue
        self._sources = sources
        self._fetching = link.channel()
        self._fetching.auto_decode = False

    def count(self) -> int:
        """How many there are now."""
        count: int = self._fetching.queue_declare(self._queue, passive=True).message_count
        return count

    def first(self, limit: int | None = None) -> list[DeadLetter]:
        """The oldest, at most so many. All stay where they are."""
        with self._fetched() as found:
            oldest = sorted((letter for letter, _ in found), key=lambda letter: letter.at or NEVER)
        return oldest[:limit]

    def body(self, id: str) -> bytes | None:
        """The body of the one with this id; None when it is gone."""
        with self._fetched() as found:
            bodies = [bytes(message.body) for letter, message in found if letter.id == id]
        return bodies[0] if bodies else None

    def give_back(self, ids: Collection[str]) -> Iterator[tuple[DeadLetter, Returned]]:
        """See `hub.endpoint.DeadLetters`."""
        lost: list[Any] = []
        with self._link.channel() as publishing, self._fetched() as found:
            publishing.events["basic_return"].add(lambda *returned: lost.append(returned))
            for letter, message in found:
                if letter.id in ids:
                    lost.clear()
                    outcome = self._give_back(publishing, letter, message, lost)
                    if outcome == "returned":
                        self.take_away(message)
                    yield letter, outcome

    def _give_back(self, channel: Any, letter: DeadLetter, message: Any, lost: list[Any]) -> Returned:
        """Publish it and wait until its queue has it for certain."""
        if not message.properties:
            return "unreadable"
        if letter.queue is None or letter.queue not in self._sources:
            return "not-ours"
        try:
            self.publish(channel, as_sent(message), letter.queue)
        except MessageNacked:
            return "refused"
        return "no-queue" if lost else "returned"

    def publish(self, channel: Any, message: Message, queue: str) -> None:
        """Returns after the broker's yes. Raises `MessageNacked` after its no."""
        channel.basic_publish_confirm(message, "", queue, mandatory=True, confirm_timeout=CONFIRM_SECONDS)

    def take_away(self, message: Any) -> None:
        """Its queue has it: here it is no more."""
        message.channel.basic_ack(message.delivery_tag)

    @contextmanager
    def _fetched(self) -> Iterator[Iterator[tuple[DeadLetter, Any]]]:
        """Those that lie there, the oldest first. What is not taken away lies there again afterwards."""
        def fetch() -> Iterator[tuple[DeadLetter, Any]]:
            while (message := self._fetching.basic_get(self._queue)) is not None:
                yield _letter(message), message

        try:
            yield fetch()
        finally:
            if self._fetching.is_open:  # else the broker has done it
                # 0: all that was fetched and not taken away
                self._fetching.send_method(spec.Basic.Nack, "Lbb", (0, True, True))


def as_sent(message: Any) -> Message:
    """The message as its sender published it."""
    kept = {name: value for name, value in message.properties.items()
            if name not in ("user_id", "cluster_id", "application_headers")}
    headers = _of_sender(_headers(message))
    return Message(bytes(message.body), **kept, **({"application_headers": headers} if headers else {}))


def _headers(message: Any) -> Mapping[Any, Any]:
    headers = message.properties.get("application_headers")
    return headers if isinstance(headers, Mapping) else {}


def _of_sender(headers: Mapping[Any, Any]) -> dict[Any, Any]:
    """Without what the broker added, at each look anew, and what must not be given back."""
    return {name: value for name, value in headers.items()
            if not (isinstance(name, str) and BROKERS_OWN.fullmatch(name))}


def _letter(message: Any) -> DeadLetter:
    headers = _headers(message)
    death = _last_death(headers)
    reason = death.get("reason")
    body = bytes(message.body)
    identity = hashlib.sha256(body)
    identity.update(repr((message.properties.get("message_id"), death.get("time"), death.get("queue"),
                          sorted(map(repr, _of_sender(headers).items())))).encode("utf-8", "replace"))
    message_id = text(message.properties.get("message_id"))
    return DeadLetter(
        id=identity.hexdigest()[:16], at=_aware(death.get("time")), queue=text(death.get("queue")),
        reason=reason if reason in REASONS else "unknown", size=len(body),
        message_id=message_id[:SHOWN] if message_id else None, properties=_shown(message, headers))


def _last_death(headers: Mapping[Any, Any]) -> Mapping[str, Any]:
    """The broker puts the latest first, whatever the sender wrote there."""
    deaths = headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths else None
    return first if isinstance(first, Mapping) else {}


def _aware(moment: object) -> datetime | None:
    return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) else None


def _shown(message: Any, headers: Mapping[Any, Any]) -> dict[str, str]:
    """What may be shown: addresses, media type, flags; of other headers only how many there are."""
    properties = message.properties
    death = _last_death(headers)
    shown = {"municipality": text(headers.get("municipality")), "service": text(headers.get("service")),
             "test": "true" if flag(headers.get("test")) else None,
             "content_encoding": text(properties.get("content_encoding")),
             "expiration_ms": text(death.get("original-expiration")), "deaths": text(death.get("count"))}
    found = {name: value for name, value in shown.items() if value is not None and WORD.fullmatch(value)}
    if properties.get("content_type") is not None:
        found["content_type"] = labelled(text(properties["content_type"]) or "")
    others = len(_of_sender(headers).keys() - {"municipality", "service", "test"})
    return found | ({"other_headers": str(others)} if others else {})
