"""What is said of citizens' files, and which of them a route does not take."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from hub.job import Outcome, Parked, Rule, Translated
from tests.unit.pipeline.envelope_kit import E, Result, part
from tests.unit.pipeline.leaks import CANARY, MAPPINGS, ask, leaks, rules_of

SERVICE = MAPPINGS / "hundesteuer"
DOCUMENT = (SERVICE / "examples" / "v2-smallest" / "message.xml").read_bytes()
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(60)
RULES = rules_of(SERVICE, sent=("attachments",))


def archive(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name in names:
            file.writestr(zipfile.ZipInfo(name), b"x")  # of 1980: the same in every process
    return target.getvalue()


def sent(content: bytes, name: str, *parked: Any) -> Outcome:
    """What becomes of an application with this file, where the route parks these marks."""
    rules = tuple(Rule.model_validate(rule.model_dump() | {"parked_attachments": parked}) for rule in RULES)
    return ask((("application", "antrag.xml", "application/xml", DOCUMENT),
                ("anlage", name, "application/octet-stream", content)), rules, "hundesteuer")


def test_a_program_parks_where_the_route_says_so_and_the_reason_names_no_word_of_a_citizens() -> None:
    outcome = sent(PROGRAM, f"{CANARY}.exe", "program")
    assert isinstance(outcome, Parked)
    assert outcome.reason == "attachment"
    assert "Anlage 2 ist ein Programm" in outcome.text
    assert "attachments" in outcome.text and not leaks(outcome)
    assert any("Anlage 2" in note for note in outcome.notes)


def test_a_program_goes_through_marked_where_the_route_takes_it() -> None:
    outcome = sent(PROGRAM, f"{CANARY}.exe")
    assert isinstance(outcome, Translated)
    assert [attachment.marks for attachment in outcome.attachments] == [(), ("program",)]
    assert [part.role for part in outcome.deliveries[0].parts] == ["attachment"] * 2
    assert not leaks(outcome)
    assert ["Programm" in note for note in outcome.notes] == [True]


@pytest.mark.parametrize(("content", "name", "mark"), [
    (b"#!/bin/sh\n", "a.txt", "script"), (archive("[Content_Types].xml", "word/vbaProject.bin"), "a.docx",
                                          "macro"),
    (archive("a.txt"), "a.zip", "archive"), (b"kein Bild", "a.png", "other-type")])
def test_each_mark_parks_only_where_it_is_named(content: bytes, name: str, mark: str) -> None:
    assert isinstance(sent(content, name, "program"), Translated)
    outcome = sent(content, name, "program", mark)
    assert isinstance(outcome, Parked) and outcome.reason == "attachment"


def test_a_usual_file_says_nothing() -> None:
    outcome = sent(b"%PDF-1.7\n", "Impfpass.pdf", "program", "script", "macro", "archive", "other-type")
    assert isinstance(outcome, Translated) and outcome.notes == ()


def test_the_envelope_says_what_was_seen_and_what_an_archive_lists() -> None:
    result = Result(part(DOCUMENT), part(archive("b.txt", "c/d.exe"), "anlage", "application/pdf", "a.zip"))
    element = result.envelope.find(f"{E}attachments/{E}attachment[2]")
    assert element is not None
    assert (element.get("marks"), element.get("content"), element.get("entries")) == (
        "archive other-type program", "ZIP", "2")
    assert [entry.text for entry in element] == ["b.txt", "c/d.exe"]


def test_the_mail_names_what_an_archive_lists() -> None:
    out = io.BytesIO()
    files = archive(*(f"{number}.txt" for number in range(12)))
    outcome = ask((("application", "antrag.xml", "application/xml", DOCUMENT),
                   ("anlage", "a.zip", "application/zip", files)), rules_of(SERVICE, sent=("mail-text",)),
                  "hundesteuer", out)
    assert isinstance(outcome, Translated)
    body = outcome.deliveries[0].parts[0].body
    assert body is not None
    text = out.getvalue()[body.offset:body.offset + body.length].decode()
    assert "a.zip" in text and "Archiv, nicht ausgepackt (Einträge: 12: 0.txt, 1.txt, " in text
    assert "9.txt …)" in text and "10.txt" not in text
