"""A peer that talks as its script says, and then never comes to an end: it repeats its last words byte by
byte, or falls silent and takes nothing."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Sequence


class Dripping:
    """Serves any number of lines on loopback, each in a thread of its own.

    `script` is what it says at once and then after each line that it hears. ``TLS`` in it begins TLS with
    `context`. After that it sends `forever` again and again, `pause` seconds after each byte (0: all at once,
    without a pause). With `forever` empty it is silent and reads nothing. `gone` is set when a peer has left.
    """

    TLS = b"TLS"

    def __init__(self, script: Sequence[bytes], forever: bytes, pause: float = 0.05, *,
                 context: ssl.SSLContext | None = None) -> None:
        self.script, self.forever, self.pause, self.context = script, forever, pause, context
        self.gone = threading.Event()
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        try:
            for number, words in enumerate(self.script):
                if number:
                    _hear(line)
                if words == self.TLS:
                    assert self.context is not None
                    line = self.context.wrap_socket(line, server_side=True)
                else:
                    line.sendall(words)
            if self.script and self.forever:
                _hear(line)
            self._bore(line)
        except (OSError, EOFError):
            self.gone.set()
        finally:
            line.close()

    def _bore(self, line: socket.socket) -> None:
        while not self._stopped.is_set():
            if not self.forever:
                time.sleep(0.05)
                if not _is_there(line):
                    raise EOFError
            elif self.pause:
                for byte in self.forever:
                    line.sendall(bytes([byte]))
                    time.sleep(self.pause)
            else:
                line.sendall(self.forever * 1000)

    def stop(self) -> None:
        """Nobody is bored any more."""
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _hear(line: socket.socket) -> None:
    data = b""
    while not data.endswith(b"\n"):
        piece = line.recv(1)
        if not piece:
            raise EOFError
        data += piece


def _is_there(line: socket.socket) -> bool:
    """Whether the line is still there; nothing of what the peer sends is taken."""
    line.settimeout(0.01)
    try:
        return bool(line.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return True
