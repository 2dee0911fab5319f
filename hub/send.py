"""Handing one application to a hub, the way Amt24's processes do: HTTPS with a client certificate."""

from __future__ import annotations

import mimetypes
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from hub.errors import Busy, ConfigError

_TYPES = {".xml": "application/xml", ".json": "application/json", ".pdf": "application/pdf"}


def send_file(file: Path, attachments: Sequence[Path] = (), *, url: str, cert: Path, key: Path, ca: Path,
              idempotency_key: str | None = None, test: bool = False, seconds: float = 60.0) -> dict[str, Any]:
    """Post one document, with attachments as multipart/form-data; the answer with its HTTP ``status``.

    Raises `Busy` when nobody answers, `ConfigError` when a certificate cannot be used.
    """
    context = _trust(cert, key, ca)
    headers = {name: value for name, value in (("Idempotency-Key", idempotency_key),
                                               ("Drehscheibe-Test", "true" if test else None)) if value}
    try:
        with httpx2.Client(verify=context, timeout=seconds, trust_env=False) as client:
            if attachments:
                files = [("application", _part(file)), *(("attachment", _part(path)) for path in attachments)]
                response = client.post(url, files=files, headers=headers)
            else:
                response = client.post(url, content=file.read_bytes(), headers={**headers, "Content-Type": _type(file)})
    except httpx2.UnsupportedProtocol as error:
        raise ConfigError.at("--url", url.split("/in/", maxsplit=1)[0], "is no address of an inlet",
                             "give it as https://host:port") from error
    except httpx2.HTTPError as error:
        raise Busy(f"{url.split('/in/', maxsplit=1)[0]}: no answer ({error or type(error).__name__}): is the hub running, "
                   "and do certificate and CA belong to it?") from error
    try:
        answer = response.json()
    except ValueError:
        answer = {}
    return {**answer, "status": response.status_code}


def _trust(cert: Path, key: Path, ca: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca))
    except OSError as error:
        raise ConfigError.at("--ca", str(ca), f"cannot be used ({error.strerror or error})",
                             "give the PEM file of the CA of the hub's certificate") from error
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:
        raise ConfigError.at("--cert, --key", f"{cert}, {key}", f"cannot be used together ({error.strerror or error})",
                             "give a PEM certificate and the PEM key that fits it") from error
    return context


def _type(file: Path) -> str:
    return _TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def _part(file: Path) -> tuple[str, bytes, str]:
    return file.name, file.read_bytes(), _type(file)
