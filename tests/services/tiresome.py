"""A peer that never comes to an end: it takes one request, says `first`, and then `forever` again and
again."""

from __future__ import annotations

import socket
import threading
import time


class Tiresome:
    """Serves any number of lines on loopback. `gone` is set when somebody whom it bored has left."""

    def __init__(self, first: bytes, forever: bytes, pause: float, *, listens: bool = True) -> None:
        self.first, self.forever, self.pause, self.listens = first, forever, pause, listens
        self.gone = threading.Event()
        self.requests = 0
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with line:
                self._bore(line)

    def _bore(self, line: socket.socket) -> None:
        try:
            if self.listens:
                self._listen(line)
            line.sendall(self.first)
            while not self._stopped.is_set():
                line.sendall(self.forever)
                if self.pause:
                    time.sleep(self.pause)
        except OSError:
            self.gone.set()

    def _listen(self, line: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += line.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        while len(body) < length:
            body += line.recv(65536)
        self.requests += 1

    def stop(self) -> None:
        """Nobody is bored any more."""
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
