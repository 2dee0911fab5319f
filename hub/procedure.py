"""A Fachverfahren that keeps what it gets: a stand-in, for trying out, on loopback.

No real one can be had for an example, so this does what the documented ones have in common: ``POST /antraege/<AGS>/<service>``
stores the body, gives it a number and answers with a business code beside the HTTP status; the same Idempotency-Key gets the
same number and is kept once; ``GET /status`` says that it is there. Started as ``python -m hub.procedure <port> <folder>``;
it prints the port it listens on and ends on SIGTERM, or when its standard input ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from hub.message import safe_name

MAX_BYTES = 50_000_000


class Procedure(ThreadingHTTPServer):
    """The server with its folder; one file per case."""

    daemon_threads = True

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder = folder
        self._lock = threading.Lock()

    def keep(self, key: str, service: str, body: bytes) -> str:
        """The case's number, the same for the same key."""
        with self._lock:
            known = next(self.folder.glob(f"*_{safe_name(key)}.xml"), None)
            if known is not None:
                return known.name.partition("_")[0]
            number = f"FV-{len(list(self.folder.iterdir())) + 1:05}"
            temporary = self.folder.parent / f".{self.folder.name}.part"
            temporary.write_bytes(body)
            temporary.rename(self.folder / f"{number}_{safe_name(service)}_{safe_name(key)}.xml")
            return number


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/status" else 404, "+0000", "bereit")

    def do_POST(self) -> None:
        steps = self.path.strip("/").split("/")
        length = self.headers.get("Content-Length", "")
        if len(steps) != 3 or steps[0] != "antraege" or not length.isdigit() or int(length) > MAX_BYTES:
            self._answer(400, "-4000", "so nicht")
            return
        body = self.rfile.read(int(length))
        number = cast("Procedure", self.server).keep(self.headers.get("Idempotency-Key", "ohne"), steps[2], body)
        self._answer(200, "+0000", "angenommen", number)

    def _answer(self, status: int, code: str, text: str, number: str | None = None) -> None:
        body = json.dumps({"ergebnis": {"rc": code, "ergebnistext": text}, "vorgang": {"nummer": number}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a path could name a person."""


def serve(port: int, folder: Path) -> None:
    """Serve until SIGTERM or the end of standard input."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        server = Procedure(port, folder)
    except OSError:  # taken since the caller looked; the port is told below
        server = Procedure(0, folder)

    def stop_with_the_caller() -> None:
        while os.read(0, 1024):
            pass
        server.shutdown()

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    threading.Thread(target=stop_with_the_caller, daemon=True).start()
    print(server.server_address[1], flush=True)
    server.serve_forever(poll_interval=0.2)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
