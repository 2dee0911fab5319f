"""The border to the HTTP library: its errors become the hub's, a server's clear no is told from a lost
line."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from hub.errors import ConfigError, DeliveryError, Misconfigured, Permanent, Temporary

_ALERT = re.compile(
    r"ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_EXPIRED|CERTIFICATE_REVOKED|"
    r"CERTIFICATE_UNKNOWN|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED|HANDSHAKE_FAILURE)")
CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""The peer hung up. Python 3.11.2 raises the second where 3.11.7 raises the first."""
_CODE = re.compile(r"[A-Za-z0-9+._:/#-]{1,60}")


@contextmanager
def translated() -> Iterator[None]:
    """Raises `Temporary`, `Misconfigured` or `Permanent` where the library raises its own errors."""
    try:
        yield
    except ConfigError as error:
        raise Misconfigured(str(error)) from error
    except httpx2.LocalProtocolError as error:
        raise Permanent(
            "Die Anfrage lässt sich so nicht stellen (unzulässige Kopfzeile oder Länge).") from error
    except httpx2.TransportError as error:
        raise meaning(error, "Der Server") from error
    except (httpx2.InvalidURL, httpx2.HTTPError) as error:
        raise Permanent(f"Die Anfrage lässt sich so nicht stellen ({type(error).__name__}).") from error


def meaning(error: httpx2.TransportError, who: str) -> DeliveryError:
    """What a failed line means; `who` is the subject of the German sentence."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Misconfigured(f"{who} weist sich mit einem Zertifikat aus, das nicht anerkannt wird: "
                                 f"{cause.verify_message}.")
        if isinstance(cause, ssl.SSLError) and (alert := _ALERT.search(str(cause))):
            return Misconfigured(f"{who} nimmt unser Zertifikat nicht an ({alert[1].lower()}).")
        if isinstance(cause, CUT):  # while TLS is being agreed nobody has to correct anything
            break
        if isinstance(cause, ssl.SSLError) and isinstance(error, httpx2.ConnectError):
            return Misconfigured(f"{who} und wir finden keine gemeinsame TLS-Verbindung ({cause.reason}).")
        if isinstance(cause, socket.gaierror):
            return Temporary(f"{who} ist unter seinem Namen nicht zu finden.")
    if isinstance(error, httpx2.TimeoutException):
        return Temporary(f"{who} antwortet nicht (Zeitüberschreitung).")
    if isinstance(error, httpx2.ConnectError):
        return Temporary(f"{who} ist nicht erreichbar.")
    return Temporary(f"{who} hat die Verbindung abgebrochen.")


def says_no(error: BaseException) -> bool:
    """Whether TLS itself refused: then the server did not act, whatever had been sent.

    A server that checks the client's certificate sends its alert after the handshake (TLS 1.3).
    """
    return any(isinstance(cause, ssl.SSLCertVerificationError)
               or (isinstance(cause, ssl.SSLError) and _ALERT.search(str(cause)) is not None)
               for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def shown(code: str) -> str:
    """A code as errors may show it; whatever could be more than a code stays out."""
    return code if _CODE.fullmatch(code) else "unzulässiger Code"
