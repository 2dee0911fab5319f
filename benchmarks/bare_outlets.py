"""How the bare pipeline sends: into a folder, by mail, over SFTP."""

from __future__ import annotations

import binascii
import os
import shutil
import smtplib
import socket
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bare_parts import Item, syncfs, write


class Folder:
    """Delivers into a folder. The rendering thread writes the files; a
    batch makes them durable and visible."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def write(self, item: Item, rendering: bytes, attachments: Sequence[bytes]) -> tuple[str, str]:
        """Write one file, or a folder when there are attachments, under a hidden name.

        Returns the hidden and the final name.
        """
        if not attachments:
            hidden, final = f"{self.path}/.{item.key}.part", f"{self.path}/{item.key}.xml"
            write(hidden, rendering)
            return hidden, final
        hidden, final = f"{self.path}/.{item.key}.part", f"{self.path}/{item.key}"
        shutil.rmtree(hidden, ignore_errors=True)
        os.mkdir(hidden)  # noqa: PTH102
        write(f"{hidden}/antrag.xml", rendering)
        for number, body in enumerate(attachments, 1):
            write(f"{hidden}/nachweis-{number}.pdf", body)
        return hidden, final

    def finish(self, written: Iterable[tuple[str, str]]) -> None:
        """Make the batch durable, then visible, then durably visible."""
        syncfs(self._fd)
        for hidden, final in written:
            if os.path.isdir(final):  # noqa: PTH112  it was delivered before, and then the process was killed
                shutil.rmtree(hidden)
            else:
                os.rename(hidden, final)  # noqa: PTH104
        os.fsync(self._fd)


def base64_lines(content: bytes) -> bytes:
    """Base64 in lines of 76 characters (RFC 2045 §6.8)."""
    text = binascii.b2a_base64(content, newline=False)
    return b"\r\n".join([text[at : at + 76] for at in range(0, len(text), 76)]) + b"\r\n"


class Mail:
    """Delivers by mail over one kept connection per thread. A mail is done at the server's 250."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._mine = threading.local()

    def send(self, item: Item, rendering: bytes, attachments: Sequence[bytes]) -> None:
        """Send one mail with its files."""
        files = [
            ("antrag.xml", "application/xml", rendering),
            *(("nachweis.pdf", "application/pdf", body) for body in attachments),
        ]
        parts = b"".join(
            f'--=_{item.key}\r\nContent-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n'
            f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'.encode() + base64_lines(content)
            for name, kind, content in files
        )
        head = (
            "From: hub@hub.example\r\nTo: amt@musterstadt.example\r\n"
            f"Subject: Leistungsmessung {item.key}\r\n"
            f"Message-ID: <{item.key}@hub.example>\r\nMIME-Version: 1.0\r\n"
            f'Content-Type: multipart/mixed; boundary="=_{item.key}"\r\n\r\n'
        ).encode()
        server = self._connected()
        server.mail("hub@hub.example")
        server.rcpt("amt@musterstadt.example")
        server.docmd("DATA")
        # not server.data(): it looks through all of it for line ends and
        # dots, of which there are none to mend
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
    """Delivers by SFTP over one kept session per thread: write, let the server sync, rename."""

    def __init__(self, port: int, user: str, key: str, path: str) -> None:
        self._where = port, user, key
        self._path = path
        self._mine = threading.local()

    def send(self, item: Item, rendering: bytes, attachments: Sequence[bytes]) -> None:
        """Send one file, or a folder when there are attachments."""
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
