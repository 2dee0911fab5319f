"""How we show who we are: an API key, a password (Basic), or a token (OAuth 2, client credentials)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import httpx2

from connectors._http_answer import retry_after
from connectors._http_errors import meaning, shown
from connectors._http_options import HttpOptions
from connectors._http_transport import client_settings
from hub.endpoint import read_secret
from hub.errors import Misconfigured, Temporary

_LEEWAY = 30  # seconds before its end in which a token is not used any more


class Credentials:
    """The headers that say who we are: secrets are read for each request, a token is kept until it ends."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._token: Any = None

    @property
    def have_a_token(self) -> bool:
        """Whether the last headers held a token, which the server may not take any more."""
        return self._token is not None

    def forget(self) -> None:
        """The next headers hold a new token."""
        self._token = None

    def headers(self) -> dict[str, str]:
        """The headers of one request.

        Raises `Misconfigured`, `Temporary`, and `ConfigError` for a missing secret.
        """
        options = self._options
        headers = {}
        if options.api_key is not None:
            headers[options.api_key_header] = _sayable(read_secret(options.api_key), "api_key")
        if options.user is not None and options.password is not None:
            login = f"{options.user}:{read_secret(options.password)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        if options.token_url is not None:
            if self._token is None or self._token.is_expired(leeway=_LEEWAY):
                self._token = fetch_token(options)
            headers["Authorization"] = f"Bearer {_sayable(str(self._token['access_token']), 'access_token')}"
        return headers


def _sayable(secret: str, name: str) -> str:
    if not secret or not secret.isascii() or not secret.isprintable():
        raise Misconfigured(f"{name}: leer oder mit Zeichen, die in keiner Kopfzeile stehen dürfen.")
    return secret


def fetch_token(options: HttpOptions) -> Any:
    """A new token (RFC 6749 §4.4). Raises `Misconfigured`, `Temporary`; the receiver has heard nothing
    yet."""
    from authlib.integrations.base_client import OAuthError
    from authlib.integrations.httpx_client import OAuth2Client

    secret = read_secret(options.client_secret or "")
    try:
        with OAuth2Client(options.client_id, secret, token_endpoint_auth_method=options.token_auth,
                          scope=options.scope,
                          headers={"Accept-Encoding": "identity"}, **client_settings(options)) as client:
            token = client.fetch_token(options.token_url, grant_type="client_credentials")
    except OAuthError as error:
        raise Misconfigured(f"Der Tokenserver lehnt uns ab ({shown(str(error.error))}).") from error
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        if status in (408, 425, 429) or status >= 500:
            raise Temporary(f"Der Tokenserver ist gestört (HTTP {status}).",
                            retry_after(error.response.headers.get("Retry-After"), datetime.now(UTC))
                            ) from error
        raise Misconfigured(f"Der Tokenserver lehnt uns ab (HTTP {status}).") from error
    except httpx2.TransportError as error:
        raise meaning(error, "Der Tokenserver") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # no JSON, or JSON of another shape than a token's
        raise Temporary("Der Tokenserver antwortet unverständlich: seinen Betreiber fragen, wenn es bleibt."
                        ) from error
    if not isinstance(token.get("access_token"), str) or not token["access_token"]:
        raise Misconfigured("Der Tokenserver gibt kein Token (access_token) heraus.")
    return token
