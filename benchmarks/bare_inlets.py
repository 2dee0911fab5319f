"""How the bare pipeline receives: from a queue, or over HTTPS."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import select
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.bare_parts import Item

if TYPE_CHECKING:
    from benchmarks.bare import Pipeline


class Amqp:
    """Consumes one queue. One frame acknowledges all messages that are finished without a gap."""

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
        """Note finished messages. Any thread may call it."""
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
        if last > self._acknowledged:  # one frame for all
            self._acknowledged = last
            self._channel.basic_ack(last, multiple=True)


class Https:
    """Takes POSTs over TLS with client certificates. It answers 202 after the commit."""

    def __init__(self, port: int, certificate: str, key: str, ca: str) -> None:
        self._settings: dict[str, Any] = {"port": port, "ssl_certfile": certificate, "ssl_keyfile": key,
                                          "ssl_ca_certs": ca}
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._last = 0

    def accepted(self, items: Sequence[Item]) -> None:
        """Answer these. The store's thread calls it."""
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
