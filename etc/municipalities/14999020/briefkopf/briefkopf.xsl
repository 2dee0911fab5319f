<?xml version="1.0" encoding="UTF-8"?>
<!-- The municipality's letterhead for pages (mail and PDF): the four places that mappings/_common leaves open. The page itself
     stays the common one, so what changes there arrives here as well. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:param name="name"/>
  <xsl:param name="anschrift"/>

  <xsl:template name="briefkopf">
    <p class="briefkopf"><strong><xsl:value-of select="$name"/></strong><br/>Standesamt</p>
  </xsl:template>

  <xsl:template name="vortext">
    <p>Bitte innerhalb von drei Arbeitstagen bearbeiten.</p>
  </xsl:template>

  <!-- As CSS writes it; at least 7:1 against white. -->
  <xsl:template name="farbe">#1f5130</xsl:template>

  <xsl:template name="fusszeile">
    <p><xsl:value-of select="$anschrift"/></p>
  </xsl:template>
</xsl:stylesheet>
