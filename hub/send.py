"""Handing one application to a hub, the way Amt24's processes do: HTTPS with a client certificate."""

from __future__ import annotations

import mimetypes
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from hub.errors import HubError

_TYPES = {".xml": "application/xml", ".json": "application/json", ".pdf": "application/pdf"}


def send_file(file: Path, attachments: Sequence[Path] = (), *, url: str, cert: Path, key: Path, ca: Path,
              idempotency_key: str | None = None, test: bool = False, seconds: float = 60.0) -> dict[str, Any]:
    """Post one document, with attachments as multipart/form-data; the answer with its HTTP ``status``.

    Raises `HubError` when nobody answers.
    """
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(cert, key)
    headers = {name: value for name, value in (("Idempotency-Key", idempotency_key),
                                               ("Drehscheibe-Test", "true" if test else None)) if value}
    try:
        with httpx2.Client(verify=context, timeout=seconds, trust_env=False) as client:
            if attachments:
                files = [("application", _part(file)), *(("attachment", _part(path)) for path in attachments)]
                response = client.post(url, files=files, headers=headers)
            else:
                response = client.post(url, content=file.read_bytes(), headers={**headers, "Content-Type": _type(file)})
    except httpx2.HTTPError as error:
        raise HubError(f"{url.split('/in/', maxsplit=1)[0]}: {type(error).__name__}: is the hub running, "
                       "and do certificate and CA belong to it?") from error
    try:
        answer = response.json()
    except ValueError:
        answer = {}
    return {**answer, "status": response.status_code}


def _type(file: Path) -> str:
    return _TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def _part(file: Path) -> tuple[str, bytes, str]:
    return file.name, file.read_bytes(), _type(file)
