"""A Fachverfahren that keeps what it gets: a stand-in, for trying out, on loopback.

No real one can be had for an example, so this does what the documented ones have in common: ``POST
/antraege/<AGS>/<service>`` stores the body, gives it a number and answers with a business code beside the
HTTP status; the same Idempotency-Key gets the same number and is kept once; ``POST /meldungen`` does so by
SOAP 1.1 (``etc/fachverfahren/melderegister.wsdl``), where the key is the ``kennung``; ``GET /status`` says
that it is there. Started as ``python -m hub.demo.fachverfahren <port> <folder>``; it prints the port it
listens on and ends on SIGTERM, or when its standard input ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from hub.message import safe_name

MAX_BYTES = 50_000_000
KENNUNG = re.compile(rb"<(?:\w+:)?kennung>([\w-]{1,64})</")
SOAP = """<?xml version="1.0" encoding="utf-8"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{content}</s:Body></s:Envelope>"""
ACCEPTED = ('<m:einreichenAntwort xmlns:m="urn:example:melderegister:1"><m:rc>+0000</m:rc>'
            "<m:nummer>{number}</m:nummer></m:einreichenAntwort>")
FAULT = "<s:Fault><faultcode>s:Client</faultcode><faultstring>Die Kennung fehlt.</faultstring></s:Fault>"


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
        self._say(200 if self.path == "/status" else 404, "+0000", "bereit")

    def do_OPTIONS(self) -> None:
        self._say(200, "+0000", "bereit")

    def do_POST(self) -> None:
        steps = self.path.strip("/").split("/")
        length = self.headers.get("Content-Length", "")
        known = steps == ["meldungen"] or (len(steps) == 3 and steps[0] == "antraege")
        if not known or not length.isdigit() or int(length) > MAX_BYTES:
            self._say(400, "-4000", "so nicht")
            return
        body = self.rfile.read(int(length))
        if len(steps) == 1:
            self._take_message(body)
            return
        number = cast("Procedure", self.server).keep(self.headers.get("Idempotency-Key", "ohne"), steps[2],
                                                     body)
        self._say(200, "+0000", "angenommen", number)

    def _take_message(self, envelope: bytes) -> None:
        found = KENNUNG.search(envelope)
        if found is None:
            self._send(500, "text/xml", SOAP.format(content=FAULT))
            return
        number = cast("Procedure", self.server).keep(found[1].decode(), "meldung", envelope)
        self._send(200, "text/xml", SOAP.format(content=ACCEPTED.format(number=number)))

    def _say(self, status: int, code: str, text: str, number: str | None = None) -> None:
        answer = {"ergebnis": {"rc": code, "ergebnistext": text}, "vorgang": {"nummer": number}}
        self._send(status, "application/json", json.dumps(answer))

    def _send(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
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
