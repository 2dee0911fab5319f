"""Strangers' JSON, read within the limits of XML: depth, elements, text and size are counted first."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from hub.i18n.sentence import say
from hub.job import Limits
from hub.parsing import charset
from hub.parsing.xml import CHUNK, Source, bounded, limit, unreadable


class Number(str):
    """A JSON number, as the text that was sent: 5.10 stays 5.10, and no digit of a long one is lost."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ByteArray:
    """``"data": [80, 68, -70]``: the numbers of a Java ``byte[]``, still as text. As objects they would have
    60 bytes each."""

    text: memoryview

    def __iter__(self) -> Any:
        """The bytes in chunks. Raises ValueError when they are none."""
        start, size = 0, self.text.nbytes
        while start < size:
            end = min(start + CHUNK, size)
            while end < size and self.text[end] != 0x2C:
                end += 1
            numbers = bytes(self.text[start:end])
            yield bytes(_signed(int(number)) for number in numbers.split(b","))
            start = end + 1


def _signed(number: int) -> int:
    if not -128 <= number <= 255:
        raise ValueError("no byte")
    return number & 0xFF


# A string runs to its closing quote or to the end, so that the search never starts a second time inside it
# (quadratic). Hazard: before Python 3.11.5 (Debian 12 has 3.11.2) a possessive group may match what it must
# not when it has something to go back to inside; these have not.
_TOKEN = re.compile(
    rb'"data"\s*+:\s*+\[(?P<bytes>\s*+[\d-][\s\d,-]*+)\]|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},]',
    re.DOTALL)


_UTF_16 = (*charset.BYTE_ORDER, (b"{\0", "utf-16-le"), (b"[\0", "utf-16-le"),
           (b"\0{", "utf-16-be"), (b"\0[", "utf-16-be"))


def parse_json(source: Source, limits: Limits, outside: str | None = None,
               note: charset.Note = charset.unheard) -> Any:
    """The value of a JSON document: dict, list, str, bool, None, `Number`, `ByteArray` (below a key
    ``data``).

    It is UTF-8 unless its media type's charset, `outside`, says another (see `hub.parsing.charset`).
    Control characters within a text are taken as they are.

    Doubled keys are refused, because two readers would take different ones. Raises `Rejected` with ``limit``
    or ``unreadable``.
    """
    marks = _UTF_16 if charset.is_utf_16(outside) else ()
    view = charset.to_utf8(bounded(source, limits.max_bytes), marks, None, outside, note)
    nonce = os.urandom(16).hex()
    text, arrays = _measure(view, limits, nonce)

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise unreadable(say("ein Schlüssel steht in einem JSON-Objekt zweimal"))
        data = result.get("data")
        if isinstance(data, str) and data.startswith(nonce):
            result["data"] = arrays[int(data[len(nonce):])]
        return result

    try:
        return json.loads(text, object_pairs_hook=mapping, parse_int=Number, parse_float=Number,
                          parse_constant=_refuse_constant, strict=False)
    except json.JSONDecodeError as error:
        raise unreadable(say("kein gültiges JSON (Zeile {line}, Spalte {column})", line=error.lineno,
                             column=error.colno)) from None


def _refuse_constant(_name: str) -> NoReturn:
    raise unreadable(say("NaN und Infinity sind kein JSON"))


def _measure(view: memoryview, limits: Limits, nonce: str) -> tuple[str, list[ByteArray]]:
    """The text with each byte array replaced by its number, once depth, members and lengths are in bounds."""
    pieces: list[memoryview | bytes] = []
    arrays: list[ByteArray] = []
    depth = members = start = 0
    for match in _TOKEN.finditer(view):
        first, last = match.span()
        token = view[first]
        if match.lastgroup == "bytes":
            inner = match.span("bytes")
            pieces += [view[start:first], f'"data":"{nonce}{len(arrays)}"'.encode()]
            arrays.append(ByteArray(view[inner[0]:inner[1]]))
            start = last
        elif token == 0x22:
            if last - first > limits.max_text:
                raise limit(say("ein Text ist länger als {most} Bytes", most=limits.max_text))
        elif token in b"[{":
            depth += 1
            members += 1
        elif token in b"]}":
            depth -= 1
        else:
            members += 1
        if depth > limits.max_depth:
            raise limit(say("mehr als {most} Ebenen", most=limits.max_depth))
        if members > limits.max_elements:
            raise limit(say("mehr als {most} Werte", most=limits.max_elements))
    pieces.append(view[start:])
    try:
        return str(b"".join(pieces), "utf-8", "strict"), arrays
    except UnicodeDecodeError:
        raise unreadable(say("das JSON ist nicht in UTF-8")) from None


def json_text(value: Any) -> str:
    """A value of `parse_json` as JSON again, numbers exactly as they were sent."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, ByteArray):
        return f"[{str(value.text, 'ascii')}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{json_text(item)}"
                              for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
