<?xml version="1.0" encoding="UTF-8"?>
<!-- The annotated envelope as urn:datendrehscheibe:feuerwehr-verdienstausfall:1. A field becomes an element named after it, with
     a capital; values of lists carry the technical value as @code and the label as text; empty fields are left out. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns="urn:datendrehscheibe:feuerwehr-verdienstausfall:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:output method="xml" encoding="UTF-8" indent="yes"/>

  <xsl:variable name="fields" select="/e:envelope/e:fields"/>

  <xsl:template match="/">
    <xsl:variable name="message" select="/e:envelope/e:metadata/e:message"/>
    <Verdienstausfall version="1">
      <Vorgang id="{$message/@id}" ags="{$message/@ags}" eingang="{$message/@received}" test="{$message/@test}"/>
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
      <xsl:if test="/e:envelope/e:attachments/e:attachment">
        <Anlagen>
          <xsl:apply-templates select="/e:envelope/e:attachments/e:attachment"/>
        </Anlagen>
      </xsl:if>
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

  <xsl:template match="instance/*">
    <xsl:if test="normalize-space()">
      <xsl:element name="{concat(translate(substring(local-name(), 1, 1), 'abcdefghijklmnopqrstuvwxyz',
                                           'ABCDEFGHIJKLMNOPQRSTUVWXYZ'), substring(local-name(), 2))}">
        <xsl:choose>
          <xsl:when test="@e:type = 'choice'">
            <xsl:attribute name="code"><xsl:value-of select="."/></xsl:attribute>
            <xsl:value-of select="@e:text"/>
          </xsl:when>
          <xsl:when test="@e:type = 'money'">
            <xsl:attribute name="waehrung">EUR</xsl:attribute>
            <xsl:value-of select="format-number(., '0.00')"/>
          </xsl:when>
          <xsl:otherwise><xsl:value-of select="."/></xsl:otherwise>
        </xsl:choose>
      </xsl:element>
    </xsl:if>
  </xsl:template>

  <xsl:template match="bank/instance/iban" priority="1">
    <Iban><xsl:value-of select="translate(., ' ', '')"/></Iban>
  </xsl:template>

  <xsl:template match="e:attachment">
    <Anlage nummer="{@id}" art="{@role}" medientyp="{@mediaType}" groesse="{@size}" sha256="{@sha256}">
      <xsl:if test="@field"><xsl:attribute name="feld"><xsl:value-of select="@field"/></xsl:attribute></xsl:if>
      <xsl:if test="@filename"><xsl:attribute name="dateiname"><xsl:value-of select="@filename"/></xsl:attribute></xsl:if>
      <xsl:value-of select="@name"/>
    </Anlage>
  </xsl:template>
</xsl:stylesheet>
