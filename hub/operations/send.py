"""Handing one application to a hub, the way Amt24's processes do: HTTPS with a client certificate."""

from __future__ import annotations

import mimetypes
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from hub.errors import Busy, ConfigError
from hub.job import PRINTOUT

_TYPES = {".xml": "application/xml", ".json": "application/json", ".pdf": "application/pdf"}


def send_file(file: Path, attachments: Sequence[Path] = (), *, url: str, cert: Path, key: Path, ca: Path,
              idempotency_key: str | None = None, test: bool = False, printout: Path | None = None,
              seconds: float = 60.0) -> dict[str, Any]:
    """Post one document, with attachments as multipart/form-data; the answer with its HTTP ``status``.
    `printout` is the applicant's own.

    Raises `Busy` when nobody answers, `ConfigError` when the address or a certificate cannot be used.
    """
    hub = _hub(url)
    context = _identity(cert, key, ca)
    headers = {name: value for name, value in (("Idempotency-Key", idempotency_key),
                                               ("Drehscheibe-Test", "true" if test else None)) if value}
    try:
        with httpx2.Client(verify=context, timeout=seconds, trust_env=False) as client:
            if attachments or printout:
                files = [("application", _part(file)), *(("attachment", _part(path)) for path in attachments)]
                if printout:
                    files.append((PRINTOUT[0], _part(printout)))
                response = client.post(url, files=files, headers=headers)
            else:
                response = client.post(url, content=file.read_bytes(),
                                       headers={**headers, "Content-Type": _type(file)})
    except httpx2.HTTPError as error:
        _refuse_certificates(error, hub, cert, key, ca)
        raise Busy(f"{hub}: no answer ({error or type(error).__name__}): is the hub running, "
                   "and do certificate and CA belong to it?") from error
    try:
        answer = response.json()
    except ValueError:
        answer = {}
    return {**(answer if isinstance(answer, dict) else {}), "status": response.status_code}


def _hub(url: str) -> str:
    """The address without the path of the inlet. Raises `ConfigError` when nothing can be sent there."""
    hub = url.split("/in/", maxsplit=1)[0]
    try:
        parts = httpx2.URL(hub)
        fits = str(parts).startswith("https://") and bool(parts.host) and 0 < (parts.port or 443) < 1 << 16
    except httpx2.InvalidURL:
        fits = False
    if not fits:
        raise ConfigError.at("--url", hub, "is no address of an inlet", "give it as https://host:port")
    return hub


def _refuse_certificates(error: httpx2.HTTPError, hub: str, cert: Path, key: Path, ca: Path) -> None:
    """Raise `ConfigError` when one side did not take the other's certificate.

    Asking again later would change nothing.

    A server that does not take ours may just hang up. Then it hangs up once more, and answers whoever shows
    none.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        doubt = f"does not vouch for the certificate of {hub} ({cause.verify_message})"
        raise ConfigError.at("--ca", str(ca), doubt, "give the CA that issued it, and the host by a name "
                                                     "that stands in it") from error
    hung_up = isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError)
    if hung_up and not _answers(hub, _identity(cert, key, ca)) and _answers(hub, _trust(ca)):
        raise ConfigError.at("--cert", str(cert), f"is not taken by {hub}",
                             "give a valid certificate of a CA that the inlet knows") from error


def _answers(hub: str, context: ssl.SSLContext) -> bool:
    """Whether anything at all comes back."""
    try:
        httpx2.get(f"{hub}/", verify=context, timeout=10.0, trust_env=False)
    except httpx2.HTTPError:
        return False
    return True


def _trust(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except OSError as error:
        raise ConfigError.at("--ca", str(ca), f"cannot be used ({error.strerror or error})",
                             "give the PEM file of the CA of the hub's certificate") from error


def _identity(cert: Path, key: Path, ca: Path) -> ssl.SSLContext:
    context = _trust(ca)
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:
        raise ConfigError.at("--cert, --key", f"{cert}, {key}",
                             f"cannot be used together ({error.strerror or error})",
                             "give a PEM certificate and the PEM key that fits it") from error
    return context


def _type(file: Path) -> str:
    return _TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def _part(file: Path) -> tuple[str, bytes, str]:
    return file.name, file.read_bytes(), _type(file)
