"""The producer: sends probes by HTTPS over kept connections, and writes down the answers.

``python -m tests.torture.producer <world> <run> <threads>`` reads ``<count>`` from standard input: send up
to so many in all. The end of the input means: stop after those. A probe is sent again with the same key
until the answer is 202, as Amt24 does. The ledger gets a line ``{"sent": name}`` before the first byte and
``{"ok": name, "id": …, "duplicate": …}`` after each 202.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import threading
import time
from pathlib import Path

from tests.torture.document import SERVICE, document, municipality_of, number
from tests.torture.world import World


class Producer:
    """Several threads with one ledger and one budget."""

    def __init__(self, world: World, run: str) -> None:
        self.world = world
        self.run = run
        self.context = ssl.create_default_context(cafile=str(world.tls / "ca.pem"))
        self.context.load_cert_chain(world.tls / "amt24.example.pem", world.tls / "amt24.example.key")
        self.ledger = os.open(world.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.news = threading.Condition()
        self.budget = 0
        self.next = 0
        self.ended = False

    def note(self, **line: object) -> None:
        """Write a line into the ledger, in one write, so that lines are never mixed."""
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
        """The work of one thread."""
        connection: http.client.HTTPSConnection | None = None
        tries = threading.get_ident() % 2
        while (name := self.take()) is not None:
            self.note(sent=name)
            body = document(name)
            while True:
                connection = connection or self.connected(tries)
                try:
                    if self.post(connection, name, body):
                        break
                except (OSError, http.client.HTTPException):
                    self.note(cut=name)
                connection.close()
                connection = None
                tries += 1
                time.sleep(0.05)

    def connected(self, tries: int) -> http.client.HTTPSConnection:
        """A connection to the hub. With several hubs it takes one after
        the other, as a load balancer does."""
        ports = sorted(self.world.folder.glob("https*.port"))
        return http.client.HTTPSConnection("localhost", int(ports[tries % len(ports)].read_text()),
                                           timeout=30,
                                           context=self.context)

    def post(self, connection: http.client.HTTPSConnection, name: str, body: bytes) -> bool:
        """Send a probe. Returns whether the answer was 202."""
        connection.request("POST", f"/in/{municipality_of(name)}/{SERVICE}", body, {
            "Content-Type": "application/xml", "Idempotency-Key": name})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 202:
            self.note(refused=name, status=response.status)
            return False
        told = json.loads(answer)
        self.note(ok=name, id=told["id"], duplicate=bool(told.get("duplicate")))
        return True


def main() -> None:
    """Run the command."""
    folder, run, threads = sys.argv[1:]
    producer = Producer(World(Path(folder)), run)
    workers = [threading.Thread(target=producer.work) for _ in range(int(threads))]
    for worker in workers:
        worker.start()
    for line in sys.stdin:
        with producer.news:
            producer.budget = int(line)
            producer.news.notify_all()
    with producer.news:
        producer.ended = True
        producer.news.notify_all()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
