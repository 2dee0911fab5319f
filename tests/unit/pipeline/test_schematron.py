"""A rule tells its own text and where it stands; it can neither read nor tell a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.pipeline import xslt
from tests.unit.pipeline.validation import GOOD, SCH, check, wrong


def rules(package: Path, rule: str, attributes: str = "") -> str:
    (package / "v1/rules.sch").write_text(SCH.format(rule=rule, attributes=attributes))
    return "rules.sch"


def test_a_rules_own_text_is_what_the_operator_reads(package: Path) -> None:
    name = rules(package, '<sch:assert test="name">Halter <sch:value-of select="@n + 1"/>: Der Name\n  '
                          'fehlt.</sch:assert>')
    error = wrong(package, GOOD, rules=name)
    assert error.text.splitlines() == ["Die Angaben verletzen Regeln des Antrags:",
                                       "- Halter 1: Der Name fehlt."]
    assert error.trace == (
        "Halter 1: Der Name fehlt. [Halterin oder Halter (1.) (halter:0)] (rules.sch, Zeile 3)",)


def test_reports_and_the_day_of_acceptance_work(package: Path) -> None:
    name = rules(package,
                 '<sch:report test="name and /e:envelope/e:metadata/e:message/@day = \'2026-11-22\'">'
                          "Heute nicht.</sch:report>")
    assert "- Heute nicht." in wrong(package, GOOD, rules=name).text


def test_a_warning_rejects_nothing(package: Path) -> None:
    check(package, GOOD,
          rules=rules(package, '<sch:assert test="name" role="warning">Der Name fehlt.</sch:assert>'))


def test_rules_cannot_read_files(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "geheim.xml"
    secret.write_text("<geheim/>")
    name = rules(package, f"<sch:assert test=\"not(document('{secret}')/geheim)\">gelesen</sch:assert>")
    assert wrong(package, GOOD, rules=name).reason == "mapping"
    monkeypatch.setattr(xslt, "DENIED", None)  # the planted fault
    rules(package,
          f"<sch:assert test=\"not(document('file://{secret}')/geheim)\">wirklich gelesen</sch:assert>")
    assert "wirklich gelesen" in wrong(package, GOOD, rules=name).text


@pytest.mark.parametrize(("rule", "attributes", "words"), [
    ('<sch:assert test="name"><sch:value-of select="name"/> fehlt</sch:assert>', "",
     "<sch:value-of> darf nur zählen"),
    ('<sch:assert test="name">x</sch:assert>', ' queryBinding="xslt2"', "xslt2 wird nicht unterstützt"),
    ('<sch:extends href="aussen.sch"/>', "", "bindet eine andere Datei ein"),
    ('<sch:assert test="name[">x</sch:assert>', "", "Zeile 3: ein Ausdruck (XPath) ist falsch geschrieben"),
    ('<sch:assert test="x:name">x</sch:assert>', "",
     "Zeile 3: ein Ausdruck verwendet ein Präfix, das kein sch:ns deklariert"),
    ('<sch:assert test="gibtsnicht(name)">x</sch:assert>', "",
     "Zeile 3: ein Ausdruck ruft eine Funktion auf, die es nicht gibt"),
])
def test_rules_that_cannot_be_used_are_the_mappings_fault(package: Path, rule: str, attributes: str,
                                                          words: str) -> None:
    error = wrong(package, GOOD, rules=rules(package, rule, attributes))
    assert error.reason == "mapping"
    assert words in error.text
