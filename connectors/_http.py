"""A line to an HTTP server: trust, credentials, time-outs, limits, and what their failures mean.

Shared by the connectors that speak HTTP to a receiver. `HttpOptions` is the base of their options, `Line` one kept
connection. What every line keeps:

* TLS is verified against `ca_file` or the system's authorities, always; there is no switch.
* No proxy, no netrc, nothing else from the environment. No redirect is followed: a redirected POST may lose its body or act
  twice, and a credential would go to somebody else.
* An answer is read up to `max_answer` bytes and never unpacked (no bomb); what is longer has the status but no content.
* A request with a body has one effect, and it begins with the body's last byte: a server cannot act on half a message (RFC
  9112 §8). `effect_begins` is called just before that byte. An error before it is certain: nothing has happened.

Hazards
    A server that checks the client's certificate says no only after the handshake (TLS 1.3), as an alert where the answer is
    awaited; the alert is the server's clear no. If it hangs up before the alert is read, the delivery is in doubt.
    A kept connection may be closed by the server at the moment of sending: in doubt, like every lost answer.
"""

from __future__ import annotations

import base64
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import httpx2
from pydantic import Field, field_validator, model_validator

from hub.endpoint import Finding, OptionsModel, SecretRef, read_secret, refused, secret_path
from hub.errors import ConfigError, DeliveryError, Misconfigured, Permanent, Temporary
from hub.message import BERLIN

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,60}")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "authorization", "expect", "te", "upgrade",
                   "accept-encoding", "content-type"})
_SEND_BUFFER = 262_144
_LEEWAY = 30  # seconds before its end in which a token is not used any more


def check_header(name: str) -> str:
    """A header's name that a configuration may set. Raises ValueError."""
    if not _HEADER.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    if name.lower() in _OURS:
        raise ValueError(f"the header {name} is set by the connector itself")
    return name


def is_loopback(host: str) -> bool:
    """Whether the name means this machine."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class HttpOptions(OptionsModel):
    """What every HTTP destination has in common; the URL is the connector's own."""

    ca_file: Path | None = Field(None, description="certificates to trust instead of the system's")
    plaintext_accepted: bool = Field(False, description="allow http:// to another machine")
    certificate: Path | None = Field(None, description="our certificate with its chain, for servers that ask for one (mTLS)")
    key: SecretRef | None = Field(None, description="its private key (PEM)")
    key_password: SecretRef | None = Field(None, description="password of the private key")
    user: str | None = Field(None, description="login name (Basic)")
    password: SecretRef | None = Field(None, description="login password (Basic)")
    api_key: SecretRef | None = Field(None, description="API key")
    api_key_header: str = Field("X-API-Key", description="the header of the API key")
    token_url: str | None = Field(None, description="where to get a token (OAuth 2, client credentials)")
    client_id: str | None = Field(None, description="our name at the token's server")
    client_secret: SecretRef | None = Field(None, description="our secret at the token's server")
    token_auth: Literal["client_secret_basic", "client_secret_post"] = Field(
        "client_secret_basic", description="how the secret is shown: in a header, or in the form")
    scope: str | None = Field(None, description="scope of the token")
    connect_timeout: float = Field(20, gt=0, description="seconds for connection and TLS")
    timeout: float = Field(120, gt=0, description="seconds for each step, also for the answer")
    max_answer: int = Field(1_000_000, gt=0, description="largest answer that is read, bytes")

    @field_validator("api_key_header")
    @classmethod
    def _header_name(cls, value: str) -> str:
        return check_header(value)

    @model_validator(mode="after")
    def _credentials(self) -> HttpOptions:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        if len({self.token_url is None, self.client_id is None, self.client_secret is None}) != 1:
            raise ValueError("token_url, client_id and client_secret belong together")
        if self.token_url is not None and self.user is not None:
            raise ValueError("user and token_url exclude each other: there is one Authorization header")
        if self.token_url is not None:
            self.require_url(self.token_url)
        return self

    def require_url(self, url: str) -> str:
        """An absolute URL that may be spoken to. Raises ValueError."""
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"{url!r} is no URL") from error
        if parsed.scheme not in ("https", "http") or not parsed.host:
            raise ValueError(f"{url!r} is no URL such as https://verfahren.musterstadt.example/antraege")
        if parsed.userinfo or parsed.fragment:
            raise ValueError("a URL holds no password and no fragment: use user and password")
        if parsed.scheme == "http" and not is_loopback(parsed.host):
            if not self.plaintext_accepted:
                raise ValueError("http:// sends applications in the clear: use https://")
            if self.user or self.api_key or self.token_url:
                raise ValueError("a password never goes over a line without TLS: use https://")
        return url


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent: its type, its exact length, and its bytes, again for every try."""

    media_type: str
    size: int
    pieces: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Body:
        """From bytes in memory."""
        return cls(media_type, len(content), lambda: iter((content,)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. `content` is None when it could not be read to its end, and `why` says why."""

    status: int
    headers: httpx2.Headers
    content: bytes | None
    why: str = ""
    expires: datetime | None = None

    @property
    def retry_after(self) -> float | None:
        """Seconds the server wants to be left alone."""
        return retry_after(self.headers.get("Retry-After"), datetime.now(UTC))


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header: a number or a date (RFC 9110 §10.2.3); None for anything else."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())


class Line:
    """One kept connection with its credentials. `close` may be followed by another request, which connects again and reads
    certificates anew."""

    def __init__(self, options: HttpOptions) -> None:
        self.options = options
        self._client: httpx2.Client | None = None
        self._token: Any = None

    def close(self) -> None:
        """End the connection, forget the token. Never raises."""
        client, self._client, self._token = self._client, None, None
        if client is not None:
            client.close()

    def ask(self, url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        """A request without effect. Raises `Temporary`, `Misconfigured`."""
        return self._authorized(method, url, dict(headers or {}), None, None)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body,
             effect_begins: Callable[[], None]) -> Answer:
        """A request with an effect. Raises `Temporary`, `Misconfigured`, `Permanent`; marked by `refused` where it is
        certain that the server did not act. A token that the server does not take any more is renewed once."""
        return self._authorized(method, url, dict(headers), body, effect_begins)

    def _authorized(self, method: str, url: str, headers: dict[str, str], body: Body | None,
                    effect_begins: Callable[[], None] | None) -> Answer:
        answer = self._once(method, url, headers, body, effect_begins)
        if answer.status == 401 and self._token is not None:
            self._token = None
            answer = self._once(method, url, headers, body, effect_begins)
        return answer

    def _once(self, method: str, url: str, headers: dict[str, str], body: Body | None,
              effect_begins: Callable[[], None] | None) -> Answer:
        begun = False

        def last_byte_leaves() -> None:
            nonlocal begun
            if effect_begins is not None:
                effect_begins()
            begun = True

        try:
            with translated():
                sent = headers | self._credentials() | {"Accept-Encoding": "identity"}
                content = None
                if body is not None:
                    sent |= {"Content-Type": body.media_type, "Content-Length": str(body.size)}
                    content = _held_back(body.pieces(), last_byte_leaves)
                request = self._connection().build_request(method, url, headers=sent, content=content)
                answer = _read(self._connection().send(request, stream=True))
        except DeliveryError as error:
            self.close()
            if not begun:
                refused(error)
            raise
        except BaseException:
            self.close()
            raise
        if body is not None and not begun and answer.status < 300:
            self.close()
            raise refused(Temporary("Der Server hat geantwortet, bevor er alles hatte."))
        return answer

    def _connection(self) -> httpx2.Client:
        if self._client is None:
            self._client = httpx2.Client(**_settings(self.options))
        return self._client

    def _credentials(self) -> dict[str, str]:
        options = self.options
        headers = {}
        if options.api_key is not None:
            headers[options.api_key_header] = _sayable(read_secret(options.api_key), "api_key")
        if options.user is not None and options.password is not None:
            login = f"{options.user}:{read_secret(options.password)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        if options.token_url is not None:
            if self._token is None or self._token.is_expired(leeway=_LEEWAY):
                self._token = _fetch_token(options)
            headers["Authorization"] = f"Bearer {_sayable(str(self._token['access_token']), 'access_token')}"
        return headers


def _sayable(secret: str, name: str) -> str:
    if not secret or not secret.isascii() or not secret.isprintable():
        raise Misconfigured(f"{name}: leer oder mit Zeichen, die in keiner Kopfzeile stehen dürfen.")
    return secret


def _held_back(pieces: Iterator[bytes], before_the_last: Callable[[], None]) -> Iterator[bytes]:
    """The same bytes, the last one by itself, after `before_the_last`."""
    held = b""
    for piece in pieces:
        if piece:
            if held:
                yield held
            held = piece
    if len(held) > 1:
        yield held[:-1]
    before_the_last()
    yield held[-1:]


def _settings(options: HttpOptions) -> dict[str, Any]:
    context = ssl_context(options)
    # The kernel swallows whatever fits into its buffer: the smaller it is, the sooner a line cut in the middle is noticed,
    # and the fewer deliveries are in doubt for nothing.
    small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    transport = httpx2.HTTPTransport(verify=context, trust_env=False, socket_options=small)
    return {"transport": _Limited(transport, options), "trust_env": False,
            "follow_redirects": False, "timeout": httpx2.Timeout(options.timeout, connect=options.connect_timeout)}


def ssl_context(options: HttpOptions) -> ssl.SSLContext:
    """Whom we trust and who we are. Raises `Misconfigured`."""
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"Die Datei {options.ca_file} (ca_file) ist nicht lesbar.") from error
    if options.certificate is not None and options.key is not None:
        password = read_secret(options.key_password) if options.key_password else ""
        try:
            context.load_cert_chain(options.certificate, secret_path(options.key), lambda: password)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"Das eigene Zertifikat {options.certificate} oder sein Schlüssel ist nicht lesbar, "
                                "oder sie passen nicht zusammen.") from error
    return context


class _Limited(httpx2.BaseTransport):
    """Ends an answer that is too long, takes too long, or is packed."""

    def __init__(self, transport: httpx2.BaseTransport, options: HttpOptions) -> None:
        self._transport = transport
        self._options = options

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._transport.handle_request(request)
        packed = response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
        stream = response.stream
        if not isinstance(stream, httpx2.SyncByteStream):
            raise httpx2.ReadError("not a stream")
        response.headers.pop("Content-Encoding", None)
        return httpx2.Response(response.status_code, headers=response.headers, extensions=response.extensions,
                               stream=_LimitedStream(stream, self._options, packed))

    def close(self) -> None:
        self._transport.close()


class _LimitedStream(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, options: HttpOptions, packed: bool) -> None:
        self._stream = stream
        self._left = options.max_answer
        self._deadline = time.monotonic() + options.timeout
        self._packed = packed

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._left -= len(chunk)
            if self._packed:
                raise httpx2.ReadError("packed")
            if self._left < 0:
                raise httpx2.ReadError("too large")
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("too slow")
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _read(response: httpx2.Response) -> Answer:
    """Status, headers and, where possible, the content. A status is known even if the content is not."""
    expires = _expiry(response)
    try:
        content: bytes | None = response.read()
        why = ""
    except httpx2.TransportError as error:
        content, why = None, {"too large": "zu groß", "packed": "gepackt"}.get(str(error), "unvollständig")
    finally:
        response.close()
    return Answer(response.status_code, response.headers, content, why, expires)


def _expiry(response: httpx2.Response) -> datetime | None:
    stream = response.extensions.get("network_stream")
    line = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = line.getpeercert() if line is not None else None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC) if certificate else None


def _fetch_token(options: HttpOptions) -> Any:
    """A new token (RFC 6749 §4.4). Raises `Misconfigured`, `Temporary`; nothing has happened at the receiver yet."""
    from authlib.integrations.base_client import OAuthError
    from authlib.integrations.httpx_client import OAuth2Client

    secret = read_secret(options.client_secret or "")
    try:
        with OAuth2Client(options.client_id, secret, token_endpoint_auth_method=options.token_auth, scope=options.scope,
                          headers={"Accept-Encoding": "identity"}, **_settings(options)) as client:
            token = client.fetch_token(options.token_url, grant_type="client_credentials")
    except OAuthError as error:
        raise Misconfigured(f"Der Tokenserver lehnt uns ab ({shown(str(error.error))}).") from error
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        if status in (408, 425, 429) or status >= 500:
            raise Temporary(f"Der Tokenserver ist gestört (HTTP {status}).",
                            retry_after(error.response.headers.get("Retry-After"), datetime.now(UTC))) from error
        raise Misconfigured(f"Der Tokenserver lehnt uns ab (HTTP {status}).") from error
    except httpx2.TransportError as error:
        raise _meaning(error, "Der Tokenserver") from error
    except ValueError as error:
        raise Temporary("Der Tokenserver antwortet unverständlich.") from error
    if not token.get("access_token"):
        raise Misconfigured("Der Tokenserver gibt kein Token (access_token) heraus.")
    return token


@contextmanager
def translated() -> Iterator[None]:
    """The border: the library's errors become ours."""
    try:
        yield
    except ConfigError as error:
        raise Misconfigured(str(error)) from error
    except httpx2.LocalProtocolError as error:
        raise Permanent("Die Anfrage lässt sich so nicht stellen (unzulässige Kopfzeile oder Länge).") from error
    except httpx2.TransportError as error:
        raise _meaning(error, "Der Server") from error
    except (httpx2.InvalidURL, httpx2.HTTPError) as error:
        raise Permanent(f"Die Anfrage lässt sich so nicht stellen ({type(error).__name__}).") from error


_ALERT = re.compile(r"ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_EXPIRED|CERTIFICATE_REVOKED|"
                    r"CERTIFICATE_UNKNOWN|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED|HANDSHAKE_FAILURE)")


def _meaning(error: httpx2.TransportError, who: str) -> DeliveryError:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return refused(Misconfigured(f"{who} weist sich mit einem Zertifikat aus, das nicht anerkannt wird: "
                                         f"{cause.verify_message}."))
        if isinstance(cause, ssl.SSLError) and (alert := _ALERT.search(str(cause))):
            return refused(Misconfigured(f"{who} nimmt unser Zertifikat nicht an ({alert[1].lower()})."))
        if isinstance(cause, ssl.SSLError) and isinstance(error, httpx2.ConnectError):
            return Misconfigured(f"{who} und wir finden keine gemeinsame TLS-Verbindung ({cause.reason}).")
        if isinstance(cause, socket.gaierror):
            return Temporary(f"{who} ist unter seinem Namen nicht zu finden.")
    if isinstance(error, httpx2.TimeoutException):
        return Temporary(f"{who} antwortet nicht (Zeitüberschreitung).")
    if isinstance(error, httpx2.ConnectError):
        return Temporary(f"{who} ist nicht erreichbar.")
    return Temporary(f"{who} hat die Verbindung abgebrochen.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_CODE = re.compile(r"[A-Za-z0-9+._:/#-]{1,60}")


def shown(code: str) -> str:
    """A code as errors may show it; whatever could be more than a code stays out."""
    return code if _CODE.fullmatch(code) else "unzulässiger Code"


def certificate_finding(expires: datetime | None) -> list[Finding]:
    """What a connection check says about the server's certificate."""
    if expires is None:
        return []
    days = (expires - datetime.now(UTC)).days
    text = f"Das Zertifikat des Servers gilt bis {expires.astimezone(BERLIN):%d.%m.%Y} ({days} Tage)."
    return [Finding("warning" if days < 30 else "ok", text, "Den Betreiber an die Erneuerung erinnern." if days < 30 else "")]
