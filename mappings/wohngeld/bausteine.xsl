<?xml version="1.0" encoding="UTF-8"?>
<!-- What the stylesheets of both form versions share on the way to urn:datendrehscheibe:wohngeld:1, the benefit procedure's XML:
     a person with the incomes of the year, whatever span of time the form asks for. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:wohngeld:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="common:fachverfahren.xsl"/>

  <xsl:variable name="namensraum" select="'urn:datendrehscheibe:wohngeld:1'"/>

  <xsl:template name="einkommen">
    <xsl:param name="art"/>
    <xsl:param name="monate" select="12"/>
    <xsl:param name="betrag"/>
    <xsl:if test="normalize-space($betrag)">
      <Jahreseinkommen code="{$art}" art="{$art/@e:text}" waehrung="EUR">
        <!-- in cents, because XPath counts in binary fractions -->
        <xsl:value-of select="format-number(round($betrag * 100) * $monate div 100, '0.00')"/>
      </Jahreseinkommen>
    </xsl:if>
  </xsl:template>

  <xsl:template name="betrag">
    <xsl:param name="als"/>
    <xsl:param name="summanden"/>
    <xsl:param name="teiler" select="1"/>
    <xsl:if test="$summanden[normalize-space()]">
      <xsl:element name="{$als}" namespace="{$namensraum}">
        <xsl:attribute name="waehrung">EUR</xsl:attribute>
        <xsl:value-of select="format-number(round(sum($summanden[normalize-space()]) * 100 div $teiler) div 100, '0.00')"/>
      </xsl:element>
    </xsl:if>
  </xsl:template>
</xsl:stylesheet>
