<?xml version="1.0" encoding="UTF-8"?>
<!-- One row per fire for the control centre, which otherwise sends engines to every reported glow in the sky. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1">
  <xsl:import href="common:tabelle.xsl"/>

  <xsl:template match="/">
    <xsl:text>Vorgang;Datum;Von;Bis;Folgetag;Anlass;Ort;Gemarkung;Flurstück;Veranstalter;Telefon;Brandwache;Telefon Brandwache</xsl:text>
    <xsl:value-of select="$end"/>
    <xsl:apply-templates select="$fields/feuer/instance[*]"/>
  </xsl:template>

  <xsl:template match="feuer/instance">
    <xsl:variable name="ort" select="$fields/ort/instance"/>
    <xsl:variable name="wer" select="$fields/veranstalter/instance"/>
    <xsl:variable name="wache" select="$fields/brandwache/instance[normalize-space(name)][1]"/>
    <xsl:value-of select="$message/@id"/>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="datum/@e:text"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="substring(von, 1, 5)"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="substring(bis, 1, 5)"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="folgetag/@e:text"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="anlass/@e:text"/></xsl:call-template>
    <xsl:call-template name="cell">
      <xsl:with-param name="value" select="concat($ort/bezeichnung, ' ', $ort/strasse, ' ', $ort/hausnummer, ' ', $ort/ortsteil)"/>
    </xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$ort/gemarkung"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$ort/flurstueck"/></xsl:call-template>
    <xsl:call-template name="cell">
      <xsl:with-param name="value" select="concat($wer/organisation, ' ', $wer/vorname, ' ', $wer/name)"/>
    </xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$wer/telefon"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="concat($wache/vorname, ' ', $wache/name)"/></xsl:call-template>
    <xsl:call-template name="cell"><xsl:with-param name="value" select="$wache/telefon"/></xsl:call-template>
    <xsl:value-of select="$end"/>
  </xsl:template>
</xsl:stylesheet>
