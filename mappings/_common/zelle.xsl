<?xml version="1.0" encoding="UTF-8"?>
<!-- A cell of a table for a spreadsheet, in quotation marks (RFC 4180): the one place where it is made, for tabelle.xsl and
     fields-csv.xsl.
     What a spreadsheet could take for a formula gets an apostrophe, or it would calculate what an applicant wrote: a text
     that begins with = or @, with a tab or a line's end, or with + or - before anything else than a number. Telephone
     numbers (+49 351 …) and amounts (-12,50 €) stay as they are. hub/administration/cells.py has the same rule for bills. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">

  <xsl:template name="zelle">
    <xsl:param name="text"/>
    <xsl:text>"</xsl:text>
    <xsl:call-template name="formelschutz"><xsl:with-param name="text" select="$text"/></xsl:call-template>
    <xsl:call-template name="quoted"><xsl:with-param name="text" select="$text"/></xsl:call-template>
    <xsl:text>"</xsl:text>
  </xsl:template>

  <!-- The apostrophe, where the text needs one. Blanks before a sign do not hide it, nor do the signs of wide scripts. -->
  <xsl:template name="formelschutz">
    <xsl:param name="text"/>
    <xsl:variable name="kern" select="normalize-space(translate($text, '&#xa0;', ' '))"/>
    <xsl:variable name="zeichen" select="substring($kern, 1, 1)"/>
    <xsl:choose>
      <xsl:when test="$kern = ''"/>
      <xsl:when test="contains('&#9;&#10;&#13;', substring($text, 1, 1)) or contains('=@＝＠＋－', $zeichen)">'</xsl:when>
      <xsl:when test="($zeichen = '+' or $zeichen = '-')
                      and translate(substring($kern, 2), '0123456789 ()/.,-€%', '') != ''">'</xsl:when>
    </xsl:choose>
  </xsl:template>

  <!-- Quotation marks doubled; half by half, so that a long text is no deep recursion. -->
  <xsl:template name="quoted">
    <xsl:param name="text"/>
    <xsl:choose>
      <xsl:when test="not(contains($text, '&quot;'))"><xsl:value-of select="$text"/></xsl:when>
      <xsl:when test="string-length($text) = 1">""</xsl:when>
      <xsl:otherwise>
        <xsl:variable name="mitte" select="floor(string-length($text) div 2)"/>
        <xsl:call-template name="quoted"><xsl:with-param name="text" select="substring($text, 1, $mitte)"/></xsl:call-template>
        <xsl:call-template name="quoted"><xsl:with-param name="text" select="substring($text, $mitte + 1)"/></xsl:call-template>
      </xsl:otherwise>
    </xsl:choose>
  </xsl:template>
</xsl:stylesheet>
