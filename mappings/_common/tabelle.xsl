<?xml version="1.0" encoding="UTF-8"?>
<!-- Rows for a German spreadsheet: semicolons, CRLF (the hub writes it), quotes doubled (RFC 4180). A cell that begins like a
     formula gets an apostrophe, or the clerk's spreadsheet would calculate what an applicant wrote. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1">
  <xsl:output method="text" encoding="UTF-8"/>

  <xsl:variable name="fields" select="/e:envelope/e:fields"/>
  <xsl:variable name="message" select="/e:envelope/e:metadata/e:message"/>
  <xsl:variable name="end" select="'&#13;&#10;'"/>

  <!-- A cell after the first one of its row. -->
  <xsl:template name="cell">
    <xsl:param name="value"/>
    <xsl:variable name="text" select="normalize-space($value)"/>
    <xsl:text>;"</xsl:text>
    <xsl:if test="$text and contains('=+-@', substring($text, 1, 1))">'</xsl:if>
    <xsl:call-template name="quoted"><xsl:with-param name="text" select="$text"/></xsl:call-template>
    <xsl:text>"</xsl:text>
  </xsl:template>

  <xsl:template name="quoted">
    <xsl:param name="text"/>
    <xsl:choose>
      <xsl:when test="contains($text, '&quot;')">
        <xsl:value-of select="concat(substring-before($text, '&quot;'), '&quot;&quot;')"/>
        <xsl:call-template name="quoted">
          <xsl:with-param name="text" select="substring-after($text, '&quot;')"/>
        </xsl:call-template>
      </xsl:when>
      <xsl:otherwise><xsl:value-of select="$text"/></xsl:otherwise>
    </xsl:choose>
  </xsl:template>
</xsl:stylesheet>
