"""Three generations of the Amt24 envelope, two kinds of JSON and XÖV documents become one envelope."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from datetime import UTC, date, datetime
from html import escape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.job import Body, Job, JobPart, Limits
from hub.pipeline import envelope, form_xml
from hub.pipeline.envelope import NAMESPACE, SCHEMA, Normalized, decode_base64, undouble
from hub.pipeline.normalize import NotNormal, normalize
from tests.services import standards

E = f"{{{NAMESPACE}}}"
PDF = b"%PDF-1.4 erfunden"
SCHEMA_OF_OURS = etree.XMLSchema(etree.parse(SCHEMA))


def part(content: bytes, name: str = "application", media_type: str = "application/xml",
         filename: str | None = None) -> tuple[bytes, str, str, str | None]:
    return content, name, media_type, filename


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Result:
    """A normalized job and its output, validated against the envelope's schema."""

    def __init__(self, *parts: tuple[bytes, str, str, str | None], **changes: Any) -> None:
        self.out = io.BytesIO(b"already there: ")
        self.out.seek(0, io.SEEK_END)
        contents = [content for content, *_ in parts]
        self.normal: Normalized = normalize(job_of(*parts, **changes), lambda body: contents[body.fd],
                                            self.out)
        self.envelope = self.normal.envelope
        SCHEMA_OF_OURS.assertValid(etree.fromstring(etree.tostring(self.envelope)))

    def source(self) -> str | None:
        return self.envelope.findtext(f"{E}metadata/{E}source")

    def field(self, path: str) -> etree._Element:
        """``group:instance:field``."""
        group, instance, name = path.split(":")
        found = self.envelope.findall(f"{E}fields/{group}/instance[@n='{instance}']/{name}")
        assert len(found) == 1, path
        return found[0]

    def text(self, path: str) -> str:
        assert not len(self.field(path))
        return self.field(path).text or ""

    def values(self, path: str) -> list[str]:
        return [value.text or "" for value in self.field(path).findall("value")]

    def bodies(self, path: str) -> list[bytes]:
        return [self.body(int(reference.get("ref", "")))
                for reference in self.field(path).findall("attachment")]

    def body(self, number: int) -> bytes:
        attachment = self.normal.attachments[number - 1]
        content = self.out.getvalue()[attachment.body.offset:][:attachment.body.length]
        element = self.envelope.find(f"{E}attachments/{E}attachment[@id='{number}']")
        assert element is not None
        assert (len(content), hashlib.sha256(content).hexdigest()) == (attachment.size, attachment.sha256)
        assert (element.get("size"), element.get("sha256")) == (str(attachment.size), attachment.sha256)
        return content


def job_of(*parts: tuple[bytes, str, str, str | None], **changes: Any) -> Job:
    values: dict[str, Any] = {
        "message_id": "m1", "tenant": "musterstadt", "ags": "14999010", "service": "hundesteuer",
        "test": False,
        "received_at": datetime(2026, 11, 22, 23, 30, tzinfo=UTC), "accepted_day": date(2026, 11, 23),
        "case": None,
        "parts": tuple(
            JobPart(name=name, filename=filename, media_type=media_type,
                    sha256=hashlib.sha256(content).hexdigest(),
                    body=Body(fd=number, offset=0, length=len(content)))
            for number, (content, name, media_type, filename) in enumerate(parts)),
        "rules": (), "limits": Limits()} | changes
    return Job(**values)


def form(fields: str, metadata: str = "") -> tuple[bytes, str, str, str | None]:
    inner = f"<serviceportal-fields>{fields}</serviceportal-fields>"
    return part(f"<serviceportal>{metadata}{inner}</serviceportal>".encode())


def old_form(fields: str, filename: str | None = None) -> tuple[bytes, str, str, str | None]:
    return part(f"<serviceportal-fields>{fields}</serviceportal-fields>".encode(), filename=filename)


def rejection(*parts: tuple[bytes, str, str, str | None], **changes: Any) -> NotNormal:
    with pytest.raises(NotNormal) as caught:
        Result(*parts, **changes)
    return caught.value


def upload(content: bytes, name: str, media_type: str = "application/pdf") -> str:
    return f"<base64Data>{b64(content)}</base64Data><mimetype>{media_type}</mimetype><filename>{name}</filename>"


# --- the three generations ----------------------------------------------------------------------------------


def test_a_form_since_version_1_6() -> None:
    result = Result(form(
        "<halter><instance_0><name>Müller &amp; Söhne</name><leer/></instance_0><instance_1/></halter>",
        f"<metadata><pdfApplicantFormBase64>{b64(PDF)}</pdfApplicantFormBase64>"
        "<creationDate>2026-01-02T03:04:05.678+01:00</creationDate><postfachHandleId>0b3c</postfachHandleId>"
        "<formId>6000663:HundesteuerAnmeldung:v1.10</formId></metadata>"))
    assert result.source() == "serviceportal"
    assert result.text("halter:0:name") == "Müller & Söhne"
    assert result.text("halter:0:leer") == ""
    assert [element.get("n") for element in result.envelope.findall(f"{E}fields/halter/instance")] == ["0",
                                                                                                       "1"]
    facts = result.normal.facts
    assert (facts.mandant, facts.form_name, facts.form_version) == ("6000663", "HundesteuerAnmeldung", "1.10")
    assert facts.form_id == "6000663:HundesteuerAnmeldung:v1.10"
    assert result.envelope.findtext(f"{E}metadata/{E}created") == "2026-01-02T03:04:05.678+01:00"
    assert result.envelope.findtext(f"{E}metadata/{E}postfachHandle") == "0b3c"
    assert [(a.role, a.name, a.media_type) for a in result.normal.attachments] == [
        ("applicant-pdf", "antrag.pdf", "application/pdf")]
    assert result.body(1) == PDF
    assert b64(PDF).encode() not in etree.tostring(result.envelope)


def test_the_order_of_metadata_does_not_matter() -> None:
    names = ["formId", "postfachHandleId", "creationDate"]
    values = {"formId": "1:A:v1.0", "postfachHandleId": "p", "creationDate": "c"}
    digests = {
        Result(form("<g><instance_0/></g>",
                    "<metadata>" + "".join(f"<{name}>{values[name]}</{name}>" for name in order)
                    + "</metadata>")).normal.facts.canonical_digest
        for order in (names, names[::-1], names[1:] + names[:1])}
    assert len(digests) == 1


def test_only_the_texts_of_fields_are_taken_over() -> None:
    sent = form("<g a='1'>\n <instance_0 xmlns:q='u:q' q:b='2' xml:space='preserve'>between<a c='3' "
                "xmlns:r='u:r'>x<!-- y -->"
                "<![CDATA[<]]></a>after<b xml:lang='de'><selectedValue "
                "d='4'>v</selectedValue>tail</b></instance_0>\n"
                "<instance_0><c q:e='5' xmlns:q='u:q'>z</c> </instance_0></g>")
    plain = form(
        "<g><instance_0><a>x&lt;</a><b><selectedValue>v</selectedValue></b><c>z</c></instance_0></g>")
    group = Result(sent).envelope.find(f"{E}fields/g")
    assert group is not None
    assert etree.tostring(group, method="c14n") == (
        f'<g xmlns:e="{E[1:-1]}"><instance n="0"><a>x&lt;</a><b><value>v</value></b><c>z</c></instance></g>'.encode())
    assert Result(sent).normal.facts.canonical_digest == Result(plain).normal.facts.canonical_digest


def test_a_form_without_its_pdf() -> None:
    result = Result(form("<g><instance_0/></g>", "<metadata><pdfApplicantFormBase64/><formId/></metadata>"))
    assert result.normal.attachments == ()
    assert result.normal.facts.form_id is None
    assert result.envelope.find(f"{E}metadata/{E}form") is None


def test_a_form_before_version_1_6() -> None:
    result = Result(
        old_form(
            "<g><instance_0><nachweise><selectedValue>de.seitenbau.common.api.BinaryContent@1f2e3d</selectedValue>"
                 "<selectedValue>de.seitenbau.common.api.BinaryContent@4c5b6a</selectedValue></nachweise><datum>"
                 "2015-07-08T00:00:00.000+02:00</datum><foto/></instance_0></g>", "antrag_hund.xml"),
        part(PDF, "pdf", "application/pdf", "antrag_hund.pdf"),
        part(b"foto", "files", "image/png", "antrag_hund_anhang_g_0_foto.png"),
        part(b"eins", "files", "application/pdf", "antrag_hund_anhang_g_0_nachweise_1.pdf"),
        part(b"fremd", "files", "application/pdf", "ausweis.pdf"))
    assert result.source() == "serviceportal-fields"
    assert result.text("g:0:datum") == "2015-07-08T00:00:00.000+02:00"
    assert result.bodies("g:0:foto") == [b"foto"]
    assert result.bodies("g:0:nachweise") == [b"eins"]
    assert [(a.role, a.field) for a in result.normal.attachments] == [
        ("applicant-pdf", None), ("upload", "g:0:foto"), ("upload", "g:0:nachweise"), ("upload", None)]
    lost = result.envelope.findall(f"{E}attachments/{E}lost")
    assert [(element.get("field"), element.get("count")) for element in lost] == [("g:0:nachweise", "1")]


def test_lists_and_multi_uploads_with_doubled_escaping() -> None:
    result = Result(form(
        "<g><instance_0><rassen><selectedValue>Dackel &amp;amp; "
        "Co</selectedValue><selectedValue>&amp;lt;b&amp;gt; "
        "&amp;quot;x&amp;quot; &amp;apos;y&amp;apos;</selectedValue></rassen><fotos>"
        f"<selectedValue>{upload(b'1', 'Hund &amp;amp; Katze.pdf')}</selectedValue>\n"
        f"<selectedValue>{upload(b'2', 'b.png', 'image/png')}</selectedValue></fotos>"
        f"<einzeln>{upload(b'3', 'Hund &amp;amp; Katze.pdf')}</einzeln></instance_0></g>"))
    assert result.source() == "serviceportal-lists"
    assert result.values("g:0:rassen") == ["Dackel & Co", "<b> \"x\" 'y'"]
    assert result.bodies("g:0:fotos") == [b"1", b"2"]
    assert [(a.filename, a.name) for a in result.normal.attachments] == [
        ("Hund & Katze.pdf", "Hund___Katze.pdf"), ("b.png", "b.png"),
        ("Hund & Katze.pdf", "Hund___Katze-2.pdf")]


def test_a_text_field_is_escaped_once_and_stays() -> None:
    """A citizen who writes ``&amp;`` means it."""
    result = Result(form("<g><instance_0><t>H &amp;amp; D</t></instance_0></g>"))
    assert result.text("g:0:t") == "H &amp; D"


def test_a_list_of_a_sender_that_escapes_once_stays() -> None:
    result = Result(form("<g><instance_0><t><selectedValue>H &amp; D "
                         "&amp;amp;</selectedValue></t></instance_0></g>"))
    assert result.values("g:0:t") == ["H & D &amp;"]


@given(st.text())
def test_undouble_is_the_inverse_of_escape_xml(text: str) -> None:
    escaped = escape(text, quote=True).replace("&#x27;", "&apos;")
    assert undouble(escaped) == text
    assert undouble(escape(escaped, quote=False)) == escaped


@pytest.mark.parametrize("text", ["H & D", "&auml;", "&amp", "a < b &amp; c", "'&amp;'", "&#38;"])
def test_undouble_leaves_what_escape_xml_cannot_have_written(text: str) -> None:
    assert undouble(text) == text


# --- JSON ---------------------------------------------------------------------------------------------------


def content(fields: dict[str, Any], **more: Any) -> tuple[bytes, str, str, str | None]:
    wrapped = {key: {"value": value, "valid": True} for key, value in fields.items()}
    document = {"formId": "6000357:testform:v1.0", "fields": wrapped} | more
    return part(json.dumps(document).encode(), media_type="application/json")


def test_form_content() -> None:
    result = Result(content({
        "g:1:b": True, "g:0:text": "Ü & <b>", "g:0:null": None, "g:0:liste": ["a", None, 5],
        "g:0:betrag": 5.5,
        "g:0:datei": {"uploadedFilename": "a.pdf", "mimetype": "application/pdf", "data": [37, 80, -1]},
        "g:0:leer": {"uploadedFilename": "b.pdf", "mimetype": "application/pdf", "data": []},
        "g:0:fort": {"uploadedFilename": "c.pdf", "mimetype": "application/pdf", "data": None},
        "g:0:geprueft": {"value": "Erika", "verificationToken": "geheim", "valueType": "STRING"},
        "g:0:karte": {"json": "{}", "selectionJson": None, "n": 1.50}}, createdOn="2020-10-01T11:43:23+0000",
        context={"firstname": "Erika"}))
    assert result.source() == "formcontent-json"
    assert result.text("g:1:b") == "true"
    assert result.text("g:0:text") == "Ü & <b>"
    assert result.values("g:0:liste") == ["a", "", "5"]
    assert result.text("g:0:betrag") == "5.5"
    assert result.bodies("g:0:datei") == [b"%P\xff"]
    assert result.bodies("g:0:leer") == [b""]
    assert result.text("g:0:geprueft") == "Erika"
    assert result.text("g:0:karte") == '{"json":"{}","selectionJson":null,"n":1.5}'
    assert [e.get("n") for e in result.envelope.findall(f"{E}fields/g/instance")] == ["0", "1"]
    assert [e.get("field") for e in result.envelope.iter(f"{E}lost")] == ["g:0:fort"]
    assert result.envelope.findtext(f"{E}metadata/{E}created") == "2020-10-01T11:43:23+0000"
    assert b"geheim" not in etree.tostring(result.envelope)
    assert result.normal.facts.form_name == "testform"


def test_json_numbers_are_the_text_that_was_sent() -> None:
    document = b'{"formId":"1:a:v1","fields":{"g:0:a":{"value":5.10},"g:0:b":{"value":[1e3,007.5]}}}'
    assert rejection(part(document)).reason == "unreadable"
    document = document.replace(b"007.5", b"12345678901234567890.10")
    result = Result(part(document))
    assert result.text("g:0:a") == "5.10"
    assert result.values("g:0:b") == ["1e3", "12345678901234567890.10"]


@pytest.mark.parametrize("with_metadata", [True, False])
def test_a_form_dumped_as_json(*, with_metadata: bool) -> None:
    fields = {"halter_0_name": "Muster", "halter_10_b": False, "g_0_feld_1": "x", "g_0_liste": ["a", "b"],
              "g_0_datei": {"filename": "a.pdf", "fileAsBase64": b64(PDF)}, "g_0_keine": "",
              "g_0_dateien": [{"filename": "b.txt", "fileAsBase64": b64(b"b")},
                              {"filename": "c", "fileAsBase64": ""}]}
    document = {"metadata": {"formId": "1:A:v2.0", "pdfApplicantFormBase64": b64(PDF)}, "fields": fields}
    result = Result(part(json.dumps(document if with_metadata else fields).encode(),
                         media_type="application/json"))
    assert result.source() == "json"
    assert result.text("halter:0:name") == "Muster"
    assert result.text("halter:10:b") == "false"
    assert result.text("g:0:feld_1") == "x"
    assert result.values("g:0:liste") == ["a", "b"]
    assert result.bodies("g:0:datei") == [PDF]
    assert result.bodies("g:0:dateien") == [b"b", b""]
    assert [a.media_type for a in result.normal.attachments if a.field] == [
        "application/pdf", "text/plain", "application/octet-stream"]
    assert result.normal.facts.form_version == ("2.0" if with_metadata else None)


# --- XÖV ----------------------------------------------------------------------------------------------------


def xoev(inner: str, attributes: str = 'version="1.2.0" standard="XTest"') -> tuple[bytes, str, str,
                                                                                    str | None]:
    return part('<x:antrag.0010 xmlns:x="urn:test" '
                f'{attributes}><nachrichtenkopf.g2g><identifikation.nachricht>'
                "<erstellungszeitpunkt>2026-01-01T00:00:00</erstellungszeitpunkt></identifikation.nachricht>"
                f"</nachrichtenkopf.g2g>{inner}</x:antrag.0010>".encode())


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


# --- parts, limits, refusals --------------------------------------------------------------------------------


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


def test_the_document_is_found_among_the_parts() -> None:
    document = form("<g><instance_0><a>x</a></instance_0></g>")
    svg = part(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "bild", "image/svg+xml", "bild.svg")
    for name, media_type in (("application", "text/plain"), ("daten", "application/xml"),
                             ("x", "application/octet-stream")):
        result = Result(svg, part(PDF, "pdf", "application/pdf"), part(document[0], name, media_type))
        assert result.text("g:0:a") == "x"
        assert [a.role for a in result.normal.attachments] == ["upload", "applicant-pdf"]


def test_the_same_file_in_the_envelope_and_beside_it_is_one_attachment() -> None:
    result = Result(form(f"<g><instance_0><f>{upload(PDF, 'a.pdf')}</f></instance_0></g>"),
                    part(PDF, "file", "application/pdf", "x_anhang_g_0_f.pdf"))
    assert len(result.normal.attachments) == 1
    assert result.bodies("g:0:f") == [PDF]


def test_two_files_with_the_same_bytes_are_two_attachments() -> None:
    result = Result(form("<g><instance_0><a>x</a></instance_0></g>"),
                    part(b"gleich", "files", "text/plain", "ausweis.txt"),
                    part(b"gleich", "files", "text/plain", "nachweis.txt"))
    assert [each.filename for each in result.normal.attachments] == ["ausweis.txt", "nachweis.txt"]


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


@pytest.mark.parametrize(("document", "reason"), [
    (b"<html/>", "unknown-form"),
    (b"<serviceportal/>", "unknown-form"),
    (b"<Invoice xmlns='urn:oasis:names:specification:ubl:schema:xsd:Invoice-2'/>", "unknown-form"),
    (b"<serviceportal-fields><g><a>x</a></g></serviceportal-fields>", "unknown-form"),
    (b"<serviceportal-fields><g><instance_x/></g></serviceportal-fields>", "unknown-form"),
    (b"<serviceportal-fields><g><instance_0><a><b/></a></instance_0></g></serviceportal-fields>",
     "unknown-form"),
    (b"<serviceportal-fields><g><instance_0><a/><a/></instance_0></g></serviceportal-fields>", "invalid"),
    ("<serviceportal-fields><gr\u00fc\u00df><instance_0/></gr\u00fc\u00df></serviceportal-fields>".encode(),
     "invalid"),
    (b"<serviceportal-fields><g><instance_0><x:a xmlns:x='u'/></instance_0></g></serviceportal-fields>",
     "invalid"),
    (b"<serviceportal-fields>", "unreadable"),
    (b"<!DOCTYPE serviceportal><serviceportal/>", "doctype"),
    (b"Guten Tag", "unreadable"),
    (b"", "unreadable"),
    (b"[]", "unknown-form"),
    (b"{}", "unknown-form"),
    (b'{"a":1}', "unknown-form"),
    (b'{"formId":"x","fields":{"a":1}}', "unknown-form"),
    (b'{"formId":"x","fields":{"g:0:<a>":1}}', "invalid"),
    (b'{"formId":"x","fields":{"g:0:a":{"value":"\\u0000"}}}', "invalid"),
    (b'{"formId":"x","fields":{"g:0:a":{"value":"\\ud800"}}}', "invalid"),
    (b'{"formId":"x","fields":{"g:0:a":{"value":{"uploadedFilename":"a","data":[999]}}}}', "invalid"),
])
def test_what_is_refused(document: bytes, reason: str) -> None:
    assert rejection(part(document)).reason == reason


def test_a_refusal_keeps_the_facts_and_no_content() -> None:
    fields = "<g><instance_0><f><base64Data>Mustermann!</base64Data><mimetype/><filename/></f></instance_0></g>"
    error = rejection(form(fields, "<metadata><formId>1:Hund:v1.0</formId></metadata>"), test=True)
    assert (error.facts.form_name, error.facts.form_version, error.facts.test) == ("Hund", "1.0", True)
    assert "g:0:f" in error.text
    assert "Mustermann" not in str(error) + str(error.trace)


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


# --- what standards show ------------------------------------------------------------------------------------


def test_the_portals_own_examples() -> None:
    folder = standards() / "amt24-serviceportal"
    multi = Result(part((folder / "expected" / "dump_multiupload.xml").read_bytes()))
    assert multi.bodies("mainGroupId:0:multiupload") == [b"PDF_CONTENT", b"PNG_CONTENT"]
    all_fields = Result(part((folder / "formcontent" / "formContent_allFields.json").read_bytes()))
    assert all_fields.bodies("mainGroupId:0:fileupload") == [b"PDF content"]
    assert all_fields.text("mainGroupId:0:name") == "Testname"
    assert all_fields.text("mainGroupId:0:money") == "5.66"
    assert all_fields.values("mainGroupId:0:checkboxList") == ["firstOption", "secondOption"]
    assert all_fields.text("mainGroupId:0:textfield") == "Textfield content with <html>HTML</html>"
    abbreviated = part((folder / "expected" / "dump_javadoc_example.xml").read_bytes())
    assert rejection(abbreviated).reason == "invalid"
    whole = abbreviated[0].replace(b"ABBREVIATED_IN_EXAMPLE", b64(PDF).encode())
    assert Result(part(whole)).bodies("mainGroupId:0:fileupload") == [PDF]


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


# --- properties ---------------------------------------------------------------------------------------------

XML_CHARACTERS = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")
IDS = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,8}\Z")
VALUES = st.text(XML_CHARACTERS, max_size=20)
FIELDS = st.dictionaries(st.tuples(IDS, st.integers(0, 3), IDS),
                         VALUES | st.lists(VALUES, min_size=1, max_size=3) | st.binary(max_size=40),
                         max_size=8)


def as_xml(fields: dict[Any, Any]) -> bytes:
    """As the portal's XML dumper writes: text escaped once, lists twice."""
    root = etree.Element("serviceportal")
    parent = etree.SubElement(root, "serviceportal-fields")
    for (group, instance, name), value in fields.items():
        element = etree.SubElement(etree.SubElement(etree.SubElement(parent, group), f"instance_{instance}"),
                                   name)
        if isinstance(value, list):
            for item in value:
                etree.SubElement(element, "selectedValue").text = escape(item).replace("&#x27;", "&apos;")
        elif isinstance(value, bytes):
            for tag, text in (("base64Data", b64(value)), ("mimetype", "text/plain"), ("filename", "a.txt")):
                etree.SubElement(element, tag).text = text
        else:
            element.text = value
    return etree.tostring(root, encoding="utf-8")


def as_json(fields: dict[Any, Any]) -> bytes:
    """As the form content is written."""
    def value_of(value: Any) -> Any:
        if isinstance(value, bytes):
            return {"uploadedFilename": "a.txt", "mimetype": "text/plain",
                    "data": [byte - 256 if byte > 127 else byte for byte in value]}
        return value
    return json.dumps({"formId": "1:a:v1", "fields": {
        f"{group}:{instance}:{name}": {"value": value_of(value)}
        for (group, instance, name), value in fields.items()}}).encode()


@given(FIELDS, st.sampled_from([as_xml, as_json]))
@pytest.mark.slow
def test_whatever_was_entered_is_found_in_the_envelope(fields: dict[Any, Any], write: Any) -> None:
    result = Result(part(write(fields)))
    found = {(group.tag, int(instance.get("n", "")), element.tag)
             for group in result.envelope.find(f"{E}fields") for instance in group for element in instance}  # type: ignore
    assert found == set(fields)
    for (group, instance, name), value in fields.items():
        place = f"{group}:{instance}:{name}"
        if isinstance(value, list):
            assert result.values(place) == value
        elif isinstance(value, bytes):
            assert result.bodies(place) == [value]
        else:
            assert result.text(place) == value


def test_a_planted_guess_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: without undoing the doubled level the property above does not hold."""
    monkeypatch.setattr(form_xml, "undouble", lambda text: text)
    result = Result(part(as_xml({("g", 0, "f"): ["a & b"]})))
    assert result.values("g:0:f") != ["a & b"]
