<?xml version="1.0" encoding="UTF-8"?>
<!-- Form 2.x for the benefit procedure, which sees no difference to 1.x: incomes go back to their persons, the parts of the rent
     into one sum, the year's burden to the month. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:wohngeld:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="../bausteine.xsl"/>

  <xsl:template match="/">
    <xsl:variable name="vorhaben" select="$fields/vorhaben/instance"/>
    <xsl:variable name="wohnraum" select="$fields/wohnraum/instance"/>
    <xsl:variable name="miete" select="$fields/mietkosten/instance[$vorhaben/antragsart = 'mietzuschuss']"/>
    <xsl:variable name="lasten" select="$fields/lasten/instance[$vorhaben/antragsart = 'lastenzuschuss']"/>
    <Wohngeldantrag version="1" art="{$vorhaben/antragsart/@e:text}" anlass="{$vorhaben/antragsanlass/@e:text}">
      <xsl:call-template name="vorgang"/>
      <xsl:apply-templates select="$vorhaben/aktenzeichen"/>
      <xsl:apply-templates select="$fields/haushalt/instance[*]"/>
      <Wohnraum>
        <xsl:apply-templates select="$wohnraum/strasse | $wohnraum/hausnummer | $wohnraum/plz | $wohnraum/ort"/>
        <xsl:apply-templates select="$wohnraum/bezogenAm | $wohnraum/flaeche | $wohnraum/gewerblich"/>
      </Wohnraum>
      <Kosten>
        <xsl:call-template name="betrag">
          <xsl:with-param name="als" select="'Bruttokaltmiete'"/>
          <xsl:with-param name="summanden" select="$miete/grundmiete | $miete/betriebskosten"/>
        </xsl:call-template>
        <xsl:call-template name="betrag">
          <xsl:with-param name="als" select="'Belastung'"/>
          <xsl:with-param name="summanden" select="$lasten/zinsen | $lasten/tilgung | $lasten/grundsteuer"/>
          <xsl:with-param name="teiler" select="12"/>
        </xsl:call-template>
        <xsl:apply-templates select="$fields/mietkosten/instance/heizung"/>
      </Kosten>
      <Bankverbindung>
        <xsl:apply-templates select="$fields/konto/instance/*"/>
      </Bankverbindung>
      <xsl:apply-templates select="$fields/erklaerungen/instance/hinweise"/>
      <xsl:call-template name="anlagen"/>
    </Wohngeldantrag>
  </xsl:template>

  <xsl:template match="haushalt/instance">
    <xsl:variable name="nummer" select="@n + 1"/>
    <Person nummer="{$nummer}" rolle="{rolle/@e:text}">
      <xsl:if test="normalize-space(ausschluss) and ausschluss != 'keine'">
        <xsl:attribute name="ausschluss"><xsl:value-of select="ausschluss/@e:text"/></xsl:attribute>
      </xsl:if>
      <xsl:apply-templates select="familienname | vornamen | geborenAm | telefon | email"/>
      <xsl:apply-templates select="$fields/einkuenfte/instance[person = $nummer]"/>
    </Person>
  </xsl:template>

  <xsl:template match="einkuenfte/instance">
    <xsl:call-template name="einkommen">
      <xsl:with-param name="art" select="einkunftsart"/>
      <xsl:with-param name="betrag" select="betrag"/>
      <xsl:with-param name="monate" select="1 + 11 * (zeitraum = 'monat')"/>
    </xsl:call-template>
  </xsl:template>

  <xsl:template match="instance/aktenzeichen">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Wohngeldnummer'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="instance/familienname">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Name'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="instance/vornamen">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Vorname'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="instance/geborenAm">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Geburtsdatum'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="instance/flaeche">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Wohnflaeche'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="instance/heizung">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Heizkosten'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="instance/inhaber">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Kontoinhaber'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="instance/hinweise">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Bemerkung'"/></xsl:call-template>
  </xsl:template>
</xsl:stylesheet>
