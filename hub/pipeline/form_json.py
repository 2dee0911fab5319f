"""Form contents and form dumps in JSON.

::

    formcontent-json   the form content: fields by ``group:instance:field``, uploads as Java byte arrays
    json               form dump: fields by ``group_instance_field``, with or without metadata

An upload is an object with ``uploadedFilename`` and ``data``, or with ``filename`` and ``fileAsBase64``. One
without bytes is counted as lost: its file comes as a part of its own, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import say
from hub.message import Reason
from hub.parsing.json import ByteArray, json_text
from hub.pipeline.account import account_of
from hub.pipeline.envelope import EnvelopeBuilder, decode_base64

_COLON_KEY = re.compile(r"([^:]+):(\d{1,6}):([^:]+)", re.ASCII)
_FLAT_KEY = re.compile(r"(.+?)_(\d{1,6})_(.+)", re.ASCII)


def is_form_json(value: Any) -> bool:
    """Whether a value of `hub.parsing.json.parse_json` is a form: its keys say so."""
    if not isinstance(value, dict):
        return False
    fields = value.get("fields")
    if not isinstance(fields, dict):
        return bool(value) and all(_FLAT_KEY.fullmatch(key) for key in value)
    metadata = value.get("metadata")
    return ("formId" in value or (isinstance(metadata, dict) and "formId" in metadata)
            or (bool(fields) and any(all(pattern.fullmatch(key) for key in fields)
                                     for pattern in (_COLON_KEY, _FLAT_KEY))))


def from_json(work: EnvelopeBuilder, value: Any) -> None:
    """Take over a value of `hub.parsing.json.parse_json`. Raises `Rejected` (``unknown-form``, ``invalid``,
    ``limit``)."""
    fields = value.get("fields") if isinstance(value, dict) else None
    if isinstance(fields, dict) and ("formId" in value or any(_COLON_KEY.fullmatch(key) for key in fields)):
        work.facts["source"] = "formcontent-json"
        work.form(_string(value.get("formId")))
        work.created = _string(value.get("createdOn"))
        contents = {key: _content(field) for key, field in fields.items()}
        _json_fields(work, _COLON_KEY, contents)
        work.account = account_of(value.get("context"), _tokens(contents))
    elif isinstance(fields, dict) and isinstance(value.get("metadata", {}), dict):
        work.facts["source"] = "json"
        _json_metadata(work, value.get("metadata", {}))
        _json_fields(work, _FLAT_KEY, fields)
    elif isinstance(value, dict) and value and all(_FLAT_KEY.fullmatch(key) for key in value):
        work.facts["source"] = "json"
        _json_fields(work, _FLAT_KEY, value)
    else:
        raise Rejected(Reason.UNKNOWN_FORM, say("das JSON gehört zu keiner bekannten Form"))


def _string(value: Any) -> str | None:
    return str(value) if isinstance(value, str) else None


def _content(form_field: Any) -> Any:
    return form_field.get("value") if isinstance(form_field, dict) else form_field


def _json_metadata(work: EnvelopeBuilder, metadata: dict[str, Any]) -> None:
    work.form(_string(metadata.get("formId")))
    work.created = _string(metadata.get("creationDate"))
    work.postfach = _string(metadata.get("postfachHandleId"))
    pdf = _string(metadata.get("pdfApplicantFormBase64"))
    if pdf:
        work.attach(decode_base64(pdf), "antrag.pdf", "application/pdf", "applicant-pdf")


def _json_fields(work: EnvelopeBuilder, pattern: re.Pattern[str], fields: dict[str, Any]) -> None:
    """Ids that themselves hold ``_<digits>_`` cannot be told in the flat form: the first number is the
    instance."""
    for number, (key, value) in enumerate(fields.items(), 1):
        match = pattern.fullmatch(key)
        if match is None:
            raise Rejected(Reason.UNKNOWN_FORM, say(
                "der {number}. Schlüssel unter fields ({length} Zeichen) ist nicht Gruppe, Instanz und Feld",
                number=number, length=len(key)))
        group, index = match[1], int(match[2])
        parent, place = work.instance(group, index), work.place(f"{group}:{index}:", match[3])
        target = work.field_element(parent, place, match[3])
        _json_field(work, place, target, value)


def _json_field(work: EnvelopeBuilder, place: str, target: etree._Element, value: Any) -> None:
    value = _verified(value)
    if isinstance(value, list):
        for item in map(_verified, value):
            if not _json_upload(work, place, target, item):
                work.set_text(etree.SubElement(target, "value"), _text(item), lambda: work.told(place))
    elif not _json_upload(work, place, target, value):
        work.set_text(target, _text(value), lambda: work.told(place))


def _tokens(contents: dict[str, Any]) -> dict[str, Any]:
    """The tokens of values that were read out of the applicant's account, by places."""
    tokens: dict[str, Any] = {}
    for key, content in contents.items():
        place = _COLON_KEY.fullmatch(key)
        if place and isinstance(content, dict) and "value" in content and "verificationToken" in content:
            tokens[f"{place[1]}:{int(place[2])}:{place[3]}"] = content["verificationToken"]
    return tokens


def _verified(value: Any) -> Any:
    """The value inside a value that an identity card has verified."""
    while isinstance(value, dict) and "verificationToken" in value and "value" in value:
        value = value["value"]
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str) else json_text(value)


def _json_upload(work: EnvelopeBuilder, place: str, target: etree._Element, value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if "uploadedFilename" in value:
        name, data = value["uploadedFilename"], value.get("data")
    elif "fileAsBase64" in value:
        name, data = value.get("filename"), value["fileAsBase64"]
    else:
        return False
    if data is None:
        if filename := _string(name):
            work.named.add(filename)
        work.lost[place] = work.lost.get(place, 0) + 1
        return True
    number = work.attach(_json_bytes(data), _string(name) or "", _string(value.get("mimetype")) or "",
                         "upload", place)
    work.refer(target, number)
    return True


def _json_bytes(data: Any) -> Iterator[bytes]:
    if isinstance(data, ByteArray):
        yield from data
    elif isinstance(data, str):
        yield from decode_base64(data)
    elif data != []:
        raise ValueError("no bytes")
