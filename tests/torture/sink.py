"""The mail sink: appends each mail to one file, syncs it, and only then answers 250.

``python -m tests.torture.sink <file> <faults> [<certificate> <key>]`` prints its port. The file
``<faults>`` may hold one line of JSON such as ``{"command": "RCPT", "kind": "4xx", "every": 3}``: from
then on each third RCPT is answered so. A list holds for several commands.

Kinds: ``4xx``, ``5xx``, ``421`` (answered, then closed), ``cut`` (closed without an answer), ``hang`` (no
answer, the connection stays open). Commands: CONNECT EHLO STARTTLS MAIL RCPT DATA BODY RSET QUIT; and
CONTENT: cut or hang in the middle of the mail. A fault at BODY throws the mail away, except ``kept-cut``
and ``kept-hang``: they keep it and give no answer, so the sender cannot know.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HANG_SECONDS = 600


class Faults:
    """The faults in force. They are read again whenever the file changes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: int | None = None
        self._plans: dict[str, dict[str, Any]] = {}
        self._count: Counter[str] = Counter()

    def __call__(self, command: str) -> str | None:
        """The fault at this command, or None."""
        try:
            changed = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if changed != self._seen:
            self._seen = changed
            self._count.clear()
            plans = json.loads(self._file.read_text() or "[]")
            self._plans = {plan["command"]: plan for plan in (plans if isinstance(plans, list) else [plans])}
        plan = self._plans.get(command)
        if plan is None:
            return None
        self._count[command] += 1
        return None if self._count[command] % int(plan.get("every", 1)) else str(plan["kind"])


class Sink:
    """The server."""

    def __init__(self, file: Path, faults: Faults, certificate: tuple[str, str] | None = None) -> None:
        self._certificate = certificate
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._faults = faults

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the hub was killed or closed the connection: an unfinished mail is not kept
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._answer(writer, "CONNECT", "220 sink.example ESMTP"):
            return
        recipients: list[str] = []
        while line := (await reader.readuntil(b"\r\n")).decode("ascii", "replace").strip():
            verb = line.split(" ")[0].upper()
            if verb == "QUIT":
                await self._answer(writer, "QUIT", "221 bye")
                return
            if verb == "STARTTLS" and self._certificate:
                said = await self._answer(writer, "STARTTLS", "220 go on")
                if said is False:
                    return
                if said:
                    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                    context.load_cert_chain(*self._certificate)
                    await writer.start_tls(context)
                continue
            if verb == "DATA":
                if await self._answer(writer, "DATA", "354 go on") is None:
                    continue
                content = await self._content(reader)
                if content is None:
                    return
                if not await self._body(writer, recipients, content):
                    return
                recipients = []
                continue
            verb = "EHLO" if verb == "HELO" else verb
            more = "250-STARTTLS\r\n" if self._certificate else ""
            answer = {"EHLO": f"250-sink.example\r\n{more}250 SIZE 100000000", "MAIL": "250 ok",
                      "RCPT": "250 ok",
                      "RSET": "250 ok", "NOOP": "250 ok"}.get(verb, "500 what?")
            if verb in ("MAIL", "RSET"):
                recipients = []
            said = await self._answer(writer, verb, answer)
            if said is False:
                return
            if verb == "RCPT" and said:
                recipients.append(line.partition("<")[2].partition(">")[0])

    async def _answer(self, writer: asyncio.StreamWriter, command: str, good: str) -> bool | None:
        """Answer a command. True: the good answer; None: a refusal; False: the session is over."""
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
        writer.write({"4xx": b"451 4.3.0 later\r\n", "5xx": b"554 5.6.0 never\r\n",
                      "421": b"421 4.3.2 closing\r\n"}[kind])
        await writer.drain()
        return False if kind == "421" else None

    async def _content(self, reader: asyncio.StreamReader) -> bytes | None:
        """Read a mail. None: the session is over."""
        kind, lines = self._faults("CONTENT"), []
        if kind is not None:
            await reader.readuntil(b"\r\n")
            await asyncio.sleep(HANG_SECONDS if kind == "hang" else 0)
            return None
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b"..") else line)
        return b"".join(lines)

    async def _body(self, writer: asyncio.StreamWriter, recipients: list[str], content: bytes) -> bool:
        """Keep the mail, then answer. False: the session is over."""
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


async def serve(file: Path, faults: Path, *certificate: str) -> None:
    """Serve until standard input ends."""
    sink = Sink(file, Faults(faults), (certificate[0], certificate[1]) if certificate else None)
    server = await asyncio.start_server(sink.session, "127.0.0.1", 0, limit=1 << 26)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # some faults leave sessions hanging on purpose


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
