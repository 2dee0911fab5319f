"""A line to an HTTP server, and four verbs that say beforehand what a request may do.

=======  ================================================  ==================================================
verb     request                                           a lost answer
=======  ================================================  ==================================================
`ask`    GET, HEAD, OPTIONS, PROPFIND: changes nothing     an error like any other, never marked: it says
                                                           nothing of what other requests have done
`fetch`  GET of something large, streamed and hashed       the same
`act`    an effect without a body: DELETE, MKCOL, MOVE …   in doubt: `effect_begins` was called before the
                                                           first byte
`send`   an effect with a body: POST, PUT, PATCH           in doubt once the last byte has left:
                                                           `effect_begins` was called just before it
=======  ================================================  ==================================================

When an effect begins
    A server cannot act on half a message (RFC 9112 §8). A request with a body is whole with its last byte, a
    request without one (or with an empty one) with its headers. `effect_begins` is called just before that,
    when the line stands and TLS is agreed. An error before it is certain, and marked by `refused`: nothing
    has happened.

Whatever a verb is not for is refused at once, before a connection is made (`TypeError`).

Shared by the connectors that speak HTTP to a receiver. Trust, time-outs and limits:
`connectors._http_transport`.

Hazards
    A server that checks the client's certificate says no only after the handshake (TLS 1.3), as an alert
    where the answer is awaited; the alert is the server's clear no. If it hangs up before the alert is read,
    the delivery is in doubt.

    A server may make a file as soon as the headers of a PUT are there, and fill it while they who poll look:
    send to a hidden name (`unseen`), then ``MOVE``.

    A kept connection may be closed by the server at the moment of sending: in doubt, like every lost answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, TypeVar, get_args

import httpx2

from connectors import _http_answer, _http_limits, _http_transport
from connectors._http_answer import Answer, Fetched
from connectors._http_credentials import Credentials
from connectors._http_errors import says_no, translated
from connectors._http_options import HttpOptions
from hub.endpoint import refused
from hub.errors import ConfigError, DeliveryError, Misconfigured, Permanent, Temporary

AskMethod = Literal["GET", "HEAD", "OPTIONS", "PROPFIND"]
"""Safe methods (RFC 9110 §9.2.1, RFC 4918 §9.1): they change nothing."""
ActMethod = Literal["DELETE", "MKCOL", "MOVE", "COPY", "POST", "PUT"]
"""Methods that act without a body."""
SendMethod = Literal["POST", "PUT", "PATCH"]
"""Methods that act with a body."""
Result = TypeVar("Result")
_HEADERS_LEAVE = ".send_request_headers.started"  # the library says so: the line stands, nothing was sent yet


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent: its type, its exact length in bytes, and its bytes, again for every try."""

    media_type: str
    size: int
    pieces: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Body:
        """From bytes in memory."""
        return cls(media_type, len(content), lambda: iter((content,)))


def unseen() -> None:
    """Stands for `effect_begins` where a request announces nothing.

    No reader sees what it does (a hidden name, a folder above it), or an earlier request of the same try has
    begun the effect. So its errors say nothing of the effect, and are never marked by `refused`.
    """


def announced() -> None:
    """Stands for `effect_begins` where it was called for this very request just before: errors are marked."""


class Line:
    """One kept connection with its credentials.

    Passwords and keys are read for each request. A certificate whose files have changed is taken up by the
    next request, over a new connection. `close` may be followed by another request, which connects again.
    `connector` makes the client; tests hand in another.
    """

    def __init__(self, options: HttpOptions,
                 connector: Callable[[HttpOptions], httpx2.Client] = _http_transport.connect) -> None:
        self.options = options
        self._connector = connector
        self._credentials = Credentials(options)
        self._client: httpx2.Client | None = None
        self._made_of: _http_transport.Versions = ()

    def close(self) -> None:
        """End the connection, forget the token. Never raises."""
        client, self._client = self._client, None
        self._credentials.forget()
        if client is not None:
            client.close()

    def ask(self, url: str, headers: Mapping[str, str] | None = None, method: AskMethod = "GET",
            body: Body | None = None) -> Answer:
        """A request that changes nothing.

        Raises `Temporary`, `Misconfigured`, `Permanent`; never marked by `refused`.
        """
        _require(method, AskMethod)
        return self._authorized(_Request(method, url, dict(headers or {}), body), _http_answer.read)

    def fetch(self, url: str, headers: Mapping[str, str] | None = None, *, at_most: int,
              into: BinaryIO | None = None, seconds: float = 3600) -> Fetched:
        """A GET whose content may be larger than `max_answer`: into a file, if there is one, and hashed.

        Only an answer of 200 is written. `at_most` is its limit in bytes, `seconds` the time for all of it.
        Raises `Temporary` for an answer that ends early or is packed, `Permanent` for one that is too large;
        then `into` holds a part of it. An answer without a length that ends by closing the line (HTTP/1.0) is
        taken as whole: compare `sha256`.
        """
        request = _Request("GET", url, dict(headers or {}), limit=_http_limits.Limit(at_most, seconds))
        return self._authorized(request, lambda response: _http_answer.read_into(response, into))

    def act(self, method: ActMethod, url: str, headers: Mapping[str, str],
            effect_begins: Callable[[], None]) -> Answer:
        """A request without a body that has an effect; `effect_begins` is called before its first byte.

        Raises like `send`.
        """
        _require(method, ActMethod)
        return self._authorized(_Request(method, url, dict(headers), effect_begins=effect_begins),
                                _http_answer.read)

    def send(self, method: SendMethod, url: str, headers: Mapping[str, str], body: Body,
             effect_begins: Callable[[], None]) -> Answer:
        """A request with a body that has an effect; `effect_begins` is called before the body's last byte,
        and before the first byte of all if the body is empty.

        Raises `Temporary`, `Misconfigured`, `Permanent`; marked by `refused` where it is certain that the
        server did not act. A token that the server does not take any more is renewed once, and
        `effect_begins` is called again.
        """
        _require(method, SendMethod)
        return self._authorized(_Request(method, url, dict(headers), body, effect_begins), _http_answer.read)

    def _authorized(self, request: _Request, read: Callable[[httpx2.Response], Result]) -> Result:
        result = self._once(request, read)
        answer = result.answer if isinstance(result, Fetched) else result
        if isinstance(answer, Answer) and answer.status == 401 and self._credentials.have_a_token:
            self._credentials.forget()
            result = self._once(request, read)
        return result

    def _once(self, request: _Request, read: Callable[[httpx2.Response], Result]) -> Result:
        effect = _Effect(request)
        try:
            with translated():
                client = self._connection()
                response = client.send(self._built(client, request, effect), stream=True)
                result = read(response)
        except DeliveryError as error:
            self.close()
            if request.tells and (not effect.begun or says_no(error)):
                refused(error)
            raise
        except BaseException:
            self.close()
            raise
        acts_with_a_body = request.effect_begins is not None and request.body is not None
        if acts_with_a_body and not effect.begun and response.status_code < 300:
            self.close()
            hasty = Temporary("Der Server hat geantwortet, bevor er alles hatte.")
            raise refused(hasty) if request.tells else hasty
        return result

    def _built(self, client: httpx2.Client, request: _Request, effect: _Effect) -> httpx2.Request:
        headers = request.headers | self._credentials.headers() | {"Accept-Encoding": "identity"}
        extensions: dict[str, Any] = {"trace": effect.trace}
        if request.limit is not None:
            extensions["limit"] = request.limit
        body = request.body
        if body is None:
            return client.build_request(request.method, request.url, headers=headers, extensions=extensions)
        headers |= {"Content-Type": body.media_type, "Content-Length": str(body.size)}
        return client.build_request(request.method, request.url, headers=headers, extensions=extensions,
                                    content=held_back(body, effect.begin))

    def _connection(self) -> httpx2.Client:
        there = _http_transport.versions(self.options)
        if self._client is not None and there != self._made_of:
            self._renew(there)
        if self._client is None:
            self._client, self._made_of = self._connector(self.options), there
        return self._client

    def _renew(self, there: _http_transport.Versions) -> None:
        """Certificates were renewed. While only half of the files are new, the old ones go on."""
        try:
            renewed = self._connector(self.options)
        except (Misconfigured, ConfigError):
            return
        if self._client is not None:
            self._client.close()
        self._client, self._made_of = renewed, there


@dataclass(frozen=True, slots=True)
class _Request:
    """One request; `effect_begins` is None when it changes nothing."""

    method: str
    url: str
    headers: dict[str, str]
    body: Body | None = None
    effect_begins: Callable[[], None] | None = None
    limit: _http_limits.Limit | None = None

    @property
    def tells(self) -> bool:
        """Whether its errors tell what became of the try's effect."""
        return self.effect_begins not in (None, unseen)


class _Effect:
    """Announces the effect of one request at the moment from which on the server may act."""

    def __init__(self, request: _Request) -> None:
        self._effect_begins = request.effect_begins
        self._with_the_headers = request.body is None or request.body.size == 0
        self.begun = False

    def trace(self, event: str, _: Mapping[str, Any]) -> None:
        """What the library tells while it works."""
        if self._with_the_headers and event.endswith(_HEADERS_LEAVE):
            self.begin()

    def begin(self) -> None:
        """The next byte may act."""
        if self._effect_begins is not None:
            self._effect_begins()
        self.begun = True


def _require(method: str, allowed: Any) -> None:
    if method not in get_args(allowed):
        raise TypeError(
            f"{method} is none of {', '.join(get_args(allowed))}: choose the verb by what the request does")


def held_back(body: Body, before_the_last: Callable[[], None]) -> Iterator[bytes]:
    """The body's bytes, the last one by itself, after `before_the_last`.

    Raises `Permanent` before that when there are more or fewer bytes than `Body.size` says.
    """
    held, size = b"", 0
    for piece in body.pieces():
        size += len(piece)
        if size > body.size:
            raise _other_length()
        if piece:
            if held:
                yield held
            held = piece
    if size != body.size:
        raise _other_length()
    if len(held) > 1:
        yield held[:-1]
    if held:
        before_the_last()
        yield held[-1:]


def _other_length() -> Permanent:
    return Permanent("Was gesendet werden soll, hat eine andere Länge als angekündigt.")
