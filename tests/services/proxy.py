"""A TCP proxy on loopback that misbehaves on command: hang, reset, lose the answers, cut in the middle,
dawdle.
"""

from __future__ import annotations

import socket
import struct
import threading
import time

_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards to `target`, a port of loopback. Commands hold for open and for new connections until
    `behave`.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # a cut is noticed there soon
        self.port = int(self.listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.connections = 0
        self.ended = 0  # clients that were told the end of the server's side
        self.passing = threading.Event()
        self.behave()
        self._spawn(self._accept)

    def behave(self) -> None:
        """Forward everything from now on."""
        self.hanging = False
        self.passing.set()
        self.cut_answers = False
        self.lose_answers = False
        self.answers_to_spare = 0
        self.client_bytes_left: int | None = None
        self.bytes_per_second: int | None = None

    def hang(self) -> None:
        """Take connections and bytes, and never answer."""
        self.hanging = True

    def stall(self) -> None:
        """Hold all bytes back. None is lost, and no connection ends by itself."""
        self.passing.clear()

    def lose(self, spare: int = 0) -> None:
        """Forward what the client sends, and lose all answers after the next `spare`."""
        self.answers_to_spare = spare
        self.lose_answers = True

    def cut_at_answer(self, spare: int = 0) -> None:
        """What the client says still arrives; at the next answer but so many the client's connection is
        reset.
        """
        self.answers_to_spare = spare
        self.cut_answers = True

    def drop(self) -> None:
        """Reset all open connections. New ones are forwarded. It returns when the other sides notice."""
        with self._lock:
            forwarding = self._threads[1:]
            for side in self._open:
                self._reset(side)
            self._open.clear()
        for thread in forwarding:  # a socket is reset only when nobody reads it any more
            thread.join(1)

    def cut_after(self, count: int) -> None:
        """Reset a connection after so many more bytes from the client."""
        self.client_bytes_left = count

    def throttle(self, bytes_per_second: int) -> None:
        """Forward the client's bytes of each connection at this rate."""
        self.bytes_per_second = bytes_per_second

    def overhear(self, client: socket.socket, data: bytes, *, answer: bool) -> None:
        """For subclasses: bytes of a client, or an answer to it, just before they go on."""

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        thread.start()  # before it is listed, because only a started thread can be joined
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                self._reset(client)
                continue
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open += [client, server]
            self._spawn(self._to_server, client, server)
            self._spawn(self._to_client, server, client)

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(
                    65536 if self.bytes_per_second is None else max(1, self.bytes_per_second // 10)):
                if self.hanging:
                    continue
                self.passing.wait()
                if self.bytes_per_second is not None:
                    time.sleep(len(data) / self.bytes_per_second)
                if self.client_bytes_left is not None:
                    if len(data) >= self.client_bytes_left:
                        server.sendall(data[: self.client_bytes_left])
                        self._reset(client)
                        self._reset(server)
                        return
                    self.client_bytes_left -= len(data)
                self.overhear(client, data, answer=False)
                server.sendall(data)
        except OSError:
            pass
        self._shut(server)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(65536):
                if self.hanging:
                    continue
                self.passing.wait()
                if (self.lose_answers or self.cut_answers) and self.answers_to_spare > 0:
                    self.answers_to_spare -= 1
                elif self.lose_answers:
                    continue
                elif self.cut_answers:
                    self._reset(client)
                    return
                self.overhear(client, data, answer=True)
                client.sendall(data)
        except OSError:
            pass
        if not self.lose_answers:
            self._shut(client)
            with self._lock:
                self.ended += 1

    @staticmethod
    def _reset(side: socket.socket) -> None:
        try:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        side.close()

    @staticmethod
    def _shut(side: socket.socket) -> None:
        try:
            side.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        """Stop listening, and end all connections and threads."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.passing.set()
        with self._lock:
            for side in self._open:
                try:
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        for thread in self._threads:
            thread.join(5)
        for side in self._open:
            side.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
