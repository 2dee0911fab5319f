"""A Fachverfahren by HTTP: one request per delivery, built from templates; success is what its own code says.

What arrives
    One POST or PUT to `url`. Its body is one part of the delivery as it is (`body = "xml"`), several parts as
    multipart/form-data (`multipart`), or a JSON document from a template (`json`) that may hold parts as
    base64, text or JSON (docs/deliver.md, Templates). The same delivery gives the same bytes on every try.
A second delivery
    carries the same key, the delivery's id, in `key_header` (Idempotency-Key). What that is worth only the
    receiver knows: ``repeat`` is ``idempotent`` if he promised to act once per key (`idempotent = true`),
    else ``probe`` if he can be asked (`probe_url`), else ``ask``.
When the effect begins
    Before the last byte of the body (`connectors._http`). A time-out, a reset or half an answer after it is
    in doubt.
Success, temporary, permanent, in doubt
    The table in `connectors._answer`: status and business code together. The receiver's number goes into the
    proof.
Asking (`probe_url`)
    Found: a status of success, and a code of `probe_code_found` where `probe_code_path` is set. Absent: a
    status of `probe_absent` or a code of `probe_code_absent`. A receiver that puts requests into a queue of
    its own before he registers them can answer 404 too early: give ``probe_absent = []``, and a person
    decides.
Misconfigured
    Certificates of either side, login, token, a redirect (none is ever followed), an address where nobody
    takes anything.

Errors hold statuses and codes, never the receiver's words: those may name people.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from connectors import _answer, _document, _http, _http_answer, _template, _tree
from connectors._http_errors import shown
from connectors._http_options import HttpOptions, check_header, port_of
from connectors._tree import PartValue
from hub.endpoint import Absent, Done, Finding, Needs, OptionsModel, OutletBase, ProbeResult, Repeat, Unknown
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary
from hub.message import Delivery, ManifestPart, Receipt, unique_names


class FormField(OptionsModel):
    """One field of a multipart body: parts of a role, or a text."""

    name: str = Field(pattern=r"^[A-Za-z0-9._\[\]-]{1,60}$", description="the field's name")
    role: str | None = Field(None, description="the parts of this role, one file each; * means all")
    text: str | None = Field(None, description="a text with placeholders instead")

    @model_validator(mode="after")
    def _one_of(self) -> FormField:
        if (self.role is None) == (self.text is None):
            raise ValueError("exactly one of role and text is needed")
        if self.text is not None:
            _template.REQUEST.check(self.text)
        return self


class Options(HttpOptions, _answer.AnswerOptions):
    """``connector = "rest"``"""

    url: str = Field(description="where to; {placeholders} in path and query")
    method: Literal["POST", "PUT"] = Field("POST", description="the method")
    headers: Mapping[str, str] = Field(
        {}, description="further headers, with placeholders; secrets never stand here")
    body: str | None = Field(
        None, description="the part that is the body, by its role: xml, json, pdf, csv, original")
    content_type: str | None = Field(
        None, pattern=r"^[a-z]+/[A-Za-z0-9.+_-]+(; ?charset=[A-Za-z0-9-]+)?$",
        description="its media type, if the receiver wants another than the part has")
    multipart: tuple[FormField, ...] = Field((), description="or several parts as multipart/form-data")
    json_: Mapping[str, Any] | None = Field(None, alias="json",
                                            description="or a JSON document, a table with placeholders")
    idempotent: bool = Field(
        False, description="the receiver promised to act once per key, however often it is asked")
    key_header: str | None = Field("Idempotency-Key", description="the header that carries the delivery's id")
    answer: _document.Kind = Field(
        "none", description="what answers are written in: json, xml, none (only the status counts)")
    probe_url: str | None = Field(None, description="where to ask whether a delivery is there (GET)")
    probe_absent: tuple[int, ...] = Field((404, 410), description="HTTP statuses that prove it is not there")
    probe_code_path: str | None = Field(None, description="where the answer to that says what it found")
    probe_code_found: tuple[str, ...] = Field((), description="codes that mean: it is there")
    probe_code_absent: tuple[str, ...] = Field((), description="codes that mean: it is not there")
    check_url: str | None = Field(None,
                                  description="what the connection check asks (GET), e.g. a status page")

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in value.items():
            check_header(name)
            _template.REQUEST.check(text)
        return value

    @field_validator("key_header")
    @classmethod
    def _key_header(cls, value: str | None) -> str | None:
        return check_header(value) if value else None

    @field_validator("json_")
    @classmethod
    def _json(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        _tree.check(value, ("base64", "text", "json"))
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if [self.body is not None, bool(self.multipart), self.json_ is not None].count(True) != 1:
            raise ValueError("exactly one of body, multipart and json is needed")
        for url in (self.url, self.probe_url, self.check_url):
            if url is not None:
                _check_url(self, url)
        for path in (self.code_path, self.reference_path, self.probe_code_path):
            if path is not None:
                _answer.check_path(self.answer, path, self.namespaces)
        if bool(self.probe_code_path) != bool(self.probe_code_found):
            raise ValueError("probe_code_path and probe_code_found belong together")
        if self.idempotent and not self.key_header and "id" not in _template.keys(self.url):
            raise ValueError(
                "idempotent needs a key_header, or {id} in url: the receiver must recognise the second try")
        if self.probe_url is not None and not {"id", "message"} & set(_template.keys(self.probe_url)):
            raise ValueError("probe_url needs {id}: it asks for one delivery")
        return self


def _check_url(options: Options, url: str) -> None:
    _template.REQUEST.check(url)
    host = url.partition("://")[2].partition("/")[0]
    if "{" in host or "{" in url.partition("://")[0]:
        raise ValueError("placeholders stand in the path or the query of a URL, never in its host")
    options.require_url(_template.fill(url, dict.fromkeys(_template.keys(url), "x")))


# --- the body -----------------------------------------------------------------------------------------------

_CHUNK = 3 * 65536  # whole groups of base64
_MEDIA_TYPE = re.compile(r"[a-z]+/[A-Za-z0-9.+_-]{1,100}(; charset=[A-Za-z0-9.:_+-]{1,40})?")
_Kind = Literal["base64", "raw"]


@dataclass(frozen=True, slots=True)
class _File:
    """A part that is read, and encoded, while it is sent."""

    part: ManifestPart
    kind: _Kind

    @property
    def size(self) -> int:
        return (self.part.size + 2) // 3 * 4 if self.kind == "base64" else self.part.size


_Piece = bytes | _File


def build(options: Options, delivery: Delivery) -> _http.Body:
    """The body: the same delivery gives the same bytes. Raises `Permanent`, `Misconfigured`."""
    if options.body is not None:
        part = _tree.the_part(delivery, options.body)
        return _body(delivery, options.content_type or _media_type(part), [_File(part, "raw")])
    if options.json_ is not None:
        return _body(delivery, options.content_type or "application/json",
                     list(_json(_tree.fill(options.json_, delivery), delivery)))
    boundary = "dds-" + hashlib.sha256(delivery.id.encode()).hexdigest()[:40]
    return _body(delivery, f"multipart/form-data; boundary={boundary}",
                 _multipart(options, delivery, boundary))


def _body(delivery: Delivery, media_type: str, pieces: Sequence[_Piece]) -> _http.Body:
    size = sum(len(piece) if isinstance(piece, bytes) else piece.size for piece in pieces)
    if size == 0:
        raise Permanent("Der Teil, der gesendet werden soll, ist leer.")

    def run() -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            with closing(delivery.open(piece.part)) as file:
                while chunk := _full(file, _CHUNK):
                    yield base64.b64encode(chunk) if piece.kind == "base64" else chunk

    return _http.Body(media_type, size, run)


def _full(file: Any, size: int) -> bytes:
    """So many bytes, fewer only at the end: base64 is written in whole groups."""
    data: bytes = file.read(size)
    while 0 < len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _media_type(part: ManifestPart) -> str:
    return part.media_type if _MEDIA_TYPE.fullmatch(part.media_type) else "application/octet-stream"


def _json(value: Any, delivery: Delivery) -> Iterator[_Piece]:
    """A tree as JSON, its parts as files in between."""
    if isinstance(value, PartValue):
        yield from _json_part(value, delivery)
    elif isinstance(value, Mapping):
        for no, (key, item) in enumerate(value.items()):
            yield (b"{" if no == 0 else b",") + json.dumps(key).encode() + b":"
            yield from _json(item, delivery)
        yield b"}" if value else b"{}"
    elif isinstance(value, list):
        yield b"["
        for no, item in enumerate(value):
            yield b"," if no else b""
            yield from _json(item, delivery)
        yield b"]"
    else:
        yield json.dumps(value, default=str, allow_nan=False).encode()


def _json_part(value: PartValue, delivery: Delivery) -> Iterator[_Piece]:
    if value.kind == "base64":
        yield b'"'
        yield _File(value.part, "base64")
        yield b'"'
        return
    content = delivery.read(value.part)
    try:
        yield json.dumps(json.loads(content) if value.kind == "json"
                         else content.decode("utf-8-sig")).encode()
    except (ValueError, RecursionError) as error:
        raise Permanent(f"Der Teil der Rolle {value.part.role!r} ist kein {value.kind}.") from error


def _multipart(options: Options, delivery: Delivery, boundary: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    row = _template.request_values(delivery)
    files = [(field, part) for field in options.multipart if field.role
             for part in _tree.parts(delivery, field.role)]
    names = iter(unique_names([part.name for _, part in files]))
    for field in options.multipart:
        if field.text is not None:
            text = _template.fill(field.text, row, _template.in_text).encode()
            pieces += [_form_header(boundary, field.name, "text/plain; charset=utf-8"), text, b"\r\n"]
            continue
        for part in (part for other, part in files if other is field):
            pieces += [_form_header(boundary, field.name, _media_type(part), next(names)), _File(part, "raw"),
                       b"\r\n"]
    if not pieces:
        raise Permanent("Die Zustellung hat keinen der Teile, die gesendet werden sollen.")
    return [*pieces, f"--{boundary}--\r\n".encode()]


def _form_header(boundary: str, name: str, media_type: str, file: str | None = None) -> bytes:
    filename = f'; filename="{file}"' if file else ""
    return (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n'
            f"Content-Type: {media_type}\r\n\r\n").encode("ascii")


# --- the conversation ---------------------------------------------------------------------------------------


class Outlet(OutletBase[Options]):
    """Requests over one connection that is kept between deliveries."""

    kind = "fachverfahren"
    whom = ("den Hersteller oder Betreiber des Fachverfahrens (Adresse, Zugangsdaten, Zertifikate, "
            "Freischaltung der Firewall)")
    keeps = True

    @classmethod
    def takes(cls, options: Options) -> frozenset[str] | None:
        """What its body is made of."""
        if options.body is not None:
            return frozenset({options.body})
        if options.json_ is not None:
            return _tree.roles(options.json_)
        named = frozenset(field.role for field in options.multipart if field.role)
        return None if "*" in named else named

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """The port of its receiver."""
        return Needs(port=port_of(options.url))

    def __init__(self, options: Options, line: _http.Line | None = None) -> None:
        super().__init__(options)
        self._line = line or _http.Line(options)

    @classmethod
    def repeat_for(cls, options: Options) -> Repeat:
        """What the receiver promised."""
        if options.idempotent:
            return "idempotent"
        return "probe" if options.probe_url else "ask"

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Send it. Raises `Temporary`, `Permanent`, `TooLarge`, `Misconfigured`, `InDoubt`; `refused` where
        it is certain that the receiver did not act."""
        options = self.options
        body, url = build(options, delivery), self._url(options.url, delivery)
        answer = self._line.send(options.method, url, self._headers(delivery), body, effect_begins)
        document = _document.read(options.answer, answer, options.namespaces)
        row = _answer.judge(options, answer, document, own_path=bool(_template.keys(options.url)),
                            idempotent=options.idempotent)
        return Receipt(_answer.reference(delivery.id, row), row)

    def probe(self, delivery: Delivery) -> ProbeResult:
        """Ask `probe_url`. Raises `Temporary`, `Misconfigured` when it cannot be asked now."""
        options = self.options
        if options.probe_url is None:
            return Unknown("das Fachverfahren kann nicht gefragt werden")
        answer = self._line.ask(self._url(options.probe_url, delivery), self._accept())
        document = _document.read(options.answer, answer, options.namespaces)
        code = document.find(options.probe_code_path) if options.probe_code_path else None
        if answer.status in options.probe_absent or _answer.matches(code, options.probe_code_absent):
            return Absent()
        if answer.status in (401, 403, 407) or 300 <= answer.status < 400:
            raise Misconfigured(f"Das Fachverfahren lässt sich nicht fragen (HTTP {answer.status}).")
        if answer.status in options.status_temporary or answer.status >= 500:
            raise Temporary(f"Das Fachverfahren lässt sich jetzt nicht fragen (HTTP {answer.status}).",
                            answer.retry_after)
        if answer.status not in options.status_success:
            return Unknown(f"HTTP {answer.status}")
        if options.probe_code_path is not None and not _answer.matches(code, options.probe_code_found):
            unreadable = isinstance(document, _document.Unreadable) and bool(document.why)
            return Unknown("die Antwort ist unverständlich" if unreadable else f"Code {shown(code or '')}")
        row = _answer.detail(options, answer, document,
                             document.find(options.code_path) if options.code_path else None)
        return Done(Receipt(_answer.reference(delivery.id, row), row))

    def check(self) -> Sequence[Finding]:
        """Connect, log in, and ask `check_url`; without one, OPTIONS at `url`, which changes nothing."""
        options = self.options
        url = options.check_url or options.url
        url = _template.fill(url, dict.fromkeys(_template.keys(url), "check"))
        try:
            answer = self._line.ask(url, self._accept(), "GET" if options.check_url else "OPTIONS")
        except DeliveryError as error:
            return [Finding("error", str(error),
                            "Adresse, Zertifikate und Zugang mit dem Betreiber des Fachverfahrens prüfen.")]
        finally:
            self._line.close()
        return [*_http_answer.certificate_finding(answer.expires), _judged(answer, options)]

    def close(self) -> None:
        """Give the connection back."""
        self._line.close()

    def _url(self, template: str, delivery: Delivery) -> str:
        return _template.fill(template, _template.request_values(delivery), _template.in_url)

    def _accept(self) -> dict[str, str]:
        kinds = {"json": "application/json", "xml": "application/xml, text/xml;q=0.9", "none": "*/*"}
        return {"Accept": kinds[self.options.answer]}

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        options, row = self.options, _template.request_values(delivery)
        headers = self._accept()
        for name, text in (*options.headers.items(), *delivery.manifest.headers.items()):
            try:
                check_header(name)
            except ValueError as error:
                raise Misconfigured(
                    f"Die Route setzt eine Kopfzeile, die nicht erlaubt ist ({error}).") from error
            template = name in options.headers
            headers[name] = _template.fill(
                text, row, _template.in_header) if template else _template.in_header(name, text)
        if options.key_header:
            headers[options.key_header] = delivery.id
        return headers


def _judged(answer: _http_answer.Answer, options: Options) -> Finding:
    status = answer.status
    if status in (401, 403, 407):
        return Finding("error", f"Das Fachverfahren lässt uns nicht zu (HTTP {status}).",
                       "Zugangsdaten prüfen lassen.")
    if 300 <= status < 400:
        return Finding("error", f"Das Fachverfahren verweist auf eine andere Adresse (HTTP {status}).",
                       "url berichtigen.")
    if status >= 500 and status != 501:
        return Finding("error", f"Das Fachverfahren meldet eine Störung (HTTP {status}).",
                       "Den Betreiber fragen.")
    if options.check_url and status not in options.status_success:
        return Finding("error", f"Die Prüfadresse antwortet mit HTTP {status}.", "check_url berichtigen.")
    return Finding("ok", f"Das Fachverfahren antwortet (HTTP {status})"
                   + ("." if options.check_url else "; ob es Anträge annimmt, zeigt erst der erste."))
