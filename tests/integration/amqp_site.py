"""A virtual host at RabbitMQ with everything set up, its inlet, and senders that publish to it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amqp.basic_message import Message

from connectors import amqp
from tests.integration.inlet_contract import Outcome, Site
from tests.services.amqp_line import AmqpLine
from tests.services.rabbitmq import RabbitMQ

HEADERS = {"municipality": "14999010", "service": "hundesteuer"}


@dataclass(frozen=True)
class Published:
    """A message that the broker has confirmed."""

    line: AmqpLine
    key: str
    before: int
    """How many of its key were decided before it."""

    def outcome(self) -> Outcome:
        """As the inlet told the broker."""
        return next(iter(self.line.outcomes[self.key][self.before:]), "open")

    def not_taken(self) -> int:
        """The inlet itself tries again: it is one transfer."""
        return 1


class AmqpSite(Site):
    """The inlet's line to the broker goes through `line`, the senders' does not."""

    kind = amqp.Inlet
    conflict = "park"

    def __init__(self, broker: RabbitMQ, folder: Path, *, prepared: bool = True, **options: Any) -> None:
        super().__init__(folder)
        self.broker = broker
        self.line = AmqpLine(broker.port)
        self.vhost = uuid.uuid4().hex
        self.user, self.sender, self.municipality = (
            f"{name}-{self.vhost}" for name in ("hub", "amt24", "municipality"))
        broker.add_vhost(self.vhost)
        self.given = {
            "port": self.line.port, "vhost": self.vhost,
            "user": self.user, "password": self.secret("hub-test"), "heartbeat": 3, "reconnect_seconds": 0.1,
            "senders": ({"name": "amt24", "user": self.sender, "password": self.secret("amt24-test")},
                        {"name": "municipality", "user": self.municipality,
                         "password": self.secret("municipality-test")})} | options
        self.admin = amqp.Admin(url=broker.api, user=broker.admin[0], password=self.secret(broker.admin[1]))
        if prepared:
            findings = amqp.setup(self.options(), self.admin)
            assert {finding.severity for finding in findings} == {"ok"}, findings

    def options(self) -> amqp.Options:
        return amqp.Options(**self.given)

    def other(self, **changes: Any) -> amqp.Inlet:
        """An inlet with other options."""
        return amqp.Inlet(amqp.Options(**(self.given | changes)), self.context())

    def secret(self, text: str) -> str:
        """A secret in a file of its own."""
        path = self.folder / f"{text}.secret"
        path.write_text(text + "\n")
        return f"file:{path}"

    @property
    def password_file(self) -> Path:
        """The hub's password at the broker."""
        return self.folder / "hub-test.secret"

    @property
    def queue(self) -> str:
        """The first sender's."""
        options = self.options()
        return options.queue(options.senders[0])

    def publish(self, *bodies: bytes, headers: dict[str, Any] | None = None, key: str | None = None,
                sender: tuple[str, str] | None = None, **properties: Any) -> None:
        """As the first sender, unless another is named with its password."""
        user, password = sender or (self.sender, "amt24-test")
        headers = HEADERS if headers is None else headers
        with (self.broker.connection(self.vhost, user, password) as connection,
              connection.channel() as channel):
            for body in bodies:
                message = Message(body, application_headers=headers, **properties)
                channel.basic_publish(message, self.options().exchange, key or user)

    def send(self, body: bytes, key: str | None = None) -> Published:
        """With a content encoding by which any bytes could be decoded, as clients set one by default."""
        key = key or uuid.uuid4().hex
        published = Published(self.line, key, len(self.line.outcomes[key]))
        self.publish(body, message_id=key, content_encoding="latin-1")
        return published

    def left(self) -> int:
        """What the broker still has for the first sender. Only exact while nobody consumes."""
        return self.broker.count(self.vhost, self.queue)

    def dead(self) -> int:
        """What lies in the dead-letter queue."""
        return self.broker.count(self.vhost, self.options().dead)

    def consumers(self) -> int:
        """Who consumes the first sender's queue."""
        with self.broker.connection(self.vhost) as connection, connection.channel() as channel:
            count: int = channel.queue_declare(self.queue, passive=True).consumer_count
        return count

    def taken(self, count: int) -> None:
        """Wait until the hub took so many."""
        self.wait(lambda: len(self.door.taken) >= count, f"{count} messages")
        assert len(self.door.taken) == count

    def close(self) -> None:
        super().close()
        self.line.close()

    def renew(self) -> None:
        """Another password, at the broker and in its file; the broker closes what was opened with the old
        one.
        """
        self.broker.call("PUT", f"users/{self.user}", {"password": "hub-new", "tags": ""})
        self.password_file.write_text("hub-new\n")
        self._connections = self.line.connections
        self.line.drop()

    def renewed(self) -> bool:
        return self.line.connections > self._connections and bool(self.inlet.ready())

    def hurt(self) -> None:
        self.password_file.rename(self.password_file.with_suffix(".away"))

    def heal(self) -> None:
        self.password_file.with_suffix(".away").rename(self.password_file)
