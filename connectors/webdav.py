"""A drop folder on a WebDAV server, over one line that is kept between deliveries.

What arrives, a second delivery
    as in `connectors.directory`: same layouts, same names, same order of steps (`connectors._drop`). A file
    is sent by PUT and its size is asked for; ``MOVE`` with ``Overwrite: F`` shows it. The server decides when
    it is on its disk.
In doubt
    only when the answer to MOVE is lost, or is an error of the server (5xx). What happened before nobody
    sees.
Temporary
    a dead or hanging server, 408, 423 (locked), 425, 429, 5xx, 507 (full).
Misconfigured
    TLS or the login fails, 401, 403, a redirect, a folder that is missing, an address where nobody speaks
    WebDAV, and a
    ``Destination`` that the server takes for another server (400, 502): see `destination_base`.

Hazards
    A server that moves a folder file by file shows half of it for a moment, and says 207 when it did not get
    to the end. Ask its operator, or take the layout ``single``. Apache's mod_dav renames. Behind a reverse
    proxy the server may know itself by another name than we do. Then MOVE fails until `destination_base` says
    which.

Sources: RFC 4918 §9.1 (PROPFIND), 9.3 (MKCOL), 9.9 (MOVE), 10.3 (Destination), 10.6 (Overwrite).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from lxml import etree
from pydantic import Field, model_validator

from connectors._document import parse_xml
from connectors._drop import DropOutlet
from connectors._http import Body, Line, unseen
from connectors._http_answer import Answer, certificate_finding
from connectors._http_options import HttpOptions
from connectors._layout import DropOptions, chunks
from hub.endpoint import Finding, refused
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary, TooLarge

_ASKED = Body.of(b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/>'
                 b"<getcontentlength/></prop></propfind>", "application/xml")
_FULL, _LOCKED, _TOO_LARGE = 507, 423, 413


class Options(HttpOptions, DropOptions):
    """``connector = "webdav"``"""

    url: str = Field(description="the target folder on the server")
    destination_base: str | None = Field(
        None, description="how the server itself calls url, where a reverse proxy stands before it")
    max_answer: int = Field(
        50_000_000, gt=0, description="largest answer that is read, bytes; a folder's listing is one")

    @model_validator(mode="after")
    def _addresses(self) -> Options:
        self.require_url(self.url)
        for url in (self.url, self.destination_base or self.url):
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
                raise ValueError(f"{url!r} is no URL such as https://dav.musterstadt.example/eingang/")
        return self


class Outlet(DropOutlet[Options]):
    """Files over WebDAV, by a MOVE that shows all or nothing."""

    whom = "die IT der Kommune (Adresse, Zugangsdaten, Zertifikate, Ordner und Rechte auf dem WebDAV-Server)"

    def __init__(self, options: Options, line: Line | None = None) -> None:
        super().__init__(options)
        self._line = line or Line(options)
        self._collection = Collection(options, self._line)

    def close(self) -> None:
        """End the connection, if there is one."""
        self._line.close()

    def place(self) -> Collection:
        """The target, which is there and is a folder. Raises `Temporary`, `Misconfigured`."""
        self._collection.require_target()
        return self._collection

    def border(self) -> AbstractContextManager[None]:
        """The place raises `DeliveryError` itself."""
        return nullcontext()

    def remedy(self, error: DeliveryError) -> str:  # noqa: ARG002
        """Always the same."""
        return f"{self.options.url}, Zugang und Zielordner prüfen."

    def approval(self) -> Sequence[Finding]:
        """The folder can be written to, and how long the server's certificate is good."""
        return [Finding("ok", f"{self.options.url} ist beschreibbar."),
                *certificate_finding(self._collection.require_target().expires)]


class Collection:
    """A `Place` on a WebDAV server. The target itself is never made."""

    def __init__(self, options: Options, line: Line) -> None:
        self._line = line
        self._base = f"{options.url.rstrip('/')}/"
        self._destination = f"{(options.destination_base or options.url).rstrip('/')}/"

    def require_target(self) -> Answer:
        """The server's answer about the target, which is a folder. Raises `Temporary`, `Misconfigured`."""
        answer = self._ask("", 0)
        if answer.status == 404:
            raise Misconfigured("Der Zielordner fehlt auf dem Server.")
        if answer.status == 400:  # a file's name with a slash behind it
            raise Misconfigured("Das Ziel auf dem Server ist kein Ordner (HTTP 400).")
        if [size for _, size in _read(answer)] != [-1]:
            raise Misconfigured("Das Ziel auf dem Server ist kein Ordner.")
        return answer

    def make_folder(self, path: str, *, exist_ok: bool = False) -> None:
        answer = self._line.act("MKCOL", self._at(path), {}, unseen)
        if answer.status == 405:
            size = self.size(path)
            if size is None:
                raise _meaning(answer)
            if size != -1 or not exist_ok:
                raise FileExistsError(path)
        elif answer.status != 201:
            raise _meaning(answer)

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        body = Body("application/octet-stream", size, lambda: _pieces(source))
        answer = self._line.send("PUT", self._at(path), {"If-None-Match": "*"}, body, unseen)
        if answer.status == 412:
            raise FileExistsError(path)
        if answer.status not in (200, 201, 204):
            raise _meaning(answer, Permanent)
        if self.size(path) != size:
            raise Temporary("Eine Datei hat auf dem Server eine andere Größe.")

    def sync_folder(self, path: str) -> None:
        """WebDAV has no word for it."""

    def publish(self, hidden: str, final: str) -> None:
        headers = {"Destination": self._destination + quote(final), "Overwrite": "F"}
        answer = self._line.act("MOVE", self._at(hidden), headers, unseen)
        # Where the hidden name is gone, too, somebody on the way has sent it twice.
        if answer.status == 412 and self.size(hidden) is not None:
            raise FileExistsError(final)
        if answer.status not in (201, 204):
            raise _unmoved(answer)

    def names(self, path: str) -> Sequence[str]:
        paths = [where for where, _ in _read(self._ask(path, 1))]
        own = min(paths, key=len, default="")  # behind a proxy it may be another one than ours
        return [where.removeprefix(f"{own}/") for where in paths if where != own]

    def size(self, path: str) -> int | None:
        answer = self._ask(path, 0)
        if answer.status == 404:
            return None
        rows = _read(answer)
        if len(rows) != 1 or rows[0][1] is None:
            raise Temporary("Der Server nennt die Größe einer Datei nicht.")
        return rows[0][1]

    def digest(self, path: str) -> str:
        fetched = self._line.fetch(self._at(path), at_most=1 << 40)
        if fetched.answer.status != 200:
            raise _meaning(fetched.answer)
        return fetched.sha256

    def remove(self, path: str) -> None:
        answer = self._line.act("DELETE", self._at(path), {}, unseen)
        if answer.status not in (200, 204, 404):
            raise _meaning(answer)

    def _at(self, path: str) -> str:
        return self._base + quote(path)

    def _ask(self, path: str, depth: int) -> Answer:
        return self._line.ask(self._at(path), {"Depth": str(depth)}, "PROPFIND", _ASKED)


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    """All of it, also when it is sent again because a token had ended."""
    source.seek(0)
    return chunks(source)


def _read(answer: Answer) -> list[tuple[str, int | None]]:
    """What a multi-status tells: decoded paths with their sizes, -1 for a folder, None where there is none.

    Raises `Temporary`, `Misconfigured`.
    """
    if answer.status != 207:
        raise _meaning(answer)
    if answer.content is None and answer.why == "zu groß":
        raise Misconfigured("Die Liste des Ordners ist zu groß: max_answer erhöhen.")
    if answer.content is None:
        raise Temporary(f"Die Antwort des Servers ist {answer.why}.")
    try:
        root = parse_xml(answer.content, answer.charset)
        return [(unquote(urlsplit(row.findtext("{DAV:}href", "").strip()).path).rstrip("/"), _size(row))
                for row in root.iter("{DAV:}response")]
    except ValueError as error:  # no XML, an address that is none, a size of thousands of digits
        raise Misconfigured("Der Server antwortet unverständlich; spricht er WebDAV?") from error


def _size(row: etree._Element) -> int | None:
    if row.find(".//{DAV:}resourcetype/{DAV:}collection") is not None:
        return -1
    text = row.findtext(".//{DAV:}getcontentlength", "").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _meaning(answer: Answer, otherwise: type[DeliveryError] = Misconfigured) -> DeliveryError:
    """What a status means that is no success; `otherwise` where the receiver may mean this very delivery."""
    status, said = answer.status, f"HTTP {answer.status}"
    if status in (401, 407):
        return Misconfigured(f"Der Server lässt uns nicht zu ({said}).")
    if status == 403:
        return Misconfigured(f"Der Server verweigert das Schreiben im Zielordner ({said}).")
    if status in (404, 409):
        return Misconfigured(f"Der Zielordner fehlt auf dem Server ({said}).")
    if status in (200, 405, 501):
        return Misconfigured(f"Unter der Adresse spricht niemand WebDAV ({said}): url prüfen.")
    if 300 <= status < 400:
        return Misconfigured(
            f"Der Server verweist auf eine andere Adresse ({said}); ihr wird nie gefolgt: url prüfen.")
    if status == _TOO_LARGE:
        return TooLarge(f"Der Server lehnt eine Datei als zu groß ab ({said}).")
    if status == _FULL:
        return Temporary(f"Der Server ist voll ({said}).", answer.retry_after)
    if status in (408, _LOCKED, 425, 429) or status >= 500:
        return Temporary(f"Der Server nimmt im Augenblick nichts an ({said}).", answer.retry_after)
    return otherwise(f"Der Server lehnt ab ({said}).")


def _unmoved(answer: Answer) -> DeliveryError:
    """What a status means with which MOVE did not succeed. Only the server's clear no is certain.

    404 and 412 are not: a proxy may have sent the MOVE twice, for it counts as idempotent (RFC 9110 §9.2.2).
    """
    status, said = answer.status, f"HTTP {answer.status}"
    if status in (400, 502):
        error: DeliveryError = Misconfigured(f"Der Server erkennt das Ziel nicht als eigenes ({said}): "
                                             "destination_base prüfen.")
    elif status in (404, 412):
        error = Temporary(f"Was umbenannt werden soll, ist nicht mehr da ({said}).")
    elif status == 207:
        error = Temporary(f"Der Server hat nur einen Teil umbenannt ({said}).")
    else:
        error = _meaning(answer)
    return refused(error) if status == _FULL or (300 <= status < 500 and status not in (404, 412)) else error
