"""Which characters a document's bytes are, whoever says something about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hub.errors import Rejected
from hub.job import Limits
from hub.parsing.charset import of_media_type
from hub.parsing.json import parse_json
from hub.parsing.xml import parse

TEXT = "Größe „5 €“"
LATIN = "Größe"


def xml(content: bytes, outside: str | None, note: Callable[[Any], None]) -> str:
    return parse(content, Limits(), outside, note).getroot().text or ""


def json(content: bytes, outside: str | None, note: Callable[[Any], None]) -> str:
    text: str = parse_json(content, Limits(), outside, note)["a"]
    return text


def read(content: bytes, outside: str | None) -> tuple[str, list[str]]:
    """The text in a document, and what was noted."""
    notes: list[str] = []
    reader = xml if content.lstrip(b"\xef\xbb\xbf\xff\xfe\0")[:1] == b"<" else json
    return reader(content, outside, notes.append), notes


FORMS = (f"<a>{TEXT}</a>", f'{{"a":"{TEXT}"}}')


@pytest.mark.parametrize("form", FORMS, ids=["xml", "json"])
@pytest.mark.parametrize(("encoding", "outside"), [
    ("utf-8", None), ("utf-8", "UTF-8"), ("utf-8", "us-ascii"), ("utf-8-sig", None), ("utf-16", "UTF-16"),
    ("utf-16-le", "utf-16le"), ("utf-16-be", "utf-16"), ("cp1252", "windows-1252"), ("cp1252", "iso-8859-1"),
    ("cp1252", "LATIN1")])
def test_what_a_sender_says_is_used(form: str, encoding: str, outside: str | None) -> None:
    assert read(form.encode(encoding), outside) == (TEXT, [])


@pytest.mark.parametrize("form", FORMS, ids=["xml", "json"])
@pytest.mark.parametrize(("encoding", "outside"), [
    ("utf-8", "iso-8859-1"), ("utf-8", "utf-16"), ("utf-8", "gibts-nicht"), ("utf-8-sig", "windows-1252")])
def test_what_does_not_fit_the_bytes_is_not_used_and_said(form: str, encoding: str, outside: str) -> None:
    text, notes = read(form.encode(encoding), outside)
    assert text == TEXT
    assert len(notes) == 1 and "Zeichensatz" in notes[0] and "gibts" not in notes[0]


def test_utf_16_is_known_by_its_first_bytes() -> None:
    assert read(FORMS[0].encode("utf-16"), None) == (TEXT, [])
    assert len(read(FORMS[0].encode("utf-16-be"), "iso-8859-1")[1]) == 1
    with pytest.raises(Rejected):  # RFC 8259 knows no other JSON than UTF-8, unless its sender says so
        read(FORMS[1].encode("utf-16"), None)


def test_the_document_wins_over_the_media_type_and_it_is_said() -> None:
    document = f'<?xml version="1.0" encoding="ISO-8859-15"?><a>{LATIN} €</a>'.encode("iso-8859-15")
    text, notes = read(document, "utf-8")
    assert text == f"{LATIN} €"
    assert notes == ["die Übertragung nennt den Zeichensatz utf-8, das Dokument iso8859-15; "
                     "es gilt das Dokument"]
    assert read(document, "iso-8859-15")[1] == []


@pytest.mark.parametrize("name", ["ISO-8859-1", "windows-1252", "latin1"])
def test_bytes_80_to_9f_are_those_of_windows(name: str) -> None:
    document = f'<?xml version="1.0" encoding="{name}"?><a>{TEXT}</a>'.encode("cp1252")
    assert read(document, None)[0] == TEXT
    assert read(document.replace("€".encode("cp1252"), b"\x81"), None)[0] == TEXT.replace("€", "\x81")


@pytest.mark.parametrize("name", ["UTF-16", "utf-16le", "UTF-16BE"])
def test_a_document_that_only_calls_itself_utf_16_says_so(name: str) -> None:
    with pytest.raises(Rejected, match="nennt sich UTF-16 und ist es nicht"):
        read(f'<?xml version="1.0" encoding="{name}"?><a/>'.encode(), None)


@pytest.mark.parametrize("content", [b'{"a":"\xe4"}', b"<a>\xe4</a>"])
def test_without_anybodys_word_it_is_utf_8(content: bytes) -> None:
    with pytest.raises(Rejected):
        read(content, None)


@pytest.mark.parametrize(("media_type", "expected"), [
    ("text/xml; charset=iso-8859-1", "iso-8859-1"), ("text/xml", None), ("", None),
    ("text/xml; charset=", None)])
def test_the_charset_of_a_stored_media_type(media_type: str, expected: str | None) -> None:
    assert of_media_type(media_type) == expected
