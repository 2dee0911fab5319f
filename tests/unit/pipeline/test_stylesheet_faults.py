"""What is told of a stylesheet that failed: file, line and kind."""

from __future__ import annotations

import re

import pytest

from hub.errors import Rejected
from tests.unit.pipeline.workplace import Workplace


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_stylesheet_may_end_with_a_reason(workplace: Workplace, version: str) -> None:
    with pytest.raises(Rejected) as caught:
        workplace.one('<xsl:template match="/"><xsl:message terminate="yes">Die Chipnummer fehlt für Hund '
                 '2.</xsl:message>'
                 "</xsl:template>", version)
    assert (caught.value.reason, caught.value.text) == (
        "invalid", "Die Chipnummer fehlt für Hund 2. (mapping:v1/x.xsl, Zeile 3)")


@pytest.mark.parametrize(("version", "body"), [
    ("1.0", '<xsl:template match="/">\n<xsl:call-template name="nix"/></xsl:template>'),
    ("1.0", '<xsl:template match="/">\n<xsl:value-of select="gibtsnicht(1)"/></xsl:template>'),
    ("3.0", '<xsl:template match="/">\n<xsl:call-template name="nix"/></xsl:template>'),
    ("3.0", '<xsl:template match="/">\n<xsl:value-of select="1 div (0 cast as xs:integer)"/></xsl:template>'),
    ("1.0", '<xsl:template match="/">\n<x></xsl:template>'),
    ("1.0", '<xsl:template match="/">\n<xsl:if test="name[">nie</xsl:if></xsl:template>'),
])
def test_a_broken_stylesheet_is_named_with_its_line(workplace: Workplace, version: str, body: str) -> None:
    with pytest.raises(Rejected) as caught:
        workplace.one(body, version)
    assert caught.value.reason == "configuration"
    assert "mapping:v1/x.xsl" in caught.value.text
    assert re.search(r"Zeile 4|line 4", caught.value.text), caught.value.text


def test_where_libxslt_names_no_line_the_file_is_named(workplace: Workplace) -> None:
    words = r"mapping:v1/x\.xsl: es verwendet ein Präfix ohne Namensraum"
    with pytest.raises(Rejected, match=words) as caught:
        workplace.one('<xsl:template match="/"><xsl:if test="q:name">nie</xsl:if></xsl:template>')
    assert caught.value.reason == "configuration"
