"""Form dumps in XML of three generations become one envelope."""

from __future__ import annotations

from lxml import etree

from tests.unit.pipeline.envelope_kit import PDF, E, Result, b64, form, old_form, part, upload


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
        f'<g xmlns:e="{E[1:-1]}"><instance n="0"><a>x&lt;</a><b><value>v</value></b><c>z</c></instance>'
        "</g>".encode())
    assert Result(sent).normal.facts.canonical_digest == Result(plain).normal.facts.canonical_digest


def test_a_form_without_its_pdf() -> None:
    result = Result(form("<g><instance_0/></g>", "<metadata><pdfApplicantFormBase64/><formId/></metadata>"))
    assert result.normal.attachments == ()
    assert result.normal.facts.form_id is None
    assert result.envelope.find(f"{E}metadata/{E}form") is None


def test_a_form_before_version_1_6() -> None:
    result = Result(
        old_form(
            "<g><instance_0><nachweise>"
            "<selectedValue>de.seitenbau.common.api.BinaryContent@1f2e3d</selectedValue>"
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
