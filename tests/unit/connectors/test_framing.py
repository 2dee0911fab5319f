"""Spooling, and the words of a sender made clean."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from connectors._framing import (
    IN_MEMORY,
    Body,
    Spool,
    case_of,
    clean,
    decoded,
    file_name,
    flag,
    labelled,
    name_on_disk,
)


@pytest.mark.parametrize("size", [0, IN_MEMORY, IN_MEMORY + 1])
def test_a_body_is_spooled_beyond_64_kib_and_has_its_digest(size: int, tmp_path: Path) -> None:
    body = Body(Spool(tmp_path, "a/b"))
    data = bytes(size)
    for start in range(0, size, 1000):
        body.write(data[start:start + 1000])
    part = body.part("x", "y/z")
    assert isinstance(part.content, Path) is (size > IN_MEMORY)
    assert (part.size, part.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert (part.content if isinstance(part.content, bytes) else part.content.read_bytes()) == data
    Spool(tmp_path, "a/b").release([part])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "expected"), [
    (None, False), ("", False), ("false", False), ("0", False), (False, False), ("Nein", False),
    ("true", True), (True, True), ("yes", True), ("fasle", True)])
def test_only_a_clear_no_is_no_test(text: object, expected: bool) -> None:
    assert flag(text) is expected


def test_clean_drops_what_could_break_a_line() -> None:
    assert clean(" a\r\nb\u2028\0c ") == "abc"
    assert clean("\n") is None
    assert clean("x" * 300) == "x" * 255


@pytest.mark.parametrize(("name", "expected"), [
    ("a\r\nb.pdf", "ab.pdf"), ("x" * 300 + ".pdf", "x" * 251 + ".pdf"), ("x" * 300, "x" * 255),
    ("a." + "x" * 300, "a." + "x" * 253), (None, None), ("\0", None)])
def test_a_file_name_that_is_cut_keeps_its_ending(name: str | None, expected: str | None) -> None:
    assert file_name(name) == expected


@pytest.mark.parametrize(("content_type", "expected"), [
    ("Text/XML; Charset=ISO-8859-1", "text/xml; charset=iso-8859-1"),
    ('application/json;x=y; charset="UTF-16"', "application/json; charset=utf-16"),
    ("text/plain; charset='latin1'", "text/plain; charset=latin1"),
    ("text/xml", "text/xml"), ("text/xml; charset=", "text/xml"), ("text/xml; charset=a\0b c", "text/xml"),
    ("rubbish; charset=utf-8", "a/b; charset=utf-8"), ("text/xml; charset=" + "x" * 50, "text/xml")])
def test_a_media_type_keeps_its_character_set_and_nothing_else(content_type: str, expected: str) -> None:
    assert labelled(content_type, "a/b") == expected


@pytest.mark.parametrize(("written", "expected"), [
    (None, None), ("F-1", "F-1"), ("50% von 7", "50% von 7"), ("%zz", "%zz"), ("%FF", "%FF"),
    ("a%20b", "a b"),
    ("%C3%A4", "ä"), ("a\u0308", "ä"), ("%0Ax%00", "x"), ("%25", "%")])
def test_a_case_is_percent_encoded_or_plain(written: str | None, expected: str | None) -> None:
    assert case_of(written) == expected


@pytest.mark.parametrize(("value", "expected"), [
    ("ä€".encode(), "ä€"), ("ä€".encode("cp1252"), "ä€"), (b"\x81", "\x81"), (b"", "")])
def test_bytes_are_text_without_a_replacement(value: bytes, expected: str) -> None:
    assert decoded(value) == expected


@pytest.mark.parametrize(("name", "read"), [
    ("Gebühr.pdf".encode(), "Gebühr.pdf"), ("Gebühr – 1.pdf".encode("cp1252"), "Gebühr – 1.pdf"),
    ("Foto\u00a0vom\u202f20.11..png".encode(), "Foto vom 20.11..png"), (b"\x01", "datei")])
def test_a_name_on_disk_is_read_like_a_senders(name: bytes, read: str) -> None:
    """Other machines write their own characters into a folder."""
    assert name_on_disk(Path(os.fsdecode(name))) == read
