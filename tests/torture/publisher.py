"""The producer at the broker: publishes probes with confirms, and writes down which were confirmed.

``python -m tests.torture.publisher <world> <run> <port> <vhost> <user> <password>`` reads ``<count>`` from
standard input: publish up to so many in all. The end of the input means: stop after those. A probe is
published again, with the same message id, until the broker confirms it. The ledger gets a line ``{"sent":
name}`` before the first byte and ``{"confirmed": name}`` after each confirm. `settle` adds the hub's ids at
the end.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import kombu
from amqp.basic_message import Message
from amqp.exceptions import AMQPError

from tests.torture.document import SERVICE, document, municipality_of, number
from tests.torture.records import records
from tests.torture.world import World

PACE = 0.1
"""Seconds between two probes, so that there is load as long as a fault lasts."""


class Publisher:
    """One thread with one ledger and one budget."""

    def __init__(self, world: World, run: str, **login: Any) -> None:
        self.login = login
        self.run = run
        self.ledger = os.open(world.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.news = threading.Condition()
        self.budget = self.next = 0
        self.ended = False

    def note(self, **line: object) -> None:
        """Write a line into the ledger."""
        os.write(self.ledger, json.dumps(line).encode() + b"\n")

    def take(self) -> str | None:
        """The name of the next probe. None at the end."""
        with self.news:
            while self.next >= self.budget:
                if self.ended:
                    return None
                self.news.wait()
            self.next += 1
            return number(self.run, self.next - 1)

    def work(self) -> None:
        """Publish until the end."""
        link: Any = None
        while (name := self.take()) is not None:
            self.note(sent=name)
            while True:
                try:
                    link = link or self.connected()
                    link.channel(1).basic_publish(
                        Message(document(name), message_id=name, content_type="application/xml",
                                delivery_mode=2,
                                application_headers={"municipality": municipality_of(name),
                                                     "service": SERVICE}),
                        "drehscheibe.in", self.login["userid"], timeout=5, confirm_timeout=5)
                except (AMQPError, OSError):
                    self.note(cut=name)
                    if link is not None:
                        link.collect()
                    link = None
                    time.sleep(0.3)
                    continue
                self.note(confirmed=name)
                time.sleep(PACE)
                break

    def connected(self) -> Any:
        """A new connection. Raises `AMQPError` and `OSError`."""
        connect: Any = kombu.Connection
        connection = connect(hostname="127.0.0.1", login_method="PLAIN", connect_timeout=3,
                                           transport_options={"confirm_publish": True, "read_timeout": 5,
                                                              "write_timeout": 5},
                                           **self.login)
        return connection.transport.establish_connection()


def settle(world: World) -> None:
    """Write the hub's id of each confirmed probe into the ledger, or ``none`` for the checker to judge."""
    lines = [json.loads(line) for line in world.ledger.read_text().splitlines()]
    ids = {row["key"]: row["id"] for row in records(world, "SELECT key, id FROM message")}
    with world.ledger.open("a") as ledger:
        for name in [line["confirmed"] for line in lines if "confirmed" in line]:
            ledger.write(json.dumps({"ok": name, "id": ids.get(name, "none")}) + "\n")


def main() -> None:
    """Run the command."""
    folder, run, port, vhost, user, password = sys.argv[1:]
    publisher = Publisher(World(Path(folder)), run, port=int(port), virtual_host=vhost, userid=user,
                          password=password)
    thread = threading.Thread(target=publisher.work)
    thread.start()
    for line in sys.stdin:
        with publisher.news:
            publisher.budget = int(line)
            publisher.news.notify_all()
    with publisher.news:
        publisher.ended = True
        publisher.news.notify_all()
    thread.join()


if __name__ == "__main__":
    main()
