"""The mail sink: appends each mail to one file, syncs it, and only then answers 250.

``python -m tests.torture.sink <file> <faults>``; it prints its port. The file ``<faults>`` may hold one line of JSON such as
``{"command": "RCPT", "kind": "4xx", "every": 3}``: from then on every third RCPT is answered so. Kinds: ``4xx``, ``5xx``,
``421`` (said, then closed), ``cut`` (closed without a word), ``hang`` (no answer, the line stays open). Commands: CONNECT
EHLO MAIL RCPT DATA BODY RSET. After BODY the mail is thrown away, except with ``kept-cut`` and ``kept-hang``: those keep
it and say nothing, which is the case that a sender can never know.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

HANG_SECONDS = 600


class Faults:
    """Read again whenever the file changes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: int | None = None
        self._plan: dict[str, Any] = {}
        self._count = 0

    def __call__(self, command: str) -> str | None:
        """What happens at this command: None for nothing special."""
        try:
            changed = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if changed != self._seen:
            self._seen, self._count = changed, 0
            self._plan = json.loads(self._file.read_text() or "{}")
        if self._plan.get("command") != command:
            return None
        self._count += 1
        if self._count % int(self._plan.get("every", 1)):
            return None
        return str(self._plan["kind"])


class Sink:
    """One server."""

    def __init__(self, file: Path, faults: Faults) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._faults = faults

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the hub was killed, or hung up: what it had not ended is not there
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._answer(writer, "CONNECT", "220 sink.example ESMTP"):
            return
        recipients: list[str] = []
        while line := (await reader.readuntil(b"\r\n")).decode("ascii", "replace").strip():
            verb = line.split(" ")[0].upper()
            if verb == "QUIT":
                writer.write(b"221 bye\r\n")
                await writer.drain()
                return
            if verb == "DATA":
                if await self._answer(writer, "DATA", "354 go on") is None:
                    continue
                content = await self._content(reader)
                if not await self._body(writer, recipients, content):
                    return
                recipients = []
                continue
            answer = {"EHLO": "250-sink.example\r\n250 SIZE 100000000", "MAIL": "250 ok", "RCPT": "250 ok",
                      "RSET": "250 ok", "NOOP": "250 ok"}.get(verb, "500 what?")
            if verb in ("MAIL", "RSET"):
                recipients = []
            said = await self._answer(writer, verb, answer)
            if said is False:
                return
            if verb == "RCPT" and said:
                recipients.append(line.partition("<")[2].partition(">")[0])

    async def _answer(self, writer: asyncio.StreamWriter, command: str, good: str) -> bool | None:
        """True: the good answer; None: a refusal; False: the session is over."""
        kind = self._faults(command)
        if kind is None:
            writer.write(good.encode() + b"\r\n")
            await writer.drain()
            return True
        return await self._hurt(writer, kind)

    async def _hurt(self, writer: asyncio.StreamWriter, kind: str) -> bool | None:
        if kind.endswith("hang"):
            await asyncio.sleep(HANG_SECONDS)
        if kind.endswith(("hang", "cut")):
            return False
        writer.write({"4xx": b"451 4.3.0 later\r\n", "5xx": b"554 5.6.0 never\r\n", "421": b"421 4.3.2 closing\r\n"}[kind])
        await writer.drain()
        return False if kind == "421" else None

    async def _content(self, reader: asyncio.StreamReader) -> bytes:
        lines = []
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b"..") else line)
        return b"".join(lines)

    async def _body(self, writer: asyncio.StreamWriter, recipients: list[str], content: bytes) -> bool:
        """Keep it, then say so; False: the session is over."""
        kind = self._faults("BODY")
        if kind is None or kind.startswith("kept-"):
            row = json.dumps({"to": recipients, "mail": base64.b64encode(content).decode()})
            os.write(self._file, row.encode() + b"\n")
            await asyncio.to_thread(os.fsync, self._file)
        if kind is not None:
            return await self._hurt(writer, kind) is not False
        writer.write(b"250 2.0.0 kept\r\n")
        await writer.drain()
        return True


async def serve(file: Path, faults: Path) -> None:
    """Until standard input ends."""
    sink = Sink(file, Faults(faults))
    server = await asyncio.start_server(sink.session, "127.0.0.1", 0, limit=1 << 26)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # hanging sessions are the purpose of some faults


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
