"""A XÖV document is carried untouched, its bodies beside it."""

from __future__ import annotations

import pytest
from lxml import etree

from tests.services import standards
from tests.unit.pipeline.envelope_kit import E, Result, b64, part, xoev


def test_a_xoev_document_is_carried_untouched() -> None:
    large = b64(bytes(range(256)) * 20)
    document = xoev(f"<x:a n='H &amp;amp; D'>H &amp;amp; D</x:a><x:anlage><x:inhalt>{large}</x:inhalt>"
                    "<x:dateiname>Plan.pdf</x:dateiname><x:mimeType>application/pdf</x:mimeType></x:anlage>"
                    f"<x:bild>{large}</x:bild>")
    result = Result(document)
    assert result.source() == "xoev"
    assert result.normal.payload is not None
    assert etree.tostring(result.normal.payload, method="c14n") == etree.tostring(
        etree.fromstring(document[0]), method="c14n")
    root = result.envelope.find(f"{E}payload")[0]  # type: ignore[index]
    assert root.findtext("{urn:test}a") == "H &amp; D"
    assert root.find("{urn:test}a").get("n") == "H &amp; D"  # type: ignore[union-attr]
    assert [reference.get("ref") for reference in root.iter(f"{E}attachment-ref")] == ["1", "2"]
    assert large.encode() not in etree.tostring(root)
    assert [(a.role, a.name, a.media_type, a.field) for a in result.normal.attachments] == [
        ("payload", "Plan.pdf", "application/pdf", "anlage/inhalt"),
        ("payload", "anlage-2", "application/octet-stream", "bild")]
    assert result.body(1) == result.body(2) == bytes(range(256)) * 20
    facts = result.normal.facts
    assert (facts.form_name, facts.form_version, facts.test) == ("antrag.0010", "1.2.0", False)


@pytest.mark.parametrize("inner", [
    "<x:inhalt>Test</x:inhalt>",  # looks like base64, but nothing beside it speaks of a file
    "<x:a><x:inhalt>no base64!</x:inhalt><x:dateiname>a.pdf</x:dateiname></x:a>",
    "<x:text>" + "Lorem ipsum dolor sit amet " * 400 + "</x:text>",
    "<x:text>" + "QUJD" * 2000 + "=A" + "</x:text>",
])
def test_what_is_no_body_stays_in_the_payload(inner: str) -> None:
    result = Result(xoev(inner))
    assert result.normal.attachments == ()
    assert inner.partition("<x:inhalt>")[0].encode() in etree.tostring(result.envelope)
    assert not list(result.envelope.iter(f"{E}attachment-ref"))


@pytest.mark.parametrize(("job_test", "attribute", "expected"), [
    (False, 'test="true"', True), (False, 'test="1"', True), (False, 'test="false"', False),
    (True, 'test="false"', True)])
def test_a_message_is_a_test_if_any_says_so(*, job_test: bool, attribute: str, expected: bool) -> None:
    result = Result(xoev("", attribute), test=job_test)
    assert result.normal.facts.test is expected
    message = result.envelope.find(f"{E}metadata/{E}message")
    assert message is not None
    assert message.get("test") == str(expected).lower()


def test_a_real_xoev_message() -> None:
    sample = (standards() / "xwasser" / "samples" / "olb_report_minimal.xml").read_bytes()
    result = Result(part(sample))
    root = result.envelope.find(f"{E}payload")[0]  # type: ignore[index]
    assert root.get("produkthersteller") == "H &amp; D GmbH"
    assert result.normal.facts.test
    assert [(a.name, a.media_type, a.size)
            for a in result.normal.attachments] == [("Test.pdf", "application/pdf", 9)]
    assert etree.tostring(result.normal.payload, method="c14n") == etree.tostring(  # type: ignore[arg-type]
        etree.fromstring(sample), method="c14n")
