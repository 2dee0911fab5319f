"""Which part is the application: the one of a known form, whatever its order; several are never guessed
at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.job import Rule, Split, SplitGroup
from hub.pipeline.documents import SeveralApplicationsError
from hub.pipeline.process import process
from tests.services import standards
from tests.unit.pipeline.envelope_kit import (
    PDF,
    Result,
    content,
    form,
    job_of,
    old_form,
    part,
    rejection,
    xoev,
)

Part = tuple[bytes, str, str, str | None]
INVOICE = part(b'<?xml version="1.0"?><Invoice xmlns="urn:example:rechnung"><ID>4711</ID></Invoice>',
               "anlage",
               filename="rechnung.xml")
ID = "<metadata><formId>6000663:Hundesteuer:v2.0</formId></metadata>"


def called(document: Part, name: str, filename: str | None = None) -> Part:
    return document[0], name, document[2], filename


def application(name: str, value: str = "x", filename: str | None = None, metadata: str = ID) -> Part:
    return called(form(f"<g><instance_0><a>{value}</a></instance_0></g>", metadata), name, filename)


def several(*parts: Part, **changes: Any) -> SeveralApplicationsError:
    with pytest.raises(SeveralApplicationsError) as caught:
        Result(*parts, **changes)
    return caught.value


@pytest.mark.parametrize("parts", [
    (INVOICE, application("antrag")), (application("antrag"), INVOICE),
    (part(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "bild", "image/svg+xml"), INVOICE,
     application("daten")),
    (part(b'{"a": 1}', "daten", "application/json"), application("x")),
    (part(b"<kaputt", "anlage"), application("antrag")),
    (part(b'{"metadata": {"fields": {"a": ', "karte", "application/json"), application("antrag")),
    (part(b"<!DOCTYPE html><html/>", "seite", "application/xml"), application("antrag")),
    (INVOICE, xoev("<antrag.0001/>")),
    (INVOICE, content({"g:0:a": "x"}))])
def test_the_one_of_a_known_form_is_the_application_whatever_its_order(parts: tuple[Part, ...]) -> None:
    result = Result(*parts)
    assert len(result.normal.attachments) == len(parts) - 1
    assert {each.role for each in result.normal.attachments} == {"upload"}
    assert result.normal.notes == ()


def test_a_part_called_application_is_the_document_by_its_senders_word() -> None:
    assert rejection(called(INVOICE, "application"), application("zwei")).reason == "unknown-form"
    assert rejection(part(b"<kaputt"), application("zwei")).reason == "unreadable"


def test_where_none_is_of_a_known_form_the_reason_is_that_of_the_first() -> None:
    assert rejection(INVOICE, part(b"[]", "b", "application/json")).reason == "unknown-form"


@pytest.mark.parametrize("second", [
    application("zwei", "y"), called(content({"g:0:a": "y"}), "zwei"), called(xoev("<x/>"), "zwei"),
    called(old_form("<g><instance_0><b>x</b></instance_0></g>"), "zwei"),
    part(b"<?xml version='1.0'?><!-- <a> --><serviceportal><metadata>", "abgeschnitten"),
    part("<serviceportal-fields><g>".encode("utf-16"), "abgeschnitten"),
    part(b"<!DOCTYPE serviceportal><serviceportal/>", "zwei"),
    part(b"<serviceportal/>", "leer"),
    part(b'{"formId": "6000663:Hundesteuer:v2.0", "fie', "abgeschnitten", "application/json"),
    part(b'{"fields": {"halter_0_name": "Erika', "abgeschnitten", "application/json")])
@pytest.mark.parametrize("first", ["application", "eins"])
def test_two_applications_are_parked_with_both_named(first: str, second: Part) -> None:
    for parts in ((application(first), second), (second, application(first))):
        error = several(*parts)
        assert error.reason == "several-applications"
        assert "enthält 2 Anträge" in error.text
        assert "Teil 1 (" in error.text and "Teil 2 (" in error.text and "several = \"split\"" in error.text
        assert len(error.trace) == 2
        assert error.groups == (SplitGroup(parts=(0,)), SplitGroup(parts=(1,)))


def test_applications_are_named_by_words_of_ours_only() -> None:
    secret = "<metadata><formId>1:Geheim-Erika:v3</formId></metadata>"
    error = several(application("Erika", filename="Erika.xml"),
                    application("Mustermann", "y", "M.xml", secret))
    text = error.text + " ".join(error.trace)
    assert "Erika" not in text and "Mustermann" not in text
    assert "unbekanntem Namen (Text mit 12 Zeichen), Version 3" in text


def test_a_form_that_a_rule_names_is_told_by_its_id() -> None:
    rule = Rule(id="t/hundesteuer/v1", tenant="t", service="hundesteuer", forms=("Hundesteuer",),
                mapping_version="v1", mapping_digest="0", package="/nowhere", recipients=())
    error = several(application("eins"), application("zwei", "y"), rules=(rule,))
    assert error.trace[0] == "1. Antrag: Teil 1 (XML), Formular 6000663:Hundesteuer:v2.0"


@pytest.mark.parametrize(("in_xml", "in_json"), [
    ("x", "x"), ("true", True), ("5.60", 5.6), ("2015-08-09", "2015-08-08T22:00:00+0000"),
    ("2015-08-09T00:00:00.000+02:00", "2015-08-08T22:00:00+0000"),
    ("10:44:00", "1970-01-01T09:44:00+0000"), ("1970-01-01T10:44:00.000+01:00", "1970-01-01T09:44:00+0000"),
    ("Zeile\nZwei", "Zeile\r\nZwei"), ("", None), ("Mu\u0308ller", "Müller")])
def test_the_same_application_as_xml_and_json_is_one(in_xml: str, in_json: Any) -> None:
    xml = called(form(f"<g><instance_0><a>{in_xml}</a><b>immer</b><leer/></instance_0></g>",
                      "<metadata><formId>6000357:testform:v1.0</formId></metadata>"), "x", "antrag.xml")
    twin = called(content({"g:0:a": in_json, "g:0:b": "immer", "g:0:ohne": None}), "j", "antrag.json")
    for parts in ((xml, twin), (twin, xml)):
        result = Result(*parts)
        assert [each.filename for each in result.normal.attachments] == [parts[1][3]]
        (note,) = result.normal.notes
        assert "Derselbe Antrag kam mehrfach" in note and "Es gilt Teil 1" in note


@pytest.mark.parametrize(("in_xml", "in_json"), [
    ("x", "y"), ("01", 1), ("2015-08-09", "2015-08-09T22:00:00+0000"), ("x", None), ("1", "1.5"),
    ("9999-12-31T23:59:59+0000", "x"), ("x", ["x", "y"])])
def test_what_differs_is_another_application(in_xml: str, in_json: Any) -> None:
    xml = called(form(f"<g><instance_0><a>{in_xml}</a></instance_0></g>"), "x")
    assert several(xml, called(content({"g:0:a": in_json}), "j")).groups


def test_another_form_or_another_account_is_another_application() -> None:
    other = "<metadata><formId>6000663:Hundesteuer:v3.0</formId></metadata>"
    assert several(application("eins"), application("zwei", metadata=other)).groups
    accounts = [f"<metadata><postfachHandleId>{name}</postfachHandleId></metadata>" for name in "ab"]
    assert several(*(application(each, metadata=each) for each in accounts)).groups


def test_the_portals_own_form_content_and_its_dump_are_one_application() -> None:
    """The values are those of the dump that the portal's own test expects (dump_allFields.csv)."""
    whole = (standards() / "amt24-serviceportal" / "formcontent" / "formContent_allFields.json").read_bytes()
    fields = json.loads(whole)["fields"]
    lists = {name:
             "".join(f"<selectedValue>{each}</selectedValue>" for each in ("firstOption", "secondOption"))
             for name in ("multiselect", "checkboxList")}
    plain = {"time": "10:44:00", "yesno": "true", "npa": "false", "simpleCheckbox": "true",
             "textfield": "Textfield content with &lt;html&gt;HTML&lt;/html&gt;",
             "radioButtons": "firstOption",
             "textarea": "Textarea\ncontent", "date": "2015-08-09", "selectOptions": "secondOption",
             "money": "5.66", "name": "Testname"}
    assert {f"mainGroupId:0:{name}" for name in lists | plain} <= set(fields)
    main = "".join(f"<{name}>{text}</{name}>" for name, text in (lists | plain).items())
    xml = called(form(f"<mainGroupId><instance_0>{main}<fileupload/></instance_0></mainGroupId>"
                      "<secondGroupId><instance_0><text>test</text></instance_0></secondGroupId>"), "xml")
    twin = part(whole, "json", "application/json")
    assert Result(xml, twin).source() == "serviceportal-lists"
    changed = xml[0].replace(b"5.66", b"5.67"), *xml[1:]
    assert several(changed, twin).groups


def test_of_twins_the_one_that_lost_no_file_is_taken() -> None:
    lossy = called(content({"g:0:f": {"uploadedFilename": "a.pdf", "data": None}, "g:0:a": "x"}), "a")
    whole = called(content({"g:0:f": {"uploadedFilename": "a.pdf", "data": [1, 2]}, "g:0:a": "x"}), "b")
    assert Result(lossy, whole).bodies("g:0:f") == [b"\1\2"]


def split(*parts: Part) -> tuple[SplitGroup, ...]:
    outcome = process(job_of(*parts, several="split"), lambda body: parts[body.fd][0], None)  # type: ignore[arg-type]
    assert isinstance(outcome, Split)
    return outcome.groups


def test_split_gives_each_application_what_its_document_names() -> None:
    one = called(form("<g><instance_0><foto/><n>kauf.pdf</n></instance_0></g>", ID), "eins.xml", "eins.xml")
    two = called(content({"g:0:f": {"uploadedFilename": "pass.pdf", "data": None}}), "zwei.json", "zwei.json")
    files = [part(PDF, "file", "application/pdf", name) for name in (
        "p_anhang_foto.pdf", "kauf.pdf", "pass.pdf", "fremd.pdf")]
    printouts = [part(PDF, name, "application/pdf", name) for name in ("eins.pdf", "zwei.PDF")]
    twin = called(one, "kopie.xml", "kopie.xml")
    groups = split(one, *files, two, *printouts, twin)
    assert groups == (SplitGroup(parts=(0, 1, 2, 6, 8), shared=(4,)),
                      SplitGroup(parts=(3, 5, 7), shared=(4,)))


def test_two_applications_out_of_one_file_of_the_cases() -> None:
    body = (Path(__file__).parents[2] / "transfers" / "multipart-two-applications.bin").read_bytes()
    first, second = (each.partition(b"\r\n\r\n")[2] or each.partition(b"\n\n")[2]
                     for each in body.split(b"--XyZ")[1:3])
    assert split(part(first, "eins"), part(second, "zwei")) == (
        SplitGroup(parts=(0,)), SplitGroup(parts=(1,)))
