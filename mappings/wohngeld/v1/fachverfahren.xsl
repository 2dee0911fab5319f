<?xml version="1.0" encoding="UTF-8"?>
<!-- Form 1.x for the benefit procedure, which sees no difference to 2.x. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:wohngeld:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="../bausteine.xsl"/>

  <xsl:template match="/">
    <xsl:variable name="antrag" select="$fields/antrag/instance"/>
    <xsl:variable name="wohnung" select="$fields/wohnung/instance"/>
    <Wohngeldantrag version="1" art="{$antrag/art/@e:text}" anlass="{$antrag/anlass/@e:text}">
      <xsl:call-template name="vorgang"/>
      <xsl:apply-templates select="$antrag/wohngeldnummer"/>
      <xsl:apply-templates select="$fields/antragsteller/instance | $fields/mitglieder/instance[*]"/>
      <Wohnraum>
        <xsl:apply-templates select="$wohnung/strasse | $wohnung/hausnummer | $wohnung/plz | $wohnung/ort"/>
        <xsl:apply-templates select="$wohnung/einzug | $wohnung/wohnflaeche"/>
      </Wohnraum>
      <Kosten>
        <xsl:call-template name="betrag">
          <xsl:with-param name="als" select="'Bruttokaltmiete'"/>
          <xsl:with-param name="summanden" select="$wohnung[$antrag/art = 'miet']/bruttokaltmiete"/>
        </xsl:call-template>
        <xsl:call-template name="betrag">
          <xsl:with-param name="als" select="'Belastung'"/>
          <xsl:with-param name="summanden" select="$wohnung[$antrag/art = 'last']/belastung"/>
        </xsl:call-template>
        <xsl:apply-templates select="$wohnung/heizkosten"/>
      </Kosten>
      <Bankverbindung>
        <xsl:apply-templates select="$fields/bank/instance/*"/>
      </Bankverbindung>
      <xsl:apply-templates select="$fields/erklaerung/instance/bemerkung"/>
      <xsl:call-template name="anlagen"/>
    </Wohngeldantrag>
  </xsl:template>

  <xsl:template match="antragsteller/instance | mitglieder/instance">
    <xsl:variable name="vorher" select="count(self::instance[parent::mitglieder])"/>
    <Person nummer="{@n + 1 + $vorher}">
      <xsl:attribute name="rolle">
        <xsl:choose>
          <xsl:when test="$vorher"><xsl:value-of select="verhaeltnis/@e:text"/></xsl:when>
          <xsl:otherwise>antragstellende Person</xsl:otherwise>
        </xsl:choose>
      </xsl:attribute>
      <xsl:apply-templates select="name | vorname | geburtsdatum | telefon | email"/>
      <xsl:call-template name="einkommen">
        <xsl:with-param name="art" select="einkommensart"/>
        <xsl:with-param name="betrag" select="monatsbrutto"/>
      </xsl:call-template>
    </Person>
  </xsl:template>

  <xsl:template match="wohnung/instance/einzug">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'BezogenAm'"/></xsl:call-template>
  </xsl:template>
</xsl:stylesheet>
