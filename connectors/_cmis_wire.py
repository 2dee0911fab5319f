"""CMIS by its browser binding: addresses, forms, and what an answer says.

Sources: OASIS CMIS 1.1, 5.4 (browser binding), 2.2.1.4 (exceptions).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import httpx2

from connectors._charset import Garbled
from connectors._document import parse_json
from connectors._http import Body
from connectors._http_answer import Answer
from connectors._http_errors import shown
from hub.endpoint import refused
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary, TooLarge
from hub.message import Delivery, ManifestPart

_CHUNK = 1 << 18
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}(; charset=[\w.:+-]{1,40})?", re.ASCII)


# --- addresses --------------------------------------------------------------------------------------------


def on_our_host(here: httpx2.URL, named: str) -> str:
    """An address that the server named, on the host that we were told."""
    try:
        return str(here.copy_with(raw_path=httpx2.URL(named).raw_path))
    except httpx2.InvalidURL as error:
        raise Misconfigured("Das DMS nennt für sein Repository eine unbrauchbare Adresse.") from error


def with_query(url: str, **parameters: str) -> str:
    """The address with these parameters more."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def path_url(root: str, path: str) -> str:
    """The address of an object by its path."""
    return root.rstrip("/") + quote(path.rstrip("/"))


# --- forms ------------------------------------------------------------------------------------------------


def numbered(properties: Mapping[str, str]) -> dict[str, str]:
    """The fields of a form that set properties (CMIS 1.1, 5.4.4.3)."""
    fields = {}
    for number, (name, value) in enumerate(properties.items()):
        fields[f"propertyId[{number}]"] = name
        fields[f"propertyValue[{number}]"] = value
    return fields


def form(fields: Mapping[str, str]) -> Body:
    """A form without a file."""
    return Body.of(urlencode(fields).encode(), "application/x-www-form-urlencoded; charset=UTF-8")


def multipart(fields: Mapping[str, str], delivery: Delivery, part: ManifestPart, file_name: str) -> Body:
    """The form of createDocument (CMIS 1.1, 5.4.4.3.1); the content streams from the store, last.

    `file_name` is a safe one; it holds no quotation mark.
    """
    boundary = secrets.token_hex(24)  # new each time: no upload can contain it
    head = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n'
        f"Content-Type: text/plain; charset=UTF-8\r\n\r\n{value}\r\n".encode()
        for name, value in fields.items())
    kind = part.media_type if _MEDIA_TYPE.fullmatch(part.media_type) else "application/octet-stream"
    head += (f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{file_name}"\r\n'
             f"Content-Type: {kind}\r\nContent-Transfer-Encoding: binary\r\n\r\n").encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    def pieces() -> Iterator[bytes]:
        yield head
        with closing(delivery.open(part)) as source:
            yield from iter(partial(source.read, _CHUNK), b"")
        yield tail

    return Body(f"multipart/form-data; boundary={boundary}", len(head) + part.size + len(tail), pieces)


# --- answers ----------------------------------------------------------------------------------------------


def exception_of(answer: Answer) -> str:
    """The name of a CMIS exception, empty when it is none."""
    if answer.status < 400:
        return ""
    try:
        said = parse_json(answer.content or b"", answer.charset)
    except Garbled:
        return ""
    return shown(str(said.get("exception", ""))) if isinstance(said, Mapping) else ""


def object_of(answer: Answer, what: str, *, created: bool = False) -> Mapping[str, Any]:
    """The properties of an object that the answer is about. Raises like `content_of`."""
    found = content_of(answer, what, created=created).get("succinctProperties")
    if isinstance(found, Mapping) and "cmis:objectId" in found:
        return found
    raise _no_cmis(answer, what, created)


def content_of(answer: Answer, what: str, *, created: bool = False) -> Mapping[str, Any]:
    """The JSON of a good answer. Raises `Temporary`, `Misconfigured`, `Permanent` for any other."""
    if not 200 <= answer.status < 300:
        raise _meaning(answer, what)
    try:
        content, why = parse_json(answer.content or b"", answer.charset), ""
    except Garbled as error:
        content, why = None, f"sie ist {answer.why}" if answer.why else str(error)
    if isinstance(content, Mapping):
        return content
    raise _no_cmis(answer, what, created, why)


def _no_cmis(answer: Answer, what: str, created: bool, why: str = "") -> DeliveryError:
    text = (f"{what} antwortet kein CMIS (HTTP {answer.status}{', ' + why if why else ''}): url und den "
            "Dienst dahinter prüfen.")
    return Temporary(text) if created else Misconfigured(text)


def _meaning(answer: Answer, what: str) -> DeliveryError:
    status, exception = answer.status, exception_of(answer)
    said = f"{what} sagt das DMS: HTTP {status}{', ' + exception if exception else ''}."
    if status in (408, 425, 429) or exception == "updateConflict":
        return refused(Temporary(said, answer.retry_after))
    if status >= 500:
        return Temporary(said, answer.retry_after)
    if status in (401, 403):
        return refused(Misconfigured(f"{said} Benutzer, Kennwort oder Rechte stimmen nicht."))
    if status == 413:
        return refused(TooLarge(said))
    if status in (400, 409):
        return refused(Permanent(said))
    return refused(Misconfigured(said))
