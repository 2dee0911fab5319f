<?xml version="1.0" encoding="UTF-8"?>
<!-- What the stylesheets of all form versions share on the way to urn:datendrehscheibe:hundesteuer:1, the tax procedure's XML.
     Where the target's name for a field is another one, a template says so. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:hundesteuer:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="common:fachverfahren.xsl"/>

  <xsl:variable name="namensraum" select="'urn:datendrehscheibe:hundesteuer:1'"/>

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

  <xsl:template match="instance/rhythmus">
    <xsl:call-template name="feld"><xsl:with-param name="als" select="'Zahlungsweise'"/></xsl:call-template>
  </xsl:template>
</xsl:stylesheet>
