"""What a server said: status, headers, content within limits, and what they tell besides."""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import BinaryIO

import httpx2

from connectors._charset import charset_of
from hub.endpoint import Finding
from hub.errors import Permanent, Temporary
from hub.message import BERLIN

_SOON = 30  # days before a certificate's end from which on the check warns


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. `content` is None when it could not be read to its end, and `why` says why."""

    status: int
    headers: httpx2.Headers
    content: bytes | None
    why: str = ""
    expires: datetime | None = None

    @property
    def content_type(self) -> str:
        """The media type with its parameters, as the server wrote it; empty if it did not."""
        return str(self.headers.get("Content-Type", ""))

    @property
    def charset(self) -> str | None:
        """The charset parameter of the media type, if it names one that we know."""
        return charset_of(self.content_type)

    @property
    def retry_after(self) -> float | None:
        """Seconds the server wants to be left alone."""
        return retry_after(self.headers.get("Retry-After"), datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Fetched:
    """A large answer.

    With status 200 its content went elsewhere, and `size` (bytes) and `sha256` (hex) describe it.

    With any other status nothing was written, `size` is 0, `sha256` is empty, and `answer.content` is what
    the server said.
    """

    answer: Answer
    size: int
    sha256: str


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header: a number or a date (RFC 9110 §10.2.3); None for anything else."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        left = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):  # years, zones and seconds of any length
        return None
    return max(0.0, left.total_seconds())


def read(response: httpx2.Response) -> Answer:
    """Status, headers and, where possible, the content. A status is known even if the content is not."""
    expires = _expiry(response)
    try:
        content: bytes | None = response.read()
        why = ""
    except httpx2.TransportError as error:
        content, why = None, _why(error)
    finally:
        response.close()
    return Answer(response.status_code, response.headers, content, why, expires)


def read_into(response: httpx2.Response, target: BinaryIO | None) -> Fetched:
    """The content into `target`, if there is one, and its digest; another status than 200 as `read` does.

    Raises `Temporary` when the answer ends early or is packed, `Permanent` when it is larger than was
    allowed, and whatever `target` raises.
    """
    if response.status_code != 200:
        return Fetched(read(response), 0, "")
    expires, digest, size = _expiry(response), hashlib.sha256(), 0
    try:
        for chunk in response.iter_raw():
            digest.update(chunk)
            size += len(chunk)
            if target is not None:
                target.write(chunk)
    except httpx2.TransportError as error:
        why = _why(error)
        raise (Permanent if why == "zu groß" else Temporary)(f"Die Antwort des Servers ist {why}.") from error
    finally:
        response.close()
    return Fetched(Answer(200, response.headers, None, "", expires), size, digest.hexdigest())


def _why(error: httpx2.TransportError) -> str:
    return {"too large": "zu groß", "packed": "unbekannt gepackt"}.get(str(error), "unvollständig")


def _expiry(response: httpx2.Response) -> datetime | None:
    stream = response.extensions.get("network_stream")
    line = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = line.getpeercert() if line is not None else None
    if not certificate:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def certificate_finding(expires: datetime | None) -> list[Finding]:
    """What a connection check says about the server's certificate."""
    if expires is None:
        return []
    days = (expires - datetime.now(UTC)).days
    text = f"Das Zertifikat des Servers gilt bis {expires.astimezone(BERLIN):%d.%m.%Y} ({days} Tage)."
    if days < _SOON:
        return [Finding("warning", text, "Den Betreiber an die Erneuerung erinnern.")]
    return [Finding("ok", text)]
