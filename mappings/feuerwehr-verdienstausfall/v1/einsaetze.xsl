<?xml version="1.0" encoding="UTF-8"?>
<!-- One row per call-out, with decimal commas. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1">
  <xsl:import href="common:tabelle.xsl"/>

  <xsl:template match="/">
    <xsl:text>Vorgang;Antragsteller;Name;Vorname;Ortsfeuerwehr;Anlass;Einsatznummer;Datum;Von;Bis;Stunden;Entgelt;</xsl:text>
    <xsl:text>Arbeitgeberanteil;Nebenleistungen;Betrag</xsl:text>
    <xsl:value-of select="$end"/>
    <xsl:apply-templates select="$fields/einsaetze/instance[*]"/>
  </xsl:template>

  <xsl:template match="einsaetze/instance">
    <xsl:variable name="antragsteller" select="$fields/antragsteller/instance"/>
    <xsl:variable name="person" select="$fields/angehoerige/instance"/>
    <xsl:value-of select="$message/@id"/>
    <xsl:call-template name="cell">
      <xsl:with-param name="value" select="$antragsteller/firma[normalize-space()] | $antragsteller[not(normalize-space(firma))]/name"/>
    </xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$person/name"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$person/vorname"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$person/ortsfeuerwehr"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="anlass/@e:text"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="einsatznummer"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="datum/@e:text"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="substring(von, 1, 5)"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="substring(bis, 1, 5)"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="translate(stunden, '.', ',')"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="translate(brutto, '.', ',')"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="translate(arbeitgeberanteil, '.', ',')"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="translate(nebenleistungen, '.', ',')"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="translate(betrag, '.', ',')"/></xsl:call-template>
    <xsl:value-of select="$end"/>
  </xsl:template>
</xsl:stylesheet>
