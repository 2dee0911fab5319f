<?xml version="1.0" encoding="UTF-8"?>
<!-- The head and a row of the table of incomes; the form versions say where they stand. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1">
  <xsl:import href="common:tabelle.xsl"/>

  <xsl:template name="kopf">
    <xsl:value-of select="concat('Vorgang;Name;Vorname;Geburtsdatum;Art;Betrag;Zeitraum', $end)"/>
  </xsl:template>

  <xsl:template name="zeile">
    <xsl:param name="name"/>
    <xsl:param name="vorname"/>
    <xsl:param name="geboren"/>
    <xsl:param name="art"/>
    <xsl:param name="betrag"/>
    <xsl:param name="zeitraum" select="'im Monat'"/>
    <xsl:value-of select="$message/@id"/>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$name"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$vorname"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$geboren/@e:text"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$art/@e:text"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="translate($betrag, '.', ',')"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$zeitraum"/></xsl:call-template>
    <xsl:value-of select="$end"/>
  </xsl:template>
</xsl:stylesheet>
