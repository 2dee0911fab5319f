"""The field table: typed values of every generation, readable texts, order; nothing guessed, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.mapping.model import FieldTable
from hub.pipeline.fields import E, annotate, type_values, typed_text

TABLE = FieldTable(
    group=[{"id": "halter", "title": "Halterin oder Halter"},
           {"id": "hund", "title": "Hund", "instances": True}],
    field=[
        {"group": "halter", "id": "name", "label": "Name"},
        {"group": "halter", "id": "geburtsdatum", "label": "Geburtsdatum", "type": "date"},
        {"group": "halter", "id": "zeit", "label": "Uhrzeit", "type": "time"},
        {"group": "halter", "id": "betrag", "label": "Betrag", "type": "money"},
        {"group": "halter", "id": "einwilligung", "label": "Einwilligung", "type": "boolean"},
        {"group": "halter", "id": "nachweis", "label": "Nachweis", "type": "files"},
        {"group": "halter", "id": "karte", "label": "Karte", "type": "json"},
        {"group": "hund", "id": "rasse", "label": "Rasse", "type": "choice", "values": "rassen"},
        {"group": "hund", "id": "merkmale", "label": "Merkmale", "type": "choices", "values": "merkmale"},
    ],
    values={"rassen": {"R1": "Dackel"}, "merkmale": {"a": "groß", "b": "braun"}},
)


def envelope(fields: str, attachments: str = "") -> etree._Element:
    return etree.fromstring(f'<e:envelope xmlns:e="urn:datendrehscheibe:envelope:1" version="1"><e:metadata/>'
                            f"<e:fields>{fields}</e:fields><e:attachments>{attachments}</e:attachments>"
                            "</e:envelope>")


@pytest.mark.parametrize(("type_", "sent", "typed"), [
    ("date", "2015-07-08T00:00:00.000+02:00", "2015-07-08"),
    ("date", "2015-07-08", "2015-07-08"),
    ("date", "2015-08-08T22:00:00+0000", "2015-08-09"),
    ("date", "2015-08-08T22:00:00Z", "2015-08-09"),
    ("date", "2015-12-08T22:59:59+0000", "2015-12-08"),
    ("date", "2015-07-08T00:00:00", "2015-07-08"),
    ("date", "1850-01-01T00:00:00.000+01:00", "1850-01-01"),  # local mean time was 6 min 32 s less
    ("date", "2015-02-30", "2015-02-30"),
    ("date", "08.07.2015", "08.07.2015"),
    ("date", "9999-12-31T23:59:59-10:00", "9999-12-31T23:59:59-10:00"),
    ("date", "20150708", "20150708"),
    ("date", "٢٠١٥-٠٧-٠٨", "٢٠١٥-٠٧-٠٨"),
    ("time", "1970-01-01T11:55:00.000+01:00", "11:55:00"),
    ("time", "11:55:00", "11:55:00"),
    ("time", "11:55", "11:55:00"),
    ("time", "1970-01-01T09:44:00+0000", "10:44:00"),
    ("time", "1970-01-01T09:44:00.5+0000", "1970-01-01T09:44:00.5+0000"),
    ("time", "25:00:00", "25:00:00"),
    ("money", "5.66", "5.66"),
    ("money", " 5.66 ", "5.66"),
    ("money", "5,66", "5,66"),
    ("money", "1E+2", "100"),
    ("decimal", "-0.50", "-0.50"),
    ("integer", "7", "7"),
    ("integer", "7.0", "7"),
    ("integer", "7.5", "7.5"),
    ("boolean", "true", "true"),
    ("boolean", "FALSE", "false"),
    ("boolean", "ja", "ja"),
    ("text", " 2015-07-08T00:00:00.000+02:00 ", " 2015-07-08T00:00:00.000+02:00 "),
])
def test_a_value_is_written_as_its_type_says_or_stays_as_sent(type_: str, sent: str, typed: str) -> None:
    assert typed_text(sent, type_) == typed


@given(st.sampled_from(["date", "time", "money", "decimal", "integer", "boolean", "json"]),
       st.text(max_size=60))
def test_no_value_raises_and_typing_twice_changes_nothing(type_: str, text: str) -> None:
    once = typed_text(text, type_)
    assert typed_text(once, type_) == once


def test_typing_leaves_the_received_envelope_and_unknown_fields_alone() -> None:
    sent = envelope('<halter><instance n="0"><unbekannt>2015-07-08T00:00:00.000+02:00</unbekannt>'
                    "<geburtsdatum>2015-07-08T00:00:00.000+02:00</geburtsdatum><betrag/></instance></halter>")
    before = etree.tostring(sent)
    typed = type_values(sent, TABLE)
    assert etree.tostring(sent) == before
    assert typed.findtext(".//unbekannt") == "2015-07-08T00:00:00.000+02:00"
    assert typed.findtext(".//geburtsdatum") == "2015-07-08"
    betrag = typed.find(".//betrag")
    assert betrag is not None and betrag.text is None


def test_a_list_is_typed_value_by_value() -> None:
    sent = envelope(
        '<halter><instance n="0"><geburtsdatum><value>2015-08-08T22:00:00+0000</value><value>?</value>'
                    "</geburtsdatum></instance></halter>")
    assert [value.text for value in type_values(sent, TABLE).iterfind(".//value")] == ["2015-08-09", "?"]


def test_annotating_gives_words_and_order() -> None:
    sent = envelope(
        '<fremd><instance n="0"><x>1</x></instance></fremd>'
        '<hund><instance n="0"><merkmale><value>a</value><value>b</value></merkmale>'
        "<rasse>R1</rasse></instance>"
        '<instance n="1"><rasse>R9</rasse></instance></hund>'
        '<halter><instance n="0"><zusatz>z</zusatz><nachweis><attachment ref="1"/><attachment '
        'ref="2"/></nachweis>'
        "<einwilligung>true</einwilligung><betrag>1234.5</betrag><zeit>11:55:00</zeit>"
        '<geburtsdatum>2015-07-08</geburtsdatum><name>Mustermann</name>'
        '<karte>{"a":{"b":true},"c":[1,2]}</karte>'
        "</instance></halter>",
        '<e:attachment id="1" name="a.pdf"/><e:attachment id="2" name="b.png"/>')
    done = annotate(type_values(sent, TABLE), TABLE)
    fields = done.find(f"{E}fields")
    assert fields is not None
    assert [group.tag for group in fields] == ["halter", "hund", "fremd"]
    assert [group.get(f"{E}title") for group in fields] == ["Halterin oder Halter", "Hund", "fremd"]
    words = {str(field.tag): (field.get(f"{E}label"), field.get(f"{E}type"), field.get(f"{E}text"))
             for field in fields.iterfind("halter/instance/*")}
    assert list(words) == ["name", "geburtsdatum", "zeit", "betrag", "einwilligung", "nachweis", "karte",
                           "zusatz"]
    assert words == {
        "name": ("Name", "text", "Mustermann"), "geburtsdatum": ("Geburtsdatum", "date", "08.07.2015"),
        "zeit": ("Uhrzeit", "time", "11:55 Uhr"), "betrag": ("Betrag", "money", "1.234,50 €"),
        "einwilligung": ("Einwilligung", "boolean", "ja"), "nachweis": ("Nachweis", "files", "a.pdf, b.png"),
        "karte": ("Karte", "json", "a: b: ja; c: 1, 2"), "zusatz": ("zusatz", "text", "z"),
    }
    assert [field.get(f"{E}text") for field in fields.iterfind("hund/instance/*")] == ["Dackel",
                                                                                       "groß, braun", "R9"]
    assert [value.get(f"{E}text") for value in fields.iterfind(".//value")] == ["groß", "braun"]
    assert [value.text for value in fields.iterfind(".//value")] == ["a", "b"]


def test_values_that_do_not_fit_are_shown_as_sent() -> None:
    sent = envelope('<halter><instance n="0"><geburtsdatum>gestern</geburtsdatum><betrag>viel</betrag>'
                    "<einwilligung>vielleicht</einwilligung><karte>{</karte></instance></halter>")
    done = annotate(type_values(sent, TABLE), TABLE)
    assert [field.get(f"{E}text") for field in done.iterfind(".//halter/instance/*")] == [
        "gestern", "viel", "vielleicht", "{"]


