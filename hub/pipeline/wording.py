"""How mails and pages show what a machine wrote into a field: codes, points in time, JSON.

Only people read the results. Files for a Fachverfahren have the value itself and ``e:text``, as ever.

The words are those of XBezahldienste 1.0 (``paymentInformation``), which a form takes over as it came: the
states INITIAL, BOOKED, FAILED and CANCELED, and the names of its members.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from hub.message import BERLIN

_STATES = {
    "INITIAL": "begonnen, noch nicht bestätigt",
    "BOOKED": "gebucht",
    "FAILED": "gescheitert",
    "CANCELED": "abgebrochen",
}
_METHODS = {
    "GIROPAY": "giropay", "PAYDIRECT": "paydirekt", "CREDITCARD": "Kreditkarte", "PAYPAL": "PayPal",
    "INVOICE": "Rechnung", "OTHER": "andere",
}
_NAMES = {
    "transactionId": "Nummer der Zahlung", "transactionReference": "Kassenzeichen",
    "transactionTimestamp": "Zeitpunkt", "transactionUrl": "Adresse beim Bezahldienst",
    "transactionRedirectUrl": "Adresse der Bezahlseite", "paymentMethod": "Bezahlverfahren",
    "paymentMethodDetail": "Bezahlverfahren, genauer", "status": "Stand", "statusDetail": "Stand, genauer",
    "grossAmount": "Betrag",
}
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
                     r"(Z|[+-][0-9]{2}:?[0-9]{2})?", re.ASCII)
_STATUS_FIELD = re.compile(r"status|zahl\w*stand", re.IGNORECASE)
_METHOD_FIELD = re.compile(r"zahlverfahren|payment_?method", re.IGNORECASE)
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,4})?", re.ASCII)
_INDENT = "  "
_MOST_DEEP = 6
"""Levels that are indented; what is deeper stands below each other."""


def plain_words(field_id: str, text: str) -> str | None:
    """A code or a point in time in words; None where the text is neither. A state is only known in a field
    whose id says so (``status``): anywhere else the word may be an answer."""
    if _STATUS_FIELD.search(field_id) and text.strip() in _STATES:
        return _STATES[text.strip()]
    if _METHOD_FIELD.search(field_id) and text.strip() in _METHODS:
        return _METHODS[text.strip()]
    return _moment(text.strip())


def json_lines(text: str) -> str | None:
    """JSON as lines of name and value, what is within indented; None where it is no object and no array."""
    value = _parsed(text)
    if not isinstance(value, dict | list) or not value:
        return None
    try:
        return "\n".join(_lines(value, 0)) or None
    except RecursionError:
        return None


def payment_state(text: str) -> str | None:
    """The state of a payment in words, from what a payment service said; None where it says none."""
    value = _parsed(text)
    if isinstance(value, dict) and isinstance(value.get("paymentInformation"), dict):
        value = value["paymentInformation"]
    state = value.get("status") if isinstance(value, dict) else None
    return _STATES.get(state) if isinstance(state, str) else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _lines(value: Any, level: int) -> Iterator[str]:
    indent = _INDENT * min(level, _MOST_DEEP)
    if isinstance(value, dict):
        for name, item in value.items():
            label = _NAMES.get(name, name)
            if isinstance(item, dict | list):
                if item:
                    yield f"{indent}{label}:"
                    yield from _lines(item, level + 1)
            elif (word := _word(name, item)) != "":
                yield f"{indent}{label}: {word}"
    else:
        for item in value:
            if isinstance(item, dict | list):
                yield from _lines(item, level + 1)
            else:
                yield f"{indent}– {_word('', item)}"


def _word(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "ja" if value else "nein"
    text = str(value)
    if name == "grossAmount" and _AMOUNT.fullmatch(text):
        return _euro(text)
    if name == "status":
        return _STATES.get(text, text)
    if name == "paymentMethod":
        return _METHODS.get(text, text)
    return _moment(text) or text


def _moment(text: str) -> str | None:
    """``2026-11-20T08:28:11Z`` is ``20.11.2026, 09:28 Uhr`` in Europe/Berlin."""
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        local = moment if moment.tzinfo is None else moment.astimezone(BERLIN)
    except (ValueError, OverflowError):
        return None
    return f"{local:%d.%m.%Y, %H:%M} Uhr"


def _euro(text: str) -> str:
    try:
        amount = f"{Decimal(text):,.2f}"
    except InvalidOperation:
        return text
    return amount.translate(str.maketrans(",.", ".,")) + " €"
