"""What is wrong is named in German, by place and reason, and never with a citizen's value."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from hub.i18n.sentence import Sentence
from hub.pipeline import schema_faults
from hub.pipeline import validate as validation
from hub.pipeline.places import NOWHERE
from hub.pipeline.schema_faults import Fault
from tests.unit.pipeline.validation import XSD, wrong

FAULTS = [
    ("<name>Geheimniskrämerin</name>",
     "Halterin oder Halter (1.) › Name (halter:0:name): ist länger als 12 Zeichen"),
    ("<name>G</name>", "(halter:0:name): ist kürzer als 2 Zeichen"),
    ("<geburtsdatum>geheim</geburtsdatum>",
     "› Geburtsdatum (halter:0:geburtsdatum): ist kein Datum (Beispiel 2026-06-20)"),
    ("<geburtsdatum/>", "(halter:0:geburtsdatum): ist leer und damit kein Datum"),
    ("<betrag>geheim</betrag>", "(halter:0:betrag): ist keine Zahl (Beispiel 12,5)"),
    ("<betrag>4711</betrag>", "(halter:0:betrag): ist größer als 100"),
    ("<betrag>47.113</betrag>", "(halter:0:betrag): hat mehr als 2 Nachkommastellen"),
    ("<wahl>geheim</wahl>", "(halter:0:wahl): ist keiner der erlaubten Werte (rot, blau)"),
    ("<muster>geheim</muster>", "(halter:0:muster): entspricht nicht dem verlangten Muster"),
    ("<anzahl>4.711</anzahl>", "(halter:0:anzahl): ist keine ganze Zahl (Beispiel 12)"),
    ("<fremd/>", "› 2. Feld (unbekannter Name mit 5 Zeichen): ist hier nicht vorgesehen"),
]


@pytest.mark.parametrize(("field", "expected"), FAULTS)
def test_each_fault_is_named_by_place_and_reason(package: Path, field: str, expected: str) -> None:
    error = wrong(package, f'<instance n="0"><pflicht/>{field}</instance>')
    assert error.reason == "invalid"
    assert expected in error.text
    assert "Geheimniskrämerin" not in error.text and "4711" not in error.text
    assert not re.search("geheim", error.text)


@pytest.mark.parametrize(("field", "expected"), FAULTS)
def test_without_xmlschema_lxml_is_put_into_words(package: Path, field: str, expected: str,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_faults, "MAX_ELEMENTS", 0)
    error = wrong(package, f'<instance n="0"><pflicht/>{field}</instance>')
    assert expected in error.text
    assert "passt nicht zum Schema" not in error.text
    assert not re.search(r"geheim|Geheimniskrämerin|4711|4\.711|47\.113", error.text)


def test_the_tests_notice_when_a_value_gets_into_the_text(package: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: xmlschema's and lxml's own words hold values."""
    def passed_on(_file: Path, root: etree._Element, log: list[Any], _mapper: object) -> list[Fault]:
        return [Fault(root, NOWHERE, Sentence(str(log[0].message)))]

    monkeypatch.setattr(validation, "explain", passed_on)
    assert "geheim" in wrong(package,
                             '<instance n="0"><pflicht/><geburtsdatum>geheim</geburtsdatum></instance>').text


def test_what_is_missing_is_named(package: Path) -> None:
    text = wrong(package, '<instance n="0"><pflicht/></instance><instance n="1"/>').text
    assert "Halterin oder Halter (2.) (halter:1): es fehlt „pflicht“" in text


EVIL = "a" * 60 + "!"


def test_a_pattern_that_never_ends_is_ended(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's `re` would need years; the interval timer ends it, and lxml's words take over."""
    monkeypatch.setattr(schema_faults, "SECONDS", 0.2)
    text = wrong(package, f'<instance n="0"><pflicht/><muster>{EVIL}</muster></instance>').text
    assert "(halter:0:muster): entspricht nicht dem verlangten Muster" in text


def test_the_planted_pattern_really_overruns(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above means something: it is the timer that raises, inside of `re`."""
    with pytest.raises(schema_faults.TooLongError), schema_faults.cpu_limit(0.2):
        re.fullmatch("(a+)+", EVIL)


@pytest.mark.slow
def test_a_pattern_that_is_too_much_for_libxml2_parks(package: Path) -> None:
    (package / "v1/fields.xsd").write_text(XSD.replace("(a+)+", "(a|aa)+"))
    error = wrong(package, f'<instance n="0"><pflicht/><muster>{EVIL}</muster></instance>')
    assert error.reason == "mapping"
    assert "fields.xsd" in error.text and "aaa" not in error.text


def test_a_thread_without_signals_is_content_with_lxml(package: Path) -> None:
    texts: list[str] = []
    thread = threading.Thread(target=lambda: texts.append(wrong(package, '<instance n="0"/>').text))
    thread.start()
    thread.join()
    assert "(halter:0): es fehlt" in texts[0]
