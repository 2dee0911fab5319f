<?xml version="1.0" encoding="UTF-8"?>
<!-- Rows for a German spreadsheet: semicolons, CRLF (the hub writes it), cells as zelle.xsl makes them. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1">
  <xsl:import href="zelle.xsl"/>
  <xsl:output method="text" encoding="UTF-8"/>

  <xsl:variable name="fields" select="/e:envelope/e:fields"/>
  <xsl:variable name="message" select="/e:envelope/e:metadata/e:message"/>
  <xsl:variable name="end" select="'&#13;&#10;'"/>

  <!-- A cell after the first one of its row. -->
  <xsl:template name="cell">
    <xsl:param name="value"/>
    <xsl:text>;</xsl:text>
    <xsl:call-template name="zelle"><xsl:with-param name="text" select="normalize-space($value)"/></xsl:call-template>
  </xsl:template>
</xsl:stylesheet>
