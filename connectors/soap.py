"""A Fachverfahren by SOAP 1.1 or 1.2, as its WSDL on disk describes it.

What arrives
    One call of `operation`. Its content is either one part of the delivery as the body's element
    (`body = "xml"`), or parameters from a template (`parameters`: docs/deliver.md, Templates; parts as
    ``{base64:pdf}``, ``{text:xml}`` or ``{xml:xml}``), which zeep brings into the types and the order of the
    WSDL.
WSDL
    and all it imports are read from disk, below its folder; nothing is ever loaded from the network. `url` is
    where the call goes: the address inside the WSDL is not used.
Security
    Everything of `connectors._http` (TLS, mTLS, Basic, tokens), and WS-Security: UsernameToken (as text or
    digest) and a signature of body and timestamp by an X.509 certificate (RSA-SHA256). Answers are trusted
    because of TLS; signatures on them are not checked.
A second delivery
    is a second call. ``repeat`` is ``idempotent`` if the receiver promised to act once per id
    (`idempotent = true`, and the id is in the parameters or the part), else ``ask``: SOAP has no common way
    to ask.
When the effect begins
    Before the last byte of the envelope (`connectors._http`).
Faults
    `fault_temporary`, `fault_permanent` and `fault_in_doubt` name codes: the SOAP code (``Server``,
    ``Receiver``), a subcode at any depth, or the name of an element in the fault's detail, each without
    prefix. The most special code is asked first.

    A fault not named: with a status of `status_temporary` (502, 503 …) it is temporary, whatever it shows. A
    wrong login, and any fault with status 401 or 403, is a `Misconfigured`. ``Client``, ``Sender``,
    ``MustUnderstand``, ``VersionMismatch``, ``DataEncodingUnknown`` are the receiver's own no and permanent.
    All others (``Server``, ``Receiver``) are in doubt, because nobody says how far he came.
Answers without a fault
    The table in `connectors._answer`, with XPaths from the envelope. 502 and 503 are temporary, whatever page
    they show; 504 is in doubt. An answer as MTOM (multipart/related, XOP) is read like any other.

Limits
    It cannot send MTOM: parts travel as base64 inside the XML, in memory. Keep large attachments to REST or a
    drop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from lxml import etree
from pydantic import Field, field_validator, model_validator

from connectors import _answer, _document, _http, _http_answer, _template, _tree
from connectors._http_options import HttpOptions, check_header, port_of
from connectors._soap_answer import VERSIONS, FaultOptions, judge
from connectors._tree import PartValue
from hub.endpoint import (
    Certificate,
    Finding,
    Needs,
    OutletBase,
    Repeat,
    SecretRef,
    read_secret,
    secret_path,
)
from hub.errors import ConfigError, DeliveryError, Misconfigured, Permanent
from hub.message import Delivery, Receipt

_WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"


class Options(HttpOptions, FaultOptions):
    """``connector = "soap"``"""

    url: str = Field(description="where the calls go; the address inside the WSDL is not used")
    wsdl: Path = Field(description="the WSDL; what it imports lies below its folder")
    service: str | None = Field(None, description="the service in the WSDL, if it is not the first")
    port: str | None = Field(None, description="the port of the service, if it is not the first")
    operation: str = Field(description="the operation")
    body: str | None = Field(None, description="the part that is the body's element, by its role: xml")
    parameters: Mapping[str, Any] | None = Field(None,
                                                 description="or the parameters, a table with placeholders")
    soap_action: str | None = Field(
        None, description="SOAPAction, if the receiver wants another than the WSDL says")
    headers: Mapping[str, str] = Field(
        {}, description="further HTTP headers, with placeholders; secrets never stand here")
    idempotent: bool = Field(False,
                             description="the receiver promised to act once per id that stands in the call")
    wsse_user: str | None = Field(None, description="WS-Security UsernameToken: the name")
    wsse_password: SecretRef | None = Field(None, description="its password")
    wsse_kind: Literal["text", "digest"] = Field("text", description="how the password is shown")
    wsse_certificate: Certificate | None = Field(None, description="WS-Security signature: our certificate")
    wsse_key: SecretRef | None = Field(None, description="its private key (RSA, PEM)")
    wsse_key_password: SecretRef | None = Field(None, description="password of that key")
    wsse_timestamp: int = Field(0, ge=0, le=3600,
                                description="seconds a call is valid (wsu:Timestamp); 0 is none")

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in value.items():
            check_header(name)
            _template.REQUEST.check(text)
        return value

    @field_validator("parameters")
    @classmethod
    def _parameters(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        _tree.check(value, ("base64", "text", "xml"))
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        self.require_url(self.url)
        if (self.body is None) == (self.parameters is None):
            raise ValueError("exactly one of body and parameters is needed")
        if (self.wsse_user is None) != (self.wsse_password is None):
            raise ValueError("wsse_user and wsse_password belong together")
        if (self.wsse_certificate is None) != (self.wsse_key is None):
            raise ValueError("wsse_certificate and wsse_key belong together")
        for path in (self.code_path, self.reference_path):
            if path is not None:
                _answer.check_path("xml", path, self.namespaces)
        return self


# --- the WSDL -----------------------------------------------------------------------------------------------


class _Disk:
    """What zeep calls a transport: reads below one folder, sends nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def load(self, url: str | Path) -> bytes:
        """The bytes of a file below the folder. Raises ValueError for everything else."""
        parsed = urlsplit(str(url))
        if parsed.scheme not in ("", "file") or parsed.netloc:
            raise ValueError(f"{url} lies in the network: put it beside the WSDL and correct the import")
        path = Path(unquote(parsed.path) if parsed.scheme else str(url)).resolve()
        if not path.is_relative_to(self._folder):
            raise ValueError(f"{url} lies outside of the WSDL's folder")
        return path.read_bytes()


class Call:
    """The operation of the WSDL, ready to be called."""

    def __init__(self, options: Options) -> None:
        import zeep
        from zeep.exceptions import Error

        settings = zeep.Settings(strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True)
        try:
            self.client = zeep.Client(str(options.wsdl), transport=_Disk(options.wsdl.parent),
                                      settings=settings,
                                      service_name=options.service, port_name=options.port)
            self.binding: Any = self.client.service._binding
            self.operation: Any = self.binding.get(options.operation)
        except (Error, OSError, ValueError, etree.Error, AttributeError, KeyError,
                NotImplementedError) as error:
            raise Misconfigured(f"Die WSDL {options.wsdl} ist nicht brauchbar ({error}).") from error
        self.options = options

    def envelope(self, delivery: Delivery) -> tuple[bytes, dict[str, str]]:
        """The finished call, and its HTTP headers. Raises `Permanent`, `Misconfigured`."""
        build = self._with_parameters if self.options.body is None else self._with_element
        envelope, headers = build(delivery)
        if self.operation.abstract.wsa_action:
            envelope, headers = self._addressed(envelope, headers, delivery)
        self._secure(envelope)
        content_type = headers.pop("Content-Type")
        action = self.options.soap_action
        if "SOAPAction" in headers:
            headers["SOAPAction"] = f'"{action}"' if action is not None else headers["SOAPAction"]
        if content_type.startswith("application/soap+xml") and action is not None:
            content_type = f'application/soap+xml; charset=utf-8; action="{action}"'
        content: bytes = etree.tostring(envelope, encoding="utf-8", xml_declaration=True)
        return content, {**headers, "Content-Type": content_type}

    def _with_parameters(self, delivery: Delivery) -> tuple[Any, dict[str, str]]:
        from zeep.exceptions import Error

        values = _plain(_tree.fill(self.options.parameters, delivery), delivery)
        try:
            call = self.operation.create(**values)
        except (Error, TypeError, ValueError) as error:
            what = f"{type(error).__name__}{_place(error)}"  # zeep's own words may quote a value
            raise Misconfigured(f"Die Parameter passen nicht zur WSDL ({what}): "
                                "parameters berichtigen.") from error
        self.binding._set_http_headers(call, self.operation)
        return call.content, dict(call.headers)

    def _with_element(self, delivery: Delivery) -> tuple[Any, dict[str, str]]:
        part = _tree.the_part(delivery, self.options.body or "")
        try:
            element = _document.parse_xml(delivery.read(part))
        except ValueError as error:
            raise Permanent(f"Der Teil der Rolle {part.role!r} ist kein XML ohne DOCTYPE.") from error
        wanted = getattr(getattr(self.operation.input, "body", None), "qname", None)
        if wanted is not None and self.operation.style == "document" and element.tag != wanted.text:
            raise Permanent(f"Die WSDL verlangt das Element {wanted.text}, der Teil der Rolle {part.role!r} "
                            "beginnt mit einem anderen.")
        space = self.binding.nsmap["soap-env"]
        envelope = etree.Element(f"{{{space}}}Envelope", nsmap={"soap-env": space})
        etree.SubElement(envelope, f"{{{space}}}Body").append(element)
        if VERSIONS[space] == "1.2":
            return envelope, {
                "Content-Type": f'application/soap+xml; charset=utf-8; action="{self.operation.soapaction}"'}
        return envelope, {"Content-Type": "text/xml; charset=utf-8",
                          "SOAPAction": f'"{self.operation.soapaction or ""}"'}

    def _addressed(self, envelope: Any, headers: dict[str, str],
                   delivery: Delivery) -> tuple[Any, dict[str, str]]:
        """WS-Addressing where the WSDL asks for it; the message's id is the delivery's, in every try."""
        from zeep.wsa import WsAddressingPlugin

        envelope, headers = WsAddressingPlugin().egress(envelope, headers, self.operation,
                                                        {"address": self.options.url})
        for node in envelope.iter("{http://www.w3.org/2005/08/addressing}MessageID"):
            node.text = f"urn:uuid:{delivery.id}"
        return envelope, headers

    def _secure(self, envelope: Any) -> None:
        """WS-Security, read anew for each call. Raises `Misconfigured`."""
        import xmlsec
        from zeep.wsse import BinarySignature, UsernameToken, utils

        options = self.options
        try:
            if options.wsse_timestamp:
                now = datetime.now(UTC).replace(microsecond=0)
                stamp = etree.SubElement(utils.get_security_header(envelope), f"{{{_WSU}}}Timestamp")
                for name, moment in (("Created", now),
                                     ("Expires", now + timedelta(seconds=options.wsse_timestamp))):
                    etree.SubElement(stamp, f"{{{_WSU}}}{name}").text = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
            if options.wsse_user and options.wsse_password:
                UsernameToken(options.wsse_user, read_secret(options.wsse_password),
                              use_digest=options.wsse_kind == "digest",
                              zulu_timestamp=True).apply(envelope, {})
            if options.wsse_certificate and options.wsse_key:
                password = read_secret(options.wsse_key_password) if options.wsse_key_password else None
                BinarySignature(secret_path(options.wsse_key), options.wsse_certificate, password,
                                xmlsec.constants.TransformRsaSha256,
                                xmlsec.constants.TransformSha256).apply(envelope, {})
        except ConfigError as error:
            raise Misconfigured(str(error)) from error
        except (OSError, xmlsec.Error) as error:
            raise Misconfigured(
                "Die Nachricht lässt sich nicht unterschreiben: wsse_certificate und wsse_key prüfen "
                                f"({type(error).__name__}).") from error


def _place(error: Exception) -> str:
    """Where in the parameters, as far as zeep says it: names of the WSDL, no values."""
    path = getattr(error, "path", None)
    return f" bei {'.'.join(map(str, path))}" if path else ""


def _plain(value: Any, delivery: Delivery) -> Any:
    """The tree as zeep wants it: texts, bytes for base64Binary, elements."""
    if isinstance(value, Mapping):
        return {key: _plain(item, delivery) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, delivery) for item in value]
    if not isinstance(value, PartValue):
        return value
    content = delivery.read(value.part)
    if value.kind == "base64":
        return content
    try:
        if value.kind == "text":
            return _template.in_text("", content.decode("utf-8-sig"))
        return _document.parse_xml(content)
    except ValueError as error:
        raise Permanent(f"Der Teil der Rolle {value.part.role!r} ist kein {value.kind}.") from error


# --- the conversation ---------------------------------------------------------------------------------------


class Outlet(OutletBase[Options]):
    """Calls over one connection that is kept between deliveries."""

    kind = "fachverfahren"
    whom = "den Hersteller oder Betreiber des Fachverfahrens (Adresse, WSDL-Stand, Zugangsdaten, Zertifikate)"

    @classmethod
    def takes(cls, options: Options) -> frozenset[str] | None:
        """What its call is made of."""
        return _tree.roles(options.parameters) if options.body is None else frozenset({options.body})

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """The port of its receiver."""
        return Needs(port=port_of(options.url))

    def __init__(self, options: Options, line: _http.Line | None = None) -> None:
        super().__init__(options)
        self._line = line or _http.Line(options)
        self._call: Call | None = None

    @classmethod
    def repeat_for(cls, options: Options) -> Repeat:
        """What the receiver promised."""
        return "idempotent" if options.idempotent else "ask"

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Call it. Raises `Temporary`, `Permanent`, `TooLarge`, `Misconfigured`, `InDoubt`; `refused` where
        it is certain that the receiver did not act."""
        options = self.options
        content, headers = self._operation().envelope(delivery)
        body = _http.Body.of(content, headers.pop("Content-Type"))
        row = _template.request_values(delivery)
        headers |= {name: _template.fill(text, row, _template.in_header)
                    for name, text in options.headers.items()}
        answer = self._line.send("POST", options.url, headers, body, effect_begins)
        detail = judge(options, answer, idempotent=options.idempotent)
        return Receipt(_answer.reference(delivery.id, detail), detail)

    def check(self) -> Sequence[Finding]:
        """Read the WSDL, look for the operation, connect. A call would act, so none is made."""
        options = self.options
        try:
            self._operation()
            answer = self._line.ask(options.url, {}, "OPTIONS")
        except DeliveryError as error:
            return [Finding("error", str(error),
                            "WSDL, Adresse, Zertifikate und Zugang mit dem Betreiber des Fachverfahrens "
                            "prüfen.")]
        finally:
            self.close()
        found = [Finding("ok", f"Die WSDL kennt {options.operation}."),
                 *_http_answer.certificate_finding(answer.expires)]
        if answer.status in (401, 403, 407):
            return [*found, Finding("error", f"Das Fachverfahren lässt uns nicht zu (HTTP {answer.status}).",
                                    "Zugangsdaten prüfen lassen.")]
        if answer.status in (502, 503, 504):
            return [*found, Finding("error", f"Das Fachverfahren ist gestört (HTTP {answer.status}).",
                                    "Den Betreiber fragen.")]
        return [*found, Finding(
            "ok", f"Das Fachverfahren antwortet (HTTP {answer.status}); ob es Anträge annimmt, zeigt erst "
                                "der erste.")]

    def close(self) -> None:
        """Give the connection back; the WSDL is read anew afterwards."""
        self._line.close()
        self._call = None

    def _operation(self) -> Call:
        if self._call is None:
            self._call = Call(self.options)
        return self._call
