"""Form contents and form dumps in JSON become one envelope."""

from __future__ import annotations

import json

import pytest
from lxml import etree

from tests.unit.pipeline.envelope_kit import PDF, E, Result, b64, content, part, rejection


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


def test_a_control_character_is_replaced_and_said() -> None:
    fields = '{"g:0:a":{"value":"eins\\u000bzwei\\u0007"},"g:0:b":{"value":"a\x0bb"}}'
    document = f'{{"formId":"1:a:v1","fields":{fields}}}'
    result = Result(part(document.encode(), media_type="application/json"))
    assert (result.text("g:0:a"), result.text("g:0:b")) == ("eins\nzwei\ufffd", "a\nb")
    [note] = result.normal.notes
    assert note.startswith("3 Steuerzeichen")


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
