<?xml version="1.0" encoding="UTF-8"?>
<!-- The notice as plain text. -->
<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:import href="mitteilung.xsl"/>
  <xsl:output method="text" encoding="UTF-8"/>

  <xsl:template match="/">
    <xsl:call-template name="briefkopf"/>
    <xsl:call-template name="vortext"/>
    <xsl:value-of select="$absaetze" separator="&#10;&#10;"/>
    <xsl:text>&#10;</xsl:text>
    <xsl:call-template name="fusszeile"/>
  </xsl:template>
</xsl:stylesheet>
