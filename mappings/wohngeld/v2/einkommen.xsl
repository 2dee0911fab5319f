<?xml version="1.0" encoding="UTF-8"?>
<!-- Form 2.x: an income names its person by number. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1">
  <xsl:import href="../einkommen.xsl"/>

  <xsl:template match="/">
    <xsl:call-template name="kopf"/>
    <xsl:apply-templates select="$fields/einkuenfte/instance[*]"/>
  </xsl:template>

  <xsl:template match="instance">
    <xsl:variable name="wer" select="$fields/haushalt/instance[@n + 1 = current()/person]"/>
    <xsl:call-template name="zeile">
      <xsl:with-param name="name" select="$wer/familienname"/>
      <xsl:with-param name="vorname" select="$wer/vornamen"/>
      <xsl:with-param name="geboren" select="$wer/geborenAm"/>
      <xsl:with-param name="art" select="einkunftsart"/>
      <xsl:with-param name="betrag" select="betrag"/>
      <xsl:with-param name="zeitraum" select="zeitraum/@e:text"/>
    </xsl:call-template>
  </xsl:template>
</xsl:stylesheet>
