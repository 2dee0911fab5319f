"""What is told of a stylesheet that failed: the mapping's fault, with file, line and kind, without a
value."""

from __future__ import annotations

import pytest

from hub.errors import Rejected
from hub.operations.why import SENT_AGAIN
from tests.unit.pipeline.workplace import Workplace

TEMPLATE = '<xsl:template match="/">\n{}</xsl:template>'
CITIZEN = ("Erika", "Rika", "Mustermann", "Łódź", "zweite", "1980")
"""What the message of `Workplace` holds."""

AT_LINE_4 = [
    ("1.0", '<xsl:call-template name="nix"/>', "ruft ein Template auf, das es nicht gibt"),
    ("1.0", '<xsl:value-of select="gibtsnicht(//name)"/>', "ruft eine Funktion auf, die es nicht gibt"),
    ("1.0", '<xsl:value-of select="str:gibtsnicht(//name)" xmlns:str="http://exslt.org/strings"/>',
     "ruft eine Funktion auf, die es nicht gibt"),
    ("1.0", '<xsl:value-of select="str:padding(1, 2, 3, 4)" xmlns:str="http://exslt.org/strings"/>',
     "zu viele oder zu wenige Argumente"),
    ("1.0", '<xsl:value-of select="$nix"/>', "Variable, die nicht deklariert ist"),
    ("1.0", '<xsl:for-each select="string(//name)"/>', "select ergibt keine Knoten (xsl:for-each)"),
    ("1.0", '<xsl:element name="{//name}"/>', "einen Namen, der in XML nicht erlaubt ist"),
    ("1.0", "<x>a<xsl:attribute name='b'>c</xsl:attribute></x>", "nach dem Inhalt seines Elements"),
    ("1.0", "<xsl:comment>--<xsl:value-of select='//name'/></xsl:comment>", "zwei Bindestriche"),
    ("1.0", "<x>", "ist kein XML"),
    ("1.0", '<xsl:if test="name[">nie</xsl:if>', "ein Ausdruck (XPath) ist falsch geschrieben"),
    ("1.0", '<xsl:when test="1">x</xsl:when>', "steht, wo es nicht stehen darf, oder fehlt (xsl:when)"),
    ("1.0", "<xsl:value-of/>", "fehlt etwas (xsl:value-of)"),
    ("3.0", '<xsl:call-template name="nix"/>', "ruft ein Template auf, das es nicht gibt"),
    ("3.0", '<xsl:value-of select="1 idiv count(//nix)"/>', "teilt durch null"),
    ("3.0", '<xsl:value-of select="number(//name) + number(//value)"/>', "einen anderen Typ"),
    ("3.0", '<xsl:value-of select="xs:date(//name)" xmlns:xs="http://www.w3.org/2001/XMLSchema"/>',
     "nicht die Form des verlangten Typs"),
    ("3.0", "<xsl:value-of select=\"matches(//name, '[')\"/>", "ein Suchmuster"),
    ("3.0", '<xsl:value-of select="error((), string(//name))"/>', "selbst einen Fehler gemeldet"),
    ("3.0", '<xsl:when test="1">x</xsl:when>', "steht, wo es nicht stehen darf"),
]
WITHOUT_KIND = [
    ("1.0", '<xsl:template match="/" xmlns:r="http://exslt.org/regular-expressions">'
            "<xsl:value-of select=\"r:match(//name, '[')\"/></xsl:template>"),
    ("3.0", '<xsl:output encoding="gibtsnicht"/><xsl:template match="/"><x>ö</x></xsl:template>'),
]
ENDLESS = ('<xsl:template match="/"><xsl:call-template name="a"/></xsl:template>\n'
           '<xsl:template name="a"><x><xsl:call-template name="a"/></x></xsl:template>')


def failed(workplace: Workplace, body: str, version: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        workplace.one(body, version)
    said = "\n".join((caught.value.text, *caught.value.trace))
    assert caught.value.reason == "mapping"
    assert caught.value.reason not in SENT_AGAIN
    assert "mapping:v1/x.xsl" in said
    assert not [word for word in CITIZEN if word in said]
    return caught.value


@pytest.mark.parametrize(("version", "body", "kind"), AT_LINE_4)
def test_a_failure_is_the_mappings_and_has_file_line_and_kind(workplace: Workplace, version: str, body: str,
                                                              kind: str) -> None:
    text = failed(workplace, TEMPLATE.format(body), version).text
    assert "Zeile 4" in text
    assert kind in text


@pytest.mark.parametrize("version", ["1.0", "3.0"])
def test_a_stylesheet_that_calls_itself_for_ever_is_told_as_such(workplace: Workplace, version: str) -> None:
    assert "ruft sich selbst ohne Ende auf" in failed(workplace, ENDLESS, version).text


@pytest.mark.parametrize(("version", "body"), WITHOUT_KIND)
def test_what_a_library_behind_the_engine_raises_is_the_stylesheets_fault_too(
        workplace: Workplace, version: str, body: str) -> None:
    assert "das Stylesheet berichtigen" in failed(workplace, body, version).text


def test_where_libxslt_names_no_line_the_file_is_named(workplace: Workplace) -> None:
    text = failed(workplace, '<xsl:template match="/"><xsl:if test="q:name">nie</xsl:if></xsl:template>',
                  "1.0").text
    assert "mapping:v1/x.xsl: es verwendet ein Präfix ohne Namensraum" in text


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_stylesheet_that_ends_itself_is_told_with_its_own_words(workplace: Workplace, version: str) -> None:
    error = failed(workplace, TEMPLATE.format(
        '<xsl:message terminate="yes">Die Chipnummer fehlt für Hund 2.</xsl:message>'), version)
    assert ("„Die Chipnummer fehlt für Hund 2.“ (xsl:message in mapping:v1/x.xsl, Zeile 4)") in error.text
    assert error.trace == ("xsl:message in mapping:v1/x.xsl, Zeile 4",)


@pytest.mark.parametrize("version", ["1.0", "3.0"])
@pytest.mark.parametrize("message", [
    '<xsl:message terminate="yes"/>',
    '<xsl:message terminate="yes"><xsl:value-of select="//name"/></xsl:message>',
    '<xsl:message terminate="yes">Name: <xsl:value-of select="//name"/>!</xsl:message>',
    '<xsl:message terminate="yes"><a b="{//name}"><xsl:copy-of select="//name"/></a></xsl:message>',
])
def test_a_value_in_a_message_is_not_told(workplace: Workplace, version: str, message: str) -> None:
    assert "Zeile 4" in failed(workplace, TEMPLATE.format(message), version).text


def test_all_messages_of_the_same_words_are_named(workplace: Workplace) -> None:
    text = failed(workplace, '<xsl:template match="/">\n<xsl:if test="//gibtsnicht">\n'
                  '<xsl:message terminate="yes">Nein</xsl:message>\n</xsl:if>\n'
                  '<xsl:message terminate="yes">Nein</xsl:message></xsl:template>', "1.0").text
    assert "mapping:v1/x.xsl, Zeile 5 oder mapping:v1/x.xsl, Zeile 7" in text


@pytest.mark.parametrize(("stylesheet", "name"), [
    ("x.xsl", "mappings/hundesteuer/v1/x.xsl"), ("town", "municipalities/14999010/brief.xsl")])
def test_a_file_is_named_where_people_edit_it(workplace: Workplace, stylesheet: str, name: str) -> None:
    workplace.homes = {"mapping": "mappings/hundesteuer", "common": "mappings/_common",
                       "town": "municipalities/14999010"}
    if stylesheet == "town":
        (workplace.municipality / "brief.xsl").write_text(
            '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0">\n\n'
            '<xsl:template match="/"><xsl:call-template name="nix"/></xsl:template></xsl:stylesheet>')
        workplace.stylesheets = {"x": "brief.xsl"}
    with pytest.raises(Rejected) as caught:
        workplace.one('<xsl:template match="/"><xsl:call-template name="nix"/></xsl:template>')
    assert f"{name}, Zeile 3" in caught.value.text


@pytest.mark.parametrize(("href", "said"), [
    ("kopf.xsl",
     "mappings/hundesteuer/v1/x.xsl: Zeile 3: bindet mappings/hundesteuer/v1/kopf.xsl ein, und das "
                 "fehlt: die Datei ergänzen oder den Import berichtigen"),
    ("common:nirgends.xsl",
     "mappings/hundesteuer/v1/x.xsl: Zeile 3: bindet mappings/_common/nirgends.xsl ein, und das "
                        "fehlt: die Datei ergänzen oder den Import berichtigen"),
    ("http://example.org/x.xsl",
     "mappings/hundesteuer/v1/x.xsl: Zeile 3: Import von http://example.org/x.xsl: einbinden lassen sich nur "
     "mapping:, common: und Dateien daneben"),
])
def test_a_missing_import_is_told_in_german_with_who_imports_it(workplace: Workplace, href: str,
                                                                said: str) -> None:
    workplace.homes = {"mapping": "mappings/hundesteuer", "common": "mappings/_common"}
    with pytest.raises(Rejected) as caught:
        workplace.one(f'<xsl:import href="{href}"/><xsl:template match="/"><x/></xsl:template>')
    assert caught.value.reason == "mapping"
    assert caught.value.text == f"Das Stylesheet ist nicht brauchbar: {said}"


def test_a_stylesheet_that_the_route_names_and_nobody_has_is_told_with_its_folder(workplace: Workplace,
                                                                                  ) -> None:
    workplace.homes = {"town": "municipalities/14999010"}
    workplace.stylesheets = {"x": "brif.xsl"}
    with pytest.raises(Rejected) as caught:
        workplace.one('<xsl:template match="/"><x/></xsl:template>')
    assert caught.value.text == (
        "Das Stylesheet ist nicht brauchbar: municipalities/14999010/brif.xsl: fehlt, aber der Weg der "
        "Kommune "
        "nennt es (stylesheets): die Datei ergänzen oder den Namen berichtigen")
