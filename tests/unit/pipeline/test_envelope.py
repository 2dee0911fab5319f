"""What every envelope has: its message, its digest, its attachments, its limits."""

from __future__ import annotations

from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.job import Limits
from hub.pipeline import envelope
from hub.pipeline.envelope import decode_base64, undouble
from tests.unit.pipeline.envelope_kit import SCHEMA_OF_OURS, E, Result, b64, form, rejection, upload


@given(st.text())
def test_undouble_is_the_inverse_of_escape_xml(text: str) -> None:
    escaped = escape(text, quote=True).replace("&#x27;", "&apos;")
    assert undouble(escaped) == text
    assert undouble(escape(escaped, quote=False)) == escaped


@pytest.mark.parametrize("text", ["H & D", "&auml;", "&amp", "a < b &amp; c", "'&amp;'", "&#38;"])
def test_undouble_leaves_what_escape_xml_cannot_have_written(text: str) -> None:
    assert undouble(text) == text


def test_the_message_stands_in_the_metadata() -> None:
    message = Result(form("<g><instance_0/></g>"), case="V-1").envelope.find(f"{E}metadata/{E}message")
    assert dict(message.attrib) == {  # type: ignore[union-attr]
        "id": "m1", "ags": "14999010", "service": "hundesteuer", "received": "2026-11-23T00:30:00+01:00",
        "day": "2026-11-23", "test": "false", "case": "V-1"}


def test_the_digest_is_of_the_content_alone() -> None:
    one, other = form("<g><instance_0><a>x</a></instance_0></g>"), form(
        "<g><instance_0><a>y</a></instance_0></g>")
    digest = Result(one).normal.facts.canonical_digest
    assert digest == Result(one, message_id="m2", ags="14999020").normal.facts.canonical_digest
    assert digest != Result(other).normal.facts.canonical_digest
    pretty = (one[0].replace(b"><", b">\n  <"), *one[1:])
    assert digest == Result(pretty).normal.facts.canonical_digest


def test_a_large_attachment_is_decoded_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "CHUNK", 13)
    for size in range(60):
        body = bytes(range(size))
        wrapped = "\r\n ".join(b64(body)[start:start + 5] for start in range(0, len(b64(body)), 5))
        assert b"".join(decode_base64(wrapped + "\n" * 30)) == body


@pytest.mark.parametrize("text",
                         ["A", "AA", "AAA", "AB==CD==", "AAAA====", "AAAAA===", "=AAA", "AA-_", "AÄAA",
                          "AAA=AAAA", "AAAA A"])
def test_bad_base64_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (1 << 20, 4, 3):
        monkeypatch.setattr(envelope, "CHUNK", chunk)
        with pytest.raises(ValueError):
            b"".join(decode_base64(text))
    field = f"<f><base64Data>{text}</base64Data><mimetype/><filename/></f>"
    assert rejection(form(f"<g><instance_0>{field}</instance_0></g>")).reason == "invalid"


def test_a_form_id_of_another_shape_is_no_fact() -> None:
    result = Result(form("<g><instance_0/></g>", "<metadata><formId>Erika Mustermann</formId></metadata>"))
    assert result.normal.facts.form_id is None


def test_the_number_of_attachments_is_limited() -> None:
    fields = "".join(f"<f{n}>{upload(b'x', 'a')}</f{n}>" for n in range(4))
    document = form(f"<g><instance_0>{fields}</instance_0></g>")
    assert rejection(document, limits=Limits(max_attachments=3)).reason == "limit"
    assert len(Result(document, limits=Limits(max_attachments=4)).normal.attachments) == 4


def test_the_schema_notices_a_wrong_envelope() -> None:
    """A planted fault: the schema is not so lax that it takes everything."""
    envelope = Result(form("<g><instance_0/></g>")).envelope
    for change in ("source", "message", "attachments"):
        broken = etree.fromstring(etree.tostring(envelope))
        element = next(broken.iter(E + change))
        element.getparent().remove(element)  # type: ignore[union-attr]
        assert not SCHEMA_OF_OURS.validate(broken)
