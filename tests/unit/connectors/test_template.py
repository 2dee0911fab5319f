"""One grammar of templates, what each place knows, and the bytes that configurations give."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from connectors import _template
from connectors._template import (
    DOCUMENT,
    EACH,
    FILE_NAME,
    RECORD,
    REQUEST,
    Context,
    file_name,
    fill,
    keys,
    record_line,
)
from hub.errors import Misconfigured, Permanent
from hub.i18n.problems_german import german
from tests.integration.contract import CREATED, MESSAGE, make_delivery

ALL = {"FILE_NAME": FILE_NAME, "REQUEST": REQUEST, "EACH": EACH, "RECORD": RECORD, "DOCUMENT": DOCUMENT}
KNOWN: dict[str, Any] = {"name_parts": {"id": "x", "short": "01936d2e-0001", "service": "hundesteuer",
                                        "ags": "14999010",
                                        "day": "20261121", "version": "v1", "case": "Az. 12"},
                         "properties": {"akte": "23.10 /\nä"}}
EVERY = "{message} {short} {case} {service} {version} {ags} {tenant} {recipient} {day} {time}"


class TestGrammar:
    """The same in every place."""

    @pytest.mark.parametrize(("text", "found"), [
        ("", []), ("a", []), ("{{id}}", []), ("{id}", ["id"]), ("x{id}{day}", ["id", "day"]),
        ("{property:a:b}", ["property:a:b"]), ("{id!r}", ["id!r"]), ("{id.x}", ["id.x"]),
        ("{id[0]}", ["id[0]"]), ("{}", [""])])
    def test_placeholders(self, text: str, found: list[str]) -> None:
        assert keys(text) == found

    @pytest.mark.parametrize("context", ALL)
    @pytest.mark.parametrize("text", ["{", "}", "{id", "id}", "{{id}", "{id!}"])
    def test_no_template(self, context: str, text: str) -> None:
        with pytest.raises(ValueError, match="is no template"):
            ALL[context].check(text)

    def test_a_value_is_never_read_again(self) -> None:
        assert fill("{a} {{b}} {b}", {"a": "{b} {{ }} {", "b": "2"}) == "{b} {{ }} { {b} 2"

    def test_a_value_that_is_not_there(self) -> None:
        with pytest.raises(Misconfigured, match=re.escape("{property:akte}")):
            fill("{property:akte}", {})
        assert fill("-{property:akte}-", {}, absent="") == "--"


class TestChecker:
    """One checker, one text."""

    @pytest.mark.parametrize("context", ALL)
    @pytest.mark.parametrize("key", [
        "dog", "", "property", "property:", "id!r", "id.__class__", "id[0]", "ID", "base64:pdf",
        "part:base64", "property:…x!r:"])
    def test_unknown(self, context: str, key: str) -> None:
        known = ALL[context]
        if known.knows(key):
            assert key == "property:…x!r:"
            return
        with pytest.raises(ValueError, match="unknown placeholder ") as raised:
            known.check(f"a{{{key}}}b")
        assert ": known here are {id}, {message}, {short}, {case}, {service}" in str(raised.value)
        assert all(f"{{{name}}}" in str(raised.value) for name in known.names)

    @pytest.mark.parametrize(("context", "key", "hint"), [
        (REQUEST, "nmae", None), (REQUEST, "servic", "did you mean {service}?"),
        (REQUEST, "Id", "did you mean {id}?"),
        (RECORD, "property", "did you mean {property:…}?"), (DOCUMENT, "nmae", "did you mean {name}?"),
        (FILE_NAME, "recipent", "did you mean {recipient}?"), (EACH, "part:nam", "did you mean {part:name}?"),
        (REQUEST, "part:name", "it stands only in a table with each"),
        (RECORD, "kind", "it is known only about one document in a DMS"),
        (REQUEST, "base64:pdf", "a part stands only as a whole value, and in a kind that the format knows")])
    def test_what_was_meant(self, context: Context, key: str, hint: str | None) -> None:
        with pytest.raises(ValueError, match="unknown placeholder ") as raised:
            context.check(f"{{{key}}}")
        said = str(raised.value)
        expected = f"unknown placeholder {{{key}}}: known here are {context}"
        assert said == (f"{expected}: {hint}" if hint else expected)
        in_german = german(f"a.toml: destinations.dms.name: {said}")
        assert in_german.startswith(
            f"a.toml: destinations.dms.name: unbekannter Platzhalter {{{key}}}: hier gibt es {{id}}")
        assert not re.search(r"\b(the|it|only|mean|known)\b", in_german)

    @pytest.mark.parametrize("context", ALL)
    def test_what_a_place_knows_has_a_value(self, context: str) -> None:
        names = [name.replace("…", "akte") for name in ALL[context].names if not name.startswith("part:")]
        text = "|".join(f"{{{name}}}" for name in names)
        assert ALL[context].check(text) == text
        delivery = make_delivery(manifest=KNOWN, case="c-1")
        filled = {"FILE_NAME": lambda: file_name(text, delivery),
                  "RECORD": lambda: record_line(text, delivery),
                  "DOCUMENT": lambda: record_line(text, delivery, 3)}.get(
                      context, lambda: fill(text, _template.request_values(delivery)))()
        assert len(filled.split("|")) == len(names)
        assert "" not in filled.split("|")


class TestFileNames:
    """What municipalities import by today: these bytes stay."""

    @pytest.mark.parametrize(("manifest", "changes", "name"), [
        ({}, {}, f"{MESSAGE} ohne ohne hundesteuer ohne 14999010 musterstadt recipient-1 "
                 "2026-11-22 101112"),
        (KNOWN, {},
         f"{MESSAGE} 01936d2e-0001 Az._12 hundesteuer v1 14999010 musterstadt "
                    "recipient-1 20261121 101112"),
        ({}, {"case": "a/b\\..\nc", "tenant": "", "service": "Größe " + "x" * 60}, (
            f"{MESSAGE} ohne a_b._c Groesse_" + "x" * 31 + " ohne 14999010 datei recipient-1 "
            "2026-11-22 101112"))])
    def test_bytes(self, manifest: dict[str, Any], changes: dict[str, Any], name: str) -> None:
        assert file_name(EVERY, make_delivery(manifest=manifest, **changes)) == name

    def test_the_id_is_the_delivery_s(self) -> None:
        assert file_name("{day}_{id}", make_delivery(manifest=KNOWN)) == f"20261121_{make_delivery().id}"


class TestRecords:
    """One line of records management: these bytes stay."""

    def test_bytes(self) -> None:
        delivery = make_delivery(subject="Hund\r\n\u2028Bello \x00ü😀", manifest=KNOWN)
        assert record_line("{subject}|{property:akte}|{property:fehlt}|{day}|{short}|{version}|{case}|{{x}} ",
                           delivery) == (
            "Hund Bello  ü😀|23.10 / ä||2026-11-21|01936d2e-0001|v1||{x}")

    def test_about_a_document(self) -> None:
        delivery = make_delivery()
        assert [record_line("{number} {name} {role} {kind}", delivery, number) for number in (3, 4, 5)] == [
            "3 antrag.pdf pdf Antrag", "4 hundesteuer.xml xml Antragsdaten",
            "5 Impfpass_Bello.pdf attachment Anlage"]

    @pytest.mark.parametrize("day", ["", "2026-11-21", "20261399", "heute"])
    def test_without_a_day_of_arrival_it_is_that_of_the_delivery(self, day: str) -> None:
        late = make_delivery(manifest={"name_parts": {"day": day}}, created_at=CREATED + timedelta(hours=14))
        assert record_line("{day}", late) == "2026-11-23"


class TestRequests:
    """An address, a header, a text."""

    def test_bytes(self) -> None:
        row = _template.request_values(make_delivery(manifest=KNOWN, case="c-1", test=True, attempt=2))
        assert fill(EVERY + " {subject} {created} {test} {property:akte}", row) == (
            f"{MESSAGE} 01936d2e-0001 c-1 hundesteuer v1 14999010 musterstadt recipient-1 "
            "2026-11-22 10:11:12 Anmeldung zur Hundesteuer 2026-11-22T10:11:12+01:00 true 23.10 /\nä")
        assert row["repeat"] in ("true", "false")

    @pytest.mark.parametrize(("safe", "value", "expected"), [
        (_template.in_url, "a/b?c&d=e#f ä\r\n", "a%2Fb%3Fc%26d%3De%23f%20%C3%A4%0D%0A"),
        (_template.in_header, " a/b ä\r\nX: y \ud800", "a/b %C3%A4%0D%0AX: y ?"),
        (_template.in_text, "a\r\n<b>\x00\ud800ä😀", "a\r\n<b>  ä😀"),
        (_template.in_name, "../a\\b:c", "a_b_c")])
    def test_safe_in_its_place(self, safe: Any, value: str, expected: str) -> None:
        assert fill("{a}", {"a": value}, safe) == expected

    @pytest.mark.parametrize("value", ["", ".", "..", "..."])
    def test_nothing_climbs(self, value: str) -> None:
        with pytest.raises(Permanent, match="Platzhalter"):
            fill("{a}", {"a": value}, _template.in_url)
