<?xml version="1.0" encoding="UTF-8"?>
<!-- Form 1.x for the tax procedure: one dog, its reduction and former holder in groups of their own. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:hundesteuer:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="../bausteine.xsl"/>

  <xsl:template match="/">
    <Hundesteuer version="1">
      <xsl:call-template name="vorgang"/>
      <Meldung code="anmeldung">Anmeldung</Meldung>
      <xsl:apply-templates select="$fields/halter/instance"/>
      <xsl:apply-templates select="$fields/hund/instance"/>
      <xsl:apply-templates select="$fields/zahlung/instance[normalize-space()]"/>
      <xsl:apply-templates select="$fields/erklaerung/instance/bemerkung"/>
      <xsl:call-template name="anlagen"/>
    </Hundesteuer>
  </xsl:template>

  <xsl:template match="halter/instance">
    <Halter>
      <xsl:apply-templates select="anrede | name | vorname | geburtsdatum"/>
      <Anschrift>
        <xsl:apply-templates select="strasse | hausnummer | plz | ort"/>
      </Anschrift>
      <xsl:apply-templates select="telefon | email"/>
      <xsl:if test="weitereHunde = 'true'">
        <xsl:apply-templates select="anzahlHunde"/>
      </xsl:if>
    </Halter>
  </xsl:template>

  <xsl:template match="hund/instance">
    <Hund nummer="1">
      <xsl:call-template name="gefaehrlich">
        <xsl:with-param name="rasse" select="rasse"/>
        <xsl:with-param name="festgestellt" select="gefaehrlich"/>
      </xsl:call-template>
      <xsl:apply-templates select="name | rasse | rasseFreitext | geschlecht | geburtsdatum | farbe | chipnummer | haltungsbeginn
                                   | herkunft"/>
      <xsl:apply-templates select="$fields/vorbesitz/instance[normalize-space(name)]"/>
      <xsl:apply-templates select="$fields/ermaessigung/instance[beantragt = 'true']/grund"/>
    </Hund>
  </xsl:template>

  <xsl:template match="vorbesitz/instance">
    <Vorbesitz>
      <xsl:value-of select="name"/>
      <xsl:if test="normalize-space(anschrift)">, <xsl:value-of select="normalize-space(anschrift)"/></xsl:if>
      <xsl:if test="normalize-space(steuermarke)">, Steuermarke <xsl:value-of select="steuermarke"/></xsl:if>
    </Vorbesitz>
  </xsl:template>

  <xsl:template match="hund/instance/name">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Rufname'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="hund/instance/rasseFreitext">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'RasseZusatz'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="ermaessigung/instance/grund">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Ermaessigung'"/></xsl:call-template>
  </xsl:template>
</xsl:stylesheet>
