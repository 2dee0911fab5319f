"""Whatever was sent becomes one envelope, or is refused; other parts become attachments."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.pipeline import form_xml
from tests.services import standards
from tests.unit.pipeline.envelope_kit import PDF, E, Result, b64, form, part, rejection, upload


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
    fields = ("<g><instance_0><f><base64Data>Mustermann!</base64Data><mimetype/><filename/></f>"
              "</instance_0></g>")
    error = rejection(form(fields, "<metadata><formId>1:Hund:v1.0</formId></metadata>"), test=True)
    assert (error.facts.form_name, error.facts.form_version, error.facts.test) == ("Hund", "1.0", True)
    assert "1. Gruppe (unbekannter Name mit 1 Zeichen) › 1. Feld" in error.text
    assert "Mustermann" not in str(error) + str(error.trace)


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
             for group in result.envelope.iterfind(f"{E}fields/*") for instance in group
             for element in instance}
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


def test_the_charset_of_the_parts_media_type_is_used_and_a_conflict_noted() -> None:
    form = "<serviceportal-fields><g><instance_0><a>Größe – 5 €</a></instance_0></g></serviceportal-fields>"
    result = Result(part(form.encode("cp1252"), media_type="text/xml; charset=iso-8859-1"))
    assert (result.text("g:0:a"), result.normal.notes) == ("Größe – 5 €", ())
    declared = f'<?xml version="1.0" encoding="windows-1252"?>{form}'.encode("cp1252")
    result = Result(part(declared, media_type="text/xml; charset=utf-8"))
    assert result.text("g:0:a") == "Größe – 5 €"
    assert ["es gilt das Dokument" in note for note in result.normal.notes] == [True]
    refused = rejection(part(declared.replace(b"</a>", b""), media_type="text/xml; charset=utf-8"))
    assert len(refused.notes) == 1
