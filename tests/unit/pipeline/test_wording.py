"""Codes, points in time and JSON in the words of a clerk."""

from __future__ import annotations

import json

import pytest

from hub.pipeline.wording import json_lines, payment_state, plain_words


@pytest.mark.parametrize(("field", "text", "words"), [
    ("status", "INITIAL", "begonnen, noch nicht bestätigt"),
    ("zahlungsstatus", "BOOKED", "gebucht"),
    ("zahlstand", "FAILED", "gescheitert"),
    ("bezahlStatus", " CANCELED ", "abgebrochen"),
    ("bezahlverfahren", "CREDITCARD", "Kreditkarte"),
    ("zeitpunkt", "2026-11-20T08:28:11Z", "20.11.2026, 09:28 Uhr"),
    ("zeitpunkt", "2026-07-01T23:30:00+0000", "02.07.2026, 01:30 Uhr"),
    ("zeitpunkt", "2026-11-20T09:28:11.123+01:00", "20.11.2026, 09:28 Uhr"),
    ("zeitpunkt", "2026-11-20T09:28", "20.11.2026, 09:28 Uhr"),
])
def test_a_code_or_a_point_in_time_is_said_in_words(field: str, text: str, words: str) -> None:
    assert plain_words(field, text) == words


@pytest.mark.parametrize(("field", "text"), [
    ("bemerkung", "INITIAL"), ("bemerkung", "OTHER"), ("status", "fertig"), ("status", ""),
    ("zeitpunkt", "2026-11-20"),
    ("zeitpunkt", "2026-13-45T99:00:00Z"), ("zeitpunkt", "am 2026-11-20T09:28:11Z"),
    ("zeitpunkt", "0001-01-01T00:00:00+14:00"),
])
def test_what_may_be_an_answer_stays_as_it_is(field: str, text: str) -> None:
    assert plain_words(field, text) is None


def test_what_a_payment_service_said_is_lines_in_german() -> None:
    said = {"transactionId": "0000-4712", "transactionTimestamp": "2026-11-20T08:28:11Z",
            "paymentMethod": "PAYPAL", "status": "INITIAL", "grossAmount": 1053.35, "statusDetail": None}
    assert json_lines(json.dumps(said)) == ("Nummer der Zahlung: 0000-4712\nZeitpunkt: 20.11.2026, 09:28 "
                                            "Uhr\n"
                                            "Bezahlverfahren: PayPal\nStand: begonnen, noch nicht bestätigt\n"
                                            "Betrag: 1.053,35 €")
    assert payment_state(json.dumps(said)) == "begonnen, noch nicht bestätigt"
    assert payment_state(json.dumps({"paymentInformation": said})) == "begonnen, noch nicht bestätigt"


def test_deep_json_is_indented_and_nothing_is_left_out() -> None:
    deep: object = "Grund"
    for level in range(20):
        deep = {f"stufe{level}": [deep, True]}
    lines = (json_lines(json.dumps(deep)) or "").splitlines()
    assert [line.split(":")[0].strip() for line in lines if ":" in line] == [
        f"stufe{level}" for level in reversed(range(20))]
    assert lines[:2] == ["stufe19:", "    stufe18:"] and lines[-1] == "  – ja"
    assert len([line for line in lines if line.endswith("– ja")]) == 20
    assert any(line.strip() == "– Grund" for line in lines)


@pytest.mark.parametrize("text", ["", "kein JSON", "5", '"Text"', "{}", "[]", "[" * 100_000,
                                  "[" * 900 + "]" * 900])
def test_what_is_no_object_has_no_lines_and_never_raises(text: str) -> None:
    assert json_lines(text) is None
    assert payment_state(text) is None
