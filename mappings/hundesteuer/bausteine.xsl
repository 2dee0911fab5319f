<?xml version="1.0" encoding="UTF-8"?>
<!-- What the stylesheets of all form versions share on the way to urn:datendrehscheibe:hundesteuer:1, the tax procedure's XML.
     A field becomes an element named after it, with a capital; where the target's name is another one, a template says so.
     Values of lists carry the technical value as @code and the label as text. Empty fields are left out. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:hundesteuer:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:output method="xml" encoding="UTF-8" indent="yes"/>

  <xsl:variable name="fields" select="/e:envelope/e:fields"/>

  <xsl:template name="vorgang">
    <xsl:variable name="message" select="/e:envelope/e:metadata/e:message"/>
    <Vorgang id="{$message/@id}" ags="{$message/@ags}" eingang="{$message/@received}" test="{$message/@test}">
      <xsl:call-template name="kassenzeichen"/>
    </Vorgang>
  </xsl:template>

  <!-- For municipalities to override: the case's name in their tax procedure. -->
  <xsl:template name="kassenzeichen">
    <xsl:apply-templates select="$fields/*/instance/kassenzeichen"/>
  </xsl:template>

  <xsl:template name="gefaehrlich">
    <xsl:param name="rasse"/>
    <xsl:param name="festgestellt"/>
    <xsl:attribute name="gefaehrlich">
      <xsl:choose>
        <xsl:when test="$festgestellt = 'true'">festgestellt</xsl:when>
        <!-- § 1 Abs. 1 DVOGefHundG -->
        <xsl:when test="$rasse = 'american-staffordshire-terrier' or $rasse = 'bullterrier' or $rasse = 'pitbull-terrier'">
          <xsl:text>vermutet</xsl:text>
        </xsl:when>
        <xsl:otherwise>nein</xsl:otherwise>
      </xsl:choose>
    </xsl:attribute>
  </xsl:template>

  <xsl:template match="zahlung/instance">
    <Zahlung>
      <xsl:apply-templates select="rhythmus"/>
      <!-- Account data only with a mandate: a hidden field may hold what was typed before the tick was taken away. -->
      <xsl:if test="sepa = 'true'">
        <Lastschrift>
          <xsl:apply-templates select="kontoinhaber | iban | bic"/>
        </Lastschrift>
      </xsl:if>
    </Zahlung>
  </xsl:template>

  <xsl:template name="anlagen">
    <xsl:if test="/e:envelope/e:attachments/e:attachment">
      <Anlagen>
        <xsl:apply-templates select="/e:envelope/e:attachments/e:attachment"/>
      </Anlagen>
    </xsl:if>
  </xsl:template>

  <xsl:template match="e:attachment">
    <Anlage nummer="{@id}" art="{@role}" medientyp="{@mediaType}" groesse="{@size}" sha256="{@sha256}">
      <xsl:if test="@field"><xsl:attribute name="feld"><xsl:value-of select="@field"/></xsl:attribute></xsl:if>
      <xsl:if test="@filename"><xsl:attribute name="dateiname"><xsl:value-of select="@filename"/></xsl:attribute></xsl:if>
      <xsl:value-of select="@name"/>
    </Anlage>
  </xsl:template>

  <xsl:template match="instance/*" name="feld">
    <xsl:param name="als" select="concat(translate(substring(local-name(), 1, 1), 'abcdefghijklmnopqrstuvwxyz',
                                                   'ABCDEFGHIJKLMNOPQRSTUVWXYZ'), substring(local-name(), 2))"/>
    <xsl:if test="normalize-space()">
      <xsl:element name="{$als}">
        <xsl:choose>
          <xsl:when test="@e:type = 'choice'">
            <xsl:attribute name="code"><xsl:value-of select="."/></xsl:attribute>
            <xsl:value-of select="@e:text"/>
          </xsl:when>
          <xsl:otherwise><xsl:value-of select="."/></xsl:otherwise>
        </xsl:choose>
      </xsl:element>
    </xsl:if>
  </xsl:template>

  <xsl:template match="instance/iban">
    <xsl:if test="normalize-space()">
      <Iban><xsl:value-of select="translate(., ' ', '')"/></Iban>
    </xsl:if>
  </xsl:template>

  <xsl:template match="instance/rhythmus">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Zahlungsweise'"/></xsl:call-template>
  </xsl:template>
</xsl:stylesheet>
