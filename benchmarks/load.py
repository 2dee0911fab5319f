"""Senders. They cost little beside what they load, and begin only when they are told to.

* `publish` fills a queue with confirms, as fast as the broker takes it. `paced` sends at a rate.
* ``python -m benchmarks.load PORT FOLDER PREFIX FIRST COUNT SIZE CONNECTIONS [RATE]`` sends by HTTPS from a
  process of its own. It makes all requests first, prints ``ready``, and begins when it reads a line from
  standard input. At the end it prints one JSON object with the moment of each 202 by number
  (`time.monotonic` is the same in all processes).
"""

from __future__ import annotations

import json
import queue
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import amqp

from benchmarks import application

WINDOW = 500
"""How many messages may be unconfirmed."""


def numbers(prefix: str, first: int, count: int) -> list[str]:
    """The numbers of `count` applications."""
    return [f"{prefix}-{number}" for number in range(first, first + count)]


class Publisher:
    """A channel of the broker with confirms. A context manager: it closes its connection."""

    def __init__(self, port: int, vhost: str, user: str, password: str, exchange: str, key: str) -> None:
        self._connection = amqp.Connection(f"127.0.0.1:{port}", user, password, virtual_host=vhost,
                                           login_method="PLAIN")
        self._connection.connect()
        self._channel = self._connection.channel()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._confirmed)
        self._where = {"exchange": exchange, "routing_key": key}
        self._sent = self._done = 0
        self._gaps: set[int] = set()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, number: str, document: bytes, service: str = application.SERVICE) -> None:
        """Send one application. Waits while too many are unconfirmed."""
        message = amqp.Message(
            document,
            message_id=number,
            content_type="application/xml",
            delivery_mode=2,
            application_headers={"municipality": application.AGS, "service": service, "case": number},
        )
        self._channel.basic_publish(message, **self._where)
        self._sent += 1
        while self._sent - self._done >= WINDOW:
            self._connection.drain_events(timeout=60)

    def drain(self, seconds: float = 0.0) -> None:
        """Read confirms for so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self._connection.drain_events(timeout=left)
            except TimeoutError:
                return

    def settle(self) -> None:
        """Wait until the broker has confirmed everything."""
        while self._done < self._sent:
            self._connection.drain_events(timeout=60)

    def _confirmed(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._done = max(self._done, tag)
        else:
            self._gaps.add(tag)
        while self._done + 1 in self._gaps:
            self._done += 1
            self._gaps.discard(self._done)


def publish(publisher: Publisher, names: Iterable[str], size: tuple[int, int]) -> None:
    """Send all applications. Returns when the broker has confirmed them."""
    for name in names:
        publisher.send(name, application.document(name, *size))
    publisher.settle()


def paced(publisher: Publisher, names: Sequence[str], size: tuple[int, int], rate: float) -> dict[str, float]:
    """Send applications at a rate, whatever becomes of them. Returns the moment at which each was sent."""
    documents = [application.document(name, *size) for name in names]
    sent: dict[str, float] = {}
    began = time.monotonic()
    for count, (name, document) in enumerate(zip(names, documents, strict=True)):
        publisher.drain(began + count / rate - time.monotonic())
        while (left := began + count / rate - time.monotonic()) > 0:
            time.sleep(left)
        sent[name] = time.monotonic()
        publisher.send(name, document)
    publisher.settle()
    return sent


# --- HTTPS, a process of its own ----------------------------------------------------------------------------


def request(number: str, document: bytes) -> bytes:
    """The bytes of a request."""
    return (
        f"POST /in/{application.AGS}/{application.SERVICE} HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/xml\r\n"
        f"Idempotency-Key: {number}\r\nDrehscheibe-Case: {number}\r\nContent-Length: {len(document)}\r\n\r\n"
    ).encode() + document


def connect(port: int, tls: Path) -> ssl.SSLSocket:
    """A connection with the sender's certificate."""
    context = ssl.create_default_context(cafile=str(tls / "ca.pem"))
    context.load_cert_chain(tls / "amt24.example.pem", tls / "amt24.example.key")
    line = socket.create_connection(("127.0.0.1", port), 60)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(line, server_hostname="localhost")


def exchange(line: ssl.SSLSocket, data: bytes) -> int:
    """Send a request and read its answer. Returns the status."""
    line.sendall(data)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _more(line)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next((int(row.partition(b":")[2]) for row in head.split(b"\r\n")
                   if row.lower().startswith(b"content-length")), 0)
    while len(body) < length:
        body += _more(line)
    return int(head[9:12])


def _more(line: ssl.SSLSocket) -> bytes:
    data = line.recv(65536)
    if not data:
        raise ConnectionError("the server ended the connection")
    return data


def main() -> int:
    """Run the command. Returns its exit code."""
    if len(sys.argv) < 8:
        print(__doc__)
        return 2
    port, folder, prefix, first, count, size, connections = sys.argv[1:8]
    rate = float(sys.argv[8]) if len(sys.argv) > 8 else 0.0
    names = numbers(prefix, int(first), int(count))
    waiting: queue.SimpleQueue[tuple[int, str, bytes]] = queue.SimpleQueue()
    for index, name in enumerate(names):
        waiting.put((index, name, request(name, application.document(name, *application.SIZES[size]))))
    lines = [connect(int(port), Path(folder)) for _ in range(int(connections))]
    print("ready", flush=True)
    sys.stdin.readline()
    result: dict[str, Any] = {"sent": {}, "answered": {}, "refused": {}}
    began = time.monotonic()

    def work(line: ssl.SSLSocket) -> None:
        while True:
            try:
                taken = waiting.get_nowait()
            except queue.Empty:
                return
            index, name, data = taken
            if rate and (left := began + index / rate - time.monotonic()) > 0:
                time.sleep(left)
            result["sent"][name] = time.monotonic()
            try:
                status = exchange(line, data)
            except (OSError, ValueError) as error:
                result["refused"][name] = type(error).__name__
                return
            result["answered" if status == 202 else "refused"][name] = (
                time.monotonic() if status == 202 else status)

    threads = [threading.Thread(target=work, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"began": began, **result}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
