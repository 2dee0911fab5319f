"""One rule for cells that a spreadsheet must not calculate, in bills and in the mappings' tables."""

from __future__ import annotations

import csv
import io
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.administration.cells import TableWriter, guarded

COMMON = Path(__file__).parents[3] / "mappings" / "_common"
SHEET = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:import href="zelle.xsl"/><xsl:output method="text"/>
<xsl:template match="/"><xsl:call-template name="zelle"><xsl:with-param name="text" select="string(*)"/>
</xsl:call-template></xsl:template></xsl:stylesheet>"""
TEXTS = st.text(st.sampled_from("=+-@\t\r\n \xa0＝＋0149()/.,€%aZ|!'\";"), max_size=30) | st.text(
    st.characters(min_codepoint=0x20, exclude_categories=("Cs", "Cc", "Cn")), max_size=40)


@cache
def sheet() -> etree.XSLT:
    return etree.XSLT(etree.fromstring(SHEET, base_url=str(COMMON / "test.xsl")))


def in_a_table(text: str) -> str:
    """The cell that the mappings' stylesheet makes of a text."""
    root = etree.Element("t")
    root.text = text
    row, = csv.reader(io.StringIO(str(sheet()(root)), newline=""), strict=True)
    return "".join(row)


@pytest.mark.parametrize("text", [
    "=1+1", "@SUM(1)", "\t=1+1", "\r=1", "\n@x", "\tHallo", " =1+1", "\xa0=1", "+A1", "-A1",
    "-2+3+cmd|' /C calc'!D2",
    "+49|cmd", "＝1+1", "－A1", "+SUM(1;2)", "-kein Hund", "+1+1+A1", "=", "@muster"])
def test_what_could_be_a_formula_is_none(text: str) -> None:
    assert guarded(text) == f"'{text}" == in_a_table(text)


@pytest.mark.parametrize("text", [
    "+49 351 4567-0", "+49 (0)351/4567", "+493514567", "0351 4567", "-12,50 €", "-5", "+3,5 %", "-", "Müller",
    "1=1", "a@b.example", "", " ", "'=1", "Straße 1-3"])
def test_a_telephone_number_and_an_amount_stay(text: str) -> None:
    assert guarded(text) == text == in_a_table(text)


@given(TEXTS)
def test_both_have_one_rule(text: str) -> None:
    assert in_a_table(text) == guarded(text)


def test_a_table_is_read_as_it_was_written() -> None:
    out = io.StringIO()
    TableWriter(out).write(['a "b";c', "=1", 7, "+49 351 1", "x\ny"])
    assert out.getvalue() == '"a ""b"";c";\'=1;7;+49 351 1;"x\ny"\r\n'


def test_a_cell_of_quotation_marks_only() -> None:
    """Long ones, too: doubling them is no deep recursion."""
    assert in_a_table('"' * 20_000) == '"' * 20_000
