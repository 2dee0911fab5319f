"""Multipart and spooling, for any cut of the bytes and for any rubbish."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._framing import (
    IN_MEMORY,
    Body,
    FramingError,
    Multipart,
    OverLimitError,
    Spool,
    boundary_of,
    clean,
    flag,
)

MIXED = "multipart/mixed; boundary=grenze"
HOSTILE = st.lists(st.sampled_from([
    b"--grenze", b"\r\n", b"--", b"\n", b"Content-Disposition: form-data; name=\"a\"",
    b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b": ", b"=",
    b"QUJD", b"\xff\xfe", b"\0", b"filename*=UTF-8''%ff", b"x", b"Content-Type: application/xml"]),
    max_size=30).map(b"".join)


def parts_of(data: bytes, cuts: list[int], folder: Path) -> list[tuple[str, str, str | None, bytes]]:
    """The parts of `data`, fed in pieces."""
    multipart = Multipart(MIXED, Spool(folder, "test"))
    try:
        start = 0
        for end in sorted({min(cut, len(data)) for cut in cuts} | {len(data)}):
            multipart.feed(data[start:end])
            start = end
        return [(part.name, part.media_type, part.filename,
                 part.content if isinstance(part.content, bytes) else part.content.read_bytes())
                for part in multipart.finish()]
    finally:
        multipart.discard()


@given(st.lists(st.binary(max_size=200).filter(lambda body: b"--grenze" not in body), min_size=1, max_size=4),
       st.lists(st.integers(0, 1500), max_size=20), st.sampled_from([b"", b"preamble\r\n", b"\r\n"]))
def test_any_cut_gives_the_same_parts(bodies: list[bytes], cuts: list[int], preamble: bytes) -> None:
    parts = [b"--grenze\r\nContent-Disposition: form-data; name=\"%d\"\r\n\r\n%s\r\n" % (no, body)
             for no, body in enumerate(bodies)]
    data = preamble + b"".join(parts) + b"--grenze--\r\n"
    with tempfile.TemporaryDirectory() as folder:
        assert parts_of(data, cuts, Path(folder)) == [
            (f"{no}", "text/plain", None, body) for no, body in enumerate(bodies)]


@given(HOSTILE | st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_rubbish_is_parts_or_a_framing_error_and_leaves_nothing(data: bytes, cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            parts = parts_of(data, cuts, Path(folder))
        except (FramingError, OverLimitError):
            parts = []
        assert all(name and name.isprintable() for name, _, _, _ in parts)
        assert list(Path(folder).iterdir()) == []


@given(st.text(max_size=80))
def test_any_content_type_has_a_sane_boundary_or_none(text: str) -> None:
    try:
        boundary = boundary_of(text)
    except FramingError:
        return
    assert 1 <= len(boundary) <= 70
    assert boundary.isascii()


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
