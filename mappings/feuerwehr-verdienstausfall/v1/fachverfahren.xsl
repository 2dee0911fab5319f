<?xml version="1.0" encoding="UTF-8"?>
<!-- The annotated envelope as urn:datendrehscheibe:feuerwehr-verdienstausfall:1, for the accounts procedure. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns="urn:datendrehscheibe:feuerwehr-verdienstausfall:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="common:fachverfahren.xsl"/>

  <xsl:variable name="namensraum" select="'urn:datendrehscheibe:feuerwehr-verdienstausfall:1'"/>

  <xsl:template match="/">
    <Verdienstausfall version="1">
      <xsl:call-template name="vorgang"/>
      <xsl:apply-templates select="$fields/antrag/instance/*"/>
      <Antragsteller>
        <xsl:apply-templates select="$fields/antragsteller/instance/*"/>
      </Antragsteller>
      <xsl:apply-templates select="$fields/angehoerige/instance"/>
      <Einsaetze anzahl="{count($fields/einsaetze/instance[*])}">
        <xsl:apply-templates select="$fields/einsaetze/instance[*]"/>
      </Einsaetze>
      <xsl:apply-templates select="$fields/summe/instance/gesamt"/>
      <Bankverbindung>
        <xsl:apply-templates select="$fields/bank/instance/*"/>
      </Bankverbindung>
      <xsl:apply-templates select="$fields/erklaerung/instance/bemerkung"/>
      <xsl:call-template name="anlagen"/>
    </Verdienstausfall>
  </xsl:template>

  <xsl:template match="angehoerige/instance">
    <Feuerwehrangehoerige>
      <xsl:apply-templates select="*"/>
    </Feuerwehrangehoerige>
  </xsl:template>

  <xsl:template match="einsaetze/instance">
    <Einsatz nummer="{@n + 1}">
      <xsl:apply-templates select="anlass | einsatznummer | ort"/>
      <xsl:if test="normalize-space(datum)">
        <Zeit datum="{datum}" von="{von}" bis="{bis}" folgetag="{folgetag = 'true'}"/>
      </xsl:if>
      <xsl:apply-templates select="stunden"/>
      <xsl:apply-templates select="stundensatz | brutto | arbeitgeberanteil | nebenleistungen | betrag"/>
    </Einsatz>
  </xsl:template>
</xsl:stylesheet>
