"""The producer: sends probes by HTTPS over kept connections and writes down what it was told.

``python -m tests.torture.producer <world> <run> <threads>``. Standard input says ``<count>``: send up to so
many in all; its end means stop after those. A probe is sent again with the same key until it is answered 202,
as Amt24 does. The ledger has a line ``{"sent": name}`` before the first byte and ``{"ok": name, "id": …,
"duplicate": …}`` after each 202.
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
    """Several threads, one ledger, one budget."""

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
        """Into the ledger: one write per line, which no other line can break."""
        os.write(self.ledger, json.dumps(line).encode() + b"\n")

    def take(self) -> str | None:
        """The next probe's name; None at the end."""
        with self.news:
            while self.next >= self.budget:
                if self.ended:
                    return None
                self.news.wait()
            self.next += 1
            return number(self.run, self.next - 1)

    def work(self) -> None:
        """One thread."""
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
        """To the hub; where there are several, to one after the other, as through a load balancer."""
        ports = sorted(self.world.folder.glob("https*.port"))
        return http.client.HTTPSConnection("localhost", int(ports[tries % len(ports)].read_text()),
                                           timeout=30,
                                           context=self.context)

    def post(self, connection: http.client.HTTPSConnection, name: str, body: bytes) -> bool:
        """Whether it was answered 202."""
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
    """The command."""
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
