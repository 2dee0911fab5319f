"""A conversation with a mail server of which every step ends, however the server drips.

`smtplib` has a time-out for each read: a server that sends one byte a second, or a reply of endless lines,
never meets it. Here the time counts over a whole step:

==========================  =======================================  =============
step                        seconds, from its beginning              bytes
==========================  =======================================  =============
a command, and each reply   `patience`                               256 KiB
the mail itself             `patience`, and one for every 4 KiB      -
==========================  =======================================  =============

The TLS handshake has its own total in Python (`ssl.SSLSocket.do_handshake`).
"""

from __future__ import annotations

import io
import smtplib
import time
from typing import Any

_SLOWEST = 4096  # bytes a second; a line that takes less for long is as good as none
_LONGEST_REPLY = 262_144  # bytes
_PIECE = 16_384  # what goes into one TLS record; between two of them the clock is looked at


class Endless(smtplib.SMTPException):
    """A reply that is longer than any reply."""


class _Replies(io.RawIOBase):
    """What comes from the server, until the step's time is over."""

    def __init__(self, line: Patient) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.receive(buffer)


class Patient(smtplib.SMTP):
    """`smtplib.SMTP` whose steps end after `patience` seconds as a whole."""

    def __init__(self, host: str, port: int, helo: str | None, patience: float, **more: Any) -> None:
        self.patience = patience
        self._until = 0.0
        self._sending_until: float | None = None
        self._left = 0
        super().__init__(host, port, helo, timeout=patience, **more)

    def getreply(self) -> tuple[int, bytes]:
        """One whole reply. Raises `smtplib.SMTPServerDisconnected` after a time-out, `Endless`."""
        self._until, self._left = time.monotonic() + self.patience, _LONGEST_REPLY
        if self.file is None:
            self.file = io.BufferedReader(_Replies(self))
        reply = super().getreply()
        if self.sock is not None:
            self.sock.settimeout(self.patience)  # for a TLS handshake, which may follow
        return reply

    def receive(self, buffer: memoryview) -> int:
        """The next bytes of the reply. Raises TimeoutError, `Endless`."""
        if self._left <= 0:
            raise Endless("the reply has no end")
        if self.sock is None:
            raise ConnectionResetError("the line is closed")
        self.sock.settimeout(_seconds_until(self._until))
        count = self.sock.recv_into(buffer)
        self._left -= count
        return count

    def begin_mail(self, size: int) -> None:
        """From now on the mail is sent, of so many bytes, until `end_mail`."""
        self._sending_until = time.monotonic() + self.patience + size / _SLOWEST

    def end_mail(self) -> None:
        """What is sent now is a command again."""
        self._sending_until = None

    def send(self, s: Any) -> None:
        """A command, or a piece of the mail. Raises `smtplib.SMTPServerDisconnected`, after a time-out
        too."""
        data = s.encode(self.command_encoding) if isinstance(s, str) else s
        until = self._sending_until or time.monotonic() + self.patience
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            if self.sock is not None:
                try:
                    self.sock.settimeout(_seconds_until(until))
                except TimeoutError as error:
                    self.close()
                    raise smtplib.SMTPServerDisconnected("the server takes nothing") from error
            super().send(view[start:start + _PIECE])


class PatientTls(Patient, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


def _seconds_until(moment: float) -> float:
    left = moment - time.monotonic()
    if left <= 0:
        raise TimeoutError("the step takes too long")
    return left
