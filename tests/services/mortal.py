"""An HTTP server on loopback that dies where it is told to, and knows how much of each request had
arrived."""

from __future__ import annotations

import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Literal

Death = Literal["at the connection", "after the headers", "within the body", "after the request",
                "within the answer", "never"]
_RESET = struct.pack("ii", 1, 0)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"


@dataclass
class Arrived:
    """What came of one request. `whole` is the moment from which on a server may act."""

    head: bytes = b""
    body: bytes = b""
    whole: bool = False

    @property
    def method(self) -> str:
        """The first word."""
        return self.head.partition(b" ")[0].decode()

    def header(self, name: str) -> str | None:
        """The value of a header."""
        for line in self.head.decode().split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


@dataclass
class Mortal:
    """Serves `answer` for every request, or dies at `death`. `within` is how much of a body or an answer it
    outlives."""

    death: Death = "never"
    answer: bytes = _OK
    within: int = 2
    arrived: list[Arrived] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/a"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def acted(self) -> int:
        """How many requests arrived whole."""
        return sum(request.whole for request in self.arrived)

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(line)
            threading.Thread(target=self._guarded, args=(line,), daemon=True).start()

    def _guarded(self, line: socket.socket) -> None:
        try:
            while self._one(line):
                pass
        except OSError:
            pass
        line.close()

    def _one(self, line: socket.socket) -> bool:
        """One request; False when the line is dead."""
        if self.death == "at the connection":
            return self._die(line)
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := line.recv(65536)):
                return False
            if not data:
                self.arrived.append(request := Arrived())
            data += more
        request.head, _, request.body = data.partition(b"\r\n\r\n")
        if self.death == "after the headers":
            return self._die(line)
        length = int(request.header("Content-Length") or 0)
        while len(request.body) < length:
            if self.death == "within the body" and len(request.body) >= self.within:
                return self._die(line)
            if not (more := line.recv(65536)):
                return False
            request.body += more
        request.whole = True
        return self._say(line)

    def _say(self, line: socket.socket) -> bool:
        if self.death in ("after the request", "within the body"):
            return self._die(line)
        if self.death == "within the answer":
            line.sendall(self.answer[:-self.within])
            line.shutdown(socket.SHUT_WR)
            return False
        line.sendall(self.answer)
        return True

    def _die(self, line: socket.socket) -> bool:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return False

    def close(self) -> None:
        """Nobody is served any more."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # a test has closed it
        self._listener.close()
        self._thread.join(5)
        for line in self._open:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            line.close()
