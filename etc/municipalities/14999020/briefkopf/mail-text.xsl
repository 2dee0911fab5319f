<?xml version="1.0" encoding="UTF-8"?>
<!-- The common text with this municipality's letterhead: lines instead of elements, each with its line break. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:import href="common:mail-text.xsl"/>
  <xsl:param name="anschrift"/>

  <xsl:template name="briefkopf">
    <xsl:value-of select="concat($name, '&#10;Standesamt&#10;&#10;')"/>
  </xsl:template>

  <xsl:template name="vortext">
    <xsl:text>Bitte innerhalb von drei Arbeitstagen bearbeiten.&#10;&#10;</xsl:text>
  </xsl:template>

  <xsl:template name="fusszeile">
    <xsl:value-of select="concat($anschrift, '&#10;')"/>
  </xsl:template>
</xsl:stylesheet>
