"""What an AMQP message says, and frames that no honest sender writes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amqp.basic_message import Message
from hypothesis import given
from hypothesis import strategies as st

from connectors._amqp_message import Reader, text, tolerant_frames
from connectors._framing import IN_MEMORY, Spool
from hub.message import Incoming


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Incoming]:
    reader = Reader(Spool(tmp_path, "inlet"), "inlet", max_parts=3)
    return lambda body, **properties: reader.read("amt24", body, properties)


def test_properties_and_headers_become_the_message(read: Callable[..., Incoming]) -> None:
    incoming = read(b"x", content_type="application/xml; charset=UTF-8", message_id="key-1",
                    reply_to="antworten", correlation_id="lauf-1", application_headers={
                        "municipality": "14999010", "service": "hundesteuer", "case": "fall-1", "test": True})
    assert (incoming.inlet, incoming.sender, incoming.ags, incoming.service) == (
        "inlet", "amt24", "14999010", "hundesteuer")
    assert (incoming.key, incoming.reply_to, incoming.correlation, incoming.case) == (
        "key-1", "antworten", "lauf-1", "fall-1")
    assert (incoming.test, incoming.conflict, incoming.unreadable) == (True, "park", None)
    assert [(part.name, part.media_type, part.content) for part in incoming.parts] == [
        ("application", "application/xml; charset=utf-8", b"x")]


@pytest.mark.parametrize(("value", "expected"), [
    (None, None), (14999010, "14999010"), (b"x\xff", "x\xff"), (b"F\xc3\xa4ll", "F\xe4ll"), ("1\n2", "12"),
    (True, "True"), ({}, "{}"), ("", None)])
def test_any_type_is_clean_text(value: object, expected: str | None) -> None:
    assert text(value) == expected


@pytest.mark.parametrize("properties", [
    {"content_type": "multipart/mixed; boundary=b"}, {"content_type": "multipart/mixed"},
    {"content_encoding": "gzip", "message_id": "x"},
    {"application_headers": {"compression": "application/x-gzip"}}, {}])
def test_what_cannot_be_read_is_kept_as_it_came(read: Callable[..., Incoming],
                                                properties: dict[str, Any]) -> None:
    incoming = read(b"--b\r\ncut", **properties)
    assert incoming.unreadable
    assert [part.content for part in incoming.parts] == [b"--b\r\ncut"]


@pytest.mark.parametrize("coding", ["", "identity", "UTF-8", "UTF_8", "utf8", "iso-8859-1", "latin-1", "8bit",
                                    "7BIT", "binary", "none", "rubbish", "x" * 200])
def test_a_charset_or_what_nobody_knows_is_no_compression(read: Callable[..., Incoming], coding: str) -> None:
    assert read(b"x", content_encoding=coding, message_id="x").unreadable is None


@pytest.mark.parametrize(("content_type", "encoding", "expected"), [
    ("text/xml", "latin-1", "text/xml; charset=iso8859-1"),
    ("application/json", "cp1252", "application/json; charset=cp1252"),
    ("text/xml; charset=utf-8", "latin-1", "text/xml; charset=utf-8"), ("text/xml", "utf-8", "text/xml"),
    ("text/xml", "8bit", "text/xml"), ("text/xml", "base64", "text/xml"),
    ("image/png", "latin-1", "image/png"),
    ("text/xml", "", "text/xml"),
    ("application/a+xml", "ISO-8859-15", "application/a+xml; charset=iso8859-15")])
def test_a_character_set_in_the_content_encoding_is_the_documents(
        read: Callable[..., Incoming], content_type: str, encoding: str, expected: str) -> None:
    assert read(b"x", content_type=content_type, content_encoding=encoding).parts[0].media_type == expected


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "base64", "utf-8, gzip", "zstd"])
def test_what_must_be_undone_is_said(read: Callable[..., Incoming], coding: str) -> None:
    incoming = read(b"x", content_encoding=coding, message_id="x")
    assert "content_encoding" in (incoming.unreadable or "")
    assert incoming.parts[0].content == b"x"


@pytest.mark.parametrize("case", [
    "Fall-Ü", "Fall-Ü".encode(), "Fall-Ü".encode("latin-1"), "Fall-%C3%9C", "Fall-U\u0308"])
def test_a_case_is_the_same_however_it_is_written(read: Callable[..., Incoming], case: object) -> None:
    assert read(b"x", application_headers={"case": case}).case == "Fall-Ü"


def test_multipart_is_taken_to_pieces(read: Callable[..., Incoming]) -> None:
    body = b"".join(b"--b\r\nContent-Type: image/png\r\n\r\n%d\r\n" % no for no in range(3)) + b"--b--\r\n"
    incoming = read(body, content_type="multipart/mixed; boundary=b")
    assert [part.content for part in incoming.parts] == [b"0", b"1", b"2"]
    over = body.replace(b"--b--", b"--b\r\n\r\n3\r\n--b--")
    assert read(over, content_type="multipart/mixed; boundary=b").unreadable


def test_without_a_spool_nothing_is_half_read(tmp_path: Path) -> None:
    reader = Reader(Spool(tmp_path / "missing", "inlet"), "inlet", max_parts=3)
    with pytest.raises(OSError, match="missing"):
        reader.read("amt24", bytes(IN_MEMORY + 1), {"message_id": "x"})


def test_what_was_not_taken_over_is_released(tmp_path: Path) -> None:
    reader = Reader(Spool(tmp_path, "inlet"), "inlet", max_parts=3)
    incoming = reader.read("amt24", bytes(IN_MEMORY + 1), {"message_id": "x"})
    assert len(list(tmp_path.iterdir())) == 1
    reader.release(incoming)
    reader.release(incoming)
    assert list(tmp_path.iterdir()) == []


class Connection:
    """What py-amqp's frame handler asks of a connection."""

    bytes_recv = 0
    frame_max = 131072


def received(handler: Callable[..., Any], properties: bytes, body: bytes) -> list[dict[str, Any]]:
    """The properties of what arrives when a message with these raw properties comes."""
    arrived: list[dict[str, Any]] = []

    def callback(channel: int, method: tuple[int, int], frame: bytes, message: Message | None) -> None:
        assert message is not None
        arrived.append(message.properties)

    on_frame = handler(Connection(), callback)
    on_frame((1, 1, struct.pack(">HH", 60, 60) + b"\x01c" + struct.pack(">Q?", 1, False) + b"\0\0"))
    on_frame((2, 1, struct.pack(">HHQ", 60, 0, len(body)) + properties))
    if body:
        on_frame((3, 1, body))
    return arrived


CONTENT_TYPE = struct.pack(">H", 1 << 15)
BAD = CONTENT_TYPE + b"\x02\xff\xfe"


@pytest.mark.parametrize("body", [b"", b"x"])
def test_readable_properties_arrive(body: bytes) -> None:
    assert received(tolerant_frames, CONTENT_TYPE + b"\x03a/b", body) == [{"content_type": "a/b"}]


@pytest.mark.parametrize("body", [b"", b"x"])
def test_properties_that_cannot_be_decoded_arrive_as_none(body: bytes) -> None:
    assert received(tolerant_frames, BAD, body) == [{}]


@pytest.mark.parametrize("body", [b"", b"x"])
def test_without_tolerant_frames_the_connection_would_end(body: bytes) -> None:
    """Planted fault: py-amqp's own handler raises, and the message would come back after each reconnect."""
    from amqp.method_framing import frame_handler

    with pytest.raises(UnicodeDecodeError):
        received(frame_handler, BAD, body)


@given(st.binary(max_size=60), st.sampled_from([b"", b"x"]))
def test_no_properties_end_the_connection(properties: bytes, body: bytes) -> None:
    assert len(received(tolerant_frames, properties, body)) == 1
