"""What every HTTP destination can be told: whom to trust, who we are, how long to wait, how much to read."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Literal

import httpx2
from pydantic import Field, field_validator, model_validator

from hub.endpoint import Authority, Certificate, OptionsModel, SecretRef

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,60}")
_OURS = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "authorization", "expect", "te", "upgrade",
    "accept-encoding", "content-type"})


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


def port_of(url: str) -> int | None:
    """The port that a URL names; None: its scheme's own."""
    return httpx2.URL(url).port


class HttpOptions(OptionsModel):
    """What every HTTP destination has in common; the URL is the connector's own."""

    ca_file: Authority | None = Field(None, description="certificates to trust instead of the system's")
    plaintext_accepted: bool = Field(False, description="allow http:// to another machine")
    certificate: Certificate | None = Field(
        None, description="our certificate with its chain, for servers that ask for one (mTLS)")
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
    timeout: float = Field(
        120, gt=0, description="seconds for each step as a whole: the answer's head, its content")
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
