<?xml version="1.0" encoding="UTF-8"?>
<!-- Form 1.x: the income stands with its person. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1">
  <xsl:import href="../einkommen.xsl"/>

  <xsl:template match="/">
    <xsl:call-template name="kopf"/>
    <xsl:apply-templates select="$fields/antragsteller/instance | $fields/mitglieder/instance[*]"/>
  </xsl:template>

  <xsl:template match="instance">
    <xsl:call-template name="zeile">
      <xsl:with-param name="name" select="name"/>
      <xsl:with-param name="vorname" select="vorname"/>
      <xsl:with-param name="geboren" select="geburtsdatum"/>
      <xsl:with-param name="art" select="einkommensart"/>
      <xsl:with-param name="betrag" select="monatsbrutto"/>
    </xsl:call-template>
  </xsl:template>
</xsl:stylesheet>
