"""A mail server that keeps what it gets: for trying out, on loopback, with STARTTLS.

What arrives for ``steuer@musterstadt.example`` lies in the Maildir ``<folder>/steuer@musterstadt.example``,
which mail programs open as it is; a mail to several mailboxes lies in each. It relays nothing and asks for no
login. Started as ``python -m hub.demo.mail_server <port> <certificate> <key> <folder>``; it prints the port
it listens on (port 0: a free one) and ends on SIGTERM, or when its standard input ends, so that it never
outlives who started it.
"""

from __future__ import annotations

import asyncio
import mailbox
import os
import re
import signal
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_BYTES = 100_000_000
_ADDRESS = re.compile(r"[a-z0-9_+-][a-z0-9._+-]{0,63}@[a-z0-9-]+(\.[a-z0-9-]+)*")


class Keep:
    """Puts each mail into the Maildir of each recipient before it answers 250."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._one_at_a_time = threading.Lock()
        """A Maildir is made in steps and names its files by a count of the class: two at once meet half of
        it."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
            self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        """Only plain addresses: they become names of folders."""
        if not _ADDRESS.fullmatch(address.lower()):
            return "553 5.1.3 this mailbox name is not allowed here"
        envelope.rcpt_tos.append(address.lower())
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
            self, _: SMTP, __: Session, envelope: Envelope) -> str:
        """On disk (a Maildir syncs what it adds), then 250; 451 where the disk refuses, because that is no
        fault of the mail."""
        content = envelope.original_content or b""
        try:
            for address in dict.fromkeys(envelope.rcpt_tos):
                await asyncio.to_thread(self._add, address, content)
        except OSError as error:
            return f"451 4.3.0 the mail could not be kept ({type(error).__name__})"
        return "250 2.0.0 kept"

    def _add(self, address: str, content: bytes) -> None:
        with self._one_at_a_time:
            mailbox.Maildir(self._folder / address, create=True).add(content)


async def serve(port: int, certificate: Path, key: Path, folder: Path) -> None:
    """Serve until SIGTERM or the end of standard input."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    folder.mkdir(parents=True, exist_ok=True)
    keep = Keep(folder)

    def session() -> SMTP:
        return SMTP(keep, data_size_limit=MAX_BYTES, hostname="localhost", tls_context=context,
                    require_starttls=True,
                    enable_SMTPUTF8=False, loop=loop)

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1) else stop.set())
    try:
        server: Any = await loop.create_server(session, "127.0.0.1", port)
    except OSError:  # taken since the caller looked; the port is told below
        server = await loop.create_server(session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


def main() -> None:
    """The command."""
    port, certificate, key, folder = sys.argv[1:]
    asyncio.run(serve(int(port), Path(certificate), Path(key), Path(folder)))


if __name__ == "__main__":
    main()
