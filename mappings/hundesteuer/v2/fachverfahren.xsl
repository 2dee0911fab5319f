<?xml version="1.0" encoding="UTF-8"?>
<!-- Form 2.x for the tax procedure, which sees no difference to 1.x: the new field ids take the old names. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:hundesteuer:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="../bausteine.xsl"/>

  <xsl:template match="/">
    <Hundesteuer version="1">
      <xsl:call-template name="vorgang"/>
      <xsl:apply-templates select="$fields/vorgang/instance/art"/>
      <xsl:apply-templates select="$fields/halter/instance"/>
      <xsl:apply-templates select="$fields/weitereHalter/instance[*]"/>
      <xsl:apply-templates select="$fields/hunde/instance[*]"/>
      <xsl:apply-templates select="$fields/zahlung/instance[normalize-space()]"/>
      <xsl:apply-templates select="$fields/erklaerung/instance/bemerkung"/>
      <xsl:call-template name="anlagen"/>
    </Hundesteuer>
  </xsl:template>

  <xsl:template match="halter/instance">
    <Halter>
      <xsl:apply-templates select="anrede | familienname | vorname | geburtsdatum"/>
      <Anschrift>
        <xsl:apply-templates select="strasse | hausnummer | plz | ort"/>
      </Anschrift>
      <xsl:apply-templates select="zuzugAm | telefon | email"/>
    </Halter>
  </xsl:template>

  <xsl:template match="weitereHalter/instance">
    <WeitererHalter nummer="{@n + 1}">
      <xsl:apply-templates select="familienname | vorname | geburtsdatum"/>
    </WeitererHalter>
  </xsl:template>

  <xsl:template match="hunde/instance">
    <Hund nummer="{@n + 1}">
      <xsl:call-template name="gefaehrlich">
        <xsl:with-param name="rasse" select="rasseCode"/>
        <xsl:with-param name="festgestellt" select="einzelfall"/>
      </xsl:call-template>
      <xsl:apply-templates select="rufname | rasseCode | rasseZusatz | geschlecht | geburtsdatum | fellfarbe | chipnummer
                                   | gehaltenSeit | herkunft | vorbesitzer | steuermarke | endeAm | endeGrund
                                   | ermaessigungen/value"/>
    </Hund>
  </xsl:template>

  <xsl:template match="vorgang/instance/art">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Meldung'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="instance/familienname">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Name'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="hunde/instance/rasseCode">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Rasse'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="hunde/instance/fellfarbe">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Farbe'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="hunde/instance/gehaltenSeit">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Haltungsbeginn'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="hunde/instance/vorbesitzer">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Vorbesitz'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="ermaessigungen/value">
    <Ermaessigung code="{.}"><xsl:value-of select="@e:text"/></Ermaessigung>
  </xsl:template>
</xsl:stylesheet>
