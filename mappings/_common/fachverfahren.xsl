<?xml version="1.0" encoding="UTF-8"?>
<!-- The application as XML for a procedure. A group becomes an element named after it, with a capital and its number; a field
     one named after it; values of lists carry the technical value as @code and the label as text; money its currency. Empty
     fields are left out, files stand under Anlagen. The importing stylesheet says $wurzel and $namensraum, and writes templates
     for what the target names or orders differently. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:output method="xml" encoding="UTF-8" indent="yes"/>

  <xsl:variable name="wurzel" select="'Antrag'"/>
  <xsl:variable name="namensraum" select="concat('urn:datendrehscheibe:', /e:envelope/e:metadata/e:message/@service, ':1')"/>
  <xsl:variable name="fields" select="/e:envelope/e:fields"/>
  <xsl:variable name="klein" select="'abcdefghijklmnopqrstuvwxyz'"/>
  <xsl:variable name="gross" select="'ABCDEFGHIJKLMNOPQRSTUVWXYZ'"/>

  <xsl:template match="/">
    <xsl:element name="{$wurzel}" namespace="{$namensraum}">
      <xsl:attribute name="version">1</xsl:attribute>
      <xsl:call-template name="vorgang"/>
      <xsl:apply-templates select="$fields/*/instance"/>
      <xsl:call-template name="anlagen"/>
    </xsl:element>
  </xsl:template>

  <!-- The procedure recognises a repetition by the id. -->
  <xsl:template name="vorgang">
    <xsl:variable name="message" select="/e:envelope/e:metadata/e:message"/>
    <xsl:element name="Vorgang" namespace="{$namensraum}">
      <xsl:attribute name="id"><xsl:value-of select="$message/@id"/></xsl:attribute>
      <xsl:attribute name="ags"><xsl:value-of select="$message/@ags"/></xsl:attribute>
      <xsl:attribute name="eingang"><xsl:value-of select="$message/@received"/></xsl:attribute>
      <xsl:attribute name="test"><xsl:value-of select="$message/@test"/></xsl:attribute>
      <xsl:call-template name="kassenzeichen"/>
    </xsl:element>
  </xsl:template>

  <!-- For mappings and municipalities to override: the case's name in their procedure. -->
  <xsl:template name="kassenzeichen"/>

  <xsl:template match="instance" name="gruppe">
    <xsl:param name="als" select="concat(translate(substring(local-name(..), 1, 1), $klein, $gross),
                                         substring(local-name(..), 2))"/>
    <xsl:if test="*[normalize-space(@e:text)][not(@e:type = 'file' or @e:type = 'files')]">
      <xsl:element name="{$als}" namespace="{$namensraum}">
        <xsl:attribute name="nummer"><xsl:value-of select="@n + 1"/></xsl:attribute>
        <xsl:apply-templates select="*"/>
      </xsl:element>
    </xsl:if>
  </xsl:template>

  <xsl:template match="instance/*" name="feld">
    <xsl:param name="als" select="concat(translate(substring(local-name(), 1, 1), $klein, $gross), substring(local-name(), 2))"/>
    <xsl:choose>
      <xsl:when test="@e:type = 'file' or @e:type = 'files'"/>
      <xsl:when test="value">
        <xsl:for-each select="value[normalize-space()]">
          <xsl:element name="{$als}" namespace="{$namensraum}">
            <xsl:attribute name="code"><xsl:value-of select="."/></xsl:attribute>
            <xsl:value-of select="@e:text"/>
          </xsl:element>
        </xsl:for-each>
      </xsl:when>
      <xsl:when test="normalize-space()">
        <xsl:element name="{$als}" namespace="{$namensraum}"><xsl:call-template name="wert"/></xsl:element>
      </xsl:when>
    </xsl:choose>
  </xsl:template>

  <xsl:template name="wert">
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
  </xsl:template>

  <xsl:template match="instance/iban" priority="1">
    <xsl:if test="normalize-space()">
      <xsl:element name="Iban" namespace="{$namensraum}"><xsl:value-of select="translate(., ' ', '')"/></xsl:element>
    </xsl:if>
  </xsl:template>

  <xsl:template name="anlagen">
    <xsl:if test="/e:envelope/e:attachments/e:attachment">
      <xsl:element name="Anlagen" namespace="{$namensraum}">
        <xsl:apply-templates select="/e:envelope/e:attachments/e:attachment"/>
      </xsl:element>
    </xsl:if>
  </xsl:template>

  <!-- By name and digest: the files travel beside the document. -->
  <xsl:template match="e:attachment">
    <xsl:element name="Anlage" namespace="{$namensraum}">
      <xsl:attribute name="nummer"><xsl:value-of select="@id"/></xsl:attribute>
      <xsl:attribute name="art"><xsl:value-of select="@role"/></xsl:attribute>
      <xsl:attribute name="medientyp"><xsl:value-of select="@mediaType"/></xsl:attribute>
      <xsl:attribute name="groesse"><xsl:value-of select="@size"/></xsl:attribute>
      <xsl:attribute name="sha256"><xsl:value-of select="@sha256"/></xsl:attribute>
      <xsl:if test="@field"><xsl:attribute name="feld"><xsl:value-of select="@field"/></xsl:attribute></xsl:if>
      <xsl:if test="@filename"><xsl:attribute name="dateiname"><xsl:value-of select="@filename"/></xsl:attribute></xsl:if>
      <xsl:value-of select="@name"/>
    </xsl:element>
  </xsl:template>
</xsl:stylesheet>
