"""What a SOAP answer means, in version 1.1 and 1.2: a fault by its codes, everything else by `_answer`.

The rules, as operators read them, stand in `connectors.soap`. How answers in several parts are read:
`connectors._related`.
"""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree
from pydantic import Field, model_validator

from connectors import _answer, _document
from connectors._http_answer import Answer
from connectors._http_errors import shown
from hub.endpoint import refused
from hub.errors import DeliveryError, InDoubt, Misconfigured, Permanent, Temporary

VERSIONS = {"http://schemas.xmlsoap.org/soap/envelope/": "1.1",
            "http://www.w3.org/2003/05/soap-envelope": "1.2"}
"""The version of SOAP by the namespace of its envelope."""
_SENDER_FAULTS = ("Client", "Sender", "MustUnderstand", "VersionMismatch", "DataEncodingUnknown")
_LOGIN_FAULTS = ("FailedAuthentication", "InvalidSecurityToken", "InvalidSecurity", "FailedCheck",
                 "UnsupportedSecurityToken",
                 "SecurityTokenUnavailable")  # WS-Security 1.1 §12


class FaultOptions(_answer.AnswerOptions):
    """How to read the answer, and its faults."""

    fault_temporary: tuple[str, ...] = Field((), description="faults that are worth another try")
    fault_permanent: tuple[str, ...] = Field((), description="faults that are the receiver's own no")
    fault_in_doubt: tuple[str, ...] = Field((), description="faults after which nobody knows")

    @model_validator(mode="after")
    def _one_meaning(self) -> FaultOptions:
        twice = set(self.fault_temporary) & set(self.fault_permanent) | set(self.fault_in_doubt) & {
            *self.fault_temporary, *self.fault_permanent}
        if twice:
            raise ValueError(f"the fault {sorted(twice)[0]!r} has two meanings")
        return self


def judge(options: FaultOptions, answer: Answer, *, idempotent: bool) -> dict[str, str]:
    """The proof's details, or the error that the answer is.

    Raises `Temporary`, `Permanent`, `TooLarge`, `Misconfigured`, `InDoubt`.
    """
    document = _document.read("xml", answer, options.namespaces)
    if isinstance(document, _document.Xml) and (codes := faults(document)) is not None:
        raise _meaning(options, codes, answer)
    is_soap = isinstance(document, _document.Xml) and _is_envelope(document)
    if answer.status in options.status_success and not is_soap:
        raise _answer.not_understood(answer, document, "ist kein SOAP")
    return _answer.judge(options, answer, document, idempotent=idempotent)


def faults(document: _document.Xml) -> list[str] | None:
    """The codes of a fault without prefixes, the most special first; None when the answer is no fault."""
    root = document.root
    space = etree.QName(root).namespace or ""
    fault = root.find(f"{{{space}}}Body/{{{space}}}Fault")
    if space not in VERSIONS or fault is None:
        return None
    if VERSIONS[space] == "1.1":  # its children have no namespace (§4.4), but some stacks give them one
        codes = [fault.findtext("{*}faultcode") or ""]
        details = fault.find("{*}detail")
    else:
        codes = [node.text or "" for node in fault.findall(f"{{{space}}}Code//{{{space}}}Value")]
        details = fault.find(f"{{{space}}}Detail")
    inside = [etree.QName(node).localname for node in (details if details is not None else ())
              if isinstance(node.tag, str)]
    # SOAP 1.1 codes may have subcodes behind a dot: Client.Authentication (§4.4.1)
    names = [code.strip().rpartition(":")[2] for code in codes]
    return [*inside, *(name for code in reversed(names)
                       for name in dict.fromkeys((code, code.partition(".")[0])) if name)]


def _meaning(options: FaultOptions, codes: Sequence[str], answer: Answer) -> DeliveryError:
    said, retry_after = f"HTTP {answer.status}, Fault {', '.join(map(shown, codes))}", answer.retry_after
    for code in codes:
        if code in options.fault_temporary:
            return refused(Temporary(f"Das Fachverfahren nimmt im Augenblick nichts an ({said}).",
                                     retry_after))
        if code in options.fault_permanent:
            return refused(Permanent(f"Das Fachverfahren lehnt ab ({said})."))
        if code in options.fault_in_doubt:
            return InDoubt(f"Das Fachverfahren weiß selbst nicht, ob es gelang ({said}).")
    if answer.status in options.status_temporary:
        return refused(Temporary(f"Das Fachverfahren nimmt im Augenblick nichts an ({said}).", retry_after))
    if any(code in _LOGIN_FAULTS for code in codes) or answer.status in (401, 403, 407):
        return refused(Misconfigured(f"Das Fachverfahren lässt uns nicht zu ({said}): Zugangsdaten und "
                                     "Rechte prüfen lassen."))
    if any(code in _SENDER_FAULTS for code in codes):
        return refused(Permanent(f"Das Fachverfahren lehnt ab ({said})."))
    return InDoubt(f"Das Fachverfahren meldet einen Fehler, nachdem alles gesendet war ({said}).")


def _is_envelope(document: _document.Xml) -> bool:
    name = etree.QName(document.root)
    return name.localname == "Envelope" and name.namespace in VERSIONS
