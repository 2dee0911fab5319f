"""Metrics, health and totals over HTTP, for Prometheus and for people, on loopback by default.

``/metrics`` Prometheus · ``/healthz`` the process makes progress · ``/readyz`` it takes messages ·
``/status`` the two balances and the queue by destination, as JSON.

Nobody logs in here, so nothing here is about one message: its reason, its events and what a receiver said of
it are told through the control socket only (``drehscheibe show``, ``why``, ``queue``).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hub.errors import Busy, StoreUnavailable
from hub.operations.operator import Operator
from hub.telemetry.counters import Metrics


class StatusServer:
    """A small HTTP server in a thread of its own; `port` is the one really bound."""

    def __init__(self, host: str, port: int, metrics: Metrics, operator: Operator,
                 alive: Callable[[], list[str]], ready: Callable[[], list[str]]) -> None:
        def page(_: Request) -> Response:
            queue = [{key: value for key, value in row.items() if key != "why"} for row in operator.queue()]
            return JSONResponse({**operator.status(), "queue": queue})

        def scrape(request: Request) -> Response:
            content, media_type = metrics.text(request.headers.get("accept", ""))
            return Response(content, headers={"content-type": media_type})

        def health(problems: Callable[[], list[str]]) -> Callable[[Request], Response]:
            def answer(_: Request) -> Response:
                found = problems()
                return PlainTextResponse("\n".join(found or ["ok"]) + "\n", 503 if found else 200)
            return answer

        def away(_: Request, error: Exception) -> Response:
            return JSONResponse({"error": str(error)}, 503)

        app = Starlette(exception_handlers={StoreUnavailable: away}, routes=[
            Route("/metrics", scrape),
            Route("/healthz", health(alive)), Route("/readyz", health(ready)),
            Route("/status", page)])
        try:
            self._socket = socket.create_server((host, port))
        except OSError as error:
            raise Busy(f"status.port: {host}:{port} cannot be used ({os.strerror(error.errno or 0)}): end "
                       "the program that listens there, or choose another port: "
                       "--set status.port=9465") from error
        self.port: int = self._socket.getsockname()[1]
        self.host = host
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off",
                                                     timeout_keep_alive=5, limit_concurrency=64))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]},
                                        name="status", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()
