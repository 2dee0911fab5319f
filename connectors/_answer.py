"""What a Fachverfahren's answer means: the status, and the business code inside, decide together.

Shared by `connectors.rest` and `connectors.soap`. A 200 proves little: ePayBL, for one, answers 200
and says in ``ergebnis.rc`` whether it did anything (``+0000`` yes, ``-…`` no). So where `code_path` is set,
only a code of `code_success` is success.

Codes are compared whole, or by their beginning when the configured one ends with ``*`` (``+*``).

====================================  ======================================================================
`code_known`, `status_known`          the receiver has it from an earlier try: success
2xx and `code_success` (or no path)   success
2xx and `code_temporary`              temporary, certain; also at any other status
2xx and `code_in_doubt`               in doubt
2xx and any other code                permanent, certain: the receiver's own no
2xx, unreadable or without a code     in doubt: it did something, and we do not know what. Unreadable is
                                      what `connectors._document` cannot read
301, 307, 308                         misconfigured, certain: nobody acts on what he sends elsewhere
other 3xx                             misconfigured, in doubt: browsers are redirected after the deed
401, 403, 407, 405, 501; 404          misconfigured, certain; 404 permanent where the path varies
408, 425, 429, 502, 503, 507          temporary, certain, with Retry-After (`status_temporary`)
409                                   temporary for idempotent receivers (still at work), else permanent
413                                   too large: the fallback destination
other 4xx                             permanent, certain
500, 504, other 5xx                   in doubt: nobody says how far it came
====================================  ======================================================================

502 and 503 come from a proxy that did not reach the server behind it, or from a server that is not ready;
whoever knows a proxy that also says 502 after the server acted takes 502 out of `status_temporary`, and it is
in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lxml import etree
from pydantic import Field, ValidationInfo, field_validator, model_validator

from connectors._document import Document, Kind, Unreadable
from connectors._http_answer import Answer
from connectors._http_errors import shown
from hub.endpoint import OptionsModel, refused
from hub.errors import DeliveryError, InDoubt, Misconfigured, Permanent, Temporary, TooLarge

_REFERENCE = re.compile(r"[\w+./:#()\[\] -]{1,100}")


class AnswerOptions(OptionsModel):
    """How to read the answer."""

    code_path: str | None = Field(
        None, description="where the business code is: /ergebnis/rc (JSON pointer) or an XPath")
    code_success: tuple[str, ...] = Field(
        (), description="codes of success; + * at the end: any ending, e.g. '+*'")
    code_known: tuple[str, ...] = Field((), description="codes that mean: I have it already")
    code_temporary: tuple[str, ...] = Field((), description="codes that are worth another try")
    code_in_doubt: tuple[str, ...] = Field((), description="codes after which nobody knows")
    reference_path: str | None = Field(None,
                                       description="where the receiver's own number is; goes into the proof")
    namespaces: Mapping[str, str] = Field({}, description="prefixes of the XPaths")
    status_success: tuple[int, ...] = Field((200, 201, 202, 204), description="HTTP statuses of success")
    status_known: tuple[int, ...] = Field((),
                                          description="HTTP statuses that mean: I have it already, e.g. 409")
    status_temporary: tuple[int, ...] = Field(
        (408, 425, 429, 502, 503, 507), description="HTTP statuses after which certainly nothing happened")

    @model_validator(mode="after")
    def _codes_have_a_path(self) -> AnswerOptions:
        codes = (*self.code_success, *self.code_known, *self.code_temporary, *self.code_in_doubt)
        if codes and not self.code_path:
            raise ValueError("codes need code_path")
        if self.code_path and not self.code_success:
            raise ValueError("code_path needs code_success: which codes mean that all is well?")
        return self

    @field_validator("code_success", "code_known", "code_temporary", "code_in_doubt")
    @classmethod
    def _code(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if any(code in ("", "*") for code in value):
            raise ValueError(f"{info.field_name}: a code that fits everything says nothing")
        return value


def check_path(kind: Kind, path: str, namespaces: Mapping[str, str]) -> None:
    """A path into an answer. Raises ValueError."""
    if kind == "json" and not path.startswith("/"):
        raise ValueError(f"{path!r} is no JSON pointer such as /ergebnis/rc")
    if kind == "xml":
        try:
            etree.XPath(path, namespaces=dict(namespaces))(etree.Element("x"))
        except etree.XPathError as error:
            raise ValueError(
                f"{path!r} is no XPath ({error}); prefixes are declared in namespaces") from error
    if kind == "none":
        raise ValueError("a path needs answer = \"json\" or \"xml\"")


def matches(code: str | None, wanted: Sequence[str]) -> bool:
    """Whether a code is one of these, whole or by its beginning (``+*``)."""
    return code is not None and any(
        code.startswith(one[:-1]) if one.endswith("*") else code == one for one in wanted)


def judge(options: AnswerOptions, answer: Answer, document: Document, *, own_path: bool = False,
          idempotent: bool = False) -> dict[str, str]:
    """The proof's details, or the error that the answer is (see the table above).

    `own_path`: the path holds something of the delivery. Raises `Temporary`, `Permanent`, `TooLarge`,
    `Misconfigured`, `InDoubt`.
    """
    code = document.find(options.code_path) if options.code_path else None
    if answer.status in options.status_known or matches(code, options.code_known):
        return detail(options, answer, document, code)
    if matches(code, options.code_temporary):
        raise refused(
            Temporary(f"Das Fachverfahren nimmt im Augenblick nichts an (Code {shown(code or '')}).",
                                answer.retry_after))
    if answer.status not in options.status_success:
        raise by_status(options, answer, code, own_path=own_path, idempotent=idempotent)
    if options.code_path is None:
        return detail(options, answer, document, code)
    if code is None:
        raise not_understood(answer, document, "hat keinen lesbaren Code")
    if matches(code, options.code_success):
        return detail(options, answer, document, code)
    if matches(code, options.code_in_doubt):
        raise InDoubt(f"Das Fachverfahren weiß selbst nicht, ob es gelang (Code {shown(code)}).")
    raise refused(Permanent(f"Das Fachverfahren lehnt ab (Code {shown(code)})."))


def not_understood(answer: Answer, document: Document, otherwise: str) -> InDoubt:
    """An answer that says nothing, with the next step; `otherwise` is said of one that can be read."""
    why = document.why if isinstance(document, Unreadable) else ""
    said = f"ist unverständlich ({why})" if why else otherwise
    return InDoubt(f"Die Antwort (HTTP {answer.status}) {said}: beim Empfänger nachsehen, ob die Zustellung "
                   "da ist, und ihm die Antwort melden.")


def by_status(options: AnswerOptions, answer: Answer, code: str | None, *, own_path: bool,
              idempotent: bool) -> DeliveryError:
    """What a status that is no success means."""
    status = answer.status
    said = f"HTTP {status}" + (f", Code {shown(code)}" if code else "")
    if status in options.status_temporary or (status == 409 and idempotent):
        return refused(Temporary(f"Das Fachverfahren nimmt im Augenblick nichts an ({said}).",
                                 answer.retry_after))
    if status in (301, 307, 308):
        return refused(Misconfigured(
            f"Das Fachverfahren verweist auf eine andere Adresse ({said}); ihr wird nie gefolgt: "
                                     "url berichtigen."))
    if 300 <= status < 400:
        return Misconfigured(
            f"Das Fachverfahren verweist auf eine andere Seite ({said}), vielleicht auf seine Anmeldung; "
                             "ihr wird nie gefolgt.")
    if status in (401, 403, 407):
        return refused(Misconfigured(f"Das Fachverfahren lässt uns nicht zu ({said})."))
    if status in (405, 501) or (status == 404 and not own_path):
        return refused(
            Misconfigured(f"Unter der Adresse nimmt niemand etwas an ({said}): url und method prüfen."))
    if status == 413:
        return refused(TooLarge(f"Das Fachverfahren lehnt die Zustellung als zu groß ab ({said})."))
    if 400 <= status < 500:
        return refused(Permanent(f"Das Fachverfahren lehnt ab ({said})."))
    return InDoubt(f"Das Fachverfahren meldet einen Fehler, nachdem alles gesendet war ({said}).")


def detail(options: AnswerOptions, answer: Answer, document: Document,
           code: str | None) -> dict[str, str]:
    """For the proof: status, code, and the receiver's number under ``number``."""
    number = document.find(options.reference_path) if options.reference_path else None
    row = {"status": str(answer.status)}
    if code is not None:
        row["code"] = shown(code)
    if number and _REFERENCE.fullmatch(number):
        row["number"] = number
    return row


def reference(delivery_id: str, row: Mapping[str, str]) -> str:
    """The receiver's number, if it gave one, and ours."""
    return f"{row['number']} ({delivery_id})" if "number" in row else delivery_id
