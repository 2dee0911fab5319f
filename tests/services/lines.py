"""Lines to an HTTP server that tests hand to an outlet: with a planted fault, or with a memory."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping

import httpx2

from connectors._http import AskMethod, Body, Line, SendMethod
from connectors._http_answer import Answer
from connectors._http_options import HttpOptions
from connectors._http_transport import client_settings

_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def following(options: HttpOptions) -> Line:
    """A fault: it goes where it is sent by a redirect."""
    return Line(options,
                lambda chosen: httpx2.Client(**(client_settings(chosen) | {"follow_redirects": True})))


class NewKeys(Line):
    """A fault: each request has a key of its own, in its header and in its body."""

    def send(self, method: SendMethod, url: str, headers: Mapping[str, str], body: Body,
             effect_begins: Callable[[], None]) -> Answer:
        key = str(uuid.uuid4())
        if "Idempotency-Key" in headers:
            return super().send(method, url, {**headers, "Idempotency-Key": key}, body, effect_begins)
        content = _ID.sub(key.encode(), b"".join(body.pieces()))
        return super().send(method, url, headers, Body.of(content, body.media_type), effect_begins)


class Scripted(Line):
    """It does `before` each effect, which counts from 1, and remembers every address.

    While `said` is an answer, questions get it instead of the server's.
    """

    def __init__(self, options: HttpOptions) -> None:
        super().__init__(options)
        self.before: Callable[[int], object] = lambda number: None
        self.said: Answer | None = None
        self.sent = 0
        self.urls: list[str] = []

    def ask(self, url: str, headers: Mapping[str, str] | None = None, method: AskMethod = "GET",
            body: Body | None = None) -> Answer:
        self.urls.append(url)
        return self.said or super().ask(url, headers, method, body)

    def send(self, method: SendMethod, url: str, headers: Mapping[str, str], body: Body,
             effect_begins: Callable[[], None]) -> Answer:
        self.urls.append(url)
        self.sent += 1
        self.before(self.sent)
        return super().send(method, url, headers, body, effect_begins)
