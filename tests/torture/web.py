"""The HTTP receiver: puts each application into a folder of its municipality, syncs it, and then answers 201.

``python -m tests.torture.web <drop> <faults>`` prints its port. A second port is the trap, to which nobody
may connect. ``POST /<municipality>``: the path of the third municipality acts each time, that of the first
one once per Idempotency-Key. ``GET /<municipality>/<key>`` answers 200 or 404. The file ``<faults>`` may
hold ``{"command": "POST", "kind": …}``. The kinds are:

* ``reset-at-once``, ``reset-in-request``, ``reset-after-request``: the connection is reset there, and nothing
  is kept;
* ``reset-in-answer``: kept, and reset in the middle of the status line; ``kept-reset``: kept, and reset
  before the first byte of the answer;
* ``truncated``, ``huge``: kept; 200 with a body that ends too early, or has 1 GB;
* ``hang``, ``kept-hang``: no answer;
* ``429``, ``503``, ``401``, ``307``, ``302``, ``500``, ``kept-500``: that answer; 429 and 503 have a
  Retry-After, redirects lead to the trap.

Each request is written to ``<drop>/requests.jsonl`` with its time.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
import time
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path

from tests.torture.sink import HANG_SECONDS, Faults

RETRY_AFTER = 3
HUGE = 1 << 30


class Web:
    """The server."""

    def __init__(self, drop: Path, faults: Faults) -> None:
        self.drop = drop
        self.faults = faults
        self.trap = 0
        self.kept: dict[str, int] = {}
        self.log = (drop / "requests.jsonl").open("a", buffering=1)

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while await self.request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the hub closed the connection
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request. False: the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        method, path, _ = line.decode().split(" ")
        headers = message_from_bytes(rest, policy=HTTP)
        municipality, _, asked = path.strip("/").partition("/")
        if method == "GET":
            await self.answer(writer, "200 OK" if asked in self.kept else "404 Not Found")
            return True
        kind = self.faults("POST") or ""
        key = str(headers["Idempotency-Key"])
        self.log.write(json.dumps({"key": key, "at": time.monotonic(), "kind": kind}) + "\n")
        if kind == "reset-at-once":
            return reset(writer)
        size = int(str(headers["Content-Length"]))
        if kind == "reset-in-request":
            await reader.readexactly(size // 2)
            return reset(writer)
        body = await reader.readexactly(size)
        if not kind or kind.startswith("kept-") or kind in ("reset-in-answer", "truncated", "huge"):
            await asyncio.to_thread(self.keep, municipality, key,
                                    f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body)
        return await self.fault(writer, kind)

    async def fault(self, writer: asyncio.StreamWriter, kind: str) -> bool:
        """Give the faulty answer. False: the connection is over."""
        code = kind.removeprefix("kept-")
        if not kind:
            await self.answer(writer, "201 Created")
        elif code.isdigit():
            more = f"Retry-After: {RETRY_AFTER}\r\n" if code in ("429", "503") else (
                f"Location: http://127.0.0.1:{self.trap}/\r\n" if code.startswith("3") else "")
            await self.answer(writer, f"{code} As Told", more)
        elif code == "hang":
            await asyncio.sleep(HANG_SECONDS)
        elif kind == "truncated":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
            await writer.drain()
            return False
        elif kind == "huge":
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n".encode())
            for _ in range(HUGE >> 16):
                writer.write(bytes(1 << 16))
                await writer.drain()
        else:
            if kind == "reset-in-answer":
                writer.write(b"HTTP/1.1 2")
                await writer.drain()
            return reset(writer)
        return True

    async def answer(self, writer: asyncio.StreamWriter, status: str, more: str = "") -> None:
        """Send an answer without a body."""
        writer.write(f"HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()

    def keep(self, municipality: str, key: str, mime: bytes) -> None:
        """Keep an application as a folder with two files, whole or not at all."""
        number = self.kept[key] = self.kept.get(key, 0) + 1
        if number > 1 and municipality == "musterstadt":
            return  # this path acts once per key
        hidden = self.drop / municipality / f".{key}-{number}"
        hidden.mkdir()
        for part in message_from_bytes(mime, policy=HTTP).iter_parts():
            with (hidden / str(part.get_filename())).open("wb") as file:
                content = part.get_payload(decode=True)
                file.write(content if isinstance(content, bytes) else b"")
                os.fsync(file.fileno())
        hidden.rename(self.drop / municipality / f"{key}-{number}")

    async def trapped(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Note a connection to the trap."""
        self.log.write(json.dumps({"key": "trap", "at": time.monotonic(), "kind": "trap"}) + "\n")
        writer.close()


def reset(writer: asyncio.StreamWriter) -> bool:
    """Reset the connection (RST instead of FIN)."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def serve(drop: Path, faults: Path) -> None:
    """Serve until standard input ends."""
    web = Web(drop, Faults(faults))
    server = await asyncio.start_server(web.session, "127.0.0.1", 0, limit=1 << 20)
    trap = await asyncio.start_server(web.trapped, "127.0.0.1", 0)
    web.trap = trap.sockets[0].getsockname()[1]
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # some faults leave sessions hanging on purpose


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
