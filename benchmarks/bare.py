"""The bare pipeline: what the library calls alone can do, at the same durability as the hub. ``python -m
benchmarks.bare FILE``

::

    AMQP (py-amqp, prefetch 1000)     SQLite (WAL, FULL)       lxml, 2 threads          syncfs HTTPS (uvicorn,
    h11)       ──► inbox ──► one commit ──► parse XSD XSLT write ──► one per batch, rename ──► ack
                                             per batch                               SMTP, SFTP: 4 kept
                                             connections

Every stage takes all that waits for it as one batch, so batches grow with the load and with the price of a
sync; while much is in hand, store and folder let their batch gather for 20 ms (where a sync takes a third of
one, the rate nearly doubles by that). This is the best layout that was measured among one after the other,
single fsyncs, a pool of fsyncs and syncfs. A message is acknowledged when its file is durable under its final
name (HTTPS: when its row is). What a killed run left undone is done at the next start; names come from the
message's key, so a second time leaves one copy. It has no rules, no retries, no events, no metrics and no
isolation: it is the yardstick, not a hub.

FILE is JSON: ``{"state", "in": {"kind": "amqp" | "https", …}, "out": {"kind": "folder" | "smtp" | "sftp", …},
"threads"}``. Imports nothing from the hub.
"""

from __future__ import annotations

import argparse
import asyncio
import binascii
import ctypes
import json
import os
import queue
import select
import shutil
import smtplib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pysqlite3 import dbapi2

from benchmarks.chain import Chain

LARGE = 64 * 1024
"""Bytes from which a body is a file beside the database, not a row in it."""

CHUNK = 64
"""Messages that one thread takes at once."""

MUCH = 64
"""Messages in hand from which a batch may gather."""

LINGER = 0.02
"""Seconds for which it does."""

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """A message in hand. `tag` is what its inlet knows it by; None: found in the store at the start."""

    key: str
    body: bytes
    tag: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """A message that has left. `large`: its body is a file."""

    key: str
    large: bool


def syncfs(descriptor: int) -> None:
    """Make everything on the file system durable. Raises OSError."""
    if _libc.syncfs(descriptor) != 0:
        raise OSError(ctypes.get_errno(), "syncfs")


def drain(waiting: queue.SimpleQueue[T]) -> list[T]:
    """All that waits now."""
    batch: list[T] = []
    while True:
        try:
            batch.append(waiting.get_nowait())
        except queue.Empty:
            return batch


class Folder:
    """Rendered files: written by the thread that rendered them, made durable and visible by the batch."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def write(self, item: Item, rendering: bytes, attachments: Sequence[bytes]) -> tuple[str, str]:
        """Under a hidden name; hidden and final name. One file, or a folder when there are attachments."""
        if not attachments:
            hidden, final = f"{self.path}/.{item.key}.part", f"{self.path}/{item.key}.xml"
            _write(hidden, rendering)
            return hidden, final
        hidden, final = f"{self.path}/.{item.key}.part", f"{self.path}/{item.key}"
        shutil.rmtree(hidden, ignore_errors=True)
        os.mkdir(hidden)  # noqa: PTH102
        _write(f"{hidden}/antrag.xml", rendering)
        for number, body in enumerate(attachments, 1):
            _write(f"{hidden}/nachweis-{number}.pdf", body)
        return hidden, final

    def finish(self, written: Iterable[tuple[str, str]]) -> None:
        """Durable, then visible, then durably visible."""
        syncfs(self._fd)
        for hidden, final in written:
            if os.path.isdir(final):  # noqa: PTH112  a second time, after a kill
                shutil.rmtree(hidden)
            else:
                os.rename(hidden, final)  # noqa: PTH104
        os.fsync(self._fd)


def _write(name: str, content: bytes) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _lines(content: bytes) -> bytes:
    """Base64 in lines of 76, as mail wants it."""
    text = binascii.b2a_base64(content, newline=False)
    return b"\r\n".join([text[at : at + 76] for at in range(0, len(text), 76)]) + b"\r\n"


class Mail:
    """Mail over a kept connection of the thread; done at the server's 250."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._mine = threading.local()

    def send(self, item: Item, rendering: bytes, attachments: Sequence[bytes]) -> None:
        """One mail with its files."""
        files = [
            ("antrag.xml", "application/xml", rendering),
            *(("nachweis.pdf", "application/pdf", body) for body in attachments),
        ]
        parts = b"".join(
            f'--=_{item.key}\r\nContent-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n'
            f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'.encode() + _lines(content)
            for name, kind, content in files
        )
        head = (
            "From: hub@hub.example\r\nTo: amt@musterstadt.example\r\nSubject: Leistungsmessung "
            f"{item.key}\r\n"
            f"Message-ID: <{item.key}@hub.example>\r\nMIME-Version: 1.0\r\n"
            f'Content-Type: multipart/mixed; boundary="=_{item.key}"\r\n\r\n'
        ).encode()
        server = self._connected()
        server.mail("hub@hub.example")
        server.rcpt("amt@musterstadt.example")
        server.docmd("DATA")
        # not server.data(): it looks through all of it for line ends and dots, of which there are none to
        # mend
        server.send(head + parts + f"--=_{item.key}--\r\n.\r\n".encode())
        code, _ = server.getreply()
        if code != 250:
            raise OSError(f"the mail server said {code}")

    def _connected(self) -> smtplib.SMTP:
        if not hasattr(self._mine, "server"):
            self._mine.server = smtplib.SMTP("127.0.0.1", self._port, timeout=60)
            self._mine.server.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._mine.server.ehlo()
        server: smtplib.SMTP = self._mine.server
        return server


class Sftp:
    """Files over a kept session of the thread: written, synced by the server, renamed."""

    def __init__(self, port: int, user: str, key: str, path: str) -> None:
        self._where = port, user, key
        self._path = path
        self._mine = threading.local()

    def send(self, item: Item, rendering: bytes, attachments: Sequence[bytes]) -> None:
        """One file, or a folder when there are attachments."""
        hidden = f"{self._path}/.{item.key}.part"
        session = self._session()
        if not attachments:
            self._put(session, hidden, rendering)
            session.posix_rename(hidden, f"{self._path}/{item.key}.xml")
            return
        session.mkdir(hidden)
        self._put(session, f"{hidden}/antrag.xml", rendering)
        for number, body in enumerate(attachments, 1):
            self._put(session, f"{hidden}/nachweis-{number}.pdf", body)
        session.posix_rename(hidden, f"{self._path}/{item.key}")

    def _put(self, session: Any, name: str, content: bytes) -> None:
        from paramiko.sftp import CMD_EXTENDED

        with session.open(name, "wb") as file:
            file.set_pipelined(len(content) > 32_768)
            file.write(content)
            file.set_pipelined(False)
            session._request(CMD_EXTENDED, "fsync@openssh.com", file.handle)

    def _session(self) -> Any:
        if not hasattr(self._mine, "session"):
            import paramiko

            port, user, key = self._where
            line = socket.create_connection(("127.0.0.1", port), 30)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = paramiko.Transport(line)
            transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))
            self._mine.session = paramiko.SFTPClient.from_transport(transport)
        return self._mine.session


class Pipeline:
    """Store, XML and outlet, each with threads of its own. `accepted` and `finished` are called with the
    items of a batch."""

    def __init__(
        self,
        state: Path,
        outlet: Folder | Mail | Sftp,
        threads: int = 2,
        accepted: Callable[[Sequence[Item]], None] = lambda _: None,
        finished: Callable[[Sequence[Item]], None] = lambda _: None,
    ) -> None:
        self._state = state
        self._outlet = outlet
        self._accepted = accepted
        self._finished = finished
        self._inbox: queue.SimpleQueue[Item | Done] = queue.SimpleQueue()
        self._rendering: queue.SimpleQueue[list[Item]] = queue.SimpleQueue()
        self._leaving: queue.SimpleQueue[tuple[Item, Any]] = queue.SimpleQueue()
        self._in_hand = 0
        self._chain = Chain()
        state.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
        workers: list[Callable[[], None]] = [self._store, *[self._render] * threads]
        workers += [self._drop] if isinstance(outlet, Folder) else [self._send] * 4
        for work in workers:
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()

    def put(self, item: Item) -> None:
        """Hand a message in."""
        self._inbox.put(item)

    def _take(self, waiting: queue.SimpleQueue[T]) -> list[T]:
        """All that waits, at least one; while much is in hand, also what comes soon."""
        first = waiting.get()
        if self._in_hand > MUCH:
            time.sleep(LINGER)
        return [first, *drain(waiting)]

    @staticmethod
    def _guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(70)  # a yardstick without a stage would only hang

    def _store(self) -> None:
        connection = dbapi2.connect(str(self._state / "bare.sqlite3"), isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute(
            "CREATE TABLE IF NOT EXISTS message (key TEXT PRIMARY KEY, body BLOB, done INTEGER NOT NULL) "
            "WITHOUT ROWID"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS open ON message (key) WHERE done = 0")
        left = [
            Item(key, self._body(key, body), None)
            for key, body in connection.execute("SELECT key, body FROM message WHERE done = 0").fetchall()
        ]
        self._in_hand = len(left)
        self._distribute(left)
        # under way, with what came a second time meanwhile
        again: dict[str, list[Item]] = {item.key: [] for item in left}
        while True:
            batch = self._take(self._inbox)
            items = [each for each in batch if isinstance(each, Item)]
            done = [each for each in batch if isinstance(each, Done)]
            keys = json.dumps([item.key for item in items])
            known = {
                key
                for (key,) in connection.execute(
                    "SELECT key FROM message WHERE key IN (SELECT value FROM json_each(?))", (keys,)
                ).fetchall()
            }
            new = [item for item in items if item.key not in known]
            self._store_large(new)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO message VALUES (?, ?, 0)",
                [(item.key, None if len(item.body) >= LARGE else item.body) for item in new],
            )
            connection.executemany("UPDATE message SET done = 1 WHERE key = ?",
                                   [(each.key,) for each in done])
            connection.execute("COMMIT")
            self._in_hand += len(new) - len(done)
            self._accepted(items)
            self._distribute(new)
            again |= {item.key: [] for item in new}
            for item in items:
                if item.key in known:
                    again[item.key].append(item) if item.key in again else self._finished([item])
            for each in done:
                self._finished(again.pop(each.key))
                if each.large:
                    self._place(each.key).unlink(missing_ok=True)

    def _store_large(self, items: Sequence[Item]) -> None:
        large = [item for item in items if len(item.body) >= LARGE]
        for item in large:
            _write(str(self._place(item.key)), item.body)
        if large:
            syncfs(self._fd)

    def _place(self, key: str) -> Path:
        return self._state / f"{key}.body"

    def _body(self, key: str, stored: bytes | None) -> bytes:
        return self._place(key).read_bytes() if stored is None else stored

    def _distribute(self, items: Sequence[Item]) -> None:
        for first in range(0, len(items), CHUNK):
            self._rendering.put(list(items[first : first + CHUNK]))

    def _render(self) -> None:
        while True:
            for item in self._rendering.get():
                rendering, attachments = self._chain(item.body)
                if isinstance(self._outlet, Folder):
                    self._leaving.put((item, self._outlet.write(item, rendering, attachments)))
                else:
                    self._leaving.put((item, (rendering, attachments)))

    def _drop(self) -> None:
        assert isinstance(self._outlet, Folder)
        while True:
            batch = self._take(self._leaving)
            self._outlet.finish(written for _, written in batch)
            self._done([item for item, _ in batch])

    def _send(self) -> None:
        assert not isinstance(self._outlet, Folder)
        while True:
            item, (rendering, attachments) = self._leaving.get()
            self._outlet.send(item, rendering, attachments)
            self._done([item])

    def _done(self, items: Sequence[Item]) -> None:
        for item in items:
            self._inbox.put(Done(item.key, len(item.body) >= LARGE))
        self._finished(items)


class Amqp:
    """Consumes one queue; acknowledges with one frame what is finished without a gap."""

    def __init__(self, port: int, vhost: str, user: str, password: str, queue_name: str,
                 prefetch: int) -> None:
        import amqp

        self._connection = amqp.Connection(
            f"127.0.0.1:{port}", user, password, virtual_host=vhost, login_method="PLAIN", heartbeat=0,
            connect_timeout=10
        )
        self._connection.connect()
        self._channel = self._connection.channel()
        self._channel.basic_qos(0, prefetch, False)
        self._queue = queue_name
        self._news, self._wake = os.pipe()
        self._settled: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._gaps: set[int] = set()
        self._acknowledged = 0

    def finished(self, items: Sequence[Item]) -> None:
        """From any thread."""
        for item in items:
            if item.tag is not None:
                self._settled.put(item.tag)
        os.write(self._wake, b"!")

    def serve(self, pipeline: Pipeline) -> None:
        """Until killed; what arrives goes into the pipeline."""
        self._pipeline = pipeline
        self._channel.basic_consume(self._queue, callback=self._arrived)
        line = self._connection.sock
        print("ready", flush=True)
        while True:
            readable, _, _ = select.select([line, self._news], [], [])
            if self._news in readable:
                os.read(self._news, 65536)
                self._acknowledge()
            if line in readable:
                self._connection.drain_events()

    def _arrived(self, message: Any) -> None:
        body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
        self._pipeline.put(Item(message.properties["message_id"], body, message.delivery_tag))

    def _acknowledge(self) -> None:
        while not self._settled.empty():
            self._gaps.add(self._settled.get())
        last = self._acknowledged
        while last + 1 in self._gaps:
            last += 1
            self._gaps.discard(last)
        if last > self._acknowledged:  # a frame for all
            self._acknowledged = last
            self._channel.basic_ack(last, multiple=True)


class Https:
    """Takes POSTs over TLS with client certificates; answers 202 after the commit."""

    def __init__(self, port: int, certificate: str, key: str, ca: str) -> None:
        self._settings: dict[str, Any] = {"port": port, "ssl_certfile": certificate, "ssl_keyfile": key,
                                          "ssl_ca_certs": ca}
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._last = 0

    def accepted(self, items: Sequence[Item]) -> None:
        """From the store's thread."""
        tags = [item.tag for item in items if item.tag is not None]
        if tags:
            self._loop.call_soon_threadsafe(self._answer, tags)

    def _answer(self, tags: Sequence[int]) -> None:
        for tag in tags:
            self._waiting.pop(tag).set_result(None)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        key = next(value for name, value in scope["headers"] if name == b"idempotency-key").decode()
        self._last += 1
        done = self._waiting[self._last] = self._loop.create_future()
        self._pipeline.put(Item(key, body, self._last))
        await done
        answer = json.dumps({"id": key}).encode()
        await send({"type": "http.response.start", "status": 202,
                    "headers": [(b"content-length", str(len(answer)).encode())]})
        await send({"type": "http.response.body", "body": answer})

    def serve(self, pipeline: Pipeline) -> None:
        """Until killed; what arrives goes into the pipeline."""
        self._pipeline = pipeline
        import ssl

        import uvicorn

        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            print("ready", flush=True)
            await uvicorn.Server(
                uvicorn.Config(
                    self._app,
                    host="127.0.0.1",
                    http="h11",
                    interface="asgi3",
                    lifespan="off",
                    access_log=False,
                    log_level="error",
                    ssl_cert_reqs=ssl.CERT_REQUIRED,
                    **self._settings,
                )
            ).serve()

        asyncio.run(run())


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bare", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="the settings, JSON")
    given = json.loads(parser.parse_args().file.read_text())
    kinds: dict[str, Any] = {"folder": Folder, "smtp": Mail, "sftp": Sftp, "amqp": Amqp, "https": Https}
    inlet = kinds[given["in"].pop("kind")](**given["in"])
    outlet = kinds[given["out"].pop("kind")](**given["out"])
    pipeline = Pipeline(
        Path(given["state"]),
        outlet,
        given.get("threads", 2),
        getattr(inlet, "accepted", lambda _: None),
        getattr(inlet, "finished", lambda _: None),
    )
    inlet.serve(pipeline)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
