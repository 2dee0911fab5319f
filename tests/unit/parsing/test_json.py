"""JSON within limits: what is too much is refused first, and no digit of a number is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.parsing import json as json_parsing
from hub.parsing.json import ByteArray, Number, json_text, parse_json
from tests.unit.parsing.refusals import LIMITS, refusal

JSON_TOO_MUCH = {
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 65 + b"]" * 65,
    "deep objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "members": b"[" + b"1," * 200_000 + b"1]",
}
JSON_UNREADABLE = {
    "no json": b"Guten Tag", "half": b'{"a":', "nan": b"[NaN]", "infinity": b"[-Infinity]",
    "latin-1": b'"\xe4"',
    "doubled key": b'{"a":1,"a":2}', "doubled inside": b'[{"x":{"a":1,"a":1}}]',
    "utf-16": '{"a":1}'.encode("utf-16"),
    "open string": b'"' + b'\\"' * 500_000, "only quotes": b'"' * 500_001, "nothing": b"",
}


@pytest.mark.parametrize("name", JSON_TOO_MUCH)
def test_json_limits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("was built"))
    assert refusal(parse_json, JSON_TOO_MUCH[name], LIMITS).reason == "limit"


def test_json_text_limit() -> None:
    limits = LIMITS.model_copy(update={"max_text": 100})
    assert refusal(parse_json, b'["' + b"x" * 100 + b'"]', limits).reason == "limit"


@pytest.mark.parametrize("name", JSON_UNREADABLE)
def test_json_that_is_none(name: str) -> None:
    assert refusal(parse_json, JSON_UNREADABLE[name], LIMITS).reason == "unreadable"


def test_brackets_in_strings_are_text() -> None:
    text = '{"a":"' + '[{\\"' * 1000 + '","b":"\\\\"}'
    assert parse_json(text.encode(), LIMITS) == json.loads(text)


def test_numbers_stay_as_they_were_sent() -> None:
    value = parse_json(b'[5.10, 1E400, 12345678901234567890123, -0, "5.10"]', LIMITS)
    assert value == ["5.10", "1E400", "12345678901234567890123", "-0", "5.10"]
    assert [isinstance(item, Number) for item in value] == [True, True, True, True, False]
    assert json_text(value) == '[5.10,1E400,12345678901234567890123,-0,"5.10"]'


def test_java_bytes_are_taken_out_before_they_become_objects() -> None:
    value = parse_json(b'{"data" : [80, 68,\n -70, 255], "b": {"data": [[1]]}, "t": "\\"data\\":[1,2]", '
                       b'"data2": [7]}',
                       LIMITS)
    assert isinstance(value["data"], ByteArray)
    assert b"".join(value["data"]) == bytes([80, 68, 186, 255])
    assert value["b"] == {"data": [["1"]]}
    assert value["t"] == '"data":[1,2]'
    assert value["data2"] == ["7"]


@pytest.mark.parametrize("blanks", ["", " ", "\n\t ", " " * 40])
def test_an_empty_file_is_empty_however_its_list_is_printed(blanks: str) -> None:
    value = parse_json(f'{{"data" : [{blanks}], "b": [{blanks}]}}'.encode(), LIMITS)
    assert value == {"data": [], "b": []}


def test_java_bytes_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_parsing, "CHUNK", 7)
    numbers = [number - 128 for number in range(256)]
    value = parse_json(json.dumps({"data": numbers}).encode(), LIMITS)
    assert b"".join(value["data"]) == bytes(number & 255 for number in numbers)


@pytest.mark.parametrize("numbers", [b"256", b"-129", b"1,,2", b"1-", b"1,"])
def test_numbers_that_are_no_bytes(numbers: bytes) -> None:
    value = parse_json(b'{"data":[' + numbers + b"]}", LIMITS)
    with pytest.raises(ValueError):
        b"".join(value["data"])


JSON_VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                           lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner,
                                                                                       max_size=5))


@given(JSON_VALUES)
def test_json_is_read_as_pythons_own_reader_does(value: Any) -> None:
    text = json.dumps(value)
    if '"data": [' not in text:
        assert json.loads(json_text(parse_json(text.encode(), LIMITS))) == value
